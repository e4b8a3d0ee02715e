# SPDX-License-Identifier: Apache-2.0
"""Images of software as they come: ELF, Linux's Image, bare or packed, and flat binaries; and what goes beside them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard

from gicmodel.board.initramfs import initramfs
from gicmodel.errors import UnusableInput
from gicmodel.images import elf
from gicmodel.images.files import opened_whole
from gicmodel.memory import ExternalAbort, GuestMemory

MIB = 1 << 20
FLAT_OFFSET = 0x8_0000
"""Where a flat binary goes in RAM, as QEMU's -kernel has it (hw/arm/boot.c, KERNEL64_LOAD_ADDR)."""
MOST_BYTES = 512 * MIB
"""An image that unpacks to more is no kernel."""
TREE_BYTES = 2 * MIB
"""The most that Linux maps of a device tree (Documentation/arch/arm64/booting.rst)."""
_GZIP, _ZBOOT = b"\x1f\x8b", b"zimg"
_IMAGE_MAGIC, _IMAGE_MAGIC_AT = b"ARM\x64", 56
_IMAGE_HEADER = np.dtype([("code", "<u8"), ("text_offset", "<u8"), ("image_size", "<u8"), ("flags", "<u8")])
_OLD_TEXT_OFFSET = FLAT_OFFSET
"""Of an Image before Linux 3.17, which has image_size 0 and a text_offset of unknown endianness."""
_ZBOOT_HEADER = np.dtype(
    [("mz", "S4"), ("zimg", "S4"), ("offset", "<u4"), ("size", "<u4"), ("reserved", "<u8"), ("codec", "S32")]
)
_BIG_ENDIAN = 1
_KNOWN = {
    b"\x27\x05\x19\x56": "a U-Boot uImage; take the Image that is in it",
    b"\xd0\x0d\xfe\xed": "a device tree, or a FIT image; take the Image that is in it",
    b"MZ": "an EFI program that is no Linux Image",
    b"\xfd7zX": "packed with xz; unpack it",
    b"BZh": "packed with bzip2; unpack it",
    b"!<arch>\n": "an archive such as a Debian package; take the vmlinuz that is in it",
}


class Program(NamedTuple):
    """Pieces of an image at physical addresses, where it begins, and the first address behind it."""

    pieces: Sequence[tuple[int, bytes]]
    entry: int
    end: int


def read_program(path: Path, ram: int) -> Program:
    """The program in a file, for a RAM that begins at `ram`. Raises UnusableInput."""
    data = _unpacked(path, read_file(path))
    if data.startswith(elf.MAGIC):
        return _elf(path, data)
    if data[_IMAGE_MAGIC_AT : _IMAGE_MAGIC_AT + 4] == _IMAGE_MAGIC:
        return _linux(path, data, ram)
    for magic, what in _KNOWN.items():
        if data.startswith(magic):
            raise UnusableInput(f"{path}: is {what}")
    return Program([(ram + FLAT_OFFSET, data)], ram + FLAT_OFFSET, ram + FLAT_OFFSET + len(data))


def read_file(path: Path) -> bytes:
    """A file's bytes; UnusableInput if it cannot be read, is empty or is too large."""
    with opened_whole(path) as file:
        data = file.read(MOST_BYTES + 1)
    if not data:
        raise UnusableInput(f"{path}: is empty")
    if len(data) > MOST_BYTES:
        raise UnusableInput(f"{path}: has more than {MOST_BYTES:#x} bytes")
    return data


def read_initrd(path: Path) -> bytes:
    """An initrd; a program is made the /init of one. Raises UnusableInput."""
    data = read_file(path)
    return initramfs({"/init": data}) if data.startswith(elf.MAGIC) else data


def place(program: Program, memory: GuestMemory, initrd: bytes | None) -> tuple[int, int, int]:
    """Put a program and its initrd into RAM: where the device tree goes, and from where to where the initrd is.

    Raises:
        UnusableInput: the RAM is not there, or too small.
    """
    for address, data in program.pieces:
        _write(memory, address, data, "the image")
    tree = -(-program.end // TREE_BYTES) * TREE_BYTES
    start = end = tree + TREE_BYTES
    if not memory.covers(tree, TREE_BYTES):
        raise UnusableInput(f"no room for the device tree at {tree:#x}: {_room(memory)}")
    if initrd is not None:
        end += len(initrd)
        _write(memory, start, initrd, "the initrd")
    return tree, start, end


def _write(memory: GuestMemory, address: int, data: bytes, what: str) -> None:
    try:
        memory.write(address, data)
    except ExternalAbort:
        raise UnusableInput(f"{what} at {address:#x} + {len(data):#x} does not fit: {_room(memory)}") from None


def _room(memory: GuestMemory) -> str:
    return f"RAM is {memory.base:#x} to {memory.end:#x} (--memory)"


def _elf(path: Path, data: bytes) -> Program:
    contents = np.frombuffer(data, np.uint8)
    entry, runs = elf.program(path, contents)
    pieces = [(address, data[offset : offset + size]) for address, offset, size in runs]
    return Program(pieces, entry, max(address + len(piece) for address, piece in pieces))


def _linux(path: Path, data: bytes, ram: int) -> Program:
    """Linux's Documentation/arch/arm64/booting.rst, 4."""
    header = np.frombuffer(data, _IMAGE_HEADER, 1)[0]
    if int(header["flags"]) & _BIG_ENDIAN:
        raise UnusableInput(f"{path}: is a big-endian kernel; the board is little-endian")
    size, offset = int(header["image_size"]), int(header["text_offset"])
    if not size:
        size, offset = len(data), _OLD_TEXT_OFFSET
    if max(size, offset) > MOST_BYTES:
        raise UnusableInput(f"{path}: its header says image_size {size:#x}, text_offset {offset:#x}")
    elf.check_entry(f"{path}: text_offset", offset)
    start = ram + offset
    return Program([(start, data)], start, start + max(size, len(data)))


def _unpacked(path: Path, data: bytes) -> bytes:
    """What is in gzip, or in Linux's EFI zboot image (vmlinuz since 6.1), if it is one."""
    if data[4:8] == _ZBOOT and data.startswith(b"MZ") and len(data) >= _ZBOOT_HEADER.itemsize:
        header = np.frombuffer(data, _ZBOOT_HEADER, 1)[0]
        offset, size, codec = int(header["offset"]), int(header["size"]), header["codec"].decode("ascii", "replace")
        if offset + size > len(data):
            raise UnusableInput(f"{path}: its payload at {offset:#x} + {size:#x} exceeds the file's {len(data):#x}")
        return _decompressed(path, data[offset : offset + size], codec)
    return _decompressed(path, data, "gzip") if data.startswith(_GZIP) else data


def _decompressed(path: Path, data: bytes, codec: str) -> bytes:
    try:
        if codec == "gzip":
            stream = zlib.decompressobj(wbits=31)
            unpacked = stream.decompress(data, MOST_BYTES + 1)
            if not stream.eof and len(unpacked) <= MOST_BYTES:
                raise UnusableInput(f"{path}: is damaged: gzip: it does not end")
        elif codec.startswith("zstd"):
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
                unpacked = reader.read(MOST_BYTES + 1)
        else:
            raise UnusableInput(f"{path}: is packed with {codec!r}, not with gzip or zstd")
    except (zlib.error, zstandard.ZstdError) as error:
        raise UnusableInput(f"{path}: is damaged: {codec}: {error}") from error
    if not 0 < len(unpacked) <= MOST_BYTES:
        raise UnusableInput(f"{path}: unpacks to no or more than {MOST_BYTES:#x} bytes")
    return unpacked
