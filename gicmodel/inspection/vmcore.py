# SPDX-License-Identifier: Apache-2.0
"""kdump's compressed vmcores: their header tells which pages they hold, drgn unpacks and reads those.

makedumpfile leaves pages out: zero pages, free ones, user data (its dump level). They are absent like any that a dump
lacks. The file begins with a header (struct disk_dump_header of makedumpfile's diskdump_mod.h, with 64-bit longs), then
a sub header, then two bitmaps by page frame number: pages of RAM, and pages in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.files import opened
from gicmodel.inspection.dump import Addresses, Octets, groups
from gicmodel.memory import ADDRESS_BITS

MOST_RUNS = 1 << 20
"""Runs of pages that one vmcore may have here."""

_HEADER = np.dtype(
    {
        "names": ["signature", "machine", "block_size", "sub_hdr_size", "bitmap_blocks"],
        "formats": ["S8", "S65", "<i4", "<i4", "<u4"],
        "offsets": [0, 12 + 4 * 65, 428, 432, 436],
        "itemsize": 464,
    }
)
_PAGE_SIZES = (1 << 12, 1 << 14, 1 << 16)
_BATCH = 1 << 20


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
    """An open vmcore; its file is drgn's to close."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as file:
            header = self._header(file)
            self.page_bytes = int(header["block_size"])
            self._bitmap = self._dumped(file, header)
            self._program = _program(path, file)

    def runs(self) -> Iterator[Pages]:
        """The runs of pages that the file holds, by address."""
        offset = 0
        for number, (first, end) in enumerate(_runs(self._bitmap)):
            if number == MOST_RUNS or end * self.page_bytes > 1 << ADDRESS_BITS:
                raise UnusableInput(f"{self.path}: its bitmap has more than {MOST_RUNS} runs of pages, or is damaged")
            yield Pages(self, first * self.page_bytes, end * self.page_bytes, offset)
            offset += (end - first) * self.page_bytes

    def read(self, address: int, size: int) -> Octets:
        """Bytes that the file holds; raises UnusableInput if it does not after all."""
        try:
            return np.frombuffer(self._program.read(address, size, True), np.uint8)
        except Exception as error:
            raise UnusableInput(f"{self.path}: {size:#x} bytes at {address:#x}: {error}") from error

    def _header(self, file: IO[bytes]) -> np.void:
        octets = file.read(_HEADER.itemsize)
        if len(octets) < _HEADER.itemsize:
            raise UnusableInput(f"{self.path}: ends in its kdump header")
        header: np.void = np.frombuffer(octets, _HEADER)[0]
        machine = bytes(header["machine"]).decode(errors="replace")
        if machine != "aarch64":
            raise UnusableInput(f"{self.path}: is a kdump of {machine!r}; a GIC's RAM is of 'aarch64'")
        if header["block_size"] not in _PAGE_SIZES:
            raise UnusableInput(f"{self.path}: its block_size is {header['block_size']}, no page of aarch64")
        return header

    def _dumped(self, file: IO[bytes], header: np.void) -> NDArray[np.uint8]:
        """The bitmap of pages in the file, the second of two."""
        size = int(header["bitmap_blocks"]) // 2 * self.page_bytes
        start = (1 + int(header["sub_hdr_size"])) * self.page_bytes + size
        end = file.seek(0, 2)
        if header["sub_hdr_size"] < 0 or start + size > end:
            raise UnusableInput(f"{self.path}: its bitmap of {size:#x} bytes at {start:#x} exceeds the file's {end:#x}")
        return np.asarray(np.memmap(file, np.uint8, "r"))[start : start + size]


def read_vmcore(path: Path) -> list[Pages]:
    """The pages that a vmcore holds. Raises UnusableInput."""
    runs = list(Vmcore(path).runs())
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


def _runs(bitmap: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Runs of bits that are set: the first, and the one after the last."""
    first = None
    for start in range(0, bitmap.size, _BATCH):
        bits = np.unpackbits(bitmap[start : start + _BATCH], bitorder="little").astype(np.bool_)
        for place in (np.flatnonzero(np.diff(bits, prepend=first is not None)) + 8 * start).tolist():
            if first is None:
                first = place
            else:
                yield first, place
                first = None
    if first is not None:
        yield first, 8 * bitmap.size
