# SPDX-License-Identifier: Apache-2.0
"""Images as they come, and as they should not."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import zstandard

from tests.conftest import needed

needed("unicorn")
needed("fdt")

from gicmodel.board.image import FLAT_OFFSET, TREE_BYTES, place, read_program
from gicmodel.errors import UnusableInput
from gicmodel.memory import GuestMemory

RAM = 0x4000_0000
MIB = 1 << 20


def linux_image(size: int = 0x3000, text_offset: int = 0, flags: int = 0xA, image_size: int | None = None) -> bytes:
    """A Linux Image of nothing but its header."""
    header = struct.pack("<IIQQQ", 0x9100_05C0, 0, text_offset, size if image_size is None else image_size, flags)
    return (header.ljust(56, b"\0") + b"ARM\x64").ljust(size, b"\x5a")


def elf_program(e_type: int = 2, machine: int = 183, entry: int = 0xFFFF_0000_0000_0010) -> bytes:
    """An ELF with one segment at a virtual address that is not its physical one."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", e_type, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 120, 0xFFFF_0000_0000_0000, RAM + 0x1000, 8, 0x100, 4096)
    return header + segment + b"program!"


def zboot(payload: bytes, codec: bytes, offset: int = 64) -> bytes:
    """An EFI zboot image around a payload."""
    header = b"MZ\0\0zimg" + struct.pack("<IIQ32s", offset, len(payload), 0, codec)
    return header.ljust(offset, b"\0") + payload


def written(directory: Path, data: bytes, name: str = "image") -> Path:
    path = directory / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (bytes, "Image"),
        (gzip.compress, "vmlinuz"),
        (gzip.compress, "Image.gz"),
        (lambda data: zboot(gzip.compress(data), b"gzip"), "vmlinuz"),
        (lambda data: zboot(zstandard.compress(data), b"zstd22"), "vmlinuz"),
    ],
)
def test_linux_image_bare_and_packed(tmp_path: Path, pack, name: str) -> None:
    data = linux_image(text_offset=0x8_0000, image_size=0x5000)
    program = read_program(written(tmp_path, pack(data), name), RAM)
    assert program.entry == RAM + 0x8_0000
    assert program.pieces == [(RAM + 0x8_0000, data)]
    assert program.end == RAM + 0x8_0000 + 0x5000


def test_elf_begins_at_the_physical_address_of_its_entry(tmp_path: Path) -> None:
    program = read_program(written(tmp_path, elf_program()), RAM)
    assert program.entry == RAM + 0x1010
    assert program.pieces == [(RAM + 0x1000, b"program!")]


def test_flat_binary_goes_where_qemu_has_it(tmp_path: Path) -> None:
    program = read_program(written(tmp_path, b"\x1f\x20\x03\xd5"), RAM)
    assert (program.entry, program.end) == (RAM + FLAT_OFFSET, RAM + FLAT_OFFSET + 4)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\x1f\x8bnonsense", "is damaged: gzip"),
        (gzip.compress(linux_image())[:40], "is damaged: gzip: it does not end"),
        (zboot(b"x", b"lz4"), "packed with 'lz4'"),
        (zboot(b"x", b"gzip", offset=1 << 20)[:200], "exceeds the file's"),
        (zboot(b"no zstd frame", b"zstd22"), "is damaged: zstd"),
        (linux_image(flags=1), "big-endian"),
        (linux_image(image_size=1 << 63), "its header says image_size 0x8000000000000000"),
        (linux_image(text_offset=1 << 63), "text_offset 0x8000000000000000"),
        (linux_image(text_offset=3), "text_offset is 0x3: instructions are at multiples of 4"),
        (elf_program(entry=0xFFFF_0000_0000_0012), "as a physical address, is 0x40001012: instructions are"),
        (b"\xd0\x0d\xfe\xed" + bytes(100), "is a device tree"),
        (b"\x27\x05\x19\x56" + bytes(100), "U-Boot uImage"),
        (b"MZ" + bytes(100), "EFI program"),
        (b"!<arch>\ndebian", "Debian package"),
        (elf_program(e_type=4), "e_type is 4; a program for the board is ET_EXEC (2) or ET_DYN (3)"),
        (elf_program(machine=62), "e_machine is 62"),
        (elf_program(entry=0x10), "e_entry 0x10 is in none of its segments"),
        (elf_program()[:100], "exceed the file's"),
    ],
)
def test_unusable_images_are_refused_in_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(UnusableInput) as refusal:
        read_program(written(tmp_path, data), RAM)
    assert says in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)


def test_image_tree_and_initrd_follow_each_other_in_ram(tmp_path: Path) -> None:
    memory = GuestMemory(RAM, 16 * MIB)
    program = read_program(written(tmp_path, linux_image(size=3 * MIB)), RAM)
    tree, start, end = place(program, memory, b"initrd!")
    assert tree == RAM + 4 * MIB
    assert (start, end) == (tree + TREE_BYTES, tree + TREE_BYTES + 7)
    assert memory.read(start, 7) == b"initrd!"
    assert memory.read(RAM, 4) == linux_image()[:4]


@pytest.mark.parametrize(
    ("megabytes", "initrd", "says"),
    [
        (1, b"", "the image at 0x40000000 + 0x300000 does not fit"),
        (4, b"", "no room for the device tree"),
        (6, b"x" * MIB, "initrd at 0x40600000 + 0x100000 does not fit"),
    ],
)
def test_ram_that_is_too_small_is_named(tmp_path: Path, megabytes: int, initrd: bytes, says: str) -> None:
    memory = GuestMemory(RAM, megabytes * MIB)
    program = read_program(written(tmp_path, linux_image(size=3 * MIB)), RAM)
    with pytest.raises(UnusableInput) as refusal:
        place(program, memory, initrd)
    assert says in str(refusal.value)
    assert "--memory" in str(refusal.value)


def test_elf_outside_ram_is_refused(tmp_path: Path) -> None:
    memory = GuestMemory(0x8000_0000, 16 * MIB)
    with pytest.raises(UnusableInput, match="the image at 0x40001000"):
        place(read_program(written(tmp_path, elf_program()), 0x8000_0000), memory, None)


def test_random_bytes_are_refused_or_flat(tmp_path: Path) -> None:
    random = np.random.default_rng(15)
    good = [linux_image(), gzip.compress(linux_image()), elf_program(), zboot(gzip.compress(linux_image()), b"gzip")]
    for trial in range(200):
        data = np.frombuffer(good[trial % len(good)], np.uint8).copy()
        data[random.integers(0, min(len(data), 160), 4)] = random.integers(0, 256, 4)
        try:
            program = read_program(written(tmp_path, data.tobytes()), RAM)
            place(program, GuestMemory(RAM, 16 * MIB), None)
        except UnusableInput:
            continue
