# SPDX-License-Identifier: Apache-2.0
"""The virtual CPU interface: list registers beside the vLPIs and vSGIs of the resident vPE, the ICV_* registers that a
guest has in place of ICC_*, and the ICH_* registers of its hypervisor.

Functions are as those of `cpu_interface`. Which accesses trap to EL2 (HCR_EL2, ICH_HCR_EL2.TC, TALL0, TALL1, TDIR) is
for the PE to say, not for its CPU interface.
"""

from __future__ import annotations

from functools import partial

from gicmodel.spec import cpu_interface as shared
from gicmodel.spec import distributor
from gicmodel.spec.cpu_interface import Kind, Read, Write
from gicmodel.spec.interrupts import Interrupts
from gicmodel.spec.priorities import NO_PLACE, PRIORITY_BITS, Pending, implemented
from gicmodel.spec.state import (
    FIRST_LPI,
    FIRST_PPI,
    FIRST_SPECIAL,
    SPURIOUS,
    Fields,
    VirtualInterface,
)

INVALID, PENDING, ACTIVE, PENDING_AND_ACTIVE = range(4)
"""ICH_LR<n>_EL2.State."""
EOI = 1 << 9
"""Of ICH_LR<n>_EL2.pINTID with HW=0: software asks for a maintenance interrupt at the end of this one."""
EOI_COUNTS = 32
"""ICH_HCR_EL2.EOIcount wraps there."""
CONTROLS = (
    *("EOIcount", "TDIR", "TALL1", "TALL0", "TC", "vSGIEOICount"),
    *("VGrp1DIE", "VGrp1EIE", "VGrp0DIE", "VGrp0EIE", "NPIE", "LRENPIE", "UIE", "En"),
)
"""The fields of ICH_HCR_EL2 that are there, vSGIEOICount in GICv4.1 only."""

# Which interrupt.


def candidates(gic: Interrupts, pe: int) -> list[Pending]:
    """What could be signalled to the vPE, of groups that its virtual CPU interface enables.

    With ICH_HCR_EL2.En=0 it is nothing. vLPIs and vSGIs must be of a group that GICR_VPENDBASER enables, too.
    """
    interface = gic.pes[pe].virtual
    if not interface.control["En"]:
        return []
    found = [
        Pending(lr["Priority"], lr["vINTID"], place, lr["Group"])
        for place, lr in enumerate(interface.list_registers)
        if lr["State"] == PENDING
    ]
    if residency := gic.redistributors[pe].residency:
        for priority, vintid in gic.deliverable(residency):
            found.append(Pending(priority, vintid, NO_PLACE, gic.virtual_properties(residency, vintid)[2]))
    return [interrupt for interrupt in found if interrupt.group in interface.groups]


# Taking and ending an interrupt.


def take(gic: Interrupts, pe: int, interrupt: Pending) -> None:
    """In a list register it becomes active, an LPI too.

    Open: one with a special INTID becomes invalid, and no priority active.
    """
    interface, special = gic.pes[pe].virtual, is_special(interrupt.intid)
    if not special:
        interface.activate(interrupt)
    if interrupt.place != NO_PLACE:
        interface.list_registers[interrupt.place]["State"] = INVALID if special else ACTIVE
    elif residency := gic.redistributors[pe].residency:
        gic.vpts[residency.vpt].pending.discard(interrupt.intid)


def find_active(interface: VirtualInterface, vintid: int) -> Fields | None:
    """The first list register in which an interrupt is active."""
    active = (lr for lr in interface.list_registers if lr["State"] in (ACTIVE, PENDING_AND_ACTIVE))
    return next((lr for lr in active if lr["vINTID"] == vintid), None)


def end(gic: Interrupts, pe: int, group: int, f: Fields) -> None:
    """ICV_EOIR<n>_EL1: drop the priority, and with EOImode=0 deactivate the interrupt; an LPI in any mode.

    Open: the most urgent active priority is dropped, of whichever group; while none is active nothing happens. The list
    register must be of the group, and of the priority that was dropped.
    """
    interface, vintid = gic.pes[pe].virtual, f["INTID"]
    if is_special(vintid) or not (interface.active[0] | interface.active[1]):
        return
    dropped = interface.drop()
    if interface.split and vintid < FIRST_LPI:
        return
    lr = find_active(interface, vintid)
    if lr is None:
        count_end(interface, vintid)
    elif lr["Group"] == group and interface.group_priority(lr["Priority"], group) == dropped:
        deactivate(gic, pe, lr)


def write_dir(gic: Interrupts, pe: int, f: Fields) -> None:
    """ICV_DIR_EL1: deactivate a virtual interrupt. Open: it is ignored with EOImode=0, and for LPIs."""
    interface, vintid = gic.pes[pe].virtual, f["INTID"]
    if not interface.split or is_special(vintid) or vintid >= FIRST_LPI:
        return
    if lr := find_active(interface, vintid):
        deactivate(gic, pe, lr)
    else:
        count_end(interface, vintid)


def is_special(vintid: int) -> bool:
    """Whether an INTID is never that of an interrupt."""
    return FIRST_SPECIAL <= vintid <= SPURIOUS


def deactivate(gic: Interrupts, pe: int, lr: Fields) -> None:
    """A list register's interrupt is no longer active; with HW=1 the physical interrupt is deactivated, too."""
    lr["State"] = PENDING if lr["State"] == PENDING_AND_ACTIVE else INVALID
    if lr["HW"]:
        shared.deactivate(gic, pe, lr["pINTID"])


def count_end(interface: VirtualInterface, vintid: int) -> None:
    """EOIcount counts deactivations of what is in no list register: no LPIs, nor SGIs with vSGIEOICount=1."""
    if vintid < FIRST_LPI and not (vintid < FIRST_PPI and interface.control["vSGIEOICount"]):
        interface.control["EOIcount"] = (interface.control["EOIcount"] + 1) % EOI_COUNTS


# The maintenance interrupt.


def ended(interface: VirtualInterface) -> set[int]:
    """The list registers whose interrupt has ended and was to tell so: ICH_EISR_EL2."""
    return {
        place
        for place, lr in enumerate(interface.list_registers)
        if lr["State"] == INVALID and not lr["HW"] and lr["pINTID"] & EOI
    }


def empty(interface: VirtualInterface) -> set[int]:
    """The list registers that software may use again: ICH_ELRSR_EL2."""
    invalid = {place for place, lr in enumerate(interface.list_registers) if lr["State"] == INVALID}
    return invalid - ended(interface)


def maintenance(interface: VirtualInterface) -> Fields:
    """ICH_MISR_EL2: why a maintenance interrupt is asked for."""
    control, states = interface.control, [lr["State"] for lr in interface.list_registers]
    reasons = {
        "EOI": bool(ended(interface)),
        "U": control["UIE"] and sum(state != INVALID for state in states) <= 1,
        "LRENP": control["LRENPIE"] and control["EOIcount"],
        "NP": control["NPIE"] and PENDING not in states,
        "VGrp0E": control["VGrp0EIE"] and 0 in interface.groups,
        "VGrp0D": control["VGrp0DIE"] and 0 not in interface.groups,
        "VGrp1E": control["VGrp1EIE"] and 1 in interface.groups,
        "VGrp1D": control["VGrp1DIE"] and 1 not in interface.groups,
    }
    return {name: int(bool(reason)) for name, reason in reasons.items()}


def drive_maintenance(gic: Interrupts, pe: int) -> None:
    """The maintenance interrupt is a PPI whose input the virtual CPU interface drives, while it is enabled."""
    interface = gic.pes[pe].virtual
    level = bool(interface.control["En"]) and any(maintenance(interface).values())
    distributor.set_line(gic.pes[pe].bank, gic.config.maintenance_intid, level)


# Registers of the hypervisor.


def write_hcr(gic: Interrupts, pe: int, f: Fields) -> None:
    """ICH_HCR_EL2."""
    absent = set() if gic.config.v41 else {"vSGIEOICount"}
    gic.pes[pe].virtual.control.update({name: f[name] for name in CONTROLS if name not in absent})


def read_vtr(gic: Interrupts, pe: int) -> Fields:
    """ICH_VTR_EL2: PRIbits, IDbits and A3V as in ICV_CTLR_EL1 (Linux d840b2d37d3e).

    Open: the numbers of priority bits are those of the physical CPU interface.
    """
    features = shared.read_ctlr(gic, gic.pes[pe].virtual)
    return {name: features[name] for name in ("PRIbits", "IDbits", "A3V")} | {
        "PREbits": PRIORITY_BITS - 1,
        "nV4": int(not gic.config.virtual),
        "TDS": 1,
        "ListRegs": len(gic.pes[pe].virtual.list_registers) - 1,
    }


def read_vmcr(gic: Interrupts, pe: int) -> Fields:
    """ICH_VMCR_EL2: the guest's control registers in one. VFIQEn is RES1, where accesses are of system registers."""
    interface = gic.pes[pe].virtual
    points = {"VBPR0": interface.binary_points[0], "VBPR1": interface.binary_points[1]}
    controls = {"VEOIM": int(interface.split), "VCBPR": int(interface.common), "VFIQEn": 1}
    enables = {"VENG0": int(0 in interface.groups), "VENG1": int(1 in interface.groups)}
    return {"VPMR": interface.mask} | points | controls | enables


def write_vmcr(gic: Interrupts, pe: int, f: Fields) -> None:
    """ICH_VMCR_EL2."""
    interface = gic.pes[pe].virtual
    interface.mask = implemented(f["VPMR"])
    interface.set_binary_point(0, f["VBPR0"])
    interface.set_binary_point(1, f["VBPR1"])
    interface.split, interface.common = bool(f["VEOIM"]), bool(f["VCBPR"])
    interface.groups = {group for group in (0, 1) if f[f"VENG{group}"]}


def write_lr(gic: Interrupts, pe: int, f: Fields, place: int) -> None:
    """ICH_LR<n>_EL2: an interrupt for the guest. Of the vINTID as many bits are there as the GIC has."""
    stored = f | {"Priority": implemented(f["Priority"]), "vINTID": f["vINTID"] % 2**gic.config.intid_bits, "NMI": 0}
    gic.pes[pe].virtual.list_registers[place] = stored


def of_places(places: set[int]) -> Fields:
    """A register with a bit for each list register."""
    return {"Status": sum(1 << place for place in places)}


def read_lr(gic: Interrupts, pe: int, place: int) -> Fields:
    """ICH_LR<n>_EL2."""
    return dict(gic.pes[pe].virtual.list_registers[place])


VIRTUAL = Kind("ICV", lambda pe: pe.virtual, candidates, take, end, write_dir)
READS: dict[str, Read] = {
    "ICH_HCR_EL2": lambda gic, pe: dict(gic.pes[pe].virtual.control),
    "ICH_VTR_EL2": read_vtr,
    "ICH_MISR_EL2": lambda gic, pe: maintenance(gic.pes[pe].virtual),
    "ICH_EISR_EL2": lambda gic, pe: of_places(ended(gic.pes[pe].virtual)),
    "ICH_ELRSR_EL2": lambda gic, pe: of_places(empty(gic.pes[pe].virtual)),
    "ICH_VMCR_EL2": read_vmcr,
    **shared.reads_of(VIRTUAL),
}
WRITES: dict[str, Write] = {
    "ICH_HCR_EL2": write_hcr,
    "ICH_VMCR_EL2": write_vmcr,
    **shared.writes_of(VIRTUAL),
}
for _group in (0, 1):
    READS[f"ICH_AP{_group}R0_EL2"] = READS[f"ICV_AP{_group}R0_EL1"]
    WRITES[f"ICH_AP{_group}R0_EL2"] = WRITES[f"ICV_AP{_group}R0_EL1"]
for _place in range(NO_PLACE):
    READS[f"ICH_LR{_place}_EL2"] = partial(read_lr, place=_place)
    WRITES[f"ICH_LR{_place}_EL2"] = partial(write_lr, place=_place)
