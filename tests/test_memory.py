# SPDX-License-Identifier: Apache-2.0
"""GuestMemory against a plain bytearray, and at its edges."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.memory import ADDRESS_BITS, DIRTY, PAGE_BYTES, WRITTEN, ExternalAbort, GuestMemory

BASE = 0x4000_0000
SIZE = 4 * PAGE_BYTES
END = BASE + SIZE

READS = [(1, "read_u8"), (8, "read_u64")]
WRITES = [(1, "write_u8"), (8, "write_u64")]


@pytest.fixture
def memory():
    return GuestMemory(BASE, SIZE)


@st.composite
def ranges(draw):
    """Ranges around the window: inside, across either edge, outside."""
    return draw(st.integers(BASE - 64, END + 64)), draw(st.integers(0, 64))


@given(writes=st.lists(st.tuples(st.integers(BASE - 16, END + 16), st.binary(max_size=40)), max_size=20))
def test_writes_behave_like_a_bytearray(writes):
    memory, expected, pages = GuestMemory(BASE, SIZE), bytearray(SIZE), set()
    for address, data in writes:
        offset = address - BASE
        if offset >= 0 and offset + len(data) <= SIZE:
            memory.write(address, data)
            expected[offset : offset + len(data)] = data
            pages |= {(address + i) & -PAGE_BYTES for i in range(len(data))}
        else:
            with pytest.raises(ExternalAbort):
                memory.write(address, data)
    assert memory.read(BASE, SIZE) == expected
    assert memory.dirty_pages().tolist() == sorted(pages)
    assert memory.written_pages().tolist() == sorted(pages)


@given(where=ranges())
def test_covers_is_membership_of_every_byte(where):
    address, length = where
    inside = BASE <= address <= END and all(BASE <= address + i < END for i in range(length))
    memory = GuestMemory(BASE, SIZE)
    assert memory.covers(address, length) is inside
    if not inside:
        for access in (memory.read, memory.zero, memory.mark):
            with pytest.raises(ExternalAbort) as abort:
                access(address, length)
            assert (abort.value.address, abort.value.length) == (address, length)


@pytest.mark.parametrize("address", [-1, 0, BASE - 1, END, 1 << 52, (1 << 64) - 1, np.uint64(2**64 - 8)])
@pytest.mark.parametrize(("length", "read"), READS)
def test_reads_outside_abort(memory, address, length, read):
    with pytest.raises(ExternalAbort):
        getattr(memory, read)(address)


def test_the_end_of_a_range_does_not_wrap_into_the_window():
    memory = GuestMemory(0, SIZE)
    assert not memory.covers(np.uint64(2**64 - 8), np.uint64(16))
    assert not memory.covers(0, -1)


@pytest.mark.parametrize(("length", "read"), READS)
def test_the_last_word_is_inside_and_the_next_byte_is_not(memory, length, read):
    assert getattr(memory, read)(END - length) == 0
    with pytest.raises(ExternalAbort):
        getattr(memory, read)(END - length + 1)


@pytest.mark.parametrize(("length", "write"), WRITES)
def test_words_are_little_endian_at_any_alignment(memory, length, write):
    value = int.from_bytes(b"\x88\x77\x66\x55\x44\x33\x22\x11"[:length], "little")
    for address in range(BASE + PAGE_BYTES - 9, BASE + PAGE_BYTES + 9):
        getattr(memory, write)(address, value)
        assert memory.read(address, length) == b"\x88\x77\x66\x55\x44\x33\x22\x11"[:length]
        assert getattr(memory, write.replace("write", "read"))(address) == value


@pytest.mark.parametrize(("length", "write"), WRITES)
def test_a_value_too_wide_is_refused(memory, length, write):
    with pytest.raises(OverflowError):
        getattr(memory, write)(BASE, 1 << 8 * length)
    with pytest.raises(OverflowError):
        getattr(memory, write)(BASE, -1)
    assert memory.written_pages().size == 0


def test_words_octets_and_views_are_the_same_bytes(memory):
    memory.write_u64(BASE + 8, 0x1122_3344_5566_7788)
    assert memory.words[1] == 0x1122_3344_5566_7788
    assert memory.octets[8] == 0x88
    view = memory.view(BASE + 8, 2, "<u4")
    view[1] = 0xAABB_CCDD
    assert memory.read_u64(BASE + 8) == 0xAABB_CCDD_5566_7788
    assert np.shares_memory(view, memory.octets)
    with pytest.raises(ExternalAbort):
        memory.view(END - 8, 3, "<u4")


def test_writes_through_a_view_are_dirty_once_marked(memory):
    memory.view(BASE + PAGE_BYTES, 8, np.uint8)[:] = 1
    assert memory.dirty_pages().size == 0
    memory.mark(BASE + PAGE_BYTES, 8)
    assert memory.dirty_pages().tolist() == [BASE + PAGE_BYTES]
    memory.mark(BASE, 0)
    assert memory.dirty_pages().tolist() == [BASE + PAGE_BYTES]


def test_clear_dirty_keeps_what_was_ever_written(memory):
    memory.write_u8(BASE, 1)
    memory.zero(END - 1, 1)
    memory.clear_dirty()
    assert memory.dirty_pages().tolist() == []
    assert memory.written_pages().tolist() == [BASE, END - PAGE_BYTES]
    memory.write_u8(BASE, 2)
    assert memory.dirty_pages().tolist() == [BASE]
    assert memory.page_state[0] == DIRTY | WRITTEN
    assert memory.page_state[3] == WRITTEN


def test_a_write_across_two_pages_dirties_both(memory):
    memory.write(BASE + PAGE_BYTES - 1, b"ab")
    assert memory.dirty_pages().tolist() == [BASE, BASE + PAGE_BYTES]


@pytest.mark.parametrize(
    ("base", "size"),
    [(1, PAGE_BYTES), (0, PAGE_BYTES + 8), (0, 0), (0, -PAGE_BYTES), (-PAGE_BYTES, PAGE_BYTES), (0, 2 << ADDRESS_BITS)],
)
def test_a_window_is_whole_pages_of_the_physical_address_space(base, size):
    with pytest.raises(ValueError, match="window"):
        GuestMemory(base, size)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
def test_a_64_gib_window_costs_what_is_touched():
    program = """
from pathlib import Path
from gicmodel.memory import GuestMemory
def resident(): return 4096 * int(Path("/proc/self/statm").read_text().split()[1])
before = resident()
memory = GuestMemory(0x4000_0000, 64 << 30)
for address in range(memory.base, memory.end, 1 << 30):
    memory.write_u64(address, address)
memory.clear_dirty()
assert memory.written_pages().size == 64
assert memory.read_u64(memory.end - (1 << 30)) == memory.end - (1 << 30)
print(resident() - before)
"""
    grown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    # 64 pages, which the kernel may hand out as 2 MiB each, and the page states of the window.
    assert 0 < int(grown) < 256 << 20


def test_nonzero_pages_are_those_that_hold_something_marked_or_not():
    memory = GuestMemory(BASE, 64 << 30)
    memory.octets[5 * PAGE_BYTES + 17] = 1
    memory.write_u64(BASE + (3 << 30), 42)
    memory.write_u64(BASE + (4 << 30), 0)
    memory.words[-1] = 7
    assert memory.octets[9 * PAGE_BYTES] == 0, "read only"
    assert memory.nonzero_pages().tolist() == [BASE + 5 * PAGE_BYTES, BASE + (3 << 30), BASE + (64 << 30) - PAGE_BYTES]


def test_nonzero_pages_where_linux_does_not_say(monkeypatch):
    monkeypatch.setattr("gicmodel.memory._PAGEMAP", "/nonexistent")
    memory = GuestMemory(BASE, 1 << 28)
    memory.octets[5 * PAGE_BYTES + 17] = 1
    memory.words[-1] = 7
    assert memory.nonzero_pages().tolist() == [BASE + 5 * PAGE_BYTES, memory.end - PAGE_BYTES]
