# SPDX-License-Identifier: Apache-2.0
"""Ranges of free numbers, and zeroed pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.driver.allocator import FreeRanges, PageAllocator
from gicmodel.driver.errors import DriverError
from gicmodel.memory import GuestMemory

START, END = 5, 69


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]))))
def test_ranges_behave_like_a_set_of_numbers(steps: list[tuple[bool, int, int]]) -> None:
    ranges, free, taken = FreeRanges(START, END), set(range(START, END)), []
    for take, count, align in steps:
        if take:
            fits = [n for n in range(0, END, align) if set(range(n, n + count)) <= free]
            start = ranges.take(count, align)
            assert start == (fits[0] if fits else None)
            if start is not None:
                free -= set(range(start, start + count))
                taken.append((start, count))
        elif taken:
            start, count = taken.pop(count % len(taken))
            ranges.give(start, count)
            free |= set(range(start, start + count))
        assert ranges.free == len(free)


@pytest.mark.parametrize(("start", "count"), [(4, 2), (9, 2), (5, 5), (0, 30), (19, 2), (24, 1)])
def test_nothing_is_given_back_twice(start: int, count: int) -> None:
    ranges = FreeRanges(0, 30)
    assert ranges.take(30) == 0
    ranges.give(5, 5)
    ranges.give(20, 5)
    with pytest.raises(ValueError, match="already free"):
        ranges.give(start, count)
    assert ranges.free == 10


def test_pages_are_zeroed_aligned_and_come_back() -> None:
    memory = GuestMemory(0x8000_0000, 0x10_0000)
    pages = PageAllocator(memory, 0x8000_1000, 0x8010_0000)
    memory.write_u64(0x8001_0000, 0xDEAD)
    address = pages.alloc(100, 0x1_0000)
    assert address == 0x8001_0000
    assert memory.read(address, 4096) == bytes(4096)
    assert pages.alloc(5000) == 0x8000_1000, "the gap before the aligned page is used"
    pages.free(address)
    pages.free(0x8000_1000)
    assert pages.free_bytes == 0xF_F000
    with pytest.raises(KeyError):
        pages.free(address)


def test_no_memory_is_enomem() -> None:
    pages = PageAllocator(GuestMemory(0, 0x1_0000), 0, 0x1_0000)
    pages.alloc(0xF000)
    with pytest.raises(DriverError, match="ENOMEM: no 0x2000 bytes") as caught:
        pages.alloc(0x1001)
    assert caught.value.errno == "ENOMEM"


@pytest.mark.parametrize(("start", "end"), [(0x800, 0x1000), (0, 0x1_1000), (0x1000, 0x1800)])
def test_an_allocator_owns_whole_pages_of_ram(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="whole pages of RAM"):
        PageAllocator(GuestMemory(0, 0x1_0000), start, end)
