# SPDX-License-Identifier: Apache-2.0
"""Fuzzing command sequences: the oracle, the Hypothesis strategies and the state machines that compare with it.

`oracle` and `strategies` never import numba. State machines, all to be subclassed, drive the real hardware and do:
`machines` (against the oracle), `qemu_machine` (against QEMU), `driver_machine` (a driver on hardware that retains).
"""
