# SPDX-License-Identifier: Apache-2.0
"""kdump's compressed vmcores: `gicmodel.images.kdump` tells which pages they hold, drgn unpacks and reads those.

makedumpfile leaves pages out: zero pages, free ones, user data (its dump level). They are absent like any that a dump
lacks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Addresses, Octets, groups
from gicmodel.images.kdump import Kdump
from gicmodel.images.segments import mapped

MOST_RUNS = 1 << 20
"""Runs of pages that one vmcore may have here."""


class Pages:
    """A run of pages of a vmcore, read when they are asked for; `offset` counts unpacked bytes."""

    def __init__(self, vmcore: Vmcore, address: int, end: int, offset: int) -> None:
        self.address = address
        self.end = end
        self.offset = offset
        self._vmcore = vmcore

    def octets(self, low: int, high: int) -> Octets:
        """The bytes from `low` up to `high`, counted from the run's first."""
        return self._vmcore.read(self.address + low, high - low)

    def rows(self, addresses: Addresses, size: int) -> Octets:
        """`size` bytes from each of n addresses inside, as uint8 [n, size]."""
        if size > 1:
            return np.stack([self._vmcore.read(address, size) for address in addresses.tolist()])
        pages = addresses // self._vmcore.page_bytes
        octets = np.empty((addresses.size, 1), np.uint8)
        for mine in groups(np.arange(pages.size), pages):
            start = int(pages[mine[0]]) * self._vmcore.page_bytes
            octets[mine, 0] = self._vmcore.read(start, self._vmcore.page_bytes)[addresses[mine] - start]
        return octets


class Vmcore:
    """A vmcore; drgn has a descriptor of its own of the file."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        self._front = Kdump(path, mapped(file, path))
        self.page_bytes = self._front.page_bytes
        self._program = _program(path, file)

    def runs(self) -> Iterator[Pages]:
        """The runs of pages that the file holds, by address."""
        offset = 0
        for number, (first, end) in enumerate(self._front.runs()):
            if number == MOST_RUNS:
                raise UnusableInput(f"{self.path}: its bitmap has more than {MOST_RUNS} runs of pages")
            yield Pages(self, first * self.page_bytes, end * self.page_bytes, offset)
            offset += (end - first) * self.page_bytes

    def read(self, address: int, size: int) -> Octets:
        """Bytes that the file holds; raises UnusableInput if it does not after all."""
        try:
            return np.frombuffer(self._program.read(address, size, True), np.uint8)
        except Exception as error:
            raise UnusableInput(f"{self.path}: {size:#x} bytes at {address:#x}: {error}") from error


def pages_in(file: IO[bytes], path: Path) -> list[Pages]:
    """The pages that an open vmcore holds. Raises UnusableInput."""
    runs = list(Vmcore(file, path).runs())
    if not runs:
        raise UnusableInput(f"{path}: is a kdump without pages")
    return runs


def _program(path: Path, file: IO[bytes]) -> Any:
    try:
        import drgn
    except ImportError:
        raise UnusableInput(
            f"{path}: is a compressed kdump, which needs drgn: pip install 'gicmodel[vmcore]'"
        ) from None
    program = drgn.Program()
    try:
        program.set_core_dump(os.dup(file.fileno()))
    except Exception as error:
        raise UnusableInput(f"{path}: drgn cannot read it: {' '.join(str(error).split())}") from error
    return program
