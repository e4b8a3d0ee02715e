# SPDX-License-Identifier: Apache-2.0
"""A flattened kdump, as makedumpfile -F and QEMU's dump-guest-memory write it: pieces of the file, each with its place.

A header of 4096 bytes begins with "makedumpfile"; then offset and size, 64 bits each and big-endian, and the bytes,
until an offset of -1 (makedumpfile's makedumpfile.h, struct makedumpfile_header and makedumpfile_data_header).
"""

from __future__ import annotations

import struct
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from gicmodel.errors import UnusableInput
from gicmodel.images.files import MAX_UNPACKED, refusing

MAGIC = b"makedumpfile"
_HEADER_BYTES = 4096
_PIECE = struct.Struct(">qq")
_END = -1


def unflattened(file: IO[bytes], path: Path) -> IO[bytes]:
    """The file that the pieces make, without a name. Raises UnusableInput."""
    with refusing(path), ExitStack() as on_failure:
        file.seek(_HEADER_BYTES)
        plain = on_failure.enter_context(tempfile.TemporaryFile())
        _join(file, path, plain)
        plain.flush()
        on_failure.pop_all()
    return plain


def _join(file: IO[bytes], path: Path, plain: IO[bytes]) -> None:
    while True:
        place = file.tell()
        head = file.read(_PIECE.size)
        if len(head) < _PIECE.size:
            raise UnusableInput(f"{path}: is a flattened kdump that ends at {place:#x} without its last piece")
        offset, size = _PIECE.unpack(head)
        if offset == _END:
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
