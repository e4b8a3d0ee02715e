# SPDX-License-Identifier: Apache-2.0
"""The LPIs of a VM as bitmaps, 64 INTIDs a word, in the order of a pending table's bits."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import kernel
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.lpi_tables import BIT_MASK, WORD_SHIFT

_PIECE_WORDS = 128
"""A quarter of a page of the table: no piece lies on two."""
_LINE_WORDS = 8
"""A cache line. Bitmaps are one apart: one word of all vCPUs' would compete for one set of the L1 cache."""
_ZERO, _ONE, _PIECE = np.uint64(0), np.uint64(1), np.uint64(_PIECE_WORDS)


class LpiWords(NamedTuple):
    """Where in the vCPUs' tables LPIs are: spans of words, the first and the last of which are not empty.

    Bit i of word w is INTID 64 * w + i. No span lies on two pages of a table.
    """

    slots: NDArray[np.int64]
    left_out: int
    """How many more LPIs have a target."""
    complete: bool
    """False if there was no room for an INTID; then not all LPIs are here."""
    vcpus: NDArray[np.uint64]
    """The vCPU of each span."""
    words: NDArray[np.uint64]
    """Its first word."""
    counts: NDArray[np.uint64]
    """How many words it has."""
    masks: NDArray[np.uint64]
    """Where in `targets` they are."""
    targets: NDArray[np.uint64]
    """Bits that are set where there are LPIs. Spans of a vCPU that are alike share them.

    Where LPIs are sent to the vCPUs in turn nearly all do: whoever goes through them stays in the L1 cache.
    """

    @classmethod
    def of(cls, rows: NDArray[np.void], nr_vcpus: int, id_bits: int, forwarded: bool, others: bool) -> Self:
        """The LPIs of these rows that have a target and are `forwarded`, or the `others`, or both."""
        words = (1 << id_bits) // 64
        bitmaps, slots = np.zeros(nr_vcpus * (words + _LINE_WORDS), np.uint64), np.zeros(len(rows), np.int64)
        count, left_out, complete = group_by_vcpu(rows, forwarded, others, words, bitmaps, slots)
        pieces = nr_vcpus * words // _PIECE_WORDS if count else 0
        (vcpus, starts, counts, masks), targets = np.zeros((4, pieces), np.uint64), _lines(pieces * _PIECE_WORDS)
        found, kept = find_spans(bitmaps, words, vcpus, starts, counts, masks, targets)
        spans = vcpus[:found], starts[:found], counts[:found], masks[:found]
        return cls(slots[:count], left_out, complete, *spans, targets[: int(kept)])


def _lines(words: int) -> NDArray[np.uint64]:
    """Zeros from the start of a cache line on: eight words at a time are then in one."""
    room = np.zeros(words + _LINE_WORDS, np.uint64)
    first = -room.ctypes.data // room.itemsize % _LINE_WORDS
    return room[first : first + words]


@kernel
def group_by_vcpu(
    rows: NDArray[np.void],
    forwarded: bool,
    others: bool,
    words: int,
    bitmaps: NDArray[np.uint64],
    slots: NDArray[np.int64],
) -> tuple[int, int, bool]:
    """Set the bit of each LPI in the bitmap of its vCPU; how many, how many not, and whether there was room for all."""
    count, left_out, distance = 0, 0, words + _LINE_WORDS
    for slot in range(len(rows)):
        vcpu = np.int64(rows[slot]["target_vcpu"])
        if vcpu == NO_VCPU or rows[slot]["references"] == 0:
            continue
        wanted = forwarded if rows[slot]["hw"] else others
        if not wanted:
            left_out += 1
            continue
        intid = np.uint64(rows[slot]["intid"])
        word = intid >> WORD_SHIFT
        if word >= np.uint64(words):
            return count, left_out, False
        bitmaps[np.uint64(vcpu * distance) + word] |= _ONE << (intid & BIT_MASK)
        slots[count] = slot
        count += 1
    return count, left_out, True


@kernel
def find_spans(
    bitmaps: NDArray[np.uint64],
    words: int,
    vcpus: NDArray[np.uint64],
    starts: NDArray[np.uint64],
    counts: NDArray[np.uint64],
    masks: NDArray[np.uint64],
    targets: NDArray[np.uint64],
) -> tuple[int, np.uint64]:
    """Fill in what `LpiWords` says of spans; there is room. How many spans, and how many words of `targets`."""
    pieces = words // _PIECE_WORDS
    found, kept, own = 0, _ZERO, _ZERO
    for piece in range(len(vcpus)):
        vcpu = piece // pieces
        bitmap = np.uint64(vcpu * (words + _LINE_WORDS))
        if piece % pieces == 0:
            own = kept
        start = bitmap + np.uint64(piece % pieces) * _PIECE
        first, end = start, start + _PIECE
        while first < end and bitmaps[first] == _ZERO:
            first += _ONE
        if first == end:
            continue
        while bitmaps[end - _ONE] == _ZERO:
            end -= _ONE
        mask = own
        while mask < kept and not alike(targets, mask, bitmaps, start):
            mask += _PIECE
        if mask == kept:
            for word in range(_PIECE):
                targets[mask + word] = bitmaps[start + word]
            kept += _PIECE
        vcpus[found], starts[found], counts[found] = np.uint64(vcpu), first - bitmap, end - first
        masks[found] = mask + first - start
        found += 1
    return found, kept


@kernel
def alike(targets: NDArray[np.uint64], mask: np.uint64, bitmaps: NDArray[np.uint64], start: np.uint64) -> bool:
    """Whether the pieces that start there are the same."""
    different = _ZERO
    for word in range(_PIECE):
        different |= targets[mask + word] ^ bitmaps[start + word]
    return bool(different == _ZERO)
