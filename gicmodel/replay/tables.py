# SPDX-License-Identifier: Apache-2.0
"""Where the tables that GITS_BASER<n> describes lie in RAM, for a walk that is not the hardware's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware import Its
from gicmodel.layouts import table
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import BASERS, GITS_BASER
from gicmodel.layouts.table import TableType
from gicmodel.memory import GuestMemory


class Run(NamedTuple):
    """Consecutive entries: the ID of the first, their address, their length in bytes."""

    first: int
    address: int
    length: int


class Table(table.Table):
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

    def runs(self, memory: GuestMemory, layout: Layout) -> Iterator[Run]:
        """The runs of entries of `layout` that lie in RAM: all of a flat table, each level 2 page of the other kind."""
        length = self.page_bytes if self.indirect else self.size
        for index, address in self._pages(memory):
            if memory.covers(address, length):
                yield Run(index * (length // layout.bytes), address, length)

    def _pages(self, memory: GuestMemory) -> list[tuple[int, int]]:
        """Index and address of each piece of the table that holds entries."""
        if not self.indirect:
            return [(0, self.address)]
        if not memory.covers(self.address, self.size):
            return []
        level1 = LEVEL1.decode(memory.view(self.address, self.size // LEVEL1.bytes, np.uint64))
        valid = np.flatnonzero(level1["Valid"])
        return list(zip(valid.tolist(), level1["Physical_Address"][valid].tolist(), strict=True))

    def valid_entries(self, memory: GuestMemory, layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """IDs and decoded entries of all that have Valid = 1."""
        ids = [np.empty(0, np.int64)]
        entries = [np.empty(0, layout.dtype)]
        for run in self.runs(memory, layout):
            rows = layout.decode(memory.view(run.address, run.length // layout.bytes, np.uint64))
            valid = np.flatnonzero(rows["Valid"])
            ids.append(valid + run.first)
            entries.append(rows[valid])
        return np.concatenate(ids), np.concatenate(entries)
