# SPDX-License-Identifier: Apache-2.0
"""The GIC's CPU interface as MRS and MSR reach it: which of ICC_*, ICV_* and ICH_* an access means, and its traps.

What the registers do is `gicmodel.hardware`'s. Which of them software at an exception level gets is the processor's
(IHI0069, chapter 12), here of one with a single Security state.
"""

from __future__ import annotations

from gicmodel.board.cpu import Cpu, TrapToEl2
from gicmodel.board.encodings import HCR_FMO, HCR_IMO
from gicmodel.board.watch import Watch
from gicmodel.hardware import CpuInterface, Gic, UndefinedRegister
from gicmodel.layouts.registers.by_name import encoding
from gicmodel.layouts.registers.cpu_interface import ICC_SRE_EL2
from gicmodel.layouts.registers.virtual_interface import ICH_HCR_EL2

_GROUP = {
    encoding(f"ICC_{name.format(group)}_EL1"): group
    for group in (0, 1)
    for name in ("IAR{}", "EOIR{}", "HPPIR{}", "BPR{}", "AP{}R0", "IGRPEN{}")
}
_COMMON = {encoding(f"ICC_{name}_EL1") for name in ("PMR", "CTLR", "DIR", "RPR")}
_SGIS = {encoding(f"ICC_{name}_EL1") for name in ("SGI0R", "SGI1R", "ASGI1R")}
_SRE_EL1, _SRE_EL2, _DIR = (encoding(f"ICC_{name}") for name in ("SRE_EL1", "SRE_EL2", "DIR_EL1"))
_HCR = encoding("ICH_HCR_EL2")
_ACKNOWLEDGES = {encoding(f"ICC_IAR{group}_EL1"): group for group in (0, 1)}
_SRE_ENABLE = ICC_SRE_EL2.pack(Enable=1)
_TC, _TDIR = ICH_HCR_EL2.pack(TC=1), ICH_HCR_EL2.pack(TDIR=1)
_TALL = ICH_HCR_EL2.pack(TALL0=1), ICH_HCR_EL2.pack(TALL1=1)
"""By group."""
_EL_OF_OP1 = {0: 1, 4: 2}
"""op1 of an encoding -> the lowest exception level that may use it."""


class Interface:
    """The CPU interfaces of a board's PEs."""

    def __init__(self, gic: Gic, watch: Watch) -> None:
        self._watch = watch
        self._interfaces = [redistributor.cpu for redistributor in gic.redistributors]

    def access(self, pe: Cpu, encoding: int, value: int | None) -> int:
        """Do an access, as `cpu.SystemAccess` has it."""
        el, lowest = pe.el, _EL_OF_OP1.get(encoding >> 11 & 7)
        if lowest is None or el < lowest:
            raise UndefinedRegister(encoding)
        interface = self._interfaces[pe.number]
        below_el2 = pe.el2 and el == 1
        if below_el2 and _is_trapped(interface, pe.hcr, encoding):
            raise TrapToEl2
        virtual = below_el2 and _is_virtual(pe.hcr, encoding)
        if value is not None:
            interface.write(encoding, value, virtual=virtual)
            return 0
        result = interface.read(encoding, virtual=virtual)
        if encoding in _ACKNOWLEDGES:
            self._watch.acknowledged(pe.number, result, _ACKNOWLEDGES[encoding], virtual)
        return result


def _is_virtual(hcr: int, encoding: int) -> bool:
    """Whether an access at EL1 is one of ICV_*: HCR_EL2 routes the group's interrupts to EL2."""
    if encoding in _GROUP:
        return bool(hcr & (HCR_FMO, HCR_IMO)[_GROUP[encoding]])
    return encoding in _COMMON and bool(hcr & (HCR_FMO | HCR_IMO))


def _is_trapped(interface: CpuInterface, hcr: int, encoding: int) -> bool:
    """Whether EL2 wants to see an access at EL1."""
    if encoding in _SGIS:
        return bool(hcr & (HCR_FMO | HCR_IMO))
    if encoding == _SRE_EL1:
        return not interface.read(_SRE_EL2) & _SRE_ENABLE
    traps = interface.read(_HCR)
    if encoding in _GROUP:
        return bool(traps & _TALL[_GROUP[encoding]])
    return encoding in _COMMON and bool(traps & _TC or (encoding == _DIR and traps & _TDIR))
