# SPDX-License-Identifier: Apache-2.0
"""Compiled peers: loops that do the work that is measured, and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.kernels.ram import copy_words
from gicmodel.hardware.kernels.words import get
from gicmodel.jit import kernel
from gicmodel.layouts.its_tables import CTE, DTE, ITE
from gicmodel.layouts.lpi_tables import BIT_MASK, WORD_SHIFT

DTE_ITT_ADDR, ITE_INTID, ITE_ICID, CTE_RDBASE = DTE["ITT_addr"], ITE["IntID"], ITE["ICID"], CTE["RDbase"]
WORD, HALF, ITE_HALVES = np.uint64(8), np.uint64(4), np.uint64(ITE.bytes // 4)
HALF_SHIFT, ONE = np.uint64(32), np.uint64(1)


@kernel
def translate(
    ram: NDArray[np.uint64],
    halves: NDArray[np.uint32],
    base: np.uint64,
    tables: NDArray[np.uint64],
    device_ids: NDArray[np.uint64],
    event_ids: NDArray[np.uint64],
) -> None:
    """Messages without a check: load DTE, ITE and CTE, set the pending bit.

    `ram` and `halves` are the same bytes from address `base` on; `tables` holds the addresses of the device table, the
    collection table, the first redistributor's pending table, and the distance to the next one's.
    """
    devices, collections = (tables[0] - base) // WORD, (tables[1] - base) // WORD
    pending, stride = (tables[2] - base) // WORD, tables[3] // WORD
    for index in range(device_ids.shape[0]):
        dte = ram[devices + device_ids[index]]
        place = (get(dte, DTE_ITT_ADDR) - base) // HALF + event_ids[index] * ITE_HALVES
        ite = np.uint64(halves[place]) | (np.uint64(halves[place + ONE]) << HALF_SHIFT)
        cte = ram[collections + get(ite, ITE_ICID)]
        word = pending + stride * get(cte, CTE_RDBASE) + (get(ite, ITE_INTID) >> WORD_SHIFT)
        ram[word] |= ONE << (get(ite, ITE_INTID) & BIT_MASK)


@kernel
def copy_tables(
    target: NDArray[np.uint64],
    targets: NDArray[np.int64],
    source: NDArray[np.uint64],
    sources: NDArray[np.int64],
    words: int,
) -> None:
    """Copy tables of so many `words` from RAM to RAM; where each starts, in words."""
    for table in range(len(targets)):
        here, there = sources[table], targets[table]
        copy_words(source[here : here + words], target[there : there + words])
