# SPDX-License-Identifier: Apache-2.0
"""ELF cores and programs: which bytes of the file are RAM, and where (System V gABI, chapters 4 and 5).

Bytes are placed by the PT_LOAD program headers' p_paddr; a core's virtual addresses are ignored. There may be tens of
thousands of them, so headers are read as arrays. A file's values are a stranger's: each is checked before it is used.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.files import replacing
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES

MAGIC = b"\x7fELF"
PN_XNUM = 0xFFFF
"""More program headers than e_phnum can count: section header 0 has their number."""

_HEADER = np.dtype(
    [
        *(("e_ident", "u1", 16), ("e_type", "<u2"), ("e_machine", "<u2"), ("e_version", "<u4"), ("e_entry", "<u8")),
        *(("e_phoff", "<u8"), ("e_shoff", "<u8"), ("e_flags", "<u4"), ("e_ehsize", "<u2"), ("e_phentsize", "<u2")),
        *(("e_phnum", "<u2"), ("e_shentsize", "<u2"), ("e_shnum", "<u2"), ("e_shstrndx", "<u2")),
    ]
)
_PROGRAM_HEADER = np.dtype(
    [
        *(("p_type", "<u4"), ("p_flags", "<u4"), ("p_offset", "<u8"), ("p_vaddr", "<u8"), ("p_paddr", "<u8")),
        *(("p_filesz", "<u8"), ("p_memsz", "<u8"), ("p_align", "<u8")),
    ]
)
_SECTION_HEADER = np.dtype(
    [
        *(("sh_name", "<u4"), ("sh_type", "<u4"), ("sh_flags", "<u8"), ("sh_addr", "<u8"), ("sh_offset", "<u8")),
        *(("sh_size", "<u8"), ("sh_link", "<u4"), ("sh_info", "<u4"), ("sh_addralign", "<u8"), ("sh_entsize", "<u8")),
    ]
)
_INSTRUCTION_BYTES = 4
_CLASS, _DATA = 4, 5
"""Indices in e_ident."""
_ELFCLASS64, _ELFDATA2LSB, _EV_CURRENT = 2, 1, 1
_ET_EXEC, _ET_DYN, _ET_CORE, _EM_AARCH64, _PT_LOAD, _READ_WRITE = 2, 3, 4, 183, 1, 6


def write_core(path: Path, runs: Sequence[tuple[int, NDArray[np.uint8]]]) -> None:
    """Write runs of RAM (address, bytes) as a core, a PT_LOAD each; packed as the suffix says. Raises UnusableInput."""
    if len(runs) >= PN_XNUM:
        raise UnusableInput(f"{path}: RAM has {len(runs)} runs of pages; an ELF header counts {PN_XNUM - 1}")
    with replacing(path) as file:
        file.write(_headers([(address, octets.size) for address, octets in runs]))
        for _, octets in runs:
            file.write(octets.data)


def _headers(runs: list[tuple[int, int]]) -> bytes:
    """The front of a core with these runs (address, bytes), whose bytes follow: whole pages."""
    header, programs = np.zeros(1, _HEADER), np.zeros(len(runs), _PROGRAM_HEADER)
    header["e_ident"][0, : _DATA + 2] = [*MAGIC, _ELFCLASS64, _ELFDATA2LSB, _EV_CURRENT]
    header["e_type"], header["e_machine"], header["e_version"] = _ET_CORE, _EM_AARCH64, _EV_CURRENT
    header["e_phoff"] = header["e_ehsize"] = _HEADER.itemsize
    header["e_phentsize"], header["e_phnum"] = _PROGRAM_HEADER.itemsize, len(runs)
    sizes = np.array([size for _, size in runs], np.uint64)
    programs["p_type"], programs["p_flags"], programs["p_align"] = _PT_LOAD, _READ_WRITE, PAGE_BYTES
    programs["p_paddr"] = [address for address, _ in runs]
    programs["p_filesz"] = programs["p_memsz"] = sizes
    first = page_aligned(header.nbytes + programs.nbytes)
    programs["p_offset"] = np.cumsum(sizes) - sizes + np.uint64(first)
    return (header.tobytes() + programs.tobytes()).ljust(first, b"\0")


def loads(path: Path, contents: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """The runs of RAM in a core: address, offset in the file and bytes, by address. Raises UnusableInput."""
    return _Elf(path, contents, {_ET_CORE: "ET_CORE"}, "a GIC's RAM").runs()


def program(path: Path, contents: NDArray[np.uint8]) -> tuple[int, list[tuple[int, int, int]]]:
    """A program's entry as a physical address, and its runs of RAM, as of `loads`. Raises UnusableInput."""
    elf = _Elf(path, contents, {_ET_EXEC: "ET_EXEC", _ET_DYN: "ET_DYN"}, "a program for the board")
    runs = elf.runs()
    return elf.entry(), runs


def check_entry(what: str, entry: int) -> None:
    """Raise UnusableInput, which begins with `what`, unless A64 code can begin there."""
    if entry % _INSTRUCTION_BYTES:
        raise UnusableInput(f"{what} is {entry:#x}: instructions are at multiples of {_INSTRUCTION_BYTES}")


class _Elf:
    """A file of one of the types (e_type: its name) being read, for what it is `wanted` as."""

    def __init__(self, path: Path, contents: NDArray[np.uint8], types: dict[int, str], wanted: str) -> None:
        self.path = path
        self.contents = contents
        self.types = types
        self.wanted = wanted
        self.header = self._read(_HEADER, 0, 1, "its ELF header")[0]

    def runs(self) -> list[tuple[int, int, int]]:
        self._check_header()
        headers = self._program_headers()
        wanted = np.flatnonzero((headers["p_type"] == _PT_LOAD) & (headers["p_filesz"] != 0)).tolist()
        runs = sorted(self._run(n, headers[n]) for n in wanted)
        if not runs:
            raise UnusableInput(f"{self.path}: no PT_LOAD program header holds any bytes")
        for (below, _, size), (above, _, _) in pairwise(runs):
            if below + size > above:
                raise UnusableInput(f"{self.path}: two PT_LOAD segments overlap at p_paddr {above:#x}")
        return runs

    def _check_header(self) -> None:
        identity = self.header["e_ident"]
        if (identity[_CLASS], identity[_DATA]) != (_ELFCLASS64, _ELFDATA2LSB):
            raise UnusableInput(
                f"{self.path}: is ELF of class {identity[_CLASS]}, data encoding {identity[_DATA]}; "
                f"{self.wanted} is 64-bit ({_ELFCLASS64}), little-endian ({_ELFDATA2LSB})"
            )
        for name, allowed in (("e_machine", {_EM_AARCH64: "EM_AARCH64"}), ("e_type", self.types)):
            if int(self.header[name]) not in allowed:
                meanings = " or ".join(f"{meaning} ({number})" for number, meaning in allowed.items())
                raise UnusableInput(f"{self.path}: {name} is {self.header[name]}; {self.wanted} is {meanings}")

    def entry(self) -> int:
        """e_entry, a virtual address, as a physical one."""
        entry = int(self.header["e_entry"])
        for header in self._program_headers():
            offset = entry - int(header["p_vaddr"])
            if header["p_type"] == _PT_LOAD and 0 <= offset < int(header["p_memsz"]):
                physical = int(header["p_paddr"]) + offset
                check_entry(f"{self.path}: e_entry {entry:#x}, as a physical address,", physical)
                return physical
        raise UnusableInput(f"{self.path}: e_entry {entry:#x} is in none of its segments")

    def _program_headers(self) -> NDArray[np.void]:
        header = self.header
        if header["e_phentsize"] != _PROGRAM_HEADER.itemsize:
            raise UnusableInput(f"{self.path}: e_phentsize is {header['e_phentsize']}, not {_PROGRAM_HEADER.itemsize}")
        count = int(header["e_phnum"])
        if count == PN_XNUM:
            count = int(self._read(_SECTION_HEADER, int(header["e_shoff"]), 1, "section header 0")["sh_info"][0])
        return self._read(_PROGRAM_HEADER, int(header["e_phoff"]), count, f"its {count} program headers")

    def _run(self, number: int, header: np.void) -> tuple[int, int, int]:
        offset, size, in_memory, address = (
            int(header[name]) for name in ("p_offset", "p_filesz", "p_memsz", "p_paddr")
        )
        place = f"program header {number}"
        if size > in_memory:
            raise UnusableInput(f"{self.path}: {place}: p_filesz {size:#x} is above p_memsz {in_memory:#x}")
        octets_at(f"{self.path}: {place}", self.contents, offset, size)
        check_addresses(f"{self.path}: {place}: p_paddr", address, in_memory)
        return address, offset, size

    def _read(self, dtype: np.dtype[np.void], offset: int, count: int, place: str) -> NDArray[np.void]:
        return octets_at(f"{self.path}: {place}", self.contents, offset, count * dtype.itemsize).view(dtype)


def octets_at(what: str, contents: NDArray[np.uint8], offset: int, size: int) -> NDArray[np.uint8]:
    """Bytes of a file. Raises UnusableInput, which begins with `what`, if it does not have them."""
    if offset + size > contents.size:
        raise UnusableInput(f"{what}: {size:#x} bytes at offset {offset:#x} exceed the file's {contents.size:#x}")
    return contents[offset : offset + size]


def check_addresses(what: str, address: int, size: int) -> None:
    """Raise UnusableInput if bytes are not in the physical address space."""
    if address < 0 or address + size > 1 << ADDRESS_BITS:
        raise UnusableInput(
            f"{what} at {address:#x} + {size:#x} is not in the {ADDRESS_BITS}-bit physical address space"
        )


def page_aligned(size: int) -> int:
    """A number of bytes, rounded up to whole pages."""
    return (size + PAGE_BYTES - 1) & -PAGE_BYTES
