# SPDX-License-Identifier: Apache-2.0
"""The pages of a dump that an answer was read from, as a core of its own: small enough to be mailed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Addresses, Dump, Octets, Piece
from gicmodel.memory import PAGE_BYTES


class Recorder(Dump):
    """A dump that remembers which pages were read through it; its segments can still be read without a trace."""

    def __init__(self, dump: Dump) -> None:
        super().__init__(dump.segments, dump.pending if dump.settled else None)
        self.pages: set[int] = set()

    def gather(self, addresses: Addresses, size: int) -> tuple[Octets, NDArray[np.bool_]]:
        """As the dump's, noting the pages."""
        if size:
            for more in range(0, size + PAGE_BYTES - 1, PAGE_BYTES):
                self.pages.update((addresses + min(more, size - 1) & -PAGE_BYTES).tolist())
        return super().gather(addresses, size)

    def pieces(self, address: int, length: int) -> Iterator[Piece]:
        """As the dump's, noting the pages."""
        for piece in super().pieces(address, length):
            end = piece.address + piece.octets.size
            self.pages.update(range(piece.address & -PAGE_BYTES, end, PAGE_BYTES))
            yield piece

    def held_each(self, addresses: Addresses, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """As the dump's, noting the pages: what is held there is a part of the answer."""
        for address, length in zip(addresses.tolist(), lengths.tolist(), strict=True):
            for _ in self.pieces(address, length):
                pass
        return super().held_each(addresses, lengths)

    def runs(self) -> list[Piece]:
        """What the dump holds of the pages that were read, neighbours together."""
        found: list[tuple[int, int]] = []
        for page in sorted(self.pages):
            for piece in super().pieces(page, PAGE_BYTES):
                start, size = piece.address, piece.octets.size
                if found and sum(found[-1]) == start:
                    found[-1] = found[-1][0], found[-1][1] + size
                else:
                    found.append((start, size))
        held = ((start, Dump.pieces(self, start, size)) for start, size in found)
        return [Piece(start, np.concatenate([piece.octets for piece in pieces])) for start, pieces in held]
