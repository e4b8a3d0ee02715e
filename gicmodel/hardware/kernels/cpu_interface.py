# SPDX-License-Identifier: Apache-2.0
"""The physical CPU interface: one arbitration of SGIs, PPIs, SPIs and LPIs, and what is done with the interrupt.

A group's two words are one after the other: `RD.icc_bpr0` and `icc_bpr1`, `icc_igrpen0` and `icc_igrpen1`, `icc_ap0r`
and `icc_ap1r`.
"""

from __future__ import annotations

import numpy as np

from gicmodel.config import FIRST_PPI, FIRST_SPI, PRIORITY_BITS
from gicmodel.hardware.kernels.cpu import forwarded_lpi
from gicmodel.hardware.kernels.delivery import clear_lpi
from gicmodel.hardware.kernels.highest import NO_GROUP, NO_PRIORITY, SPURIOUS
from gicmodel.hardware.kernels.inputs import (
    best_private,
    best_spi,
    bit_at,
    forwarded_groups,
    intid_bit,
    pe_of,
    spi_at,
    stir_route,
)
from gicmodel.hardware.kernels.lookup import is_lpi
from gicmodel.hardware.kernels.state import CONFIG, DIST, DIST_AT, RD, Index, Machine, Truth, Word, rd_at, stir
from gicmodel.hardware.kernels.words import ONE, ZERO, get, lowest_bit
from gicmodel.jit import kernel
from gicmodel.layouts.registers.cpu_interface import ICC_CTLR_EL1, ICC_SGI1R_EL1
from gicmodel.layouts.registers.distributor import GICD_CTLR

GROUP0, GROUP1 = np.uint64(0), np.uint64(1)
IDLE = np.uint64(0xFF)
"""The running priority while no interrupt is active."""
LEVEL_SHIFT = np.uint64(8 - PRIORITY_BITS)
"""From a priority to its bit in ICC_AP<n>R0_EL1."""
FIRST_PPI_ID, FIRST_SPI_ID = np.uint64(FIRST_PPI), np.uint64(FIRST_SPI)
EOIMODE, CBPR = ICC_CTLR_EL1["EOImode"], ICC_CTLR_EL1["CBPR"]
NASSGIREQ = GICD_CTLR["nASSGIreq"]
SGI_INTID, SGI_IRM, SGI_RS, SGI_TARGETS = (ICC_SGI1R_EL1[name] for name in ("INTID", "IRM", "RS", "TargetList"))
SGI_AFF3, SGI_AFF2, SGI_AFF1 = (ICC_SGI1R_EL1[f"Aff{level}"] for level in (3, 2, 1))
RANGE_SHIFT = np.uint64(4)


# Priorities: the same for physical and virtual interrupts.


@kernel
def group_priority(priority: Word, group: Word, bpr0: Word, bpr1: Word, common: Truth) -> Word:
    """The part of a priority that decides about preemption (IHI0069, Priority grouping).

    Binary point n leaves n low bits to the subpriority of Group 1, n + 1 to that of Group 0.
    """
    bits = bpr1
    if group == GROUP0 or common:
        bits = bpr0 + ONE
    return (priority >> bits) << bits


@kernel
def running_priority(ap0r: Word, ap1r: Word) -> Word:
    """The most urgent active priority, 0xFF for none."""
    if ap0r | ap1r == ZERO:
        return IDLE
    return lowest_bit(ap0r | ap1r) << LEVEL_SHIFT


@kernel
def running_group(ap0r: Word, ap1r: Word) -> Word:
    """The group of the most urgent active priority; of both at one it is Group 0."""
    if ap0r | ap1r == ZERO:
        return NO_GROUP
    if ap0r & lowest_of(ap0r | ap1r) != ZERO:
        return GROUP0
    return GROUP1


@kernel
def lowest_of(word: Word) -> Word:
    """The word with its lowest set bit alone."""
    return word & (~word + ONE)


# Which interrupt.


@kernel
def highest(m: Machine, rd: Index) -> tuple[Word, Word]:
    """(INTID, priority) of the highest priority pending interrupt of the PE, or (1023, 0x100).

    Of equal priorities the lowest INTID is first. LPIs are Group 1, and the redistributor has chosen among them.
    """
    group0, group1 = forwarded_groups(m, rd)
    if group0 | group1 == ZERO:
        return SPURIOUS, NO_PRIORITY
    best, best_priority = best_private(m, rd, group0, group1)
    spi, spi_priority = best_spi(m, rd, group0, group1)
    if spi_priority < best_priority:
        best, best_priority = spi, spi_priority
    if group1 == ONE:
        lpi, lpi_priority = forwarded_lpi(m, rd)
        if lpi_priority < best_priority:
            best, best_priority = lpi, lpi_priority
    return best, best_priority


@kernel
def group_of(m: Machine, rd: Index, intid: Word) -> Word:
    """The group of an interrupt that there is."""
    index = np.int64(intid)
    if intid < FIRST_SPI_ID:
        return bit_at(m, rd_at(rd) + RD.igroup, index)
    if intid < m.chip[CONFIG.spi_limit]:
        return bit_at(m, spi_at(index) + DIST.igroup, index)
    return GROUP1


@kernel
def exists(m: Machine, intid: Word) -> Truth:
    """Whether an INTID is one of an SGI, PPI, SPI or LPI."""
    return intid < m.chip[CONFIG.spi_limit] or is_lpi(m, intid)


@kernel
def signalled(m: Machine, rd: Index) -> tuple[Word, Word]:
    """(INTID, group priority) of the interrupt that is signalled to the PE, or (1023, 0x100).

    It is more urgent than ICC_PMR_EL1, and preempts what is active.
    """
    r = rd_at(rd)
    intid, priority = highest(m, rd)
    if intid == SPURIOUS or priority >= m.chip[r + RD.icc_pmr]:
        return SPURIOUS, NO_PRIORITY
    bpr0, bpr1, common = m.chip[r + RD.icc_bpr0], m.chip[r + RD.icc_bpr1], get(m.chip[r + RD.icc_ctlr], CBPR) == ONE
    level = group_priority(priority, group_of(m, rd, intid), bpr0, bpr1, common)
    if level >= running_priority(m.chip[r + RD.icc_ap0r], m.chip[r + RD.icc_ap1r]):
        return SPURIOUS, NO_PRIORITY
    return intid, level


@kernel
def signalled_group(m: Machine, rd: Index) -> Word:
    """The group of the interrupt that is signalled to the PE: FIQ is Group 0, IRQ is Group 1, and 2 is none."""
    intid, _ = signalled(m, rd)
    if intid == SPURIOUS:
        return NO_GROUP
    return group_of(m, rd, intid)


@kernel
def highest_of_group(m: Machine, rd: Index, group: Word) -> Word:
    """ICC_HPPIR<n>_EL1: the highest priority pending interrupt if it is of the group, or 1023."""
    intid, _ = highest(m, rd)
    if intid != SPURIOUS and group_of(m, rd, intid) != group:
        return SPURIOUS
    return intid


# Taking and ending it.


@kernel
def acknowledge_group(m: Machine, rd: Index, group: Word) -> Word:
    """ICC_IAR<n>_EL1: take the interrupt that is signalled if it is of the group, or 1023."""
    intid, level = signalled(m, rd)
    if intid == SPURIOUS or group_of(m, rd, intid) != group:
        return SPURIOUS
    m.chip[rd_at(rd) + RD.icc_ap0r + np.int64(group)] |= ONE << (level >> LEVEL_SHIFT)
    activate(m, rd, intid)
    stir(m, rd)
    return intid


@kernel
def activate(m: Machine, rd: Index, intid: Word) -> None:
    """No longer pending unless a high input keeps it so, and active; an LPI has no active state."""
    r, s, bit = rd_at(rd), spi_at(np.int64(intid)), intid_bit(np.int64(intid))
    if intid >= m.chip[CONFIG.spi_limit]:
        clear_lpi(m, rd, intid)
    elif intid >= FIRST_SPI_ID:
        m.chip[s + DIST.pending] &= ~bit
        m.chip[s + DIST.active] |= bit
    else:
        m.chip[r + RD.pending] &= ~bit
        if intid >= FIRST_PPI_ID or get(m.chip[DIST_AT + DIST.ctlr], NASSGIREQ) == ZERO:
            m.chip[r + RD.active] |= bit


@kernel
def end_interrupt(m: Machine, rd: Index, group: Word, intid: Word) -> None:
    """ICC_EOIR<n>_EL1: drop the priority and, with EOImode = 0, deactivate.

    UNPREDICTABLE, and ignored, if the group is not the running one. Which interrupt it was that had the priority does
    not count.
    """
    r = rd_at(rd)
    ap0r, ap1r = m.chip[r + RD.icc_ap0r], m.chip[r + RD.icc_ap1r]
    if not exists(m, intid) or running_group(ap0r, ap1r) != group:
        return
    m.chip[r + RD.icc_ap0r + np.int64(group)] &= ~lowest_of(ap0r | ap1r)
    if get(m.chip[r + RD.icc_ctlr], EOIMODE) == ZERO:
        deactivate(m, rd, intid)
    stir(m, rd)


@kernel
def end_activity(m: Machine, rd: Index, intid: Word) -> None:
    """ICC_DIR_EL1; UNPREDICTABLE, and ignored, with EOImode = 0."""
    if get(m.chip[rd_at(rd) + RD.icc_ctlr], EOIMODE) == ONE:
        deactivate(m, rd, intid)


@kernel
def deactivate(m: Machine, rd: Index, intid: Word) -> None:
    """An SGI or PPI of this PE, or an SPI, is not active any more."""
    index = np.int64(intid)
    if intid < FIRST_SPI_ID:
        m.chip[rd_at(rd) + RD.active] &= ~intid_bit(index)
        stir(m, rd)
    elif intid < m.chip[CONFIG.spi_limit]:
        m.chip[spi_at(index) + DIST.active] &= ~intid_bit(index)
        stir_route(m, index)


# SGIs.


@kernel
def generate_sgi(m: Machine, rd: Index, value: Word, both_groups: Truth) -> None:
    """A write of ICC_SGI1R_EL1, or of ICC_SGI0R_EL1 or ICC_ASGI1R_EL1, which reach SGIs of Group 0 only.

    Linux says so of one Security state (arch/arm64/kvm/sys_regs.c, access_gic_sgi).
    """
    intid = np.int64(get(value, SGI_INTID))
    if get(value, SGI_IRM) == ONE:
        for other in range(np.int64(m.chip[CONFIG.redistributors])):
            if other != rd:
                make_sgi_pending(m, other, intid, both_groups)
        return
    targets, first = get(value, SGI_TARGETS), get(value, SGI_RS) << RANGE_SHIFT
    while targets != ZERO:
        aff0 = first + lowest_bit(targets)
        targets &= targets - ONE
        target = pe_of(m, get(value, SGI_AFF3), get(value, SGI_AFF2), get(value, SGI_AFF1), aff0)
        if target >= 0:
            make_sgi_pending(m, target, intid, both_groups)


@kernel
def make_sgi_pending(m: Machine, rd: Index, intid: Index, both_groups: Truth) -> None:
    """At a target, if the SGI is of a group that the request reaches."""
    if both_groups or bit_at(m, rd_at(rd) + RD.igroup, intid) == GROUP0:
        m.chip[rd_at(rd) + RD.pending] |= intid_bit(intid)
        stir(m, rd)
