# SPDX-License-Identifier: Apache-2.0
"""The redistributors' cache of VPTs: four ways, found by address, so that two vPEs given one VPT see the same bits."""

from __future__ import annotations

import numpy as np

from gicmodel.config import WAYS
from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.pending import LPI_ID_BITS, clean, fill, release, table_bytes
from gicmodel.hardware.kernels.ram import covers
from gicmodel.hardware.kernels.state import CONFIG, IMMEDIATE, SLOT, Index, Machine, Truth, Word
from gicmodel.hardware.kernels.words import ONE, ZERO
from gicmodel.jit import inlined, kernel, unlikely

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
