# SPDX-License-Identifier: Apache-2.0
"""The memory of an ITS table: where each entry lies, flat or through level 1 entries, and which entries are not zero.

Every known format writes an entry that maps nothing as zero, so the entries that are not zero are all there is to
decode; in a format that nobody published they still tell how full a table is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import ABSENT, Addresses, Dump, Octets
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import is_first
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.table import Table, TableType

_KINDS: dict[int, str] = {TableType.DEVICES: "device", TableType.VPES: "vpe", TableType.COLLECTIONS: "collection"}
_BATCH = 1 << 24


class Level1(NamedTuple):
    """The level 1 entries that are not zero: their index and place, the words, and the pages of those in use.

    DDI0601 (GITS_BASER<n>, Indirect) fixes their format; the low bits of a page's address are ignored.
    """

    indices: NDArray[np.int64]
    addresses: Addresses
    offsets: Addresses
    words: NDArray[np.uint64]
    used: NDArray[np.bool_]
    pages: Addresses


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


_NO_PAGES = _none()


@dataclass(frozen=True, kw_only=True, eq=False)
class ItsTable(Table):
    """A table that a GITS_BASER<n> or GICR_VPROPBASER describes, and its entries that are not zero, by identifier.

    `octets` is uint8 [n, entry_bytes]; `absent` counts the bytes of the table that the dump lacks, the first at
    `absent_at`.
    """

    register: str
    kind: str
    ids: NDArray[np.int64] = field(default_factory=_none)
    addresses: Addresses = field(default_factory=_none)
    octets: Octets = field(default_factory=lambda: np.empty((0, 1), np.uint8))
    absent: int = 0
    absent_at: int = ABSENT
    level1: Level1 | None = None

    def lacking(self, dump: Dump, ids: NDArray[np.int64]) -> Addresses:
        """Where the dump lacks the entry of each identifier ([n]), or the level 1 entry that leads to it; else ABSENT.

        An entry for which the table has no room, or no level 2 page, is not lacking: there is none.
        """
        if self.level1 is None:
            lost = _lost(dump, self.address + ids * self.entry_bytes, self.entry_bytes)
        else:
            lost = self._lacking_page(dump, self.level1, ids)
        return np.where(self.valid & (ids < self.capacity), lost, ABSENT)

    def _lacking_page(self, dump: Dump, level1: Level1, ids: NDArray[np.int64]) -> Addresses:
        index, within = np.divmod(ids, self.per_page)
        lost = _lost(dump, self.address + index * LEVEL1.bytes, LEVEL1.bytes)
        known = level1.indices[level1.used]
        row = np.searchsorted(known, index)
        paged = np.append(known, ABSENT)[row] == index
        entries = level1.pages[row[paged]] + within[paged] * self.entry_bytes
        lost[paged] = _lost(dump, entries, self.entry_bytes)
        return lost

    def _with(
        self,
        dump: Dump,
        parts: list[tuple[Entries, int, int]],
        pages: Addresses = _NO_PAGES,
        level1: Level1 | None = None,
    ) -> ItsTable:
        """The table with entries of pieces of memory: of each its address, and the identifier of index 0.

        `pages` are those of level 2.
        """
        runs = [(self.address, self.size), *((page, self.page_bytes) for page in pages.tolist())]
        addresses, sizes = np.array(runs, np.int64).T
        absent = sizes - dump.held_each(addresses, sizes)
        lost = np.flatnonzero(absent)[:1]
        return replace(
            self,
            ids=joined([entries.numbers(first) for entries, _, first in parts], _none()),
            addresses=joined([entries.numbers(address, self.entry_bytes) for entries, address, _ in parts], _none()),
            octets=joined([entries.octets for entries, _, _ in parts], np.empty((0, self.entry_bytes), np.uint8)),
            absent=int(absent.sum()),
            absent_at=dump.first_absent(*runs[int(lost[0])]) if lost.size else ABSENT,
            level1=level1,
        )


class Entries(NamedTuple):
    """The entries of some memory that are not zero: octets is uint8 [n, entry_bytes], indices a range if all are."""

    indices: range | NDArray[np.int64]
    octets: Octets

    def numbers(self, first: int = 0, step: int = 1) -> NDArray[np.int64]:
        """`first` for the entry of index 0, `step` more for each after it."""
        if isinstance(self.indices, range):
            return np.arange(first + self.indices.start * step, first + self.indices.stop * step, step)
        return first + self.indices * step

    def head(self, count: int) -> Entries:
        """The first of them."""
        return Entries(self.indices[:count], self.octets[:count])


def its_table(register: str, baser: int) -> ItsTable | None:
    """The table of a GITS_BASER<n>, not read yet; None if the register is for no table."""
    kind = _KINDS.get(GITS_BASER.unpack(baser)["Type"])
    return None if kind is None else ItsTable.of_baser(baser, register=register, kind=kind)


def read_table(dump: Dump, table: ItsTable, budget: Budget) -> ItsTable:
    """The table with every entry that is not zero, as far as the budget goes; one that is not valid has no memory."""
    if not table.valid:
        return table
    held = dump.held(table.address, table.size)
    if not budget.read(held, table.register):
        return table._with(dump, [])
    if table.indirect:
        return _two_level(dump, table, budget)
    entries = nonzero(dump, table.address, table.size, table.entry_bytes)
    kept = entries.head(budget.keep(len(entries.indices), table.register))
    return table._with(dump, [(kept, table.address, 0)])


def nonzero(dump: Dump, address: int, length: int, size: int) -> Entries:
    """The entries of `size` bytes in [address, address + length) that are not zero."""
    parts = [used_of(octets, first) for first, octets in _blocks(dump, address, length, size)]
    if len(parts) == 1:
        return parts[0]
    return Entries(
        joined([part.numbers() for part in parts], _none()),
        joined([part.octets for part in parts], np.empty((0, size), np.uint8)),
    )


def used_of(octets: Octets, first: int = 0) -> Entries:
    """The rows of [n, size] bytes that are not zero, counted from `first`: a view if it is all of them."""
    count, size = octets.shape
    width = math.gcd(size, 8)
    words = np.ascontiguousarray(octets).view(f"<u{width}")
    # The least word mostly tells, in half the time; that pass is spared where the first is zero.
    if (count and words[0, 0] and words.min()) or (used := _any_set(words)).all():
        return Entries(range(first, first + count), octets)
    (found,) = used.nonzero()
    # Whole entries: NumPy would go byte by byte through rows.
    entries = words.view(f"V{size}")[:, 0]
    return Entries(first + found, entries[found].view(np.uint8).reshape(-1, size))


def _any_set(words: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of [n, words] are not zero."""
    found: NDArray[np.bool_] = words[:, 0] != 0
    for column in range(1, words.shape[1]):
        found |= words[:, column] != 0
    return found


def joined(parts: list[NDArray[Any]], none: NDArray[Any]) -> NDArray[Any]:
    """The parts as one array, without a copy where there is one part."""
    return parts[0] if len(parts) == 1 else np.concatenate([none, *parts])


def _blocks(dump: Dump, address: int, length: int, size: int) -> Iterator[tuple[int, Octets]]:
    """Blocks of whole entries: the index of the first, and octets [n, size]."""
    for piece in dump.pieces(address, length):
        skip = -(piece.address - address) % size
        count = max(0, piece.octets.size - skip) // size
        first = (piece.address - address + skip) // size
        for start in range(0, count, _BATCH // size):
            many = min(count - start, _BATCH // size)
            yield first + start, piece.octets[skip + start * size :][: many * size].reshape(-1, size)
        last = first + count
        if last * size < piece.address - address + piece.octets.size and (last + 1) * size <= length:
            # It begins in this piece and, perhaps, goes on in the next segment.
            octets, held = dump.gather(np.array([address + last * size], np.int64), size)
            if held[0]:
                yield last, octets


def _two_level(dump: Dump, table: ItsTable, budget: Budget) -> ItsTable:
    level1 = read_level1(dump, table)
    # A page that two level 1 entries name is read for the first; that they do is a finding of its own.
    once = is_first(level1.pages)
    parts: list[tuple[Entries, int, int]] = []
    for page, number in zip(level1.pages[once].tolist(), level1.indices[level1.used][once].tolist(), strict=True):
        held = dump.held(page, table.page_bytes)
        if not held:
            continue
        if not budget.read(held, table.register):
            break
        entries = nonzero(dump, page, table.per_page * table.entry_bytes, table.entry_bytes)
        kept = entries.head(budget.keep(len(entries.indices), table.register))
        parts.append((kept, page, number * table.per_page))
    return table._with(dump, parts, level1.pages[once], level1)


def _lost(dump: Dump, addresses: Addresses, size: int) -> Addresses:
    """Those of the n addresses from which the dump has not all of `size` bytes; ABSENT for the others."""
    held = dump.held_each(addresses, np.full(addresses.size, size))
    return np.where(held < size, addresses, ABSENT)


def read_level1(dump: Dump, table: ItsTable) -> Level1:
    """The level 1 entries of a two-level table that are not zero."""
    entries = nonzero(dump, table.address, table.size, LEVEL1.bytes)
    words = LEVEL1.words_of(entries.octets)
    rows = LEVEL1.decode(words)
    used = rows["Valid"]
    pages = rows["Physical_Address"][used].astype(np.int64) & -table.page_bytes
    addresses = entries.numbers(table.address, LEVEL1.bytes)
    return Level1(entries.numbers(), addresses, dump.offsets(addresses), words, used, pages)
