# SPDX-License-Identifier: Apache-2.0
"""kdump's compressed vmcores: which pages the file holds, whether all that it names is in the file, and the pages.

A file begins with a header and a sub header (struct disk_dump_header and kdump_sub_header of makedumpfile's
diskdump_mod.h, with 64-bit longs), each whole pages. Two bitmaps by page frame number follow, of pages of RAM and of
pages in the file, then a descriptor for each page in the file. Each offset is checked before anything is read.

QEMU writes such files of its own: of arm64 the machine is "Unknown", and the blocks are 64 KiB whatever the kernel's
page size (dump/dump.c).

makedumpfile leaves pages out: zero pages, free ones, user data (its dump level). They are absent like any that a dump
lacks.

A flattened file, as it comes through a pipe, is pieces of such a file. A header of 4096 bytes begins with
"makedumpfile"; then offset and size, 64 bits each and big-endian, and the bytes, until an offset of -1 (makedumpfile.h,
struct makedumpfile_header and makedumpfile_data_header).
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.codecs import unpacked
from gicmodel.images.dump import Addresses, Octets, groups
from gicmodel.images.elf import octets_at
from gicmodel.images.files import MAX_UNPACKED, refusing
from gicmodel.images.segments import mapped
from gicmodel.memory import ADDRESS_BITS

MAGIC, FLAT_MAGIC = b"KDUMP   ", b"makedumpfile"
_FLAT_HEADER_BYTES = 4096
_FLAT_PIECE = struct.Struct(">qq")
_FLAT_END = -1
_HEADER = np.dtype(
    {
        "names": ["version", "machine", "block_size", "sub_hdr_size", "bitmap_blocks", "max_mapnr"],
        "formats": ["<i4", "S65", "<i4", "<i4", "<u4", "<u4"],
        "offsets": [8, 12 + 4 * 65, 428, 432, 436, 440],
        "itemsize": 464,
    }
)
_SUB_HEADER = np.dtype(
    [
        *(("phys_base", "<u8"), ("dump_level", "<i4"), ("split", "<i4"), ("start_pfn", "<u8"), ("end_pfn", "<u8")),
        *(("offset_vmcoreinfo", "<u8"), ("size_vmcoreinfo", "<u8"), ("offset_note", "<u8"), ("size_note", "<u8")),
        *(("offset_eraseinfo", "<u8"), ("size_eraseinfo", "<u8"), ("start_pfn_64", "<u8"), ("end_pfn_64", "<u8")),
        ("max_mapnr_64", "<u8"),
    ]
)
_DESCRIPTOR = np.dtype([("offset", "<u8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])
VERSION = 6
"""Of 2012; those before tell the number of pages elsewhere."""
_MACHINES = ("aarch64", "Unknown")
"""The second is what QEMU calls an arm64 machine."""
_PAGE_SIZES = (1 << 12, 1 << 14, 1 << 16)
_NOTES = 1 << 24
"""Bytes of notes at most: a few hundred for each CPU."""
_BATCH = 1 << 20
MOST_RUNS = 1 << 20
"""Runs of pages that one vmcore may have here."""
_PAGES_KEPT = 256
_NONE = np.empty(0, np.uint8)


class Vmcore:
    """A vmcore, given as its mapped bytes, and the pages that were unpacked last.

    Raises UnusableInput for one that cannot be read.
    """

    def __init__(self, path: Path, contents: Octets) -> None:
        self.path = path
        self.contents = contents
        self.header = self._read(_HEADER, 0, 1, "its header")[0]
        self.page_bytes = int(self.header["block_size"])
        self._check_header()
        self.sub_header = self._read(_SUB_HEADER, self.page_bytes, 1, "its sub header")[0]
        self._check_sub_header()
        blocks = int(self.header["bitmap_blocks"])
        start = (1 + int(self.header["sub_hdr_size"])) * self.page_bytes
        size = blocks // 2 * self.page_bytes
        self.bitmap = self._bytes(start + size, size, "its bitmap")
        self._check_pages(start + blocks * self.page_bytes)
        self.page = lru_cache(_PAGES_KEPT)(self._unpack)

    def runs(self) -> Iterator[tuple[int, int]]:
        """Runs of pages that the file holds: the number of the first, and of the one after the last."""
        first = None
        for start in range(0, self.bitmap.size, _BATCH):
            bits = np.unpackbits(self.bitmap[start : start + _BATCH], bitorder="little").astype(np.bool_)
            for place in (np.flatnonzero(np.diff(bits, prepend=first is not None)) + 8 * start).tolist():
                if first is None:
                    first = place
                else:
                    yield first, place
                    first = None
        if first is not None:
            yield first, 8 * self.bitmap.size

    def _unpack(self, number: int) -> Octets:
        """The bytes of the page of descriptor `number`. Raises ValueError for damaged ones."""
        offset, size, flags = (int(self._descriptors[name][number]) for name in ("offset", "size", "flags"))
        page = unpacked(self.contents[offset : offset + size].tobytes(), flags, self.page_bytes)
        return np.frombuffer(page, np.uint8)

    def _check_header(self) -> None:
        header = self.header
        machine = bytes(header["machine"]).decode(errors="replace")
        if machine not in _MACHINES:
            raise UnusableInput(f"{self.path}: is a kdump of {machine!r}; a GIC's RAM is of 'aarch64'")
        if header["version"] != VERSION:
            raise UnusableInput(f"{self.path}: its header_version is {header['version']}; {VERSION} can be read")
        if self.page_bytes not in _PAGE_SIZES:
            raise UnusableInput(f"{self.path}: its block_size is {self.page_bytes}, no page of aarch64")
        if header["sub_hdr_size"] < 1 or header["bitmap_blocks"] % 2:
            raise UnusableInput(f"{self.path}: its header has no sub header, or not two bitmaps")

    def _check_sub_header(self) -> None:
        about = self.sub_header
        if about["split"]:
            raise UnusableInput(f"{self.path}: is a part of a split kdump; makedumpfile --reassemble makes one of them")
        for name in ("vmcoreinfo", "note", "eraseinfo"):
            size = int(about[f"size_{name}"])
            if size > _NOTES:
                raise UnusableInput(f"{self.path}: its {name} has {size:#x} bytes; at most {_NOTES:#x} can be")
            self._bytes(int(about[f"offset_{name}"]) if size else 0, size, f"its {name}")
        frames = int(about["max_mapnr_64"])
        if frames > 4 * int(self.header["bitmap_blocks"]) * self.page_bytes:
            raise UnusableInput(f"{self.path}: its max_mapnr is {frames:#x}, more than its bitmap has bits")
        if frames * self.page_bytes > 1 << ADDRESS_BITS:
            raise UnusableInput(f"{self.path}: its max_mapnr is {frames:#x}, beyond the physical address space")

    def _check_pages(self, start: int) -> None:
        """Every descriptor's page is in the file."""
        chunks = range(0, self.bitmap.size, _BATCH)
        count = sum(int(np.bitwise_count(self.bitmap[at : at + _BATCH]).sum(dtype=np.int64)) for at in chunks)
        self._descriptors = pages = self._read(_DESCRIPTOR, start, count, f"its {count} page descriptors")
        for at in range(0, count, _BATCH):
            offsets, sizes = (pages[name][at : at + _BATCH].astype(np.uint64) for name in ("offset", "size"))
            end = np.uint64(self.contents.size)
            wrong = (sizes > self.page_bytes) | (offsets > end) | (sizes > end - np.minimum(offsets, end))
            if wrong.any():
                number = at + int(np.flatnonzero(wrong)[0])
                raise UnusableInput(f"{self.path}: page descriptor {number} is damaged: its page is not in the file")

    def _read(self, dtype: np.dtype[np.void], offset: int, count: int, what: str) -> NDArray[np.void]:
        return self._bytes(offset, count * dtype.itemsize, what).view(dtype)

    def _bytes(self, offset: int, size: int, what: str) -> Octets:
        return octets_at(f"{self.path}: {what}", self.contents, offset, size)


class Pages:
    """A run of pages of a vmcore, unpacked when they are asked for; `offset` counts unpacked bytes."""

    def __init__(self, vmcore: Vmcore, address: int, end: int, offset: int) -> None:
        self.address = address
        self.end = end
        self.offset = offset
        self._vmcore = vmcore

    def octets(self, low: int, high: int) -> Octets:
        """The bytes from `low` up to `high`, counted from the run's first."""
        size = self._vmcore.page_bytes
        # No page is in the file twice, so the unpacked ones count as their descriptors do.
        first = (self.offset + low) // size
        pages = [self._page(number) for number in range(first, -(-(self.offset + high) // size))]
        start = self.offset + low - first * size
        return (pages[0] if len(pages) == 1 else np.concatenate([_NONE, *pages]))[start : start + high - low]

    def rows(self, addresses: Addresses, size: int) -> Octets:
        """`size` bytes from each of n addresses inside, as uint8 [n, size]."""
        lows = addresses - self.address
        if size > 1:
            return np.stack([self.octets(low, low + size) for low in lows.tolist()])
        octets = np.empty((addresses.size, 1), np.uint8)
        pages = lows // self._vmcore.page_bytes
        for mine in groups(np.arange(pages.size), pages):
            start = int(pages[mine[0]]) * self._vmcore.page_bytes
            octets[mine, 0] = self.octets(start, start + self._vmcore.page_bytes)[lows[mine] - start]
        return octets

    def _page(self, number: int) -> Octets:
        try:
            return self._vmcore.page(number)
        except (ValueError, UnusableInput) as error:
            size = self._vmcore.page_bytes
            where = f"{size:#x} bytes at {self.address + number * size - self.offset:#x}"
            raise UnusableInput(f"{self._vmcore.path}: {where}: {error}") from error


def pages_in(file: IO[bytes], path: Path) -> list[Pages]:
    """The runs of pages that an open vmcore holds, by address. Raises UnusableInput."""
    vmcore, runs, offset = Vmcore(path, mapped(file, path)), list[Pages](), 0
    for first, end in vmcore.runs():
        if len(runs) == MOST_RUNS:
            raise UnusableInput(f"{path}: its bitmap has more than {MOST_RUNS} runs of pages")
        runs.append(Pages(vmcore, first * vmcore.page_bytes, end * vmcore.page_bytes, offset))
        offset += runs[-1].end - runs[-1].address
    if not runs:
        raise UnusableInput(f"{path}: is a kdump without pages")
    return runs


def unflattened(file: IO[bytes], path: Path) -> IO[bytes]:
    """The file that the pieces make, without a name. Raises UnusableInput."""
    with refusing(path), ExitStack() as on_failure:
        file.seek(_FLAT_HEADER_BYTES)
        plain = on_failure.enter_context(tempfile.TemporaryFile())
        _join(file, path, plain)
        plain.flush()
        on_failure.pop_all()
    return plain


def _join(file: IO[bytes], path: Path, plain: IO[bytes]) -> None:
    while True:
        place = file.tell()
        head = file.read(_FLAT_PIECE.size)
        if len(head) < _FLAT_PIECE.size:
            raise UnusableInput(f"{path}: is a flattened kdump that ends at {place:#x} without its last piece")
        offset, size = _FLAT_PIECE.unpack(head)
        if offset == _FLAT_END:
            return
        if offset < 0 or size <= 0 or offset + size > MAX_UNPACKED:
            raise UnusableInput(
                f"{path}: the piece at {place:#x} of a flattened kdump has offset {offset}, size {size}"
            )
        piece = file.read(size)
        if len(piece) < size:
            raise UnusableInput(f"{path}: the piece at {place:#x} of a flattened kdump has {size} bytes and ends early")
        plain.seek(offset)
        plain.write(piece)
