# SPDX-License-Identifier: Apache-2.0
"""SAVE_PENDING_TABLES' work on guest RAM, twice: as Linux does it, LPI by LPI, and 64 LPIs at a time.

RAM is a window's `octets` or `words` with its `page_state`; only pages with a byte that changes are marked. Tables are
given by their offsets from the start of the window, guest's or host's, in bytes or words as RAM is.
"""

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import kernel
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.vpt import bit_of, byte_of
from gicmodel.memory import DIRTY, PAGE_BYTES, WRITTEN

NO_FAULT = -1

_PAGE_WORDS = PAGE_BYTES // 8
_STORED = np.uint8(DIRTY | WRITTEN)
_ZERO, _CLEAR = np.uint64(0), np.uint8(0)
_BYTE_OF, _BIT_OF = kernel(byte_of), kernel(bit_of)
_BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)


@kernel
def save_lpi_by_lpi(
    octets: NDArray[np.uint8],
    page_state: NDArray[np.uint8],
    tables: NDArray[np.int64],
    vpt_octets: NDArray[np.uint8],
    vpts: NDArray[np.int64],
    intids: NDArray[np.int64],
    vcpus: NDArray[np.int64],
    latches: NDArray[np.bool_],
    in_vpt: NDArray[np.bool_],
    by_address: bool,
) -> int:
    """Linux `vgic_v3_save_pending_tables`: each LPI's byte is read, unless the last one was in it, and written if it
    changes.

    LPI n, in ascending INTID order, is INTID `intids[n]` on `vcpus[n]`. `latches[n]` says whether it is pending or,
    with `in_vpt[n]`, its VPT does. `by_address` is False before Linux ca185b260951. Returns the offset of the first
    byte that is outside the window, or NO_FAULT.
    """
    last, value = -1, _CLEAR
    for n in range(len(intids)):
        vcpu = vcpus[n]
        if vcpu == NO_VCPU:
            continue
        within, bit = _BYTE_OF(intids[n]), _BITS[_BIT_OF(intids[n])]
        place = tables[vcpu] + within
        if place < 0 or place >= len(octets):
            return int(place)
        key = within
        if by_address:
            key = place
        if key != last:
            value, last = octets[place], key
        pending = latches[n]
        if in_vpt[n]:
            pending = vpt_octets[vpts[vcpu] + within] & bit != _CLEAR
        if (value & bit != _CLEAR) != pending:
            value ^= bit
            octets[place] = value
            page_state[place // PAGE_BYTES] |= _STORED
    return NO_FAULT


@kernel
def save_words(
    words: NDArray[np.uint64],
    page_state: NDArray[np.uint8],
    tables: NDArray[np.int64],
    vpt_words: NDArray[np.uint64],
    vpts: NDArray[np.int64],
    targets: NDArray[np.uint64],
    latches: NDArray[np.uint64],
    in_vpt: NDArray[np.uint64],
    first: int,
    end: int,
) -> None:
    """The same bytes for tables that are whole and apart.

    Bit i of word w of each bitmap is INTID 64 * w + i: `targets` [vCPUs * words] says which LPIs each vCPU has,
    `latches` and `in_vpt` [words] what is pending in software and whose state is in the VPT. Words `first` to `end` - 1
    are saved.
    """
    for vcpu in range(len(tables)):
        for word in range(first, end):
            target = targets[vcpu * len(latches) + word]
            if target == _ZERO:
                continue
            pending = latches[word] & ~in_vpt[word]
            if in_vpt[word] & target != _ZERO:
                pending |= vpt_words[vpts[vcpu] + word] & in_vpt[word]
            place = tables[vcpu] + word
            merged = (words[place] & ~target) | (pending & target)
            if merged != words[place]:
                words[place] = merged
                page_state[place // _PAGE_WORDS] |= _STORED
