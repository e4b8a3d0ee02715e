# SPDX-License-Identifier: Apache-2.0
"""Physical memory as a dump has it: what is not in the file is absent, never zero."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.segments import Segment

ABSENT = -1
"""The file offset of an address that the dump does not hold, or of bytes that are at no place of the file."""

_PIECE = 1 << 26
"""Bytes of one piece: those of a packed dump are unpacked together."""

Addresses = NDArray[np.int64]
Octets = NDArray[np.uint8]


class Piece(NamedTuple):
    """Consecutive bytes that the dump holds: `octets` (uint8, [n], a view) from physical `address` on."""

    address: int
    octets: Octets


class Run(Protocol):
    """Consecutive bytes of RAM from `address` to `end`, and the place of the first in the file."""

    @property
    def address(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def offset(self) -> int: ...

    def octets(self, low: int, high: int) -> Octets:
        """The bytes from `low` up to `high`, counted from the run's first."""

    def rows(self, addresses: Addresses, size: int) -> Octets:
        """`size` bytes from each of n addresses inside, as uint8 [n, size]."""


class Dump:
    """Reads segments of RAM by physical address; the bytes stay where the file is mapped.

    `pending` is where to look for pending bits: the same memory, with what the GIC holds instead of RAM in its place,
    if that is known (`settled`). A segment that is at no place of the file has the offset ABSENT.

    Raises UnusableInput if there is no segment or two overlap.
    """

    def __init__(self, segments: Sequence[Run], pending: Dump | None = None) -> None:
        self.pending = self if pending is None else pending
        self.settled = pending is not None
        self.segments = sorted(segments, key=lambda segment: segment.address)
        if not self.segments:
            raise UnusableInput("a dump without bytes")
        for below, above in pairwise(self.segments):
            if below.end > above.address:
                raise UnusableInput(f"two segments of the dump overlap at {above.address:#x}")
        self._starts = np.array([segment.address for segment in self.segments], np.int64)
        self._ends = np.array([segment.end for segment in self.segments], np.int64)
        sizes = self._ends - self._starts
        self._before = np.cumsum(sizes) - sizes
        self._file_offsets = np.array([segment.offset for segment in self.segments], np.int64)

    @property
    def octets(self) -> int:
        """How many bytes of RAM the dump holds."""
        return int((self._ends - self._starts).sum())

    def offsets(self, addresses: Addresses) -> Addresses:
        """The place in the file of the byte at each address, ABSENT where it has none; any shape."""
        owner = self._owners(addresses)
        offsets = self._file_offsets[owner]
        in_file = (owner >= 0) & (addresses < self._ends[owner]) & (offsets != ABSENT)
        return np.where(in_file, offsets + addresses - self._starts[owner], ABSENT)

    def in_hole(self, addresses: Addresses) -> NDArray[np.bool_]:
        """Which addresses ([n]) the dump does not hold, though it holds memory below and above."""
        return np.asarray(
            (self._owners(addresses) >= 0)
            & (addresses < self._ends[-1])
            & (self.held_each(addresses, np.ones_like(addresses)) == 0)
        )

    def offset(self, address: int) -> int:
        """The place in the file of the byte at `address`, or ABSENT."""
        return int(self.offsets(np.array([address], np.int64))[0])

    def gather(self, addresses: Addresses, size: int) -> tuple[Octets, NDArray[np.bool_]]:
        """`size` bytes from each of the n addresses, as uint8 [n, size], and which of them the dump holds whole.

        The others' bytes are zero and mean nothing.
        """
        octets = np.zeros((addresses.size, size), np.uint8)
        owner = self._owners(addresses)
        held = (owner >= 0) & (addresses + size <= self._ends[owner])
        for chosen in groups(np.flatnonzero(held), owner):
            octets[chosen] = self.segments[owner[chosen[0]]].rows(addresses[chosen], size)
        astride = np.flatnonzero(~held & (owner >= 0) & (addresses < self._ends[owner]))
        for row in astride if size > 1 else ():
            found, there = self.read(int(addresses[row]), size)
            held[row] = there.all()
            octets[row] = found if held[row] else 0
        return octets, held

    def read(self, address: int, length: int) -> tuple[Octets, NDArray[np.bool_]]:
        """A copy of `length` bytes, and which of them the dump holds ([length] each); the others are zero."""
        octets, held = np.zeros(length, np.uint8), np.zeros(length, np.bool_)
        for piece in self.pieces(address, length):
            place = slice(piece.address - address, piece.address - address + piece.octets.size)
            octets[place], held[place] = piece.octets, True
        return octets, held

    def pieces(self, address: int, length: int) -> Iterator[Piece]:
        """What the dump holds of [address, address + length), ascending."""
        end = address + length
        first = max(0, bisect_right(self.segments, address, key=lambda segment: segment.address) - 1)
        for segment in self.segments[first:]:
            if segment.address >= end:
                return
            low, high = max(address, segment.address), min(end, segment.end)
            for start in range(low, high, _PIECE):
                octets = segment.octets(start - segment.address, min(start + _PIECE, high) - segment.address)
                yield Piece(start, octets)

    def held(self, address: int, length: int) -> int:
        """How many bytes of [address, address + length) the dump holds."""
        return int(self.held_each(np.array([address], np.int64), np.array([length], np.int64))[0])

    def first_absent(self, address: int, length: int) -> int:
        """The first address of [address, address + length) that the dump does not hold, or ABSENT."""
        end = address + length
        while address < end and self.held(address, 1):
            address = self.segments[bisect_right(self.segments, address, key=lambda one: one.address) - 1].end
        return address if address < end else ABSENT

    def held_each(self, addresses: Addresses, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many bytes of each [address, address + length) the dump holds ([n] each)."""
        return self._held_below(addresses + lengths) - self._held_below(addresses)

    def _held_below(self, addresses: Addresses) -> NDArray[np.int64]:
        """How many bytes the dump holds below each address."""
        owner = np.maximum(self._owners(addresses), 0)
        inside = np.minimum(addresses, self._ends[owner]) - self._starts[owner]
        return np.asarray(self._before[owner] + np.maximum(inside, 0))

    def _owners(self, addresses: Addresses) -> NDArray[np.intp]:
        """The last segment that begins at or below each address, -1 if none does."""
        return np.searchsorted(self._starts, addresses, "right") - 1


class Zeros:
    """Consecutive bytes that are zero, and at no place in the file."""

    offset = ABSENT

    def __init__(self, address: int, end: int) -> None:
        self.address = address
        self.end = end

    def octets(self, low: int, high: int) -> Octets:
        """The bytes from `low` up to `high`, counted from the run's first."""
        return np.zeros(high - low, np.uint8)

    def rows(self, addresses: Addresses, size: int) -> Octets:
        """`size` bytes from each of n addresses inside, as uint8 [n, size]."""
        return np.zeros((addresses.size, size), np.uint8)


def with_zeros(segments: Sequence[Run], base: int, size: int) -> list[Run]:
    """The segments, ascending, with zeros wherever they leave out a part of the window [base, base + size)."""
    bounds = [base, *(bound for one in segments for bound in (one.address, one.end)), base + size]
    gaps = [Zeros(low, high) for low, high in zip(bounds[::2], bounds[1::2], strict=True) if low < high]
    return [*segments, *gaps]


def overlaid(under: Sequence[Run], above: Sequence[Segment]) -> list[Run]:
    """Runs with others in the place of what those cover; of both none overlaps another of its own."""
    above = sorted(above, key=lambda one: one.address)
    ends = [one.end for one in above]
    runs: list[Run] = list(above)
    for run in under:
        low = run.address
        for one in above[bisect_right(ends, low) :]:
            if one.address >= run.end:
                break
            if low < one.address:
                runs.append(_part(run, low, one.address))
            low = one.end
        if low < run.end:
            runs.append(_part(run, low, run.end))
    return runs


def _part(run: Run, low: int, high: int) -> Run:
    if isinstance(run, Zeros):
        return Zeros(low, high)
    offset = run.offset if run.offset == ABSENT else run.offset + low - run.address
    return Segment(low, run.octets(low - run.address, high - run.address), offset)


def groups(rows: NDArray[np.intp], owner: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The rows of each owner, together."""
    if not rows.size:
        return []
    ordered = rows[np.argsort(owner[rows], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(owner[ordered])) + 1)
