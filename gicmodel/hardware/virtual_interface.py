# SPDX-License-Identifier: Apache-2.0
"""The virtual CPU interface of a PE: ICH_*_EL2 for a hypervisor, ICV_*_EL1 for its guest.

Which accesses of a guest trap to EL2 instead (HCR_EL2, ICH_HCR_EL2.TC, TALL0, TALL1 and TDIR) is for the PE to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gicmodel.config import MOST_LIST_REGISTERS, PRIORITY_BITS, GicConfig
from gicmodel.hardware.kernels import virtual_interface
from gicmodel.hardware.kernels.cpu_interface import running_priority
from gicmodel.hardware.kernels.state import RD, Machine, rd_at
from gicmodel.hardware.register_face import Handler, word_at
from gicmodel.jit import bound
from gicmodel.layouts.registers.by_name import encoding
from gicmodel.layouts.registers.cpu_interface import ICC_EOIR1_EL1
from gicmodel.layouts.registers.virtual_interface import (
    GUEST_INTERFACE_REGISTERS,
    HYPERVISOR_REGISTERS,
    ICH_AP0R0_EL2,
    ICH_HCR_EL2,
    ICH_LR_EL2,
    ICH_VMCR_EL2,
    ICH_VTR_EL2,
    ICV_CTLR_EL1,
)

LEAST_BPR0 = 7 - PRIORITY_BITS
LEAST_BPR1 = LEAST_BPR0 + 1
"""The least binary points, and their resets: no bit of a priority is a subpriority (IHI0069, Priority grouping)."""
MOST_BPR = 7
PRIORITIES = 0xFF << 8 - PRIORITY_BITS & 0xFF
ACTIVE = ICH_AP0R0_EL2.field_mask()
INTIDS = ICC_EOIR1_EL1.field_mask()
_CONTROLS = ICH_HCR_EL2.field_mask(without=("DVIM", "TSEI"))
_VSGI_EOI_COUNT = ICH_HCR_EL2.pack(vSGIEOICount=1)
_LISTED = ICH_LR_EL2.field_mask(without=("NMI", "Priority", "vINTID"))
_VMCR = {name: (int(field.shift), int(field.mask)) for name, field in ICH_VMCR_EL2.fields.items()}


class VirtualInterface:
    """The registers of the virtual CPU interface of the PE of redistributor `number`."""

    _acknowledge = bound(virtual_interface.acknowledge_virtual_of_group, np.uint64(0))
    _highest = bound(virtual_interface.highest_virtual_of_group, np.uint64(0))
    _end = bound(virtual_interface.end_virtual, np.uint64(0), np.uint64(0))
    _end_activity = bound(virtual_interface.end_virtual_activity, np.uint64(0))
    _drive_maintenance = bound(virtual_interface.drive_maintenance)

    def __init__(self, config: GicConfig, machine: Machine, number: int) -> None:
        self._place = machine, number
        self._state = machine.chip.data[rd_at(number) : rd_at(number + 1)]
        self._state[RD.ich_vmcr] = ICH_VMCR_EL2.pack(VBPR0=LEAST_BPR0, VBPR1=LEAST_BPR1, VFIQEn=1)
        common = {"A3V": 1, "PRIbits": PRIORITY_BITS - 1, "IDbits": config.intid_bits > 16}
        self.features = ICV_CTLR_EL1.pack(RSS=1, **common)
        """What ICV_CTLR_EL1 says of the implementation, and ICC_CTLR_EL1 at the same bits."""
        self._vtr = ICH_VTR_EL2.pack(
            PREbits=PRIORITY_BITS - 1, nV4=not config.virtual, TDS=1, ListRegs=config.list_registers - 1, **common
        )
        absent = range(config.list_registers, MOST_LIST_REGISTERS)
        self._absent = {encoding(f"ICH_LR{place}_EL2") for place in absent}
        self._controls = _CONTROLS & ~(0 if config.v41 else _VSGI_EOI_COUNT)
        self._listed = _LISTED | ICH_LR_EL2.pack(Priority=PRIORITIES, vINTID=(1 << config.intid_bits) - 1)

    def find(self, register: int, virtual: bool) -> Handler | None:
        """What accesses to the system register of this encoding do; None if it is none of this interface.

        `virtual`: an access of a guest, to which an ICV_* answers in place of an ICC_*.
        """
        if register in self._absent:
            return Handler()
        handler = _OF_GUESTS.get(register) if virtual else None
        return handler or _OF_HYPERVISORS.get(register)

    def set_word(self, place: int, value: int) -> None:
        """Write a word of state; the maintenance interrupt and what is signalled follow."""
        self._state[place] = value
        self._drive_maintenance()

    def field(self, name: str) -> int:
        """A field of ICH_VMCR_EL2."""
        shift, mask = _VMCR[name]
        return self._state[RD.ich_vmcr] >> shift & mask

    def set_field(self, name: str, value: int) -> None:
        """Write a field of ICH_VMCR_EL2, as far as it is there."""
        shift, mask = _VMCR[name]
        self._write_vmcr(self._state[RD.ich_vmcr] & ~(mask << shift) | (value & mask) << shift)

    def _write_vmcr(self, value: int) -> None:
        fields = ICH_VMCR_EL2.unpack(value)
        fields["VPMR"] &= PRIORITIES
        fields["VBPR0"] = max(fields["VBPR0"], LEAST_BPR0)
        fields["VBPR1"] = max(fields["VBPR1"], LEAST_BPR1)
        self.set_word(RD.ich_vmcr, ICH_VMCR_EL2.pack(**fields | {"VFIQEn": 1, "VAckCtl": 0}))

    def _read_bpr1(self) -> int:
        """With CBPR = 1 that of Group 0, and one more, as Group 1 cuts priorities one bit lower."""
        return min(self.field("VBPR0") + 1, MOST_BPR) if self.field("VCBPR") else self.field("VBPR1")

    def _write_bpr1(self, value: int) -> None:
        """Ignored with CBPR = 1."""
        if not self.field("VCBPR"):
            self.set_field("VBPR1", value)

    def _read_ctlr(self) -> int:
        return self.features | ICV_CTLR_EL1.pack(EOImode=self.field("VEOIM"), CBPR=self.field("VCBPR"))

    def _write_ctlr(self, value: int) -> None:
        fields = ICV_CTLR_EL1.unpack(value)
        self.set_field("VEOIM", fields["EOImode"])
        self.set_field("VCBPR", fields["CBPR"])


def word(place: int, mask: int) -> Handler:
    """A register that is the bits `mask` of the word at `place`."""
    return Handler(word_at(place), lambda face, value: face.set_word(place, value & mask))


def own_registers(which: str, active: int) -> dict[str, Handler]:
    """ICC_* or ICV_* that take and end interrupts: active priorities are in the words `active` and `active` + 1."""
    return (
        _of_group(which, 0, active)
        | _of_group(which, 1, active + 1)
        | {
            f"{which}_DIR_EL1": Handler(write=lambda face, value: face._end_activity(np.uint64(value & INTIDS))),
            f"{which}_RPR_EL1": Handler(
                lambda face: int(running_priority(np.uint64(face._state[active]), np.uint64(face._state[active + 1])))
            ),
        }
    )


def _of_group(which: str, group: int, active: int) -> dict[str, Handler]:
    number = np.uint64(group)
    return {
        f"{which}_IAR{group}_EL1": Handler(lambda face: face._acknowledge(number)),
        f"{which}_HPPIR{group}_EL1": Handler(lambda face: face._highest(number)),
        f"{which}_EOIR{group}_EL1": Handler(write=lambda face, value: face._end(number, np.uint64(value & INTIDS))),
        f"{which}_AP{group}R0_EL1": word(active, ACTIVE),
    }


def _of_vmcr(name: str) -> Handler:
    """A register that is a field of ICH_VMCR_EL2."""
    return Handler(lambda face: face.field(name), lambda face, value: face.set_field(name, value))


def _list_register(place: int) -> Handler:
    at = RD.ich_lr + place
    return Handler(word_at(at), lambda face, value: face.set_word(at, value & face._listed))


def _kernel(kernel: Callable[..., Any]) -> Handler:
    """A read-only register that a kernel works out."""
    return Handler(lambda face: kernel(*face._place))


_HANDLERS: dict[str, Handler] = {
    **own_registers("ICV", RD.ich_ap0r),
    **{f"ICV_IGRPEN{group}_EL1": _of_vmcr(f"VENG{group}") for group in (0, 1)},
    **{f"ICH_AP{group}R0_EL2": word(RD.ich_ap0r + group, ACTIVE) for group in (0, 1)},
    "ICH_HCR_EL2": Handler(word_at(RD.ich_hcr), lambda face, value: face.set_word(RD.ich_hcr, value & face._controls)),
    "ICH_VTR_EL2": Handler(lambda face: face._vtr),
    "ICH_MISR_EL2": _kernel(virtual_interface.maintenance),
    "ICH_EISR_EL2": _kernel(virtual_interface.ended_list_registers),
    "ICH_ELRSR_EL2": _kernel(virtual_interface.empty_list_registers),
    "ICH_VMCR_EL2": Handler(word_at(RD.ich_vmcr), VirtualInterface._write_vmcr),
    "ICV_PMR_EL1": _of_vmcr("VPMR"),
    "ICV_BPR0_EL1": _of_vmcr("VBPR0"),
    "ICV_BPR1_EL1": Handler(VirtualInterface._read_bpr1, VirtualInterface._write_bpr1),
    "ICV_CTLR_EL1": Handler(VirtualInterface._read_ctlr, VirtualInterface._write_ctlr),
}
_SGIS = ("ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1")
_OF_HYPERVISORS = {
    entry.encoding: _HANDLERS[entry.name] for entry in HYPERVISOR_REGISTERS if entry.name in _HANDLERS
} | {encoding(f"ICH_LR{place}_EL2"): _list_register(place) for place in range(MOST_LIST_REGISTERS)}
_OF_GUESTS = {entry.encoding: _HANDLERS[entry.name] for entry in GUEST_INTERFACE_REGISTERS} | {
    encoding(name): Handler() for name in _SGIS
}
"""A guest's write of an SGI register goes to EL2, whatever traps are set: there is no virtual one."""
