# SPDX-License-Identifier: Apache-2.0
"""RAM images: what is written is read again, and every header field that lies is named."""

import lzma
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.files import opened
from gicmodel.images.segments import MAX_WINDOW, Segment, load_segments, memory_for, read_image, write_elf
from gicmodel.memory import PAGE_BYTES, GuestMemory

TABLES = Path(__file__).parents[2] / "tables"
BASE = 0x4000_0000
PAGE = bytes(range(256)) * 16

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
IDENTITY = b"\x7fELF\x02\x01\x01" + bytes(9)
ET_CORE, EM_AARCH64, PT_LOAD, PT_NOTE = 4, 183, 1, 4


def program_header(p_paddr=BASE, p_offset=PAGE_BYTES, p_filesz=PAGE_BYTES, p_memsz=None, p_type=PT_LOAD):
    memory_bytes = p_filesz if p_memsz is None else p_memsz
    return PROGRAM_HEADER.pack(p_type, 6, p_offset, 0, p_paddr, p_filesz, memory_bytes, PAGE_BYTES)


def core(headers=None, data=PAGE, e_ident=IDENTITY, **fields):
    """An ELF core of one page at BASE, with any header field replaced."""
    headers = [program_header()] if headers is None else headers
    defaults = {
        "e_type": ET_CORE,
        "e_machine": EM_AARCH64,
        "e_version": 1,
        "e_entry": 0,
        "e_phoff": 64,
        "e_shoff": 0,
        "e_flags": 0,
        "e_ehsize": 64,
        "e_phentsize": 56,
        "e_phnum": len(headers),
        "e_shentsize": 0,
        "e_shnum": 0,
        "e_shstrndx": 0,
    }
    return (HEADER.pack(e_ident, *(defaults | fields).values()) + b"".join(headers)).ljust(PAGE_BYTES, b"\0") + data


@pytest.fixture
def image(tmp_path):
    def write(contents, name="image.elf"):
        path = tmp_path / name
        path.write_bytes(contents)
        return path

    return write


def test_a_core_places_bytes_by_p_paddr(image):
    headers = [
        program_header(p_type=PT_NOTE, p_filesz=16),
        program_header(p_paddr=BASE + 2 * PAGE_BYTES, p_filesz=100),
        program_header(p_paddr=BASE, p_offset=PAGE_BYTES + 100, p_filesz=200, p_memsz=4096),
        program_header(p_paddr=0, p_filesz=0, p_memsz=PAGE_BYTES),
    ]
    first, second = read_image(image(core(headers)))
    assert (first.address, first.data.tobytes()) == (BASE, PAGE[100:300])
    assert (second.address, second.data.tobytes()) == (BASE + 2 * PAGE_BYTES, PAGE[:100])
    memory = memory_for([first, second])
    assert (memory.base, memory.end) == (BASE, BASE + 3 * PAGE_BYTES)
    assert memory.read(BASE, 201) == PAGE[100:300] + b"\0"


def test_more_program_headers_than_e_phnum_counts(image):
    section_header = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)
    contents = core(data=PAGE + section_header, e_phnum=0xFFFF, e_shoff=2 * PAGE_BYTES, e_shentsize=64, e_shnum=1)
    (segment,) = read_image(image(contents))
    assert segment.data.tobytes() == PAGE


REFUSED = {
    "e_machine is 62; a GIC's RAM is EM_AARCH64 (183)": core(e_machine=62),
    "e_type is 2; a GIC's RAM is ET_CORE (4)": core(e_type=2),
    "is ELF of class 1, data encoding 1": core(e_ident=b"\x7fELF\x01\x01\x01" + bytes(9)),
    "is ELF of class 2, data encoding 2": core(e_ident=b"\x7fELF\x02\x02\x01" + bytes(9)),
    "is ELF of class 7": core(e_ident=b"\x7fELF\x07\x01\x01" + bytes(9)),
    "its ELF header: 0x40 bytes at offset 0x0 exceed": core()[:50],
    "1 program headers: 0x38 bytes at offset 0x40 exceed": core()[:100],
    "e_phentsize is 32, not 56": core(e_phentsize=32),
    "no PT_LOAD program header holds any bytes": core([program_header(p_type=PT_NOTE)]),
    "program headers: 0xe0 bytes at offset 0xfffffffffffffff0 exceed": core(e_phoff=2**64 - 16, e_phnum=4),
    "section header 0: 0x40 bytes at offset 0xffffffffffffffff exceed": core(e_phnum=0xFFFF, e_shoff=2**64 - 1),
    "program header 0: 0x1000 bytes at offset 0x1001 exceed": core([program_header(p_offset=PAGE_BYTES + 1)]),
    "program header 0: 0xffffffffffffffff bytes at offset 0x1 exceed": core(
        [program_header(p_offset=1, p_filesz=2**64 - 1)]
    ),
    "p_filesz 0x1000 is above p_memsz 0x10": core([program_header(p_memsz=16)]),
    "program header 1: p_paddr at 0xfffffffffffff000 + 0x1000": core(
        [program_header(), program_header(p_paddr=2**64 - 4096)]
    ),
    "is not in the 52-bit physical address space": core([program_header(p_paddr=2**52 - 1)]),
    "at 0x40000000 + 0xffffffffffffffff": core([program_header(p_memsz=2**64 - 1)]),
    "two PT_LOAD segments overlap at p_paddr 0x40000800": core(
        [program_header(), program_header(p_paddr=BASE + 0x800)]
    ),
    "is not an ELF file": PAGE,
    "is empty": b"",
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_cannot_be_used_is_named(image, rule):
    with pytest.raises(UnusableInput, match=r"image\.elf: ") as refusal:
        read_image(image(REFUSED[rule]))
    assert rule in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(changes=st.lists(st.tuples(st.integers(0, 64 + 2 * 56 - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_header_is_read_or_refused(image, changes):
    contents = bytearray(core([program_header(), program_header(p_paddr=BASE + PAGE_BYTES, p_filesz=64)]))
    for offset, value in changes:
        contents[offset] = value
    try:
        segments = read_image(image(contents))
    except UnusableInput:
        return
    assert all(0 < segment.data.size <= len(contents) and segment.end <= 1 << 52 for segment in segments)


@given(contents=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_after_the_magic_are_read_or_refused(image, contents):
    with pytest.raises(UnusableInput):
        read_image(image(b"\x7fELF" + contents))


@pytest.mark.parametrize("size", [40, 90, 5000])
def test_a_truncated_packed_core_is_refused(image, size):
    with pytest.raises(UnusableInput, match=r"truncated|exceed"):
        read_image(image(lzma.compress(core())[:size] if size < 100 else lzma.compress(core()[:size]), "image.elf.xz"))


def test_a_raw_image_needs_its_base(image):
    path = image(PAGE, "ram.bin")
    (segment,) = read_image(path, BASE + 8)
    assert (segment.address, segment.data.tobytes()) == (BASE + 8, PAGE)
    memory = memory_for([segment])
    assert (memory.base, memory.end) == (BASE, BASE + 2 * PAGE_BYTES)
    with pytest.raises(UnusableInput, match="raw bytes of RAM need the address"):
        read_image(path)
    for base in (-1, 2**52 - 8, 2**64):
        with pytest.raises(UnusableInput, match="is not in the 52-bit"):
            read_image(path, base)
    with pytest.raises(UnusableInput, match="is an ELF file"):
        read_image(image(core()), BASE)


def test_segments_are_loaded_all_or_none():
    memory = GuestMemory(BASE, PAGE_BYTES)
    inside = Segment(BASE, np.ones(8, np.uint8))
    outside = Segment(BASE + PAGE_BYTES - 4, np.ones(8, np.uint8))
    with pytest.raises(UnusableInput, match="0x40000ffc-0x40001003 is outside RAM 0x40000000-0x40000fff"):
        load_segments(memory, [inside, outside])
    assert not memory.octets.any()
    assert memory.written_pages().size == 0


def test_segments_far_apart_have_no_common_window():
    far = [Segment(0, np.ones(8, np.uint8)), Segment(MAX_WINDOW, np.ones(8, np.uint8))]
    with pytest.raises(UnusableInput, match="segments reach from 0x0 to 0x10000001000"):
        memory_for(far)


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zst"])
@given(pages=st.sets(st.integers(0, 15)), zeroed=st.sets(st.integers(0, 15)))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_pages_round_trip_through_a_core(tmp_path, suffix, pages, zeroed):
    memory = GuestMemory(BASE, 16 * PAGE_BYTES)
    for page in zeroed:
        memory.zero(BASE + page * PAGE_BYTES, PAGE_BYTES)
    for page in pages:
        memory.write_u64(BASE + page * PAGE_BYTES + 8 * page, ~page & 2**64 - 1)
    path = tmp_path / f"ram.elf{suffix}"
    write_elf(path, memory)
    if not pages | zeroed:
        with pytest.raises(UnusableInput, match="no PT_LOAD"):
            read_image(path)
        return
    again = GuestMemory(BASE, 16 * PAGE_BYTES)
    segments = read_image(path)
    load_segments(again, segments)
    assert again.octets.tobytes() == memory.octets.tobytes()
    assert again.written_pages().tolist() == memory.written_pages().tolist()
    assert all(below.end < above.address for below, above in pairwise(segments))


def test_a_raw_image_round_trips(tmp_path):
    memory = GuestMemory(BASE, 2 * PAGE_BYTES)
    memory.write(BASE + 100, PAGE)
    (tmp_path / "ram.bin").write_bytes(memory.octets.data)
    (segment,) = read_image(tmp_path / "ram.bin", BASE)
    assert segment.data.tobytes() == memory.octets.tobytes()


def test_the_written_header_is_byte_for_byte_the_expected_one(tmp_path):
    memory = GuestMemory(BASE, PAGE_BYTES)
    memory.write(BASE, PAGE)
    write_elf(tmp_path / "ram.elf", memory)
    assert (tmp_path / "ram.elf").read_bytes() == core()


@pytest.mark.parametrize("image", sorted(TABLES.glob("*/*.elf.xz")), ids=lambda path: path.name)
def test_pyelftools_finds_the_same_segments(image):
    with opened(image) as file:
        headers = [header.header for header in ELFFile(file).iter_segments("PT_LOAD")]
    found = [(segment.address, segment.offset, segment.data.size) for segment in read_image(image)]
    assert found == sorted((one.p_paddr, one.p_offset, one.p_filesz) for one in headers if one.p_filesz)


HEXDUMPS = {
    "xxd": "00000000: 0123 4567 89ab cdef 0123 4567 89ab cdef  .#Eg.....#Eg....\n",
    "xxd -g1": "00000000: 01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef  .#Eg.....#Eg....\n",
    "hexdump -C": "00000000  01 23 45 67 89 ab cd ef  01 23 45 67 89 ab cd ef  |.#Eg.....#Eg....|\n",
    "hexdump": "0000000 2301 6745 ab89 efcd 2301 6745 ab89 efcd\n",
    "od -A x -t x8": "000000 efcdab8967452301 efcdab8967452301\n",
    "U-Boot md.l": "40000000: 67452301 efcdab89 67452301 efcdab89    .#Eg.....#Eg....\n",
    "QEMU xp": "0000000040000000: 0x67452301 0xefcdab89 0x67452301 0xefcdab89\n",
    "crash rd": "ffff000008c30000:  efcdab8967452301 efcdab8967452301   .#Eg.....#Eg....\n",
    "gdb x": "0x40000000:\t0x67452301\t0xefcdab89\t0x67452301\t0xefcdab89\n",
}


@pytest.mark.parametrize("name", HEXDUMPS)
@pytest.mark.parametrize("lines", [1, 4096])
@pytest.mark.parametrize("base", [None, 0x4000_0000])
def test_a_hexdump_in_text_is_not_taken_for_ram(image, name, lines, base):
    with pytest.raises(UnusableInput, match=r"image: is a hexdump in text, '.*', not the bytes of RAM; `xxd -r`"):
        read_image(image((HEXDUMPS[name] * lines).encode(), "image"), base)


@pytest.mark.parametrize(
    "contents",
    [
        b"00000000: this is no hexdump\n" * 100,
        b"deadbeef" * 512,
        bytes(4096),
        b"\n\n\n" + bytes(4093),
        b"00000000: 0123 4567\n" + bytes(4096),
        b"12:34:56 01 02 03\n" * 100,
    ],
)
def test_other_bytes_are_ram(image, contents):
    (segment,) = read_image(image(contents, "image"), 0x4000_0000)
    assert segment.data.tobytes() == contents
