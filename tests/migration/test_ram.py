# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.migration import ram
from gicmodel.migration.ram import copy_pages

BASE = 0x4000_0000


@pytest.fixture
def source():
    memory = GuestMemory(BASE, 16 * PAGE_BYTES)
    for page in range(16):
        memory.write_u64(BASE + page * PAGE_BYTES, page + 1)
    return memory


@pytest.fixture
def target():
    return GuestMemory(BASE, 16 * PAGE_BYTES)


def nothing(done):
    pass


def pages(*numbers):
    return BASE + np.array(numbers, np.int64) * PAGE_BYTES


def first_words(memory):
    return [memory.read_u64(BASE + page * PAGE_BYTES) for page in range(16)]


def test_only_the_pages_asked_for(source, target):
    assert copy_pages(source, target, pages(3, 4, 15), nothing) == 3 * PAGE_BYTES
    assert first_words(target) == [0, 0, 0, 4, 5] + [0] * 10 + [16]


def test_whole_pages(source, target):
    source.write(BASE + PAGE_BYTES, bytes(range(256)) * 16)
    copy_pages(source, target, pages(1), nothing)
    assert target.read(BASE + PAGE_BYTES, PAGE_BYTES) == bytes(range(256)) * 16


def test_what_arrives_is_written_but_not_dirty(source, target):
    copy_pages(source, target, pages(2), nothing)
    assert target.written_pages().tolist() == pages(2).tolist()
    assert target.dirty_pages().tolist() == []


def test_what_the_guest_dirtied_there_stays_dirty(source, target):
    target.write_u8(BASE, 1)
    copy_pages(source, target, pages(0), nothing)
    assert target.dirty_pages().tolist() == pages(0).tolist()


def test_progress_in_bytes(source, target, monkeypatch):
    monkeypatch.setattr(ram, "CHUNK_PAGES", 2)
    seen = []
    copy_pages(source, target, pages(1, 2, 5, 6, 9), seen.append)
    assert seen == [2 * PAGE_BYTES, 4 * PAGE_BYTES, 5 * PAGE_BYTES]
    assert [n for n, word in enumerate(first_words(target)) if word] == [1, 2, 5, 6, 9]


def test_no_pages(source, target):
    assert copy_pages(source, target, pages(), nothing) == 0


@pytest.mark.parametrize(("base", "size"), [(BASE + PAGE_BYTES, 16 * PAGE_BYTES), (BASE, 17 * PAGE_BYTES)])
def test_another_window_is_refused(source, base, size):
    with pytest.raises(ValueError, match="cannot take pages"):
        copy_pages(source, GuestMemory(base, size), pages(0), nothing)
