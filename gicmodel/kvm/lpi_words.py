# SPDX-License-Identifier: Apache-2.0
"""The LPIs of a VM as bitmaps, 64 INTIDs a word, in the order of a pending table's bits."""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 64


class LpiWords(NamedTuple):
    """Which LPIs each vCPU has, uint64 [vCPUs, words], and which are forwarded, uint64 [words]."""

    targets: NDArray[np.uint64]
    forwarded: NDArray[np.uint64]
    first: int
    """Words before it are empty, and so are those from `end` on."""
    end: int

    @classmethod
    def of(cls, rows: NDArray[np.void], nr_vcpus: int, id_bits: int) -> Self | None:
        """The bitmaps of LPIs `rows`, each with a target; None if an INTID has more than `id_bits` bits."""
        intids, size = rows["intid"], 1 << id_bits
        if len(intids) and int(intids[-1]) >= size:
            return None
        places = rows["target_vcpu"].astype(np.int64) * size + intids
        targets = bitmap(places, nr_vcpus * size).reshape(nr_vcpus, size // WORD_BITS)
        forwarded = bitmap(intids[rows["hw"]], size)
        first, last = (int(intids[0]), int(intids[-1])) if len(intids) else (0, -1)
        return cls(targets, forwarded, first // WORD_BITS, last // WORD_BITS + 1)

    def vcpus(self) -> Iterable[int]:
        """The vCPUs that have LPIs."""
        vcpus: list[int] = np.flatnonzero(self.targets.any(axis=1)).tolist()
        return vcpus


def bitmap(numbers: NDArray[np.int64], size: int) -> NDArray[np.uint64]:
    """uint64 [size // 64] with these bits set."""
    bits = np.zeros(size, np.bool_)
    bits[numbers] = True
    return np.packbits(bits, bitorder="little").view(np.uint64)
