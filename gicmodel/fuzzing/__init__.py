# SPDX-License-Identifier: Apache-2.0
"""Fuzzing command sequences: the oracle, Hypothesis strategies, state machines, and campaigns.

`oracle` and `strategies` never import numba. State machines, all to be subclassed, drive the real hardware and do:
`machines` (against the oracle), `qemu_machine` (against QEMU), `peer_machine` (against any peer of a campaign; the two
engines), `driver_machine` (a driver on hardware that retains), `migration_machine` (whole VMs that are migrated).
"""
