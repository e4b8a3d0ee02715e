# SPDX-License-Identifier: Apache-2.0
"""The files that RAM is read from: ELF cores and raw bytes (`gicmodel.images`), LiME's format, and snapshots of
this package's hardware (`gicmodel.snapshot_file`), which have their registers with them.

A LiME file is a sequence of ranges, each with a header of 32 bytes: the magic "EMiL", version 1, the first and the last
physical address, eight reserved bytes (LiME, src/lime.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from construct import Bytes, Const, Int32ul, Int64ul, Struct
from construct.core import ConstructError
from numpy.typing import NDArray

from gicmodel import registers_file, snapshot_file
from gicmodel.errors import UnusableInput
from gicmodel.files import head, opened
from gicmodel.images import Segment, read_image
from gicmodel.inspection.dump import Dump
from gicmodel.memory import ADDRESS_BITS
from gicmodel.registers_file import Registers
from gicmodel.snapshot_file import MAGIC, read_ram

_LIME = b"EMiL"
_RANGE = Struct(
    "magic" / Const(_LIME),
    "version" / Int32ul,
    "first" / Int64ul,
    "last" / Int64ul,
    "reserved" / Bytes(8),
)
_COMPRESSED = {b"KDUMP   ": "a compressed kdump", b"DISKDUMP": "a diskdump", b"makedumpfile": "a flattened kdump"}


def read_dump(path: Path, base: int | None = None) -> Dump:
    """The dump in a file: an ELF core, LiME's ranges, a snapshot, or with `base` raw bytes. Raises UnusableInput."""
    start = head(path, 16) if base is None else b""
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise UnusableInput(f"{path}: is {name}; it can be inspected as an ELF core of physical memory")
    if start.startswith(MAGIC):
        return Dump(read_ram(path))
    return Dump(_lime(path) if start.startswith(_LIME) else read_image(path, base))


def is_snapshot(path: Path) -> bool:
    """Whether a file is a snapshot of this package's hardware, or at least such an archive. Raises UnusableInput."""
    return head(path, len(MAGIC)) == MAGIC


def read_registers(path: Path) -> Registers:
    """The registers in a TOML file or in a snapshot of this package's hardware. Raises UnusableInput."""
    if is_snapshot(path):
        return snapshot_file.read_registers(path)
    return registers_file.read_registers(path)


def _lime(path: Path) -> list[Segment]:
    with opened(path) as file:
        contents = np.asarray(np.memmap(file, np.uint8, "r"))
    return list(_ranges(path, contents))


def _ranges(path: Path, contents: NDArray[np.uint8]) -> Iterator[Segment]:
    offset = 0
    while offset < contents.size:
        try:
            header = _RANGE.parse(contents[offset : offset + _RANGE.sizeof()].tobytes())
        except ConstructError as error:
            raise UnusableInput(f"{path}: no LiME range begins at offset {offset:#x}") from error
        offset += _RANGE.sizeof()
        size = header.last + 1 - header.first
        if header.version != 1:
            raise UnusableInput(
                f"{path}: LiME format version {header.version}; version 1 is not compressed and can be read"
            )
        if size <= 0 or header.last >= 1 << ADDRESS_BITS or offset + size > contents.size:
            raise UnusableInput(
                f"{path}: the LiME range {header.first:#x}-{header.last:#x} is none, or exceeds the file"
            )
        yield Segment(header.first, contents[offset : offset + size], offset)
        offset += size
