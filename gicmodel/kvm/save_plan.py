# SPDX-License-Identifier: Apache-2.0
"""SAVE_PENDING_TABLES 64 LPIs at a time: what can be settled before the save, and the save.

Where a table is in RAM is counted in 64-bit words from the start of a window, guest's or host's.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import direct, kernel
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS, NO_VCPU, Lpis
from gicmodel.kvm.vlpi import Vlpis
from gicmodel.layouts.lpi_tables import BIT_MASK, WORD_SHIFT, table_bytes
from gicmodel.memory import PAGE_BYTES, STORED, GuestMemory

_WORD_BYTES = 8
_TABLE_BYTES = table_bytes(INTERRUPT_ID_BITS_ITS)
_TABLE_WORDS = _TABLE_BYTES // _WORD_BYTES
_SPAN_WORDS = 128
"""A quarter of a page of the table: no span lies on two."""
APART = _TABLE_WORDS + 8
"""Words from one vCPU's bits to the next one's, a cache line more than a table has: else the same word of all vCPUs
would compete for one set of the L1 cache.
"""
_SPAN = np.uint64(_SPAN_WORDS)
_PAGE_WORDS = np.uint64(PAGE_BYTES // _WORD_BYTES)
_ZERO, _ONE, _INTIDS = np.uint64(0), np.uint64(1), np.uint64(1 << INTERRUPT_ID_BITS_ITS)


class Spans(NamedTuple):
    """Where in the vCPUs' tables LPIs are: spans of words, the first and the last of which are not empty.

    Bit i of word w is INTID 64 * w + i. Spans that follow one another and are alike share their words of `targets`:
    where LPIs are sent to the vCPUs in turn nearly all do, and whoever goes through them stays in the L1 cache.
    """

    vcpus: NDArray[np.uint64]
    words: NDArray[np.uint64]
    """The first word of each span, in the table of its vCPU."""
    counts: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    """Where in `targets` its words are."""
    targets: NDArray[np.uint64]
    """Bits that are set where there are LPIs."""

    @classmethod
    def of(cls, bits: NDArray[np.uint64]) -> Self:
        """Those of the LPIs whose bits are set in `bits`, a table for each vCPU, `APART` words from the next one's."""
        room = len(bits) // _SPAN_WORDS
        columns, targets = np.empty((4, room), np.uint64), np.empty(room * _SPAN_WORDS, np.uint64)
        found, kept = find_spans(bits, targets, *columns)
        return cls._make([*(column[:found].copy() for column in columns), targets[: int(kept)].copy()])


class SavePlan:
    """How to save the LPIs, as long as none is mapped anew and no table is moved.

    `tables` are the addresses of the vCPUs' pending tables. The state of forwarded LPIs comes from the VPTs, or without
    `vlpis` from the latch as that of all others. No two LPIs share a bit.
    """

    def __init__(self, memory: GuestMemory, lpis: Lpis, tables: Sequence[int], vlpis: Vlpis | None) -> None:
        self._made_for = lpis.mapping_changes, list(tables), vlpis
        self._lpis, self._vlpis = lpis, vlpis
        offsets = np.array(tables, np.int64) - memory.base
        in_vpts, in_software = np.zeros((2, len(tables) * APART), np.uint64)
        have_room, self._latched = find_lpis(lpis.rows, vlpis is not None, in_vpts, in_software)
        self._latches = np.zeros(_TABLE_WORDS, np.uint64)
        """The pending bits in software, as one table for all vCPUs."""
        sources = []
        if self._latched:
            sources.append((Spans.of(in_software), self._latches, np.zeros_like(offsets)))
        if vlpis is not None:
            sources.append((Spans.of(in_vpts), vlpis.driver.gic.memory.words, vlpis.vpts(vlpis.vm.vpes)))
        used = np.zeros(len(tables), np.bool_)
        for spans, _, _ in sources:
            used[spans.vcpus] = True
        self.possible = have_room and _whole_and_apart(offsets[used], memory.size)
        """Whether all LPIs have bits in tables, and these are within RAM and do not overlap."""
        self._saves = [_save_from(memory, offsets, *source) for source in sources]

    def fits(self, tables: Sequence[int], vlpis: Vlpis | None) -> bool:
        """Whether this is still the plan for them."""
        return self._made_for == (self._lpis.mapping_changes, tables, vlpis)

    def save(self) -> None:
        """Write the tables, if it is possible. KvmError EACCES as `Vlpis.vpts`."""
        if self._vlpis is not None:
            self._vlpis.vpts(self._vlpis.vm.vpes)
        if self._latched:
            self._latches[:] = 0
            rows = self._lpis.rows
            intids = rows["intid"][rows["pending_latch"] & (rows["references"] != 0)].astype(np.uint64)
            intids = intids[intids >> INTERRUPT_ID_BITS_ITS == 0]
            np.bitwise_or.at(self._latches, intids >> WORD_SHIFT, _ONE << (intids & BIT_MASK))
        for save in self._saves:
            save()


def _whole_and_apart(tables: NDArray[np.int64], size: int) -> bool:
    """Whether these tables are within the window, and none overlaps another.

    They are 64 KiB aligned and shorter (DDI0601 GICR_PENDBASER.Physical_Address): they overlap where they are the same.
    """
    inside = (tables >= 0) & (tables <= size - _TABLE_BYTES)
    return bool(inside.all()) and len(set(tables.tolist())) == len(tables)


def _save_from(
    memory: GuestMemory,
    tables: NDArray[np.int64],
    spans: Spans,
    source: NDArray[np.uint64],
    sources: NDArray[np.int64],
) -> Callable[[], None]:
    """What saves LPIs that are pending where `source` says so; `sources` is where in it each vCPU's table is."""
    to, of = ((offsets.astype(np.uint64) // _WORD_BYTES)[spans.vcpus] + spans.words for offsets in (tables, sources))
    ram = memory.words, memory.page_state, source
    return partial(_save_words(), *ram, to, of, spans.counts, spans.masks, spans.targets)


@cache
def _save_words() -> Callable[..., None]:
    """The kernel, without numba's look at the types of eight arrays: it takes longer than many a save."""
    words = np.zeros(1, np.uint64)
    return direct(save_words, words, np.zeros(1, np.uint8), *(words,) * 6)


@kernel
def find_lpis(
    rows: NDArray[np.void], reads_vpts: bool, in_vpts: NDArray[np.uint64], in_software: NDArray[np.uint64]
) -> tuple[bool, bool]:
    """Set the bit of each LPI that has a target in its vCPU's table, where its state is.

    Returns whether all have room, and whether any is in software.
    """
    latched = False
    for slot in range(len(rows)):
        vcpu = np.int64(rows[slot]["target_vcpu"])
        if vcpu == NO_VCPU or rows[slot]["references"] == 0:
            continue
        intid = np.uint64(rows[slot]["intid"])
        if intid >= _INTIDS:
            return False, latched
        word, bit = np.uint64(vcpu * APART) + (intid >> WORD_SHIFT), _ONE << (intid & BIT_MASK)
        if reads_vpts and rows[slot]["hw"]:
            in_vpts[word] |= bit
        else:
            in_software[word] |= bit
            latched = True
    return True, latched


@kernel
def find_spans(
    bits: NDArray[np.uint64],
    targets: NDArray[np.uint64],
    vcpus: NDArray[np.uint64],
    words: NDArray[np.uint64],
    counts: NDArray[np.uint64],
    masks: NDArray[np.uint64],
) -> tuple[int, np.uint64]:
    """Fill in the arrays of `Spans`, which have room; how many spans there are, and how many words of `targets`.

    `like` is where the bits are that `targets` was given last.
    """
    found, kept, like = 0, _ZERO, _ZERO
    for vcpu in range(len(bits) // APART):
        table = np.uint64(vcpu * APART)
        for piece in range(_TABLE_WORDS // _SPAN_WORDS):
            start = table + np.uint64(piece) * _SPAN
            first, beyond = start, start + _SPAN
            while first < beyond and bits[first] == _ZERO:
                first += _ONE
            if first == beyond:
                continue
            while bits[beyond - _ONE] == _ZERO:
                beyond -= _ONE
            difference = _ZERO
            for word in range(_SPAN):
                difference |= bits[start + word] ^ bits[like + word]
            if kept == _ZERO or difference != _ZERO:
                for word in range(_SPAN):
                    targets[kept + word] = bits[start + word]
                kept, like = kept + _SPAN, start
            vcpus[found], words[found], counts[found] = vcpu, first - table, beyond - first
            masks[found] = kept - _SPAN + first - start
            found += 1
    return found, kept


@kernel
def save_words(
    words: NDArray[np.uint64],
    page_state: NDArray[np.uint8],
    source: NDArray[np.uint64],
    tables: NDArray[np.uint64],
    sources: NDArray[np.uint64],
    counts: NDArray[np.uint64],
    masks: NDArray[np.uint64],
    targets: NDArray[np.uint64],
) -> None:
    """Copy bits from `source` to `words`, guest RAM, a span after the other; mark pages with a byte that changes.

    Of each span: where in `words` it is, where in `source` are its bits, how many words, and where in `targets` are
    those whose bits are to be copied.
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
            page_state[table // _PAGE_WORDS] |= STORED
