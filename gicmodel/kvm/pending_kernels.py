# SPDX-License-Identifier: Apache-2.0
"""SAVE_PENDING_TABLES' work on guest RAM, twice: as Linux does it, LPI by LPI, and 64 LPIs at a time.

RAM is a window's `octets` or `words` with its `page_state`; only pages with a byte that changes are marked. Tables are
given by their offsets in bytes from the start of the window, guest's or host's.
"""

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import kernel
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.vpt import BIT_MASK, WORD_SHIFT, bit_of, byte_of
from gicmodel.memory import DIRTY, PAGE_BYTES, WRITTEN

NO_FAULT = -1

_PAGE_WORDS = np.uint64(PAGE_BYTES // 8)
_STORED = np.uint8(DIRTY | WRITTEN)
_ZERO, _ONE, _CLEAR = np.uint64(0), np.uint64(1), np.uint8(0)
_BYTES_SHIFT = np.uint64(3)
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
def whole_and_apart(tables: NDArray[np.int64], vcpus: NDArray[np.int64], highest: int) -> bool:
    """Whether the tables of these vCPUs are within the window, none starting after `highest`, and do not overlap.

    They are 64 KiB aligned and shorter (DDI0601 GICR_PENDBASER.Physical_Address): they overlap where they are the same.
    """
    fine = True
    for n in range(len(vcpus)):
        table = tables[vcpus[n]]
        fine &= 0 <= table <= highest
        for m in range(n):
            fine &= tables[vcpus[m]] != table
    return fine


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
    tables: NDArray[np.int64],
    vpt_words: NDArray[np.uint64],
    vpts: NDArray[np.int64],
    targets: NDArray[np.uint64],
    first: NDArray[np.uint64],
    end: NDArray[np.uint64],
    latches: NDArray[np.uint64],
    in_vpt: NDArray[np.uint64],
) -> None:
    """The same bytes for tables that are whole and apart.

    Of each vCPU: its table, its VPT, the LPIs it has in `targets`, and the words of all of them from its `first` to
    before its `end`. Bit i of word w is INTID 64 * w + i. `latches` says what is pending in software, `in_vpt` whose
    state is in the VPTs.
    """
    for vcpu in range(len(tables)):
        # In variables, which no store can change: the inner loop, without a branch, takes eight words at a time.
        table, vpt = np.uint64(tables[vcpu]) >> _BYTES_SHIFT, np.uint64(vpts[vcpu]) >> _BYTES_SHIFT
        row, start, last = np.uint64(vcpu * len(latches)), first[vcpu], end[vcpu]
        while start < last:
            page = (table + start) // _PAGE_WORDS
            stop = (page + _ONE) * _PAGE_WORDS - table
            if stop > last:
                stop = last
            changed = _ZERO
            for word in range(start, stop):
                pending = (latches[word] & ~in_vpt[word]) | (vpt_words[vpt + word] & in_vpt[word])
                change = (words[table + word] ^ pending) & targets[row + word]
                words[table + word] ^= change
                changed |= change
            if changed != _ZERO:
                page_state[page] |= _STORED
            start = stop
