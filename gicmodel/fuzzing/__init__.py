# SPDX-License-Identifier: Apache-2.0
"""Fuzzing command sequences: programs, campaigns against `peers`, and `hypothesis`: strategies and state machines.

State machines, all to be subclassed, drive the real hardware: `hypothesis.machines` (against the specification),
`hypothesis.qemu_machine`, `hypothesis.peer_machine` (against any peer of a campaign; the two engines),
`hypothesis.driver_machine` (a driver on hardware that retains), `hypothesis.migration_machine` (whole VMs).
"""
