# SPDX-License-Identifier: Apache-2.0
"""The CPU interface of a PE: its system registers, and what its redistributor forwards to it."""

from __future__ import annotations

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.errors import whole
from gicmodel.hardware.kernels import cpu, cpu_interface
from gicmodel.hardware.kernels.delivery import clear_lpi
from gicmodel.hardware.kernels.state import DIST, DIST_AT, RD, Machine, rd_at
from gicmodel.hardware.register_face import DOUBLEWORD_BITS, Handler, always, word_at
from gicmodel.hardware.virtual_interface import (
    LEAST_BPR0,
    LEAST_BPR1,
    PRIORITIES,
    VirtualInterface,
    own_registers,
    word,
)
from gicmodel.jit import bound
from gicmodel.layouts.registers.by_name import SYSTEM_REGISTERS, encoding
from gicmodel.layouts.registers.cpu_interface import (
    ICC_BPR0_EL1,
    ICC_CTLR_EL1,
    ICC_IGRPEN1_EL1,
    ICC_SRE_EL1,
    ICC_SRE_EL2,
)

_BINARY_POINT = ICC_BPR0_EL1.field_mask()
_CTLR_MASK = ICC_CTLR_EL1.pack(EOImode=1, CBPR=1)
_CBPR = ICC_CTLR_EL1.pack(CBPR=1)
_ENABLE = ICC_IGRPEN1_EL1.pack(Enable=1)
_SRE_EL1 = ICC_SRE_EL1.pack(DIB=1, DFB=1, SRE=1)
_SRE_EL2 = ICC_SRE_EL2.pack(Enable=1, DIB=1, DFB=1, SRE=1)
_NAMES = {entry.encoding: entry.name for entry in reversed(SYSTEM_REGISTERS)}


class UndefinedRegister(ValueError):
    """An access to a system register that is UNDEFINED: the CPU interface has it not, or not for reading or writing."""


class CpuInterface:
    """The CPU interface of the PE of redistributor `number`.

    `read` and `write` are the PE's accesses to system registers. The other methods are about what the redistributor
    forwards, whatever the registers say and other interrupts are: LPIs, which are Group 1, and vSGIs and vLPIs as far
    as GICR_VPENDBASER enables their groups.
    """

    _acknowledge = bound(cpu_interface.acknowledge_group, np.uint64(0))
    _highest = bound(cpu_interface.highest_of_group, np.uint64(0))
    _end = bound(cpu_interface.end_interrupt, np.uint64(0), np.uint64(0))
    _end_activity = bound(cpu_interface.end_activity, np.uint64(0))

    def __init__(self, config: GicConfig, machine: Machine, number: int) -> None:
        self._machine = machine
        self._place = machine, number
        self.virtual = VirtualInterface(config, machine, number)
        self._state = machine.chip.data[rd_at(number) : rd_at(number + 1)]
        self._state[RD.icc_bpr0], self._state[RD.icc_bpr1] = LEAST_BPR0, LEAST_BPR1

    def read(self, register: int, *, virtual: bool = False) -> int:
        """MRS of the system register with this encoding (`layouts.registers.by_name.encoding`).

        `virtual`: the access of a guest that HCR_EL2.FMO and IMO send to the virtual CPU interface.

        Raises:
            UndefinedRegister: the CPU interface has no such register, or it cannot be read.
        """
        face, handler = self._find(register, virtual)
        if handler is None or handler.read is None:
            raise UndefinedRegister(f"{_name(register)} cannot be read")
        return int(handler.read(face))

    def write(self, register: int, value: int, *, virtual: bool = False) -> None:
        """MSR of the system register with this encoding; `virtual` and UndefinedRegister as of `read`.

        ValueError: the value has not 64 bits.
        """
        face, handler = self._find(register, virtual)
        if handler is None or handler.write is None:
            raise UndefinedRegister(f"{_name(register)} cannot be written")
        handler.write(face, whole(value, f"the value of {_name(register)}") if value >> DOUBLEWORD_BITS else value)

    def _find(self, register: int, virtual: bool) -> tuple[object, Handler | None]:
        """Whose register it is, and what accesses to it do."""
        handler = self.virtual.find(register, virtual)
        return (self, _HANDLERS.get(register)) if handler is None else (self.virtual, handler)

    def acknowledge(self) -> int:
        """Take the most urgent pending LPI, lowest INTID first among equals; 1023 for none."""
        return int(cpu.acknowledge(*self._place))

    def acknowledge_virtual(self) -> int:
        """Take the most urgent vSGI or vLPI of the resident vPE; 1023 for none."""
        return int(cpu.acknowledge_virtual(*self._place))

    def pending(self) -> int:
        """What `acknowledge` would return."""
        return int(cpu.highest_lpi(*self._place))

    def pending_virtual(self) -> int:
        """What `acknowledge_virtual` would return."""
        return int(cpu.highest_virtual(*self._place))

    def take(self, intid: int) -> bool:
        """Acknowledge this LPI, out of turn; whether it was pending. A replayed trace says which one was taken.

        ValueError: the INTID has not 64 bits.
        """
        return bool(clear_lpi(*self._place, np.uint64(whole(intid, "an INTID")))[1])

    def take_virtual(self, vintid: int) -> bool:
        """Acknowledge this interrupt of the resident vPE, out of turn; whether it was pending. Errors as above."""
        return bool(cpu.take_virtual(*self._place, np.uint64(whole(vintid, "a vINTID"))))

    def set_word(self, place: int, value: int) -> None:
        """Write a word of state; what is signalled follows."""
        self._state[place] = value
        self._state[RD.stirred] = 1

    def _read_bpr1(self) -> int:
        """With CBPR = 1 that of Group 0, and one more, as Group 1 cuts priorities one bit lower."""
        if self._state[RD.icc_ctlr] & _CBPR:
            return min(self._state[RD.icc_bpr0] + 1, _BINARY_POINT)
        return int(self._state[RD.icc_bpr1])

    def _write_bpr1(self, value: int) -> None:
        """Ignored with CBPR = 1."""
        if not self._state[RD.icc_ctlr] & _CBPR:
            self.set_word(RD.icc_bpr1, max(value & _BINARY_POINT, LEAST_BPR1))

    def _write_bpr0(self, value: int) -> None:
        self.set_word(RD.icc_bpr0, max(value & _BINARY_POINT, LEAST_BPR0))

    def _write_igrpen(self, place: int, value: int) -> None:
        """SPIs that may go to any PE go where their group is enabled."""
        self._state[place] = value & _ENABLE
        self._machine.chip[DIST_AT + DIST.stirred] = 1

    def _write_sgi(self, both_groups: bool, value: int) -> None:
        cpu_interface.generate_sgi(*self._place, np.uint64(value), both_groups)


def _igrpen(place: int) -> Handler:
    return Handler(word_at(place), lambda cpu, value: cpu._write_igrpen(place, value))


def _sgi(both_groups: bool) -> Handler:
    return Handler(write=lambda cpu, value: cpu._write_sgi(both_groups, value))


_HANDLERS: dict[int, Handler] = {
    encoding(name): handler
    for name, handler in {
        **own_registers("ICC", RD.icc_ap0r),
        "ICC_IGRPEN0_EL1": _igrpen(RD.icc_igrpen0),
        "ICC_IGRPEN1_EL1": _igrpen(RD.icc_igrpen1),
        "ICC_PMR_EL1": word(RD.icc_pmr, PRIORITIES),
        "ICC_BPR0_EL1": Handler(word_at(RD.icc_bpr0), CpuInterface._write_bpr0),
        "ICC_BPR1_EL1": Handler(CpuInterface._read_bpr1, CpuInterface._write_bpr1),
        "ICC_CTLR_EL1": Handler(
            lambda cpu: cpu._state[RD.icc_ctlr] | cpu.virtual.features,
            lambda cpu, value: cpu.set_word(RD.icc_ctlr, value & _CTLR_MASK),
        ),
        "ICC_SRE_EL1": always(_SRE_EL1),
        "ICC_SRE_EL2": always(_SRE_EL2),
        "ICC_SGI0R_EL1": _sgi(False),
        "ICC_ASGI1R_EL1": _sgi(False),
        "ICC_SGI1R_EL1": _sgi(True),
    }.items()
}


def _name(register: int) -> str:
    return _NAMES.get(register) or f"a system register {register:#06x}, which the CPU interface does not have,"
