# SPDX-License-Identifier: Apache-2.0
"""The mapped events of a device: what Linux keeps in one `struct its_ite` each, kept here as one column of an array."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

NO_COLLECTION = -1
"""`icid` of an event that MAPC V=0 has left without a collection."""


class Ite(NamedTuple):
    """A copy of one mapped event: `lpi` is its LPI's slot."""

    event_id: int
    lpi: int
    icid: int


class Ites(Mapping[int, Ite]):
    """Events by EventID, ascending. `columns` is int64 [3, n]: the fields of `Ite`, `lpi` and `icid` to be written."""

    def __init__(self) -> None:
        self._columns: NDArray[np.int64] = np.zeros((len(Ite._fields), 0), np.int64)
        self._count = 0

    @classmethod
    def of(cls, columns: NDArray[np.int64]) -> Self:
        """Those of `columns`, which nobody else writes to."""
        ites = cls.__new__(cls)
        ites._columns, ites._count = columns, columns.shape[1]
        return ites

    @property
    def columns(self) -> NDArray[np.int64]:
        """All there are."""
        return self._columns[:, : self._count]

    @property
    def event_ids(self) -> NDArray[np.int64]:
        """Their EventIDs, to be read."""
        return self._columns[0, : self._count]

    @property
    def lpis(self) -> NDArray[np.int64]:
        """The slots of their LPIs."""
        return self._columns[1, : self._count]

    @property
    def icids(self) -> NDArray[np.int64]:
        """Their collections."""
        return self._columns[2, : self._count]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return iter(self.event_ids.tolist())

    def __getitem__(self, event_id: int) -> Ite:
        place = self._place(event_id)
        if place == self._count or self._columns[0, place] != event_id:
            raise KeyError(event_id)
        return Ite(*self._columns[:, place].tolist())

    def add(self, ite: Ite) -> None:
        """One more event."""
        if self._count == self._columns.shape[1]:
            room = np.zeros((len(Ite._fields), max(4, self._count)), np.int64)
            self._columns = np.concatenate((self._columns, room), axis=1)
        place = self._place(ite.event_id)
        if place < self._count:
            self._columns[:, place + 1 : self._count + 1] = self._columns[:, place : self._count]
        self._columns[:, place] = ite
        self._count += 1

    def move(self, event_id: int, icid: int) -> None:
        """Give an event another collection."""
        self._columns[2, self._place(event_id)] = icid

    def remove(self, event_id: int) -> None:
        """Unmap an event."""
        place = self._place(event_id)
        self._count -= 1
        self._columns[:, place : self._count] = self._columns[:, place + 1 : self._count + 1]

    def _place(self, event_id: int) -> int:
        # For one EventID faster than NumPy's search.
        return bisect_left(self._columns[0], event_id, 0, self._count)
