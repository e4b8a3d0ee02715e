# SPDX-License-Identifier: Apache-2.0
"""The virtual CPU interface: one arbitration of list registers and of the resident vPE's vSGIs and vLPIs, what a guest
does with the interrupt, and the maintenance interrupt for its hypervisor.

What a guest sets (ICV_*) is in `RD.ich_vmcr`, as ICH_VMCR_EL2 has it. A group's active priorities are in `RD.ich_ap0r`
and, after it, `RD.ich_ap1r`.
"""

from __future__ import annotations

import numpy as np

from gicmodel.config import MOST_LIST_REGISTERS
from gicmodel.hardware.kernels.cpu import best_virtual, take_virtual
from gicmodel.hardware.kernels.cpu_interface import (
    FIRST_PPI_ID,
    GROUP0,
    LEVEL_SHIFT,
    deactivate,
    group_priority,
    lowest_of,
    running_group,
    running_priority,
)
from gicmodel.hardware.kernels.highest import NO_GROUP, NO_PRIORITY, SPURIOUS
from gicmodel.hardware.kernels.inputs import set_ppi
from gicmodel.hardware.kernels.pending import FIRST_LPI_ID
from gicmodel.hardware.kernels.state import CONFIG, RD, Index, Machine, Truth, Word, rd_at, stir
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put, replace
from gicmodel.jit import kernel
from gicmodel.layouts.registers.virtual_interface import ICH_HCR_EL2, ICH_LR_EL2, ICH_MISR_EL2, ICH_VMCR_EL2

STATE, HW, GROUP, PRIORITY, PINTID, VINTID = (
    ICH_LR_EL2[name] for name in ("State", "HW", "Group", "Priority", "pINTID", "vINTID")
)
INVALID, PENDING, ACTIVE, PENDING_AND_ACTIVE = (np.uint64(state) for state in range(4))
"""ICH_LR<n>_EL2.State."""
EOI_MAINTENANCE = np.uint64(1 << 9)
"""Of pINTID with HW=0: software asks for a maintenance interrupt when this one has ended."""
NO_PLACE = MOST_LIST_REGISTERS
"""The place of what is in no list register."""
FIRST_SPECIAL = np.uint64(1020)

VPMR, VBPR0, VBPR1, VEOIM, VCBPR, VENG0, VENG1 = (
    ICH_VMCR_EL2[name] for name in ("VPMR", "VBPR0", "VBPR1", "VEOIM", "VCBPR", "VENG0", "VENG1")
)
EN, UIE, LRENPIE, NPIE, EOI_COUNT, VSGI_EOI_COUNT = (
    ICH_HCR_EL2[name] for name in ("En", "UIE", "LRENPIE", "NPIE", "EOIcount", "vSGIEOICount")
)
GROUP0_ENABLED_IE, GROUP0_DISABLED_IE = ICH_HCR_EL2["VGrp0EIE"], ICH_HCR_EL2["VGrp0DIE"]
GROUP1_ENABLED_IE, GROUP1_DISABLED_IE = ICH_HCR_EL2["VGrp1EIE"], ICH_HCR_EL2["VGrp1DIE"]
MISR_EOI, MISR_U, MISR_LRENP, MISR_NP = (ICH_MISR_EL2[name] for name in ("EOI", "U", "LRENP", "NP"))
MISR_GROUP0_ENABLED, MISR_GROUP0_DISABLED = ICH_MISR_EL2["VGrp0E"], ICH_MISR_EL2["VGrp0D"]
MISR_GROUP1_ENABLED, MISR_GROUP1_DISABLED = ICH_MISR_EL2["VGrp1E"], ICH_MISR_EL2["VGrp1D"]


# Which interrupt.


@kernel
def is_before(priority: Word, vintid: Word, other_priority: Word, other_vintid: Word) -> Truth:
    """More urgent, or of the same priority and with a lower vINTID."""
    return priority < other_priority or (priority == other_priority and vintid < other_vintid)


@kernel
def highest_listed(m: Machine, rd: Index) -> Index:
    """The list register with the highest priority pending interrupt of an enabled group, or NO_PLACE."""
    r = rd_at(rd)
    vmcr = m.chip[r + RD.ich_vmcr]
    best, best_priority, best_vintid = NO_PLACE, NO_PRIORITY, SPURIOUS
    for place in range(np.int64(m.chip[CONFIG.list_registers])):
        lr = m.chip[r + RD.ich_lr + place]
        if is_candidate(vmcr, lr) and is_before(get(lr, PRIORITY), get(lr, VINTID), best_priority, best_vintid):
            best, best_priority, best_vintid = place, get(lr, PRIORITY), get(lr, VINTID)
    return best


@kernel
def is_candidate(vmcr: Word, lr: Word) -> Truth:
    """Whether a list register holds a pending interrupt of an enabled group."""
    enabled = get(vmcr, VENG1)
    if get(lr, GROUP) == GROUP0:
        enabled = get(vmcr, VENG0)
    return get(lr, STATE) == PENDING and enabled == ONE


@kernel
def highest_virtual_interrupt(m: Machine, rd: Index) -> tuple[Index, Word, Word, Word]:
    """(list register or NO_PLACE, vINTID, priority, group) of the highest priority pending virtual interrupt.

    (NO_PLACE, 1023, 0x100, 2) if there is none, or while ICH_HCR_EL2.En is 0. vSGIs and vLPIs must be of a group that
    GICR_VPENDBASER enables, too. Of equal priorities the lowest vINTID is first, in a list register before others.
    """
    r = rd_at(rd)
    if get(m.chip[r + RD.ich_hcr], EN) != ONE:
        return NO_PLACE, SPURIOUS, NO_PRIORITY, NO_GROUP
    vmcr = m.chip[r + RD.ich_vmcr]
    vintid, priority, group = best_virtual(m, rd, get(vmcr, VENG0), get(vmcr, VENG1))
    place = highest_listed(m, rd)
    if place != NO_PLACE:
        lr = m.chip[r + RD.ich_lr + place]
        if not is_before(priority, vintid, get(lr, PRIORITY), get(lr, VINTID)):
            return place, get(lr, VINTID), get(lr, PRIORITY), get(lr, GROUP)
    return NO_PLACE, vintid, priority, group


@kernel
def virtual_group_priority(vmcr: Word, priority: Word, group: Word) -> Word:
    """The part of a priority that decides about preemption."""
    return group_priority(priority, group, get(vmcr, VBPR0), get(vmcr, VBPR1), get(vmcr, VCBPR) == ONE)


@kernel
def is_signalled(m: Machine, rd: Index, priority: Word, group: Word) -> Truth:
    """Whether a virtual interrupt is more urgent than ICV_PMR_EL1, and preempts what is active."""
    r = rd_at(rd)
    vmcr = m.chip[r + RD.ich_vmcr]
    if priority >= get(vmcr, VPMR):
        return False
    running = running_priority(m.chip[r + RD.ich_ap0r], m.chip[r + RD.ich_ap1r])
    return virtual_group_priority(vmcr, priority, group) < running


@kernel
def signalled_virtual_group(m: Machine, rd: Index) -> Word:
    """The group of the interrupt that is signalled to the vPE, or 2 for none."""
    _, _, priority, group = highest_virtual_interrupt(m, rd)
    if group != NO_GROUP and is_signalled(m, rd, priority, group):
        return group
    return NO_GROUP


@kernel
def highest_virtual_of_group(m: Machine, rd: Index, group: Word) -> Word:
    """ICV_HPPIR<n>_EL1: the highest priority pending virtual interrupt if it is of the group, or 1023."""
    _, vintid, _, its_group = highest_virtual_interrupt(m, rd)
    if its_group != group:
        return SPURIOUS
    return vintid


# Taking and ending it.


@kernel
def is_special(vintid: Word) -> Truth:
    """1020 to 1023 are never those of an interrupt."""
    return vintid >= FIRST_SPECIAL and vintid <= SPURIOUS


@kernel
def acknowledge_virtual_of_group(m: Machine, rd: Index, group: Word) -> Word:
    """ICV_IAR<n>_EL1: take the virtual interrupt that is signalled if it is of the group, or 1023.

    In a list register it becomes active, an LPI too. One with a special INTID (UNPREDICTABLE) becomes invalid, and no
    priority active.
    """
    r = rd_at(rd)
    place, vintid, priority, its_group = highest_virtual_interrupt(m, rd)
    if its_group != group or not is_signalled(m, rd, priority, group):
        return SPURIOUS
    state = INVALID
    if not is_special(vintid):
        state = ACTIVE
        level = virtual_group_priority(m.chip[r + RD.ich_vmcr], priority, group)
        m.chip[r + RD.ich_ap0r + np.int64(group)] |= ONE << (level >> LEVEL_SHIFT)
    if place == NO_PLACE:
        take_virtual(m, rd, vintid)
    else:
        set_state(m, rd, place, state)
    drive_maintenance(m, rd)
    return vintid


@kernel
def set_state(m: Machine, rd: Index, place: Index, state: Word) -> None:
    """ICH_LR<n>_EL2.State."""
    at = rd_at(rd) + RD.ich_lr + place
    m.chip[at] = replace(m.chip[at], STATE, state)


@kernel
def find_active(m: Machine, rd: Index, vintid: Word) -> Index:
    """The first list register in which an interrupt is active, or NO_PLACE."""
    first = rd_at(rd) + RD.ich_lr
    for place in range(np.int64(m.chip[CONFIG.list_registers])):
        lr = m.chip[first + place]
        if get(lr, VINTID) == vintid and get(lr, STATE) >= ACTIVE:
            return place
    return NO_PLACE


@kernel
def end_virtual(m: Machine, rd: Index, group: Word, vintid: Word) -> None:
    """ICV_EOIR<n>_EL1: drop the most urgent active priority, of whichever group; and deactivate the interrupt, with
    EOImode = 1 only an LPI. Ignored for a special INTID, and while no priority is active.

    The list register must be of the group, and of the priority that was dropped (VirtualWriteEOIR of IHI0069).
    """
    r = rd_at(rd)
    ap0r, ap1r = m.chip[r + RD.ich_ap0r], m.chip[r + RD.ich_ap1r]
    running = running_group(ap0r, ap1r)
    if is_special(vintid) or running == NO_GROUP:
        return
    vmcr = m.chip[r + RD.ich_vmcr]
    m.chip[r + RD.ich_ap0r + np.int64(running)] &= ~lowest_of(ap0r | ap1r)
    if get(vmcr, VEOIM) == ZERO or vintid >= FIRST_LPI_ID:
        place = find_active(m, rd, vintid)
        if place == NO_PLACE:
            count_end(m, rd, vintid)
        else:
            lr = m.chip[r + RD.ich_lr + place]
            level = virtual_group_priority(vmcr, get(lr, PRIORITY), group)
            if get(lr, GROUP) == group and level == running_priority(ap0r, ap1r):
                deactivate_listed(m, rd, place)
    drive_maintenance(m, rd)


@kernel
def end_virtual_activity(m: Machine, rd: Index, vintid: Word) -> None:
    """ICV_DIR_EL1: deactivate; ignored with EOImode = 0 (UNPREDICTABLE), for LPIs and special INTIDs."""
    vmcr = m.chip[rd_at(rd) + RD.ich_vmcr]
    if get(vmcr, VEOIM) == ZERO or is_special(vintid) or vintid >= FIRST_LPI_ID:
        return
    place = find_active(m, rd, vintid)
    if place == NO_PLACE:
        count_end(m, rd, vintid)
    else:
        deactivate_listed(m, rd, place)
    drive_maintenance(m, rd)


@kernel
def deactivate_listed(m: Machine, rd: Index, place: Index) -> None:
    """The interrupt of a list register is not active any more, nor with HW = 1 the physical one."""
    lr = m.chip[rd_at(rd) + RD.ich_lr + place]
    if get(lr, STATE) == ACTIVE:
        set_state(m, rd, place, INVALID)
    else:
        set_state(m, rd, place, PENDING)
    if get(lr, HW) == ONE:
        deactivate(m, rd, get(lr, PINTID))


@kernel
def count_end(m: Machine, rd: Index, vintid: Word) -> None:
    """ICH_HCR_EL2.EOIcount: one more that was in no list register. LPIs do not count, SGIs not with vSGIEOICount."""
    at = rd_at(rd) + RD.ich_hcr
    hcr = m.chip[at]
    if vintid < FIRST_LPI_ID and not (vintid < FIRST_PPI_ID and get(hcr, VSGI_EOI_COUNT) == ONE):
        m.chip[at] = replace(hcr, EOI_COUNT, get(hcr, EOI_COUNT) + ONE)


# The maintenance interrupt.


@kernel
def ended_list_registers(m: Machine, rd: Index) -> Word:
    """ICH_EISR_EL2: those whose interrupt has ended and was to tell so."""
    ended = ZERO
    first = rd_at(rd) + RD.ich_lr
    for place in range(np.int64(m.chip[CONFIG.list_registers])):
        lr = m.chip[first + place]
        if get(lr, STATE) == INVALID and get(lr, HW) == ZERO and get(lr, PINTID) & EOI_MAINTENANCE != ZERO:
            ended |= ONE << np.uint64(place)
    return ended


@kernel
def list_registers_in(m: Machine, rd: Index, state: Word) -> Word:
    """The list registers of a state, a bit for each."""
    found = ZERO
    first = rd_at(rd) + RD.ich_lr
    for place in range(np.int64(m.chip[CONFIG.list_registers])):
        if get(m.chip[first + place], STATE) == state:
            found |= ONE << np.uint64(place)
    return found


@kernel
def empty_list_registers(m: Machine, rd: Index) -> Word:
    """ICH_ELRSR_EL2: those that software may use again."""
    return list_registers_in(m, rd, INVALID) & ~ended_list_registers(m, rd)


@kernel
def maintenance(m: Machine, rd: Index) -> Word:
    """ICH_MISR_EL2: why there is a maintenance interrupt, whether or not ICH_HCR_EL2.En lets it out."""
    hcr, vmcr = m.chip[rd_at(rd) + RD.ich_hcr], m.chip[rd_at(rd) + RD.ich_vmcr]
    every = (ONE << m.chip[CONFIG.list_registers]) - ONE
    valid = every & ~list_registers_in(m, rd, INVALID)
    causes = put(get(vmcr, VENG0) & get(hcr, GROUP0_ENABLED_IE), MISR_GROUP0_ENABLED)
    causes |= put((get(vmcr, VENG0) ^ ONE) & get(hcr, GROUP0_DISABLED_IE), MISR_GROUP0_DISABLED)
    causes |= put(get(vmcr, VENG1) & get(hcr, GROUP1_ENABLED_IE), MISR_GROUP1_ENABLED)
    causes |= put((get(vmcr, VENG1) ^ ONE) & get(hcr, GROUP1_DISABLED_IE), MISR_GROUP1_DISABLED)
    if ended_list_registers(m, rd) != ZERO:
        causes |= put(ONE, MISR_EOI)
    if valid & (valid - ONE) == ZERO:
        causes |= put(get(hcr, UIE), MISR_U)
    if get(hcr, EOI_COUNT) != ZERO:
        causes |= put(get(hcr, LRENPIE), MISR_LRENP)
    if list_registers_in(m, rd, PENDING) == ZERO:
        causes |= put(get(hcr, NPIE), MISR_NP)
    return causes


@kernel
def drive_maintenance(m: Machine, rd: Index) -> None:
    """The PPI's input follows; to be called after anything that changes the interface."""
    enabled = get(m.chip[rd_at(rd) + RD.ich_hcr], EN) == ONE
    set_ppi(m, rd, np.int64(m.chip[CONFIG.maintenance_intid]), enabled and maintenance(m, rd) != ZERO)
    stir(m, rd)
