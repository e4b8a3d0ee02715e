# SPDX-License-Identifier: Apache-2.0
"""RAM images: raw bytes, and the ELF cores (`images.elf`) that `dump-guest-memory`, kdump and carving tools write."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.elf import MAGIC, check_addresses, loads, write_core
from gicmodel.images.files import opened_whole, refusing
from gicmodel.memory import PAGE_BYTES, GuestMemory

MAX_WINDOW = 1 << 40
"""Segments further apart than this do not share one window of memory."""

_COPY = 1 << 20
_HEXDUMP = re.compile(
    rb"(0x)?[0-9a-f]{4,16}(:|\s)\s*(0x)?[0-9a-f]{2}([0-9a-f]{2}){0,7}(\s+(0x)?[0-9a-f]{2}([0-9a-f]{2}){0,7}){1,31}(\s|\||$)",
    re.IGNORECASE,
)
"""A line of xxd, hexdump -C, U-Boot's md, QEMU's xp, crash's rd or gdb's x: an address and numbers of whole bytes."""
_HEXDUMP_LINES = 4
"""How many lines of that kind make a hexdump."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive bytes of RAM: `data` (uint8, [n], read-only) from physical `address`, file `offset` on.

    In a compressed file `offset` counts unpacked bytes.
    """

    address: int
    data: NDArray[np.uint8]
    offset: int = 0

    @property
    def end(self) -> int:
        """The first address after the segment."""
        return self.address + self.data.size

    def octets(self, low: int, high: int) -> NDArray[np.uint8]:
        """The bytes from `low` up to `high`, counted from the segment's first: a view."""
        return self.data[low:high]

    def rows(self, addresses: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """`size` bytes from each of n addresses inside, as uint8 [n, size]."""
        # A view whose element n is the `size` bytes from byte n on: one indexing copies every row at once.
        windows = np.ndarray(
            (self.data.size - size + 1,), np.dtype((np.void, size)), self.data, strides=(self.data.strides[0],)
        )
        return windows[addresses - self.address].view(np.uint8).reshape(-1, size)


def read_image(path: Path, base: int | None = None) -> list[Segment]:
    """Return an image's segments by address: an ELF core's, or with `base` the one of a raw file.

    `.xz`, `.gz` and `.zst` files are unpacked, pipes are copied; others are mapped, not read. Raises UnusableInput.
    """
    path = Path(path)
    with opened_whole(path) as file:
        return segments_in(file, path, base)


def segments_in(file: IO[bytes], path: Path, base: int | None = None) -> list[Segment]:
    """As `read_image`, of an image that is open already."""
    contents = mapped(file, path)
    is_elf = contents[: len(MAGIC)].tobytes() == MAGIC
    if is_elf and base is not None:
        raise UnusableInput(f"{path}: is an ELF file, whose addresses are its own; a base ({base:#x}) is for raw files")
    if is_elf:
        return [
            Segment(address, contents[offset : offset + size], offset)
            for address, offset, size in loads(path, contents)
        ]
    _refuse_hexdump(path, contents)
    if base is None:
        raise UnusableInput(f"{path}: is not an ELF file; raw bytes of RAM need the address of their first byte")
    check_addresses(f"{path}: its {contents.size:#x} bytes", base, contents.size)
    return [Segment(base, contents)]


def mapped(file: IO[bytes], path: Path) -> NDArray[np.uint8]:
    """The bytes of an open file, uint8 [n], read-only; raises UnusableInput if it has none or cannot be mapped."""
    with refusing(path):
        if file.seek(0, 2) == 0:
            raise UnusableInput(f"{path}: is empty")
        return np.asarray(np.memmap(file, np.uint8, "r"))


def load_segments(memory: GuestMemory, segments: Sequence[Segment]) -> None:
    """Write segments to memory; UnusableInput, with nothing written, if one is outside the window."""
    for segment in segments:
        if not memory.covers(segment.address, segment.data.size):
            raise UnusableInput(
                f"segment {segment.address:#x}-{segment.end - 1:#x} is outside RAM {memory.base:#x}-{memory.end - 1:#x}"
            )
    for segment in segments:
        memory.mark(segment.address, segment.data.size)
        for start in range(0, segment.data.size, _COPY):
            data = segment.data[start : start + _COPY]
            # Zeros are there already, and storing them would make a sparse image cost memory.
            if data.any():
                memory.write(segment.address + start, data)


def memory_for(segments: Sequence[Segment]) -> GuestMemory:
    """Return memory that holds the segments in one window, from the first one's page to the last one's."""
    base = min(segment.address for segment in segments) & -PAGE_BYTES
    end = (max(segment.end for segment in segments) + PAGE_BYTES - 1) & -PAGE_BYTES
    if end - base > MAX_WINDOW:
        raise UnusableInput(f"segments reach from {base:#x} to {end:#x}: one window is at most {MAX_WINDOW:#x} bytes")
    memory = GuestMemory(base, end - base)
    load_segments(memory, segments)
    return memory


def write_elf(path: Path, memory: GuestMemory) -> None:
    """Write the pages ever written as an ELF core (`write_core`)."""
    runs = ((address, memory.view(address, size, np.uint8)) for address, size in _runs(memory))
    write_core(Path(path), list(runs))


def _refuse_hexdump(path: Path, contents: NDArray[np.uint8]) -> None:
    """Digits of RAM are not RAM: a base would make them so without a word."""
    lines = [line.strip() for line in contents[:PAGE_BYTES].tobytes().splitlines() if line.strip()][:_HEXDUMP_LINES]
    if lines and all(map(_HEXDUMP.match, lines)):
        raise UnusableInput(
            f"{path}: is a hexdump in text, {lines[0].decode(errors='replace')!r}, not the bytes of RAM; "
            "`xxd -r` makes them of xxd's, pmemsave, dump-guest-memory or a debugger's `dump memory` write them"
        )


def _runs(memory: GuestMemory) -> list[tuple[int, int]]:
    """Runs of adjacent written pages: (address, bytes)."""
    pages = memory.written_pages()
    starts = np.flatnonzero(np.diff(pages, prepend=-1) != PAGE_BYTES)
    return [(int(run[0]), run.size * PAGE_BYTES) for run in np.split(pages, starts) if run.size]
