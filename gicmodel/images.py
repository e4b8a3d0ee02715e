# SPDX-License-Identifier: Apache-2.0
"""RAM images: raw bytes, and ELF cores as `dump-guest-memory`, kdump and carving tools write them.

An ELF core places bytes by its PT_LOAD program headers' p_paddr (System V gABI, chapter 5, "Program Header"); virtual
addresses are ignored. A file's values are a stranger's: each is checked before it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from construct import Bytes, Const, Int16ul, Int32ul, Int64ul, Struct
from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.files import opened, replacing
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES, GuestMemory

MAX_WINDOW = 1 << 40
"""Segments further apart than this do not share one window of memory."""

_MAGIC = b"\x7fELF"
_PN_XNUM = 0xFFFF
_COPY = 1 << 20

_ELF_HEADER = Struct(
    "e_ident" / Const(_MAGIC + bytes([2, 1, 1]) + bytes(9)),  # ELFCLASS64, ELFDATA2LSB, EV_CURRENT
    "e_type" / Const(4, Int16ul),  # ET_CORE
    "e_machine" / Const(183, Int16ul),  # EM_AARCH64
    "e_version" / Const(1, Int32ul),
    "e_entry" / Const(0, Int64ul),
    "e_phoff" / Const(64, Int64ul),
    "e_shoff" / Const(0, Int64ul),
    "e_flags" / Const(0, Int32ul),
    "e_ehsize" / Const(64, Int16ul),
    "e_phentsize" / Const(56, Int16ul),
    "e_phnum" / Int16ul,
    "section_headers" / Const(bytes(6), Bytes(6)),
)
_PROGRAM_HEADER = Struct(
    "p_type" / Const(1, Int32ul),  # PT_LOAD
    "p_flags" / Const(6, Int32ul),  # read, write
    "p_offset" / Int64ul,
    "p_vaddr" / Const(0, Int64ul),
    "p_paddr" / Int64ul,
    "p_filesz" / Int64ul,
    "p_memsz" / Int64ul,
    "p_align" / Const(PAGE_BYTES, Int64ul),
)


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


def read_image(path: Path, base: int | None = None) -> list[Segment]:
    """Return an image's segments by address: an ELF core's, or with `base` the one of a raw file.

    `.xz`, `.gz` and `.zst` files are unpacked; others are mapped, not read. Raises UnusableInput.
    """
    path = Path(path)
    with opened(path) as file:
        contents = _mapped(file, path)
        is_elf = contents[: len(_MAGIC)].tobytes() == _MAGIC
        if is_elf and base is not None:
            raise UnusableInput(
                f"{path}: is an ELF file, whose addresses are its own; a base ({base:#x}) is for raw files"
            )
        if is_elf:
            return _Core(path, file, contents).segments()
    if base is None:
        raise UnusableInput(f"{path}: is not an ELF file; raw bytes of RAM need the address of their first byte")
    _check_addresses(f"{path}: its {contents.size:#x} bytes", base, contents.size)
    return [Segment(base, contents)]


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
    """Write the pages ever written as an ELF core, a PT_LOAD for each run of them; packed as the suffix says."""
    runs = _runs(memory)
    if len(runs) >= _PN_XNUM:
        raise UnusableInput(f"{path}: RAM has {len(runs)} runs of written pages; an ELF header counts {_PN_XNUM - 1}")
    headers = _ELF_HEADER.build({"e_phnum": len(runs)})
    offset = _page_aligned(len(headers) + len(runs) * _PROGRAM_HEADER.sizeof())
    for address, size in runs:
        fields = {"p_offset": offset, "p_paddr": address, "p_filesz": size, "p_memsz": size}
        headers += _PROGRAM_HEADER.build(fields)
        offset += size
    with replacing(Path(path)) as file:
        file.write(headers.ljust(_page_aligned(len(headers)), b"\0"))
        for address, size in runs:
            file.write(memory.view(address, size, np.uint8).data)


def write_raw(path: Path, memory: GuestMemory) -> None:
    """Write the whole window as raw bytes; packed as the suffix says."""
    with replacing(Path(path)) as file:
        for start in range(0, memory.size, _COPY):
            file.write(memory.octets[start : start + _COPY].data)


class _Core:
    """An ELF core being read: pyelftools parses, this checks."""

    def __init__(self, path: Path, file: IO[bytes], contents: NDArray[np.uint8]) -> None:
        self.path = path
        self.file = file
        self.contents = contents
        try:
            self.elf = ELFFile(file)
        except ELFError as error:
            raise UnusableInput(f"{path}: its ELF header is damaged or truncated: {error}") from error

    def segments(self) -> list[Segment]:
        self._check_header()
        headers = [(n, header) for n, header in enumerate(self._program_headers()) if header["p_type"] == "PT_LOAD"]
        segments = [self._segment(n, header) for n, header in headers if header["p_filesz"]]
        if not segments:
            raise UnusableInput(f"{self.path}: no PT_LOAD program header holds any bytes")
        segments.sort(key=lambda segment: segment.address)
        for below, above in pairwise(segments):
            if below.end > above.address:
                raise UnusableInput(f"{self.path}: two PT_LOAD segments overlap at p_paddr {above.address:#x}")
        return segments

    def _check_header(self) -> None:
        elf = self.elf
        if elf.elfclass != 64 or not elf.little_endian:
            order = "little" if elf.little_endian else "big"
            raise UnusableInput(
                f"{self.path}: is {elf.elfclass}-bit {order}-endian ELF; a GIC's RAM is 64-bit little-endian"
            )
        if elf["e_machine"] != "EM_AARCH64":
            raise UnusableInput(f"{self.path}: e_machine is {elf['e_machine']}; a GIC's RAM is EM_AARCH64")
        if elf["e_type"] != "ET_CORE":
            raise UnusableInput(f"{self.path}: e_type is {elf['e_type']}; a RAM image is ET_CORE")

    def _program_headers(self) -> list[Any]:
        elf = self.elf
        structure = elf.structs.Elf_Phdr
        if elf["e_phentsize"] != structure.sizeof():
            raise UnusableInput(f"{self.path}: e_phentsize is {elf['e_phentsize']}, not {structure.sizeof()}")
        count = elf["e_phnum"]
        if count == _PN_XNUM:
            count = self._parse(elf.structs.Elf_Shdr, elf["e_shoff"], "section header 0")["sh_info"]
        self._check_in_file(elf["e_phoff"], count * structure.sizeof(), f"its {count} program headers")
        offsets = range(elf["e_phoff"], elf["e_phoff"] + count * structure.sizeof(), structure.sizeof())
        return [self._parse(structure, offset, f"program header {n}") for n, offset in enumerate(offsets)]

    def _segment(self, number: int, header: Any) -> Segment:
        offset, size, address = header["p_offset"], header["p_filesz"], header["p_paddr"]
        place = f"program header {number}"
        if size > header["p_memsz"]:
            raise UnusableInput(f"{self.path}: {place}: p_filesz {size:#x} is above p_memsz {header['p_memsz']:#x}")
        self._check_in_file(offset, size, place)
        _check_addresses(f"{self.path}: {place}: p_paddr", address, header["p_memsz"])
        return Segment(address, self.contents[offset : offset + size], offset)

    def _parse(self, structure: Any, offset: int, place: str) -> Any:
        self._check_in_file(offset, structure.sizeof(), place)
        return struct_parse(structure, self.file, offset)

    def _check_in_file(self, offset: int, size: int, place: str) -> None:
        if offset + size > self.contents.size:
            raise UnusableInput(
                f"{self.path}: {place}: {size:#x} bytes at offset {offset:#x} exceed the file's {self.contents.size:#x}"
            )


def _mapped(file: IO[bytes], path: Path) -> NDArray[np.uint8]:
    if file.seek(0, 2) == 0:
        raise UnusableInput(f"{path}: is empty")
    return np.asarray(np.memmap(file, np.uint8, "r"))


def _check_addresses(what: str, address: int, size: int) -> None:
    if address < 0 or address + size > 1 << ADDRESS_BITS:
        raise UnusableInput(
            f"{what} at {address:#x} + {size:#x} is not in the {ADDRESS_BITS}-bit physical address space"
        )


def _runs(memory: GuestMemory) -> list[tuple[int, int]]:
    """Runs of adjacent written pages: (address, bytes)."""
    pages = memory.written_pages()
    starts = np.flatnonzero(np.diff(pages, prepend=-1) != PAGE_BYTES)
    return [(int(run[0]), run.size * PAGE_BYTES) for run in np.split(pages, starts) if run.size]


def _page_aligned(size: int) -> int:
    return (size + PAGE_BYTES - 1) & -PAGE_BYTES
