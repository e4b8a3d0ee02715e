# SPDX-License-Identifier: Apache-2.0
"""Pending bits: one bit an INTID, in a pending table in RAM or held by a redistributor until it writes them back.

A *slot* is a place to hold one pending table. Slot r belongs to redistributor r's LPIs. The others are a cache of VPTs
with four ways, found by address, so that two vPEs given one VPT see the same bits. A slot that does not hold the bits
(`held` = 0, write-back "immediate") sends every access to RAM.
"""

from __future__ import annotations

import numpy as np

from gicmodel.config import WAYS
from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.ram import (
    copy_words,
    covers,
    covers_aligned,
    first_nonzero,
    load64,
    mark,
    ram_index,
    store64,
    store256,
)
from gicmodel.hardware.kernels.state import (
    CONFIG,
    IMMEDIATE,
    LINE_WORDS,
    SLOT,
    Index,
    Machine,
    Packet,
    Slot,
    Truth,
    Word,
    retains,
)
from gicmodel.hardware.kernels.words import ALL_ONES, BYTES_SHIFT, ONE, ZERO, lowest_bit
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.lpi_tables import BIT_MASK, FIRST_LPI, WORD_SHIFT

FIRST_LPI_ID = np.uint64(FIRST_LPI)
FIRST_LPI_WORD = FIRST_LPI // 64
LINE_WORDS_SHIFT = np.uint64(LINE_WORDS.bit_length() - 1)
FIRST_BITS_COLUMN = np.uint64(SLOT.bits)
LINE_BYTES, HALF_LINE_BYTES = np.uint64(LINE_WORDS * 8), np.uint64(LINE_WORDS * 4)
TWO, THREE, FOUR = np.uint64(2), np.uint64(3), np.uint64(4)
LPI_ID_BITS = np.uint64(FIRST_LPI.bit_length())
"""Fewer INTID bits than this and there are no LPIs."""
LINES_IN_GROUP = np.uint64(64)


@kernel
def table_bytes(id_bits: Word) -> Word:
    """Bytes of a pending table for INTIDs of that width."""
    return (ONE << id_bits) >> BYTES_SHIFT


@kernel
def word_address(base: Word, intid: Word) -> Word:
    """Address of the 64-bit word that holds the INTID's bit."""
    return base + ((intid >> WORD_SHIFT) << BYTES_SHIFT)


@kernel
def bit_reachable(m: Machine, slot: Index, base: Word, intid: Word) -> Word:
    """OK, or EXTERNAL_ABORT when the bit has to be in RAM and is outside it."""
    if m.slots[slot, SLOT.held] == ONE or covers_aligned(m, word_address(base, intid)):
        return OK
    return EXTERNAL_ABORT


@kernel
def pending_word(m: Machine, slot: Index, base: Word, index: Index) -> Word:
    """The 64 pending bits from INTID 64 * index on."""
    if m.slots[slot, SLOT.held] == ONE:
        return m.slots[slot, SLOT.bits + index]
    return load64(m, base + np.uint64(index * 8))


@inlined
def next_pending(m: Machine, slot: Index, base: Word, index: Index, end: Index) -> Index:
    """The first word from `index` on, up to `end`, that has a pending bit; `end` if there is none."""
    if m.slots[slot, SLOT.held] == ONE:
        return first_nonzero(m.slots[slot, SLOT.bits :], index, end)
    return first_nonzero(m.ram[ram_index(m, base) :], index, end)


@kernel
def write_pending_word(m: Machine, slot: Index, base: Word, index: Index, word: Word) -> None:
    """Replace 64 pending bits."""
    if m.slots[slot, SLOT.held] == ONE:
        m.slots[slot, SLOT.bits + index] = word
        line = np.uint64(index) >> LINE_WORDS_SHIFT
        m.slots[slot, dirty_column(m) + (line >> WORD_SHIFT)] |= ONE << (line & BIT_MASK)
    else:
        store64(m, base + np.uint64(index * 8), word)


@kernel
def is_pending(m: Machine, slot: Index, base: Word, intid: Word) -> Truth:
    """The bit."""
    return pending_word(m, slot, base, np.int64(intid >> WORD_SHIFT)) & (ONE << (intid & BIT_MASK)) != ZERO


@inlined
def set_pending(m: Machine, slot: Index, base: Word, intid: Word) -> Truth:
    """Set the bit; whether it was 0."""
    index = np.int64(intid >> WORD_SHIFT)
    word = pending_word(m, slot, base, index)
    bit = ONE << (intid & BIT_MASK)
    if word & bit != ZERO:
        return False
    write_pending_word(m, slot, base, index, word | bit)
    return True


@inlined
def clear_pending(m: Machine, slot: Index, base: Word, intid: Word) -> Truth:
    """Clear the bit; whether it was 1."""
    index = np.int64(intid >> WORD_SHIFT)
    word = pending_word(m, slot, base, index)
    bit = ONE << (intid & BIT_MASK)
    if word & bit == ZERO:
        return False
    write_pending_word(m, slot, base, index, word & ~bit)
    return True


@kernel
def dirty_column(m: Machine) -> Word:
    """First column of a slot's dirty lines, one bit a line."""
    return FIRST_BITS_COLUMN + m.chip[CONFIG.pending_words]


@kernel
def forget_bits(m: Machine, slot: Index) -> None:
    """No bit of the slot is set, no line differs from RAM."""
    m.slots[slot, SLOT.bits :] = ZERO


@kernel
def fill(m: Machine, slot: Index, base: Word, id_bits: Word, zero: Truth) -> Word:
    """Take a pending table into the slot; `zero` trusts PTZ and does not read it."""
    words = np.int64(table_bytes(id_bits) >> BYTES_SHIFT)
    if unlikely(not covers(m, base, table_bytes(id_bits))):
        return EXTERNAL_ABORT
    if m.slots[slot, SLOT.held] == ONE and not zero:
        first = ram_index(m, base)
        copy_words(m.ram[first : first + words], m.slots[slot, SLOT.bits : SLOT.bits + words])
        m.slots[slot, SLOT.bits + words :] = ZERO
    else:
        forget_bits(m, slot)
    m.slots[slot, SLOT.tag] = base | ONE
    m.slots[slot, SLOT.id_bits] = id_bits
    m.slots[slot, SLOT.stray] = ZERO
    return OK


@kernel
def clean(m: Machine, slot: Index) -> None:
    """Write the lines that differ from RAM back to it, if there is a table there."""
    if m.slots[slot, SLOT.tag] & ONE == ONE:
        write_dirty_lines(m, slot)


@inlined
def write_dirty_lines(m: Machine, slot: Index) -> None:
    """Write the lines that differ from RAM back to it. The range was checked when the slot was filled."""
    row = m.slots[slot]
    first, column = ZERO, dirty_column(m)
    while column < np.uint64(row.shape[0]):
        lines = row[column]
        if lines != ZERO:
            write_lines(m, row, first, lines)
            row[column] = ZERO
        first, column = first + LINES_IN_GROUP, column + ONE


@inlined
def write_lines(m: Machine, row: Slot, first: Word, lines: Word) -> None:
    """Write those of 64 lines from `first` on to RAM whose bit is set."""
    while lines != ZERO:
        start = lowest_bit(lines)
        if (lines >> start) & THREE == ONE:
            lines &= lines - ONE
            write_line(m, row, first + start)
        else:
            length = lowest_bit(~(lines >> start))
            lines &= ~((ALL_ONES >> (LINES_IN_GROUP - length)) << start)
            write_run(m, row, first + start, length)


@inlined
def write_line(m: Machine, row: Slot, line: Word) -> None:
    """Write one line to RAM: all of it is read before any is written, so that no order of accesses has to be kept."""
    address, column = table_base(row) + line * LINE_BYTES, FIRST_BITS_COLUMN + (line << LINE_WORDS_SHIFT)
    low, high = four_words(row, column), four_words(row, column + FOUR)
    store256(m, address, low)
    store256(m, address + HALF_LINE_BYTES, high)


@kernel
def table_base(row: Slot) -> Word:
    """Address of the slot's table."""
    return row[SLOT.tag] & ~ONE


@inlined
def four_words(row: Slot, column: Word) -> Packet:
    """Half of a line."""
    return row[column], row[column + ONE], row[column + TWO], row[column + THREE]


@inlined
def write_run(m: Machine, row: Slot, line: Word, count: Word) -> None:
    """Write consecutive lines to RAM."""
    address = table_base(row) + line * LINE_BYTES
    first, column, words = ram_index(m, address), SLOT.bits + np.int64(line) * LINE_WORDS, np.int64(count) * LINE_WORDS
    copy_words(row[column : column + words], m.ram[first : first + words])
    mark(m, address, count * LINE_BYTES)


@kernel
def forget_configuration(m: Machine, slot: Index) -> None:
    """Drop every retained configuration byte of the slot's interrupts."""
    if retains(m):
        m.configuration[slot, :] = np.uint8(0)


@inlined
def release(m: Machine, slot: Index, write_back: Truth) -> None:
    """Empty a slot, after writing it back unless its contents may be lost."""
    if write_back and m.slots[slot, SLOT.tag] & ONE == ONE:
        write_dirty_lines(m, slot)
    else:
        m.slots[slot, np.int64(dirty_column(m)) :] = ZERO
    m.slots[slot, SLOT.tag] = ZERO
    forget_configuration(m, slot)


VPT_ALIGN_SHIFT = np.uint64(16)
WAYS_SHIFT = np.uint64(WAYS.bit_length() - 1)
SLOT_MASK = np.uint64(0xFFFF_FFFF)
"""No slot's number is wider: it spares numba the question whether an index is negative."""


@kernel
def vpt_bits(m: Machine, bits: Word) -> Word:
    """INTID bits within what a VPT can have: a vPE's entry is in RAM and may say anything."""
    if bits < LPI_ID_BITS:
        bits = LPI_ID_BITS
    if bits > m.chip[CONFIG.intid_bits]:
        bits = m.chip[CONFIG.intid_bits]
    return bits


@kernel
def first_way(m: Machine, vpt_addr: Word) -> Index:
    """First slot of the set that may hold the VPT."""
    number = (vpt_addr >> VPT_ALIGN_SHIFT) & m.chip[CONFIG.set_mask]
    return np.int64((m.chip[CONFIG.redistributors] + (number << WAYS_SHIFT)) & SLOT_MASK)


@kernel
def find_vpt(m: Machine, vpt_addr: Word) -> Index:
    """The slot that holds the VPT, or -1."""
    first = first_way(m, vpt_addr)
    for way in range(WAYS):
        if m.slots[first + way, SLOT.tag] == vpt_addr | ONE:
            return first + way
    return np.int64(-1)


@kernel
def victim(m: Machine, vpt_addr: Word) -> Index:
    """An empty slot for the VPT; if its set is full, one is written back. The choice follows the address."""
    first = first_way(m, vpt_addr)
    for way in range(WAYS):
        if m.slots[first + way, SLOT.tag] == ZERO:
            return first + way
    slot = first + np.int64((vpt_addr >> VPT_ALIGN_SHIFT) // (m.chip[CONFIG.set_mask] + ONE)) % WAYS
    release(m, slot, True)
    return slot


@inlined
def vpt_slot(m: Machine, vpt_addr: Word, id_bits: Word, zero: Truth) -> tuple[Word, Index]:
    """(reason, slot) of a VPT, read from RAM unless it is held already or `zero`; `id_bits` may be out of range."""
    reason, slot = OK, find_vpt(m, vpt_addr)
    if unlikely(slot < 0 or m.slots[slot, SLOT.id_bits] < id_bits):
        reason, slot = take_vpt(m, slot, vpt_addr, id_bits, zero)
    return reason, np.int64(np.uint64(slot) & SLOT_MASK)


@kernel
def take_vpt(m: Machine, slot: Index, vpt_addr: Word, id_bits: Word, zero: Truth) -> tuple[Word, Index]:
    """(reason, slot) of a VPT that is not held, or in `slot` with fewer INTIDs."""
    id_bits = vpt_bits(m, id_bits)
    if slot >= 0 and m.slots[slot, SLOT.id_bits] >= id_bits:
        return OK, slot
    if unlikely(not covers(m, vpt_addr, table_bytes(id_bits))):
        return EXTERNAL_ABORT, np.int64(-1)
    if slot >= 0:
        clean(m, slot)
    else:
        slot = victim(m, vpt_addr)
    m.slots[slot, SLOT.held] = ZERO
    if m.chip[CONFIG.vpt_writeback] != IMMEDIATE:
        m.slots[slot, SLOT.held] = ONE
    return fill(m, slot, vpt_addr, id_bits, zero), slot
