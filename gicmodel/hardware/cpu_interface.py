# SPDX-License-Identifier: Apache-2.0
"""The CPU interface of a PE: its system registers, and what its redistributor forwards to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from gicmodel.config import PRIORITY_BITS, GicConfig
from gicmodel.errors import whole
from gicmodel.hardware.kernels import cpu, cpu_interface
from gicmodel.hardware.kernels.delivery import clear_lpi
from gicmodel.hardware.kernels.state import DIST, DIST_AT, RD, Machine, rd_at
from gicmodel.hardware.register_face import WORD_BITS, Handler, field_mask, word_at
from gicmodel.hardware.virtual_interface import LEAST_BPR0, LEAST_BPR1, VirtualInterface
from gicmodel.jit import direct
from gicmodel.layouts.registers.by_name import SYSTEM_REGISTERS, encoding
from gicmodel.layouts.registers.cpu_interface import (
    ICC_AP0R0_EL1,
    ICC_BPR0_EL1,
    ICC_CTLR_EL1,
    ICC_EOIR1_EL1,
    ICC_IGRPEN1_EL1,
    ICC_SRE_EL1,
    ICC_SRE_EL2,
)

_BINARY_POINT, _P, _INTID = (field_mask(layout) for layout in (ICC_BPR0_EL1, ICC_AP0R0_EL1, ICC_EOIR1_EL1))
_PRIORITY_MASK = 0xFF << 8 - PRIORITY_BITS & 0xFF
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

    def __init__(self, config: GicConfig, machine: Machine, number: int) -> None:
        self._machine = machine
        self._number = number
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
        handler.write(face, whole(value, f"the value of {_name(register)}") if value >> WORD_BITS else value)

    def _find(self, register: int, virtual: bool) -> tuple[object, Handler | None]:
        """Whose register it is, and what accesses to it do."""
        handler = self.virtual.find(register, virtual)
        return (self, _HANDLERS.get(register)) if handler is None else (self.virtual, handler)

    def acknowledge(self) -> int:
        """Take the most urgent pending LPI, lowest INTID first among equals; 1023 for none."""
        return int(cpu.acknowledge(self._machine, self._number))

    def acknowledge_virtual(self) -> int:
        """Take the most urgent vSGI or vLPI of the resident vPE; 1023 for none."""
        return int(cpu.acknowledge_virtual(self._machine, self._number))

    def pending(self) -> int:
        """What `acknowledge` would return."""
        return int(cpu.highest_lpi(self._machine, self._number))

    def pending_virtual(self) -> int:
        """What `acknowledge_virtual` would return."""
        return int(cpu.highest_virtual(self._machine, self._number))

    def take(self, intid: int) -> bool:
        """Acknowledge this LPI, out of turn; whether it was pending. A replayed trace says which one was taken.

        ValueError: the INTID has not 64 bits.
        """
        return bool(clear_lpi(self._machine, self._number, np.uint64(whole(intid, "an INTID")))[1])

    def take_virtual(self, vintid: int) -> bool:
        """Acknowledge this interrupt of the resident vPE, out of turn; whether it was pending. Errors as above."""
        return bool(cpu.take_virtual(self._machine, self._number, np.uint64(whole(vintid, "a vINTID"))))

    @cached_property
    def _acknowledge(self) -> Callable[..., Any]:
        return direct(cpu_interface.acknowledge_group, self._machine, self._number, np.uint64(0))

    @cached_property
    def _highest(self) -> Callable[..., Any]:
        return direct(cpu_interface.highest_of_group, self._machine, self._number, np.uint64(0))

    @cached_property
    def _end(self) -> Callable[..., Any]:
        return direct(cpu_interface.end_interrupt, self._machine, self._number, np.uint64(0), np.uint64(0))

    def _set(self, place: int, value: int) -> None:
        self._state[place] = value
        self._state[RD.stirred] = 1

    def _read_rpr(self) -> int:
        return int(
            cpu_interface.running_priority(np.uint64(self._state[RD.icc_ap0r]), np.uint64(self._state[RD.icc_ap1r]))
        )

    def _write_dir(self, value: int) -> None:
        cpu_interface.end_activity(self._machine, self._number, np.uint64(value & _INTID))

    def _read_bpr1(self) -> int:
        """With CBPR = 1 that of Group 0, and one more, as Group 1 cuts priorities one bit lower."""
        if self._state[RD.icc_ctlr] & _CBPR:
            return min(self._state[RD.icc_bpr0] + 1, _BINARY_POINT)
        return int(self._state[RD.icc_bpr1])

    def _write_bpr1(self, value: int) -> None:
        """Ignored with CBPR = 1."""
        if not self._state[RD.icc_ctlr] & _CBPR:
            self._set(RD.icc_bpr1, max(value & _BINARY_POINT, LEAST_BPR1))

    def _write_bpr0(self, value: int) -> None:
        self._set(RD.icc_bpr0, max(value & _BINARY_POINT, LEAST_BPR0))

    def _write_igrpen(self, place: int, value: int) -> None:
        """SPIs that may go to any PE go where their group is enabled."""
        self._state[place] = value & _ENABLE
        self._machine.chip[DIST_AT + DIST.stirred] = 1

    def _write_sgi(self, both_groups: bool, value: int) -> None:
        cpu_interface.generate_sgi(self._machine, self._number, np.uint64(value), both_groups)


def _word(place: int, mask: int) -> Handler:
    """A register that is the bits `mask` of the word at `place`."""
    return Handler(word_at(place), lambda cpu, value: cpu._set(place, value & mask))


def _of_group(group: int) -> dict[str, Handler]:
    """The registers of interrupts of one group."""
    number, place = np.uint64(group), RD.icc_igrpen0 + group
    return {
        f"ICC_IAR{group}_EL1": Handler(lambda cpu: cpu._acknowledge(cpu._machine, cpu._number, number)),
        f"ICC_HPPIR{group}_EL1": Handler(lambda cpu: cpu._highest(cpu._machine, cpu._number, number)),
        f"ICC_EOIR{group}_EL1": Handler(
            write=lambda cpu, value: cpu._end(cpu._machine, cpu._number, number, np.uint64(value & _INTID))
        ),
        f"ICC_AP{group}R0_EL1": _word(RD.icc_ap0r + group, _P),
        f"ICC_IGRPEN{group}_EL1": Handler(word_at(place), lambda cpu, value: cpu._write_igrpen(place, value)),
    }


def _always(value: int) -> Handler:
    """A register whose bits are all RAO/WI or RAZ/WI."""
    return Handler(lambda cpu: value, lambda cpu, written: None)


def _sgi(both_groups: bool) -> Handler:
    return Handler(write=lambda cpu, value: cpu._write_sgi(both_groups, value))


_HANDLERS: dict[int, Handler] = {
    encoding(name): handler
    for name, handler in {
        **_of_group(0),
        **_of_group(1),
        "ICC_PMR_EL1": _word(RD.icc_pmr, _PRIORITY_MASK),
        "ICC_RPR_EL1": Handler(CpuInterface._read_rpr),
        "ICC_DIR_EL1": Handler(write=CpuInterface._write_dir),
        "ICC_BPR0_EL1": Handler(word_at(RD.icc_bpr0), CpuInterface._write_bpr0),
        "ICC_BPR1_EL1": Handler(CpuInterface._read_bpr1, CpuInterface._write_bpr1),
        "ICC_CTLR_EL1": Handler(
            lambda cpu: cpu._state[RD.icc_ctlr] | cpu.virtual.features,
            lambda cpu, value: cpu._set(RD.icc_ctlr, value & _CTLR_MASK),
        ),
        "ICC_SRE_EL1": _always(_SRE_EL1),
        "ICC_SRE_EL2": _always(_SRE_EL2),
        "ICC_SGI0R_EL1": _sgi(False),
        "ICC_ASGI1R_EL1": _sgi(False),
        "ICC_SGI1R_EL1": _sgi(True),
    }.items()
}


def _name(register: int) -> str:
    return _NAMES.get(register) or f"a system register {register:#06x}, which the CPU interface does not have,"
