# SPDX-License-Identifier: Apache-2.0
"""SAVE_PENDING_TABLES 64 LPIs at a time: all that can be settled before the save.

The LPIs whose state is in the VPTs are saved by themselves, and so are all others: no two share a bit.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import direct
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS, Lpis
from gicmodel.kvm.lpi_words import LpiWords
from gicmodel.kvm.pending_kernels import gather_latches, save_words
from gicmodel.kvm.vlpi import Vlpis
from gicmodel.layouts.lpi_tables import table_bytes
from gicmodel.memory import GuestMemory

_WORD_BYTES = 8
_TABLE_BYTES = table_bytes(INTERRUPT_ID_BITS_ITS)


class _Source(NamedTuple):
    """LPIs, and what says which of them are pending: `words`, in which each vCPU's table is so many bytes on."""

    lpis: LpiWords
    words: NDArray[np.uint64]
    tables: NDArray[np.int64]


class SavePlan:
    """How to save the LPIs, as long as none is mapped anew and no table is moved.

    `tables` are the addresses of the vCPUs' pending tables. The state of forwarded LPIs comes from the VPTs, or without
    `vlpis` from the latch as that of all others.
    """

    def __init__(self, memory: GuestMemory, lpis: Lpis, tables: Sequence[int], vlpis: Vlpis | None) -> None:
        self._made_for = lpis.mapping_changes, list(tables), vlpis
        self._lpis = lpis
        self._vlpis = vlpis
        self._latches = np.zeros(_TABLE_BYTES // _WORD_BYTES, np.uint64)
        """The pending bits in software, as one table for all vCPUs."""
        self._latched: NDArray[np.int64] = np.zeros(0, np.int64)
        """The slots of the LPIs whose state this is."""
        self._saves = self._plan(memory, np.array(tables, np.int64) - memory.base, vlpis)

    def fits(self, tables: Sequence[int], vlpis: Vlpis | None) -> bool:
        """Whether this is still the plan for them."""
        return self._made_for == (self._lpis.mapping_changes, tables, vlpis)

    @property
    def possible(self) -> bool:
        """Whether it can be done: all LPIs have bits in tables, and these are within RAM and do not overlap."""
        return self._saves is not None

    def save(self) -> None:
        """Write the tables, if it can be done. KvmError EACCES as `Vlpis.vpts`."""
        if self._vlpis is not None:
            self._vlpis.vpts(self._vlpis.vm.vpes)
        if len(self._latched):
            self._latches[:] = 0
            gather_latches(self._lpis.rows, self._latched, self._latches)
        for save in self._saves or ():
            save()

    def _plan(
        self, memory: GuestMemory, tables: NDArray[np.int64], vlpis: Vlpis | None
    ) -> list[Callable[[], None]] | None:
        words = partial(LpiWords.of, self._lpis.rows, len(tables), INTERRUPT_ID_BITS_ITS)
        sources = []
        if vlpis is not None:
            forwarded = words(forwarded=True, others=False)
            sources.append(_Source(forwarded, vlpis.driver.gic.memory.words, vlpis.vpts(vlpis.vm.vpes)))
        if not sources or sources[0].lpis.left_out:
            latched = words(forwarded=vlpis is None, others=True)
            sources.append(_Source(latched, self._latches, np.zeros_like(tables)))
            self._latched = latched.slots
        used = np.zeros(len(tables), np.bool_)
        for source in sources:
            used[source.lpis.vcpus] = True
        if not all(source.lpis.complete for source in sources) or not _whole_and_apart(tables[used], memory.size):
            return None
        return [_save_from(source, memory, tables) for source in sources]


def _whole_and_apart(tables: NDArray[np.int64], size: int) -> bool:
    """Whether these tables are within the window, and none overlaps another.

    They are 64 KiB aligned and shorter (DDI0601 GICR_PENDBASER.Physical_Address): they overlap where they are the same.
    """
    inside = (tables >= 0) & (tables <= size - _TABLE_BYTES)
    return bool(inside.all()) and len(set(tables.tolist())) == len(tables)


def _save_from(source: _Source, memory: GuestMemory, tables: NDArray[np.int64]) -> Callable[[], None]:
    """What saves the LPIs of one source."""
    lpis = source.lpis
    arguments = (
        memory.words,
        memory.page_state,
        _first_words(tables)[lpis.vcpus] + lpis.words,
        lpis.counts,
        source.words,
        _first_words(source.tables)[lpis.vcpus] + lpis.words,
        lpis.targets,
        lpis.masks,
    )
    return partial(_save_words(), *arguments)


@cache
def _save_words() -> Callable[..., None]:
    """The kernel, without numba's look at the types of eight arrays: it takes longer than many a save."""
    words = np.zeros(1, np.uint64)
    return direct(save_words, words, np.zeros(1, np.uint8), *(words,) * 6)


def _first_words(offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Where tables start, in words."""
    return offsets.astype(np.uint64) // np.uint64(_WORD_BYTES)
