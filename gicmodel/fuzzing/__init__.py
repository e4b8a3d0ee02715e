# SPDX-License-Identifier: Apache-2.0
"""Fuzzing command sequences: programs, campaigns against `peers`, and `hypothesis`: strategies and state machines.

State machines, all to be subclassed, drive the real hardware: `hypothesis.peer_machine` (against any peer of it),
`hypothesis.qemu_machine` (with what only QEMU can be asked), `hypothesis.driver_machine` (a driver on hardware that
retains), `hypothesis.migration_machine` (whole VMs).
"""
