# SPDX-License-Identifier: Apache-2.0
"""The files that RAM is read from.

They are ELF cores and raw bytes (`images.segments`), LiME's format, kdump's vmcores (`images.kdump`), and snapshots of
this package's hardware (`images.snapshot_file`), which have their registers with them.

A LiME file is a sequence of ranges, each with a header of 32 bytes: the magic "EMiL", version 1, the first and the last
physical address, eight reserved bytes (LiME, src/lime.h).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images import hexdump, kdump, registers
from gicmodel.images.dump import Dump
from gicmodel.images.elf import check_addresses
from gicmodel.images.files import opened_whole, start_of
from gicmodel.images.registers import Registers
from gicmodel.images.segments import Segment, mapped, segments_in
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES

REGISTERS_NAME = "registers.toml"
_LIME = b"EMiL"
_RANGE = np.dtype([("magic", "S4"), ("version", "<u4"), ("first", "<u8"), ("last", "<u8"), ("reserved", "V8")])
_ZIP = b"PK\x03\x04"
"""How every `.npz` begins."""
_UNREADABLE = {
    b"DISKDUMP": "a diskdump; it can be inspected as an ELF core of physical memory",
    b"LibvirtQemudSave": "a VM that libvirt saved; `virsh dump --memory-only` of the running VM can be read",
    b"LibvirtQemudPart": "a VM that libvirt did not finish to save; `virsh dump --memory-only` can be read",
    b"QEVM": "a migration stream of QEMU; load it (-incoming) and take `dump-guest-memory`",
    b"QFI\xfb": "a qcow2 disk; load its snapshot (-loadvm) and take `dump-guest-memory`",
    b"PAGEDU64": "a crash dump of Windows; there is no Linux in it, `dump-guest-memory` of its VM can be read",
    b"PAGEDUMP": "a crash dump of 32-bit Windows; `dump-guest-memory` of its VM can be read",
    b"\xff\xff\xff\xff\xff\xff\xff\xffXENF": "a VM that Xen saved; a raw dump of its RAM can be read with --base",
}


_NUMBER = r"(?:0x[0-9a-fA-F]+|[0-9]+)"
_PART = re.compile(
    rf"(?P<path>.+)@(?P<base>{_NUMBER})(?::(?P<offset>{_NUMBER})(?::(?P<size>{_NUMBER}))?)?", re.ASCII | re.DOTALL
)


class Part(NamedTuple):
    """A file of RAM; raw bytes begin at physical address `base`, and may be `size` bytes from `offset` on."""

    path: Path
    base: int | None = None
    offset: int = 0
    size: int | None = None

    @property
    def is_excerpt(self) -> bool:
        """Whether it is not the whole file."""
        return (self.offset, self.size) != (0, None)


def parse_part(text: str) -> Part:
    """What `FILE`, `FILE@BASE`, `FILE@BASE:OFFSET` or `FILE@BASE:OFFSET:SIZE` names; a file of that name goes first."""
    if not text:
        raise UnusableInput("an empty name is no file of RAM")
    match = _PART.fullmatch(text)
    if match is None or os.path.lexists(text):
        return Part(Path(text))
    numbers = {name: None if match[name] is None else int(match[name], 0) for name in ("base", "offset", "size")}
    return Part(Path(match["path"]), numbers["base"], numbers["offset"] or 0, numbers["size"])


def beside(image: Path) -> Path | None:
    """The registers file that belongs to an image: NAME.toml beside NAME.elf.xz, else registers.toml there."""
    name = image.name.partition(".")[0]
    candidates = [image.with_name(f"{name}.toml"), image.with_name(REGISTERS_NAME)]
    return next((path for path in candidates if path.is_file()), None)


def read_dump(path: Path, base: int | None = None) -> Dump:
    """The dump in a file of any of the kinds; with `base`, raw bytes. Raises UnusableInput."""
    with opened_whole(path) as file:
        return dump_in(file, Part(path, base))


def dump_in(file: IO[bytes], part: Part) -> Dump:
    """As `read_dump`, of a part of a file that is open already, wherever its position is."""
    path, base, start = part.path, part.base, b""
    if base is None:
        start = _head(file, path)
    elif part.is_excerpt:
        return _excerpt(mapped(file, path), part, base)
    for magic, name in _UNREADABLE.items():
        if start.startswith(magic):
            raise UnusableInput(f"{path}: is {name}")
    if start.startswith(kdump.MAGIC):
        return Dump(kdump.pages_in(file, path))
    if start.startswith(kdump.FLAT_MAGIC):
        with kdump.unflattened(file, path) as plain:
            if _head(plain, path).startswith(kdump.FLAT_MAGIC):
                raise UnusableInput(f"{path}: is a flattened kdump in a flattened kdump")
            return dump_in(plain, Part(path))
    if start.startswith(_ZIP):
        from gicmodel.images import snapshot_file

        return snapshot_file.dump_in(file, path)
    if start.startswith(_LIME):
        return Dump(list(_ranges(path, mapped(file, path))))
    if hexdump.is_hexdump(start_of(file, path, PAGE_BYTES)):
        return Dump(hexdump.segments_in(file, path, base))
    return Dump(segments_in(file, path, base))


def _excerpt(contents: NDArray[np.uint8], part: Part, base: int) -> Dump:
    """Raw bytes of RAM that are a part of a file."""
    end = contents.size if part.size is None else part.offset + part.size
    if not part.offset < end <= contents.size:
        raise UnusableInput(
            f"{part.path}: bytes {part.offset:#x} up to {end:#x} are none of its {contents.size:#x} bytes"
        )
    check_addresses(f"{part.path}: {end - part.offset:#x} bytes", base, end - part.offset)
    return Dump([Segment(base, contents[part.offset : end], part.offset)])


def with_parts(dump: Dump, image: Path, parts: list[Part]) -> Dump:
    """A dump with more parts of the same RAM. Raises UnusableInput."""
    if not parts:
        return dump
    if dump.settled:
        raise UnusableInput(f"{image}: is a snapshot, which has all of its RAM: no piece goes with it")
    runs = dump.segments
    for part in parts:
        with opened_whole(part.path) as file:
            more = dump_in(file, part)
        if more.settled:
            raise UnusableInput(f"{part.path}: is a snapshot, which has all of its RAM: no piece goes with another")
        runs = [*runs, *more.segments]
    return Dump(runs)


def is_snapshot(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is a snapshot of this package's hardware, or at least such an archive.

    Raises UnusableInput.
    """
    return _head(file, path).startswith(_ZIP)


def read_registers(path: Path) -> Registers:
    """The registers in a TOML file or in a snapshot of this package's hardware. Raises UnusableInput."""
    with opened_whole(path) as file:
        return registers_in(file, path)


def registers_in(file: IO[bytes], path: Path) -> Registers:
    """As `read_registers`, of a file that is open already, wherever its position is."""
    if is_snapshot(file, path):
        from gicmodel.images import snapshot_file

        return snapshot_file.registers_in(file, path)
    return registers.registers_in(file, path)


def _head(file: IO[bytes], path: Path) -> bytes:
    return start_of(file, path, max(map(len, (_LIME, _ZIP, kdump.MAGIC, kdump.FLAT_MAGIC, *_UNREADABLE))))


def _ranges(path: Path, contents: NDArray[np.uint8]) -> Iterator[Segment]:
    offset = 0
    while offset < contents.size:
        header = contents[offset : offset + _RANGE.itemsize]
        if header.size < _RANGE.itemsize or header[: len(_LIME)].tobytes() != _LIME:
            raise UnusableInput(f"{path}: no LiME range begins at offset {offset:#x}")
        version, first, last = (int(header.view(_RANGE)[name][0]) for name in ("version", "first", "last"))
        offset += _RANGE.itemsize
        size = last + 1 - first
        if version != 1:
            raise UnusableInput(f"{path}: LiME format version {version}; version 1 is not compressed and can be read")
        if size <= 0 or last >= 1 << ADDRESS_BITS or offset + size > contents.size:
            raise UnusableInput(f"{path}: the LiME range {first:#x}-{last:#x} is none, or exceeds the file")
        yield Segment(first, contents[offset : offset + size], offset)
        offset += size
