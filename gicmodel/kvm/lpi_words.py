# SPDX-License-Identifier: Apache-2.0
"""The LPIs of a VM as bitmaps, 64 INTIDs a word, in the order of a pending table's bits."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import kernel
from gicmodel.layouts.vpt import BIT_MASK, WORD_SHIFT

_ONE = np.uint64(1)


class LpiWords(NamedTuple):
    """The LPIs that have a target. Bit i of word w is INTID 64 * w + i."""

    targets: NDArray[np.uint64]
    """Which LPIs each vCPU has, [vCPUs * words]."""
    first: NDArray[np.uint64]
    """The first of each vCPU's words that is not empty, [vCPUs]."""
    end: NDArray[np.uint64]
    """The word after the last that is not empty, or 0, [vCPUs]."""
    vcpus: NDArray[np.int64]
    """The vCPUs that have LPIs."""
    forwarded: NDArray[np.uint64]
    """Which LPIs are forwarded, [words]."""
    slots: NDArray[np.int64]
    """The slots of all of them."""
    in_software: NDArray[np.int64]
    """The slots of those that are not forwarded."""

    @classmethod
    def of(cls, rows: NDArray[np.void], slots: NDArray[np.int64], nr_vcpus: int, id_bits: int) -> Self | None:
        """The LPIs in these slots; None if an INTID has more than `id_bits` bits."""
        words = (1 << id_bits) // 64
        targets, forwarded = np.zeros(nr_vcpus * words, np.uint64), np.zeros(words, np.uint64)
        first, end = np.full(nr_vcpus, words, np.uint64), np.zeros(nr_vcpus, np.uint64)
        if not group_by_vcpu(rows, slots, targets, first, end, forwarded):
            return None
        return cls(targets, first, end, np.flatnonzero(end), forwarded, slots, slots[~rows["hw"][slots]])


@kernel
def group_by_vcpu(
    rows: NDArray[np.void],
    slots: NDArray[np.int64],
    targets: NDArray[np.uint64],
    first: NDArray[np.uint64],
    end: NDArray[np.uint64],
    forwarded: NDArray[np.uint64],
) -> bool:
    """Set each LPI's bit in bitmaps that are empty; whether all INTIDs fit into them."""
    words = len(forwarded)
    for slot in slots:
        intid, vcpu = np.uint64(rows[slot]["intid"]), np.int64(rows[slot]["target_vcpu"])
        word, bit = intid >> WORD_SHIFT, _ONE << (intid & BIT_MASK)
        if word >= np.uint64(words):
            return False
        targets[vcpu * words + np.int64(word)] |= bit
        if word < first[vcpu]:
            first[vcpu] = word
        if word >= end[vcpu]:
            end[vcpu] = word + _ONE
        if rows[slot]["hw"]:
            forwarded[word] |= bit
    return True
