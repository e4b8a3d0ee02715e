# SPDX-License-Identifier: Apache-2.0
"""What a system register is besides its bits: its encoding in MRS and MSR instructions."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from gicmodel.layouts.declaration import RES0, Bits, Declared, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.register import NO_RESET, register64


class SystemRegister(NamedTuple):
    """The encoding of a system register, who may access it, and what it holds after reset.

    `reset` holds the fields that the architecture resets; every other field is UNKNOWN or given by the implementation.
    """

    name: str
    encoding: int
    access: Literal["RW", "RO", "WO"]
    layout: Layout
    reset: Mapping[str, int] = NO_RESET


def packed(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """An encoding as one number of 16 bits, as KVM's `sys_reg` ioctls and ESR_ELx.ISS order its fields."""
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


def control_register(name: str, doc: str, interface: str, *masks: Declared) -> Layout:
    """ICC_CTLR_EL1 or ICV_CTLR_EL1; `masks` is what bits 7 to 2 are."""
    return register64(
        name,
        doc,
        RES0(44),
        Flag("ExtRange", "RO: extended INTIDs are supported"),
        Flag("RSS", "RO: SGIs reach affinity level 0 values up to 255"),
        RES0(2),
        Flag("A3V", "RO: affinity level 3 may be other than zero"),
        Flag("SEIS", "RO: errors are reported as SErrors"),
        Bits("IDbits", 3, "RO: INTIDs have 16 bits (0) or 24 (1)"),
        Bits("PRIbits", 3, "RO: number of priority bits, minus one"),
        *masks,
        Flag("EOImode", f"{interface}_EOIR<n>_EL1 drops the priority only, {interface}_DIR_EL1 deactivates"),
        Flag("CBPR", f"{interface}_BPR0_EL1 counts for Group 1 too"),
    )


def active_priorities_register(name: str, doc: str) -> Layout:
    """A register of the priority levels at which interrupts are active; its bits are IMPLEMENTATION DEFINED."""
    return register64(name, doc, RES0(32), Bits("P", 32, "Bit x: an interrupt of group priority 8 * x is active"))
