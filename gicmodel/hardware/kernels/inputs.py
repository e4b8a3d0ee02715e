# SPDX-License-Identifier: Apache-2.0
"""SGIs, PPIs and SPIs: what makes them pending, which PE an SPI goes to, and the most urgent that are for a PE.

A level-sensitive interrupt is pending while its input is high; an edge-triggered one becomes pending as its input rises
and stays so until it is acknowledged. Of each interrupt there is a bit: those of SGIs and PPIs are in one word of their
redistributor, those of SPIs in words of 64 of the distributor.
"""

from __future__ import annotations

import numpy as np

from gicmodel.config import CPUS_PER_CLUSTER
from gicmodel.hardware.kernels.highest import NO_PRIORITY, SPURIOUS
from gicmodel.hardware.kernels.state import (
    CONFIG,
    DIST,
    DIST_AT,
    INTIDS,
    INTIDS_IN_WORD,
    RD,
    Index,
    Machine,
    Truth,
    Word,
    rd_at,
    stir,
)
from gicmodel.hardware.kernels.words import BYTES_SHIFT, ONE, ZERO, byte_of, get, lowest_bit
from gicmodel.jit import kernel
from gicmodel.layouts.registers.distributor import GICD_CTLR, GICD_IROUTER
from gicmodel.layouts.registers.redistributor import GICR_WAKER

ENABLE_GROUP0, ENABLE_GROUP1 = GICD_CTLR["EnableGrp0"], GICD_CTLR["EnableGrp1"]
TO_ANY_PE = GICD_IROUTER["Interrupt_Routing_Mode"]
AFF3, AFF2, AFF1, AFF0 = (GICD_IROUTER[f"Aff{level}"] for level in (3, 2, 1, 0))
PROCESSOR_SLEEP = GICR_WAKER["ProcessorSleep"]
CPUS_IN_CLUSTER = np.uint64(CPUS_PER_CLUSTER)
WORDS = INTIDS // INTIDS_IN_WORD


# Inputs.


@kernel
def with_bit(word: Word, bit: Word, on: Truth) -> Word:
    """The word with a bit set or cleared."""
    if on:
        return word | bit
    return word & ~bit


@kernel
def spi_at(intid: Index) -> Index:
    """Where, from the first of its words of 64 bits on, the bit of an SPI is."""
    return DIST_AT + intid // INTIDS_IN_WORD


@kernel
def intid_bit(intid: Index) -> Word:
    """Which bit of that word it is; or of the word of its redistributor."""
    return ONE << np.uint64(intid % INTIDS_IN_WORD)


@kernel
def set_ppi(m: Machine, rd: Index, intid: Index, level: Truth) -> None:
    """A PPI's input."""
    r, bit = rd_at(rd), intid_bit(intid)
    was = m.chip[r + RD.level]
    m.chip[r + RD.level] = with_bit(was, bit, level)
    m.chip[r + RD.pending] |= m.chip[r + RD.level] & ~was & m.chip[r + RD.edge]
    stir(m, rd)


@kernel
def set_spi(m: Machine, intid: Index, level: Truth) -> None:
    """An SPI's input."""
    s, bit = spi_at(intid), intid_bit(intid)
    was = m.chip[s + DIST.level]
    m.chip[s + DIST.level] = with_bit(was, bit, level)
    m.chip[s + DIST.pending] |= m.chip[s + DIST.level] & ~was & m.chip[s + DIST.edge]
    stir_route(m, intid)


@kernel
def message_spi(m: Machine, intid: Index, on: Truth) -> None:
    """GICD_SETSPI_NSR and GICD_CLRSPI_NSR: an edge, or the level of the input (DDI0601)."""
    s, bit = spi_at(intid), intid_bit(intid)
    if m.chip[s + DIST.edge] & bit != ZERO:
        m.chip[s + DIST.pending] = with_bit(m.chip[s + DIST.pending], bit, on)
        stir_route(m, intid)
    else:
        set_spi(m, intid, on)


# Routes.


@kernel
def pe_of(m: Machine, aff3: Word, aff2: Word, aff1: Word, aff0: Word) -> Index:
    """The PE of an affinity, or -1."""
    rd = np.int64(aff1 * CPUS_IN_CLUSTER + aff0)
    if (aff3 | aff2) != ZERO or aff0 >= CPUS_IN_CLUSTER or rd >= np.int64(m.chip[CONFIG.redistributors]):
        return np.int64(-1)
    return rd


@kernel
def first_participant(m: Machine, group: Word) -> Index:
    """The first PE that is awake and has enabled the group, or -1."""
    for rd in range(np.int64(m.chip[CONFIG.redistributors])):
        r = rd_at(rd)
        asleep = get(m.chip[r + RD.waker], PROCESSOR_SLEEP) == ONE
        if not asleep and m.chip[r + RD.icc_igrpen0 + np.int64(group)] == ONE:
            return rd
    return np.int64(-1)


@kernel
def route(m: Machine, intid: Index) -> Index:
    """The PE that an SPI goes to, or -1 for none."""
    router = m.chip[DIST_AT + DIST.router + intid]
    if get(router, TO_ANY_PE) == ONE:
        return first_participant(m, bit_at(m, spi_at(intid) + DIST.igroup, intid))
    return pe_of(m, get(router, AFF3), get(router, AFF2), get(router, AFF1), get(router, AFF0))


@kernel
def stir_route(m: Machine, intid: Index) -> None:
    """What the PE is to see to which an SPI goes may have changed."""
    rd = route(m, intid)
    if rd >= 0:
        stir(m, rd)


@kernel
def bit_at(m: Machine, place: Index, intid: Index) -> Word:
    """The bit of an interrupt, of the word at `place`."""
    return (m.chip[place] >> np.uint64(intid % INTIDS_IN_WORD)) & ONE


# The most urgent.


@kernel
def forwarded_groups(m: Machine, rd: Index) -> tuple[Word, Word]:
    """Whether interrupts of Group 0, of Group 1 come to the PE: enabled by GICD_CTLR and by it, and it is awake."""
    r, ctlr = rd_at(rd), m.chip[DIST_AT + DIST.ctlr]
    if get(m.chip[r + RD.waker], PROCESSOR_SLEEP) == ONE:
        return ZERO, ZERO
    return (
        get(ctlr, ENABLE_GROUP0) & m.chip[r + RD.icc_igrpen0],
        get(ctlr, ENABLE_GROUP1) & m.chip[r + RD.icc_igrpen1],
    )


@kernel
def of_groups(igroup: Word, group0: Word, group1: Word) -> Word:
    """Which bits of a word of GICx_IGROUPR<n> are those of a group that is enabled."""
    return (igroup & (ZERO - group1)) | (~igroup & (ZERO - group0))


@kernel
def byte_at(m: Machine, place: Index, intid: Word) -> Word:
    """The priority of an interrupt, of the words from `place` on."""
    return byte_of(m.chip[place + np.int64(intid >> BYTES_SHIFT)], intid)


@kernel
def best_private(m: Machine, rd: Index, group0: Word, group1: Word) -> tuple[Word, Word]:
    """(INTID, priority) of the most urgent SGI or PPI that is ready, or (1023, 0x100)."""
    r = rd_at(rd)
    best, best_priority = SPURIOUS, NO_PRIORITY
    ready = m.chip[r + RD.pending] | (m.chip[r + RD.level] & ~m.chip[r + RD.edge])
    ready &= m.chip[r + RD.enable] & ~m.chip[r + RD.active] & of_groups(m.chip[r + RD.igroup], group0, group1)
    while ready != ZERO:
        intid = lowest_bit(ready)
        ready &= ready - ONE
        priority = byte_at(m, r + RD.priority, intid)
        if priority < best_priority:
            best, best_priority = intid, priority
    return best, best_priority


@kernel
def best_spi(m: Machine, rd: Index, group0: Word, group1: Word) -> tuple[Word, Word]:
    """(INTID, priority) of the most urgent SPI that is ready and goes to this PE, or (1023, 0x100)."""
    best, best_priority = SPURIOUS, NO_PRIORITY
    for word in range(WORDS):
        s = DIST_AT + word
        ready = m.chip[s + DIST.pending] | (m.chip[s + DIST.level] & ~m.chip[s + DIST.edge])
        ready &= m.chip[s + DIST.enable] & ~m.chip[s + DIST.active]
        ready &= of_groups(m.chip[s + DIST.igroup], group0, group1)
        while ready != ZERO:
            intid = np.uint64(word * INTIDS_IN_WORD) + lowest_bit(ready)
            ready &= ready - ONE
            priority = byte_at(m, DIST_AT + DIST.priority, intid)
            if priority < best_priority and route(m, np.int64(intid)) == rd:
                best, best_priority = intid, priority
    return best, best_priority
