# SPDX-License-Identifier: Apache-2.0
"""The memory of an ITS table: where each entry lies, flat or through level 1 entries, and which entries are not zero.

Every known format writes an entry that maps nothing as zero, so the entries that are not zero are all there is to
decode; in a format that nobody published they still tell how full a table is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection.budget import Budget
from gicmodel.inspection.distinct import is_first
from gicmodel.inspection.dump import Addresses, Dump, Octets
from gicmodel.layouts.level1 import LEVEL1
from gicmodel.layouts.registers import PAGE_SIZES, TableType, baser_address

_KINDS: dict[int, str] = {TableType.DEVICES: "device", TableType.VPES: "vpe", TableType.COLLECTIONS: "collection"}
_BATCH = 1 << 24


class ItsTable(NamedTuple):
    """A table that a GITS_BASER<n> or GICR_VPROPBASER describes; sizes in bytes."""

    register: str
    kind: str
    address: int
    size: int
    entry_bytes: int
    page_bytes: int
    indirect: bool
    valid: bool

    @property
    def per_page(self) -> int:
        """Entries of a level 2 page."""
        return self.page_bytes // self.entry_bytes

    @property
    def capacity(self) -> int:
        """How many identifiers the table has room for."""
        if self.indirect:
            return self.size // LEVEL1.bytes * self.per_page
        return self.size // self.entry_bytes


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


class Occupied(NamedTuple):
    """The entries that are not zero, by identifier: octets is uint8 [n, entry_bytes].

    `absent` counts the bytes of the table that the dump lacks.
    """

    ids: NDArray[np.int64]
    addresses: Addresses
    octets: Octets
    absent: int
    level1: Level1 | None


_Part = tuple[NDArray[np.int64], int, Octets, int]
"""Entries of one piece of memory: their index in it, its address, their bytes, the identifier of index 0."""


def its_table(register: str, baser: dict[str, int]) -> ItsTable | None:
    """The table of a GITS_BASER<n>'s fields; None if the register is for no table."""
    kind = _KINDS.get(baser["Type"])
    if kind is None:
        return None
    page_bytes = PAGE_SIZES[baser["Page_Size"]]
    return ItsTable(
        register,
        kind,
        baser_address(baser["Physical_Address"], page_bytes),
        (baser["Size"] + 1) * page_bytes,
        baser["Entry_Size"] + 1,
        page_bytes,
        bool(baser["Indirect"]),
        bool(baser["Valid"]),
    )


def occupied(dump: Dump, table: ItsTable, budget: Budget) -> Occupied:
    """Every entry of a table that is not zero, as far as the budget goes."""
    held = dump.held(table.address, table.size)
    if not budget.read(held, table.register):
        return _assembled(table, [], table.size, None)
    if table.indirect:
        return _two_level(dump, table, budget)
    ids, octets = nonzero(dump, table.address, table.size, table.entry_bytes)
    ids = ids[: budget.keep(ids.size, table.register)]
    return _assembled(table, [(ids, table.address, octets[: ids.size], 0)], table.size - held, None)


def nonzero(dump: Dump, address: int, length: int, size: int) -> tuple[NDArray[np.int64], Octets]:
    """The entries of `size` bytes in [address, address + length) that are not zero: index, and octets [n, size]."""
    indices: list[NDArray[np.int64]] = []
    octets: list[Octets] = []
    for first, block in _entries(dump, address, length, size):
        found, rows = used_of(block)
        found += first
        indices.append(found)
        octets.append(rows)
    return _one(indices, np.empty(0, np.int64)), _one(octets, np.empty((0, size), np.uint8))


def any_set(octets: Octets) -> NDArray[np.bool_]:
    """Which rows of [n, size] bytes are not zero."""
    width = int(np.gcd(octets.shape[1], 8))
    words = np.ascontiguousarray(octets).view(f"<u{width}")
    found: NDArray[np.bool_] = words[:, 0] != 0
    for column in range(1, words.shape[1]):
        found |= words[:, column] != 0
    return found


def used_of(octets: Octets) -> tuple[NDArray[np.int64], Octets]:
    """Which rows of [n, size] bytes are not zero, and those rows; a view if it is all of them."""
    used = any_set(octets)
    if np.count_nonzero(used) == len(used):
        return np.arange(len(used)), octets
    found = np.flatnonzero(used)
    # Whole entries: NumPy would go byte by byte through rows.
    size = octets.shape[1]
    entries = np.ascontiguousarray(octets).view(np.dtype((np.void, size)))[:, 0]
    return found, entries[found].view(np.uint8).reshape(-1, size)


def _one(parts: list[NDArray[Any]], none: NDArray[Any]) -> NDArray[Any]:
    """The parts as one array, without a copy where there is one part."""
    return parts[0] if len(parts) == 1 else np.concatenate([none, *parts])


def _entries(dump: Dump, address: int, length: int, size: int) -> Iterator[tuple[int, Octets]]:
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


def _two_level(dump: Dump, table: ItsTable, budget: Budget) -> Occupied:
    level1 = read_level1(dump, table)
    # A page that two level 1 entries name is read for the first; that they do is a finding of its own.
    once = is_first(level1.pages)
    parts: list[_Part] = []
    absent = table.size - dump.held(table.address, table.size)
    for page, number in zip(level1.pages[once].tolist(), level1.indices[level1.used][once].tolist(), strict=True):
        held = dump.held(page, table.page_bytes)
        absent += table.page_bytes - held
        if not held:
            continue
        if not budget.read(held, table.register):
            break
        index, octets = nonzero(dump, page, table.per_page * table.entry_bytes, table.entry_bytes)
        index = index[: budget.keep(index.size, table.register)]
        parts.append((index, page, octets[: index.size], number * table.per_page))
    return _assembled(table, parts, absent, level1)


def _assembled(table: ItsTable, parts: list[_Part], absent: int, level1: Level1 | None) -> Occupied:
    ids = [index + first for index, _, _, first in parts]
    addresses = [address + index * table.entry_bytes for index, address, _, _ in parts]
    octets = [found for _, _, found, _ in parts]
    return Occupied(
        _one(ids, np.empty(0, np.int64)),
        _one(addresses, np.empty(0, np.int64)),
        _one(octets, np.empty((0, table.entry_bytes), np.uint8)),
        absent,
        level1,
    )


def read_level1(dump: Dump, table: ItsTable) -> Level1:
    """The level 1 entries of a two-level table that are not zero."""
    index, octets = nonzero(dump, table.address, table.size, LEVEL1.bytes)
    words = LEVEL1.words_of(octets)
    rows = LEVEL1.decode(words)
    used = rows["Valid"]
    pages = rows["Physical_Address"][used].astype(np.int64) & -table.page_bytes
    addresses = table.address + index * LEVEL1.bytes
    return Level1(index, addresses, dump.offsets(addresses), words, used, pages)
