# SPDX-License-Identifier: Apache-2.0
"""SAVE_PENDING_TABLES' work on guest RAM, twice: as Linux does it, LPI by LPI, and 64 LPIs at a time.

RAM is a window's `octets` or `words` with its `page_state`; only pages with a byte that changes are marked. Places are
counted from the start of the window, guest's or host's, in the same unit.
"""

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import kernel
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.lpi_tables import BIT_MASK, WORD_SHIFT, bit_of, byte_of
from gicmodel.memory import DIRTY, PAGE_BYTES, WRITTEN

NO_FAULT = -1

_PAGE_WORDS = np.uint64(PAGE_BYTES // 8)
_STORED = np.uint8(DIRTY | WRITTEN)
_ZERO, _ONE, _CLEAR = np.uint64(0), np.uint64(1), np.uint8(0)
_BYTE_OF, _BIT_OF = kernel(byte_of), kernel(bit_of)
_BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)


@kernel
def save_lpi_by_lpi(
    octets: NDArray[np.uint8],
    page_state: NDArray[np.uint8],
    tables: NDArray[np.int64],
    vpt_octets: NDArray[np.uint8],
    vpts: NDArray[np.int64],
    rows: NDArray[np.void],
    slots: NDArray[np.int64],
    reads_vpts: bool,
    by_address: bool,
) -> int:
    """Linux `vgic_v3_save_pending_tables`: each LPI's byte is read, unless the last one was in it, and written if it
    changes.

    `slots` are those of the LPIs in `rows`, in ascending INTID order. A forwarded LPI is pending if its VPT says so, if
    `reads_vpts`, and else if its latch does, as every other's. `by_address` is False before Linux ca185b260951. Returns
    the offset of the first byte that is outside the window, or NO_FAULT.
    """
    last, value = -1, _CLEAR
    for slot in slots:
        vcpu = np.int64(rows[slot]["target_vcpu"])
        if vcpu == NO_VCPU:
            continue
        intid = rows[slot]["intid"]
        within, bit = _BYTE_OF(intid), _BITS[_BIT_OF(intid)]
        place = tables[vcpu] + within
        if place < 0 or place >= len(octets):
            return int(place)
        key = within
        if by_address:
            key = place
        if key != last:
            value, last = octets[place], key
        pending = rows[slot]["pending_latch"]
        if reads_vpts and rows[slot]["hw"]:
            pending = vpt_octets[vpts[vcpu] + within] & bit != _CLEAR
        if (value & bit != _CLEAR) != pending:
            value ^= bit
            octets[place] = value
            page_state[place // PAGE_BYTES] |= _STORED
    return NO_FAULT


@kernel
def gather_latches(rows: NDArray[np.void], slots: NDArray[np.int64], latches: NDArray[np.uint64]) -> None:
    """Set bit n of `latches`, INTID n's, for each LPI in `slots` that is pending in software."""
    for slot in slots:
        if rows[slot]["pending_latch"]:
            intid = np.uint64(rows[slot]["intid"])
            latches[intid >> WORD_SHIFT] |= _ONE << (intid & BIT_MASK)


@kernel
def save_words(
    words: NDArray[np.uint64],
    page_state: NDArray[np.uint8],
    tables: NDArray[np.uint64],
    counts: NDArray[np.uint64],
    source: NDArray[np.uint64],
    sources: NDArray[np.uint64],
    targets: NDArray[np.uint64],
    masks: NDArray[np.uint64],
) -> None:
    """The same bytes for tables that do not overlap, a span after the other.

    A span's words are on one page. Of each: where in `words` its part of a table is, how many words, where in `source`
    are the pending bits, and where in `targets` are the bits of those that are to be saved.
    """
    for span in range(len(tables)):
        # In variables, which no store can change: the inner loop, without a branch, takes eight words at a time.
        table, pending, mask = tables[span], sources[span], masks[span]
        changed = _ZERO
        for word in range(counts[span]):
            change = (words[table + word] ^ source[pending + word]) & targets[mask + word]
            words[table + word] ^= change
            changed |= change
        if changed != _ZERO:
            page_state[table // _PAGE_WORDS] |= _STORED
