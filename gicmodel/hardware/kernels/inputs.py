# SPDX-License-Identifier: Apache-2.0
"""The inputs of PPIs and SPIs: a level-sensitive interrupt is pending while its input is high, an edge-triggered one
becomes pending as it rises, and then it stays so until it is acknowledged.

Of each interrupt there is a bit; those of SGIs and PPIs are in one word of their redistributor, those of SPIs in words
of 64 of the distributor.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.state import (
    DIST,
    DIST_AT,
    INTIDS_IN_WORD,
    RD,
    Index,
    Machine,
    Truth,
    Word,
    rd_at,
)
from gicmodel.hardware.kernels.words import ONE, ZERO
from gicmodel.jit import kernel


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


@kernel
def set_spi(m: Machine, intid: Index, level: Truth) -> None:
    """An SPI's input."""
    s, bit = spi_at(intid), intid_bit(intid)
    was = m.chip[s + DIST.level]
    m.chip[s + DIST.level] = with_bit(was, bit, level)
    m.chip[s + DIST.pending] |= m.chip[s + DIST.level] & ~was & m.chip[s + DIST.edge]


@kernel
def message_spi(m: Machine, intid: Index, on: Truth) -> None:
    """GICD_SETSPI_NSR and GICD_CLRSPI_NSR: an edge, or the level of the input (DDI0601)."""
    s, bit = spi_at(intid), intid_bit(intid)
    if m.chip[s + DIST.edge] & bit != ZERO:
        m.chip[s + DIST.pending] = with_bit(m.chip[s + DIST.pending], bit, on)
    else:
        set_spi(m, intid, on)
