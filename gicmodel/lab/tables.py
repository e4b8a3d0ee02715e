# SPDX-License-Identifier: Apache-2.0
"""The tables that a GIC has in RAM, and their entries: a walk that is not the hardware's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware import Its
from gicmodel.layouts.its_tables import ITE, LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import table_bytes
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import BASERS, GITS_BASER
from gicmodel.layouts.table import Table, TableType
from gicmodel.memory import GuestMemory

Valid = tuple[NDArray[np.int64], NDArray[np.void]]
"""Identifiers, and the decoded entries of those."""
Place = tuple[int, int]
"""Address and length."""
Fields = dict[str, int]


class Extent(NamedTuple):
    """Consecutive entries: the ID of the first, and where they are."""

    first: int
    place: Place


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

    def extents(self, memory: GuestMemory) -> Iterator[Extent]:
        """Where its entries lie in RAM: all of a flat table, each level 2 page of the other kind."""
        length = self.page_bytes if self.indirect else self.size
        for index, address in self._pages(memory):
            if memory.covers(address, length):
                yield Extent(index * self.per_page, (address, length))

    def _pages(self, memory: GuestMemory) -> list[tuple[int, int]]:
        """Index and address of each piece of the table that holds entries."""
        if not self.indirect:
            return [(0, self.address)]
        if not memory.covers(self.address, self.size):
            return []
        level1 = LEVEL1.decode(memory.view(self.address, self.size // LEVEL1.bytes, np.uint64))
        valid = np.flatnonzero(level1["Valid"])
        return list(zip(valid.tolist(), level1["Physical_Address"][valid].tolist(), strict=True))


def table_of(its: Its, kind: TableType, memory: GuestMemory) -> Valid:
    """IDs and decoded entries of all that have Valid = 1, within or beyond the IDs that the table of a type serves.

    Nothing if the ITS has none.
    """
    layout, table = kind.entry(its.config.v41), TableInRam.of(its, kind)
    ids, entries = [np.empty(0, np.int64)], [np.empty(0, layout.dtype)]
    for first, place in table.extents(memory) if table else ():
        numbers, rows = _valid(memory, place, layout)
        ids.append(numbers + first)
        entries.append(rows)
    return np.concatenate(ids), np.concatenate(entries)


def itt_of(fields: Mapping[str, int]) -> Place:
    """What a MAPD, or a DTE, gives to the hardware."""
    return int(fields["ITT_addr"]), ITE.bytes << int(fields["Size"]) + 1


def vpt_of(fields: Mapping[str, int]) -> Place:
    """What a VMAPP, or a vPE's entry, gives to the hardware for its pending interrupts."""
    return int(fields["VPT_addr"]), table_bytes(int(fields["VPT_size"]) + 1)


def events_of(memory: GuestMemory, itt: Place) -> Valid:
    """EventIDs and valid ITEs of an ITT; none of one that is not in RAM."""
    return _valid(memory, itt, ITE) if memory.covers(*itt) else (np.empty(0, np.int64), np.empty(0, ITE.dtype))


def as_fields(rows: NDArray[np.void]) -> Iterator[Fields]:
    """Each decoded entry as its fields, which are plain numbers."""
    return (dict(zip(rows.dtype.names or (), map(int, row), strict=True)) for row in rows.tolist())


def _valid(memory: GuestMemory, place: Place, layout: Layout) -> Valid:
    """Of the entries of some memory, those with Valid = 1, by index; most tables are mostly zero."""
    address, length = place
    width = math.gcd(layout.bytes, 8)
    words = memory.view(address, length // width, np.dtype(f"u{width}")).reshape(-1, layout.bytes // width)
    # NumPy finds what is True several times as fast as what is not 0.
    used = np.unique(np.flatnonzero(words != 0) // words.shape[1])
    rows = layout.decode(layout.words_of(words[used].tobytes()))
    valid = rows["Valid"]
    return used[valid], rows[valid]
