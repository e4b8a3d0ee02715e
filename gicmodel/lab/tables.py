# SPDX-License-Identifier: Apache-2.0
"""The tables that a GIC has in RAM, and their entries: a walk that is not the hardware's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware import Its
from gicmodel.layouts.its_tables import ITE, LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import BASERS, GITS_BASER
from gicmodel.layouts.table import Table, TableType
from gicmodel.memory import GuestMemory

Valid = tuple[NDArray[np.int64], NDArray[np.void]]
"""Identifiers, and the decoded entries of those."""


class Extent(NamedTuple):
    """Consecutive entries: the ID of the first, their address, their length in bytes."""

    first: int
    address: int
    length: int


class TableInRam(Table):
    """A table, and what is in it."""

    @classmethod
    def of(cls, its: Its, kind: TableType) -> Self | None:
        """The table of that type which an ITS has, if it is valid."""
        for number in range(BASERS):
            baser = its.read(register(f"GITS_BASER{number}").offset)
            if GITS_BASER.unpack(baser)["Type"] == kind:
                found = cls.of_baser(baser)
                return found if found.valid else None
        return None

    def extents(self, memory: GuestMemory, layout: Layout) -> Iterator[Extent]:
        """Where entries of `layout` lie in RAM: all of a flat table, each level 2 page of the other kind."""
        length = self.page_bytes if self.indirect else self.size
        for index, address in self._pages(memory):
            if memory.covers(address, length):
                yield Extent(index * (length // layout.bytes), address, length)

    def _pages(self, memory: GuestMemory) -> list[tuple[int, int]]:
        """Index and address of each piece of the table that holds entries."""
        if not self.indirect:
            return [(0, self.address)]
        if not memory.covers(self.address, self.size):
            return []
        level1 = LEVEL1.decode(memory.view(self.address, self.size // LEVEL1.bytes, np.uint64))
        valid = np.flatnonzero(level1["Valid"])
        return list(zip(valid.tolist(), level1["Physical_Address"][valid].tolist(), strict=True))

    def valid_entries(self, memory: GuestMemory, layout: Layout) -> Valid:
        """IDs and decoded entries of all that have Valid = 1, within or beyond the IDs that the table serves."""
        ids = [np.empty(0, np.int64)]
        entries = [np.empty(0, layout.dtype)]
        for extent in self.extents(memory, layout):
            numbers, rows = _valid(memory, extent.address, extent.length, layout)
            ids.append(numbers + extent.first)
            entries.append(rows)
        return np.concatenate(ids), np.concatenate(entries)


def table_of(its: Its, kind: TableType, memory: GuestMemory, layout: Layout) -> Valid:
    """`TableInRam.valid_entries` of the table of a type; nothing if the ITS has none."""
    table = TableInRam.of(its, kind)
    return (np.empty(0, np.int64), np.empty(0, layout.dtype)) if table is None else table.valid_entries(memory, layout)


def events_of(memory: GuestMemory, itt: int, id_bits: int) -> Valid:
    """EventIDs and valid ITEs of an ITT for EventIDs of that width; none of one that is not in RAM."""
    length = ITE.bytes << id_bits
    if not memory.covers(itt, length):
        return np.empty(0, np.int64), np.empty(0, ITE.dtype)
    return _valid(memory, itt, length, ITE)


def _valid(memory: GuestMemory, address: int, length: int, layout: Layout) -> Valid:
    """Of the entries of some memory, those with Valid = 1, by index; most tables are mostly zero."""
    width = math.gcd(layout.bytes, 8)
    words = memory.view(address, length // width, np.dtype(f"u{width}")).reshape(-1, layout.bytes // width)
    # NumPy finds what is True several times as fast as what is not 0.
    used = np.unique(np.flatnonzero(words != 0) // words.shape[1])
    rows = layout.decode(layout.words_of(words[used].tobytes()))
    valid = rows["Valid"]
    return used[valid], rows[valid]
