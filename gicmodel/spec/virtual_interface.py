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
from gicmodel.spec.cpu_interface import Read, Write
from gicmodel.spec.interrupts import Interrupts
from gicmodel.spec.priorities import (
    activate,
    active_register,
    drop,
    group_priority,
    implemented,
    is_signalled,
    running_priority,
    set_active_register,
    set_binary_point,
)
from gicmodel.spec.state import (
    FIRST_LPI,
    FIRST_PPI,
    FIRST_SPECIAL,
    NO_PLACE,
    PRIORITY_BITS,
    SPURIOUS,
    Fields,
    Pending,
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
        tables = residency.vpt, residency.vconf
        for priority, vintid in gic.deliverable(*tables, residency.vintid_bits, residency.groups):
            found.append(Pending(priority, vintid, NO_PLACE, gic.virtual_properties(*tables, vintid)[2]))
    return [interrupt for interrupt in found if interrupt.group in interface.groups]


def highest(gic: Interrupts, pe: int) -> Pending | None:
    """The highest priority pending virtual interrupt.

    Open: of equal priorities the lowest vINTID is first, and of equal ones that of the lowest list register.
    """
    return min(candidates(gic, pe), default=None)


def signalled(gic: Interrupts, pe: int) -> int | None:
    """The group of the interrupt that is signalled to the vPE, as virtual FIQ (Group 0) or virtual IRQ (Group 1)."""
    interrupt = highest(gic, pe)
    return interrupt.group if interrupt and is_signalled(gic.pes[pe].virtual, interrupt) else None


# Taking and ending an interrupt.


def acknowledge(gic: Interrupts, pe: int, group: int) -> Fields:
    """ICV_IAR<n>_EL1: take the virtual interrupt that is signalled, if it is of this group.

    In a list register it becomes active, an LPI too. Open: a special INTID becomes invalid, and no priority active.
    """
    interface, interrupt = gic.pes[pe].virtual, highest(gic, pe)
    if interrupt is None or interrupt.group != group or not is_signalled(interface, interrupt):
        return {"INTID": SPURIOUS}
    special = is_special(interrupt.intid)
    if not special:
        activate(interface, interrupt)
    if interrupt.place != NO_PLACE:
        interface.list_registers[interrupt.place]["State"] = INVALID if special else ACTIVE
    elif residency := gic.redistributors[pe].residency:
        gic.vpts[residency.vpt].pending.discard(interrupt.intid)
    return {"INTID": interrupt.intid}


def show_highest(gic: Interrupts, pe: int, group: int) -> Fields:
    """ICV_HPPIR<n>_EL1. Open: as of ICC_HPPIR<n>_EL1."""
    interrupt = highest(gic, pe)
    return {"INTID": interrupt.intid if interrupt and interrupt.group == group else SPURIOUS}


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
    dropped = drop(interface)
    if interface.split and vintid < FIRST_LPI:
        return
    lr = find_active(interface, vintid)
    if lr is None:
        count_end(interface, vintid)
    elif lr["Group"] == group and group_priority(interface, lr["Priority"], group) == dropped:
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
    set_binary_point(interface, 0, f["VBPR0"])
    set_binary_point(interface, 1, f["VBPR1"])
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


READS: dict[str, Read] = {
    "ICH_AP0R0_EL2": lambda gic, pe: {"P": active_register(gic.pes[pe].virtual, 0)},
    "ICH_AP1R0_EL2": lambda gic, pe: {"P": active_register(gic.pes[pe].virtual, 1)},
    "ICH_HCR_EL2": lambda gic, pe: dict(gic.pes[pe].virtual.control),
    "ICH_VTR_EL2": read_vtr,
    "ICH_MISR_EL2": lambda gic, pe: maintenance(gic.pes[pe].virtual),
    "ICH_EISR_EL2": lambda gic, pe: of_places(ended(gic.pes[pe].virtual)),
    "ICH_ELRSR_EL2": lambda gic, pe: of_places(empty(gic.pes[pe].virtual)),
    "ICH_VMCR_EL2": read_vmcr,
    "ICV_PMR_EL1": lambda gic, pe: {"Priority": gic.pes[pe].virtual.mask},
    "ICV_IAR0_EL1": lambda gic, pe: acknowledge(gic, pe, 0),
    "ICV_IAR1_EL1": lambda gic, pe: acknowledge(gic, pe, 1),
    "ICV_HPPIR0_EL1": lambda gic, pe: show_highest(gic, pe, 0),
    "ICV_HPPIR1_EL1": lambda gic, pe: show_highest(gic, pe, 1),
    "ICV_BPR0_EL1": lambda gic, pe: shared.read_bpr(gic.pes[pe].virtual, 0),
    "ICV_BPR1_EL1": lambda gic, pe: shared.read_bpr(gic.pes[pe].virtual, 1),
    "ICV_AP0R0_EL1": lambda gic, pe: {"P": active_register(gic.pes[pe].virtual, 0)},
    "ICV_AP1R0_EL1": lambda gic, pe: {"P": active_register(gic.pes[pe].virtual, 1)},
    "ICV_RPR_EL1": lambda gic, pe: {"Priority": running_priority(gic.pes[pe].virtual)},
    "ICV_CTLR_EL1": lambda gic, pe: shared.read_ctlr(gic, gic.pes[pe].virtual),
    "ICV_IGRPEN0_EL1": lambda gic, pe: shared.read_igrpen(gic.pes[pe].virtual, 0),
    "ICV_IGRPEN1_EL1": lambda gic, pe: shared.read_igrpen(gic.pes[pe].virtual, 1),
}
WRITES: dict[str, Write] = {
    "ICH_AP0R0_EL2": lambda gic, pe, f: set_active_register(gic.pes[pe].virtual, 0, f["P"]),
    "ICH_AP1R0_EL2": lambda gic, pe, f: set_active_register(gic.pes[pe].virtual, 1, f["P"]),
    "ICH_HCR_EL2": write_hcr,
    "ICH_VMCR_EL2": write_vmcr,
    "ICV_PMR_EL1": lambda gic, pe, f: shared.write_pmr(gic.pes[pe].virtual, f),
    "ICV_EOIR0_EL1": lambda gic, pe, f: end(gic, pe, 0, f),
    "ICV_EOIR1_EL1": lambda gic, pe, f: end(gic, pe, 1, f),
    "ICV_DIR_EL1": write_dir,
    "ICV_BPR0_EL1": lambda gic, pe, f: shared.write_bpr(gic.pes[pe].virtual, 0, f),
    "ICV_BPR1_EL1": lambda gic, pe, f: shared.write_bpr(gic.pes[pe].virtual, 1, f),
    "ICV_AP0R0_EL1": lambda gic, pe, f: set_active_register(gic.pes[pe].virtual, 0, f["P"]),
    "ICV_AP1R0_EL1": lambda gic, pe, f: set_active_register(gic.pes[pe].virtual, 1, f["P"]),
    "ICV_CTLR_EL1": lambda gic, pe, f: shared.write_ctlr(gic.pes[pe].virtual, f),
    "ICV_IGRPEN0_EL1": lambda gic, pe, f: shared.write_igrpen(gic.pes[pe].virtual, 0, f),
    "ICV_IGRPEN1_EL1": lambda gic, pe, f: shared.write_igrpen(gic.pes[pe].virtual, 1, f),
}
for _place in range(NO_PLACE):
    READS[f"ICH_LR{_place}_EL2"] = partial(read_lr, place=_place)
    WRITES[f"ICH_LR{_place}_EL2"] = partial(write_lr, place=_place)
