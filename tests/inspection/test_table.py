# SPDX-License-Identifier: Apache-2.0
"""The entries of a table that are not zero, beside a search byte by byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.images.segments import Segment
from gicmodel.inspection import Dump
from gicmodel.inspection.table import nonzero, used_of

SIZES = [1, 3, 8, 12, 32]
"""Entries of one word of each width, of several, and of none that NumPy has."""
ADDRESS = 0x1000


def rows_of(octets, size):
    return np.frombuffer(bytes(octets), np.uint8).reshape(-1, size)


@given(
    st.sampled_from(SIZES),
    st.lists(st.tuples(st.integers(0, 1).map(lambda gap: gap * 5), st.integers(1, 70)), min_size=1, max_size=4),
    st.data(),
)
def test_entries_are_those_held_whole_that_are_not_zero(size, runs, data):
    address, segments, memory = ADDRESS, [], {}
    for gap, length in runs:
        address += gap
        # A density of its own for each: none, some and all of the entries are in use.
        octet = data.draw(st.sampled_from([st.just(0), st.sampled_from([0, 0, 0, 7]), st.integers(1, 255)]))
        octets = bytes(data.draw(st.lists(octet, min_size=length, max_size=length)))
        segments.append(Segment(address, np.frombuffer(octets, np.uint8)))
        memory |= {address + n: octet for n, octet in enumerate(octets)}
        address += length
    length = address + 9 - ADDRESS
    found = nonzero(Dump(segments), ADDRESS, length, size)
    entries = [[memory.get(ADDRESS + n * size + k) for k in range(size)] for n in range(length // size)]
    expected = {n: entry for n, entry in enumerate(entries) if None not in entry and any(entry)}
    assert list(found.indices) == list(expected)
    assert found.octets.tolist() == list(expected.values())
    assert found.numbers(0x8000, size).tolist() == [0x8000 + n * size for n in expected]


@pytest.mark.parametrize("size", SIZES)
def test_entries_of_which_none_is_zero_are_not_copied(size):
    # The last byte alone: of an entry of several words only the last is not zero.
    octets = rows_of((bytes(size - 1) + b"\1") * 5, size)
    found = used_of(octets, 10)
    assert found.indices == range(10, 15)
    assert np.shares_memory(found.octets, octets)


@pytest.mark.parametrize("zero", range(5))
def test_one_zero_entry_among_others(zero):
    octets = bytearray(b"\1\0\0\0\0\0\0\0\0\0\0\2" * 5)
    octets[zero * 12 : zero * 12 + 12] = bytes(12)
    found = used_of(rows_of(octets, 12))
    assert found.indices.tolist() == [n for n in range(5) if n != zero]
    assert found.octets.tobytes() == b"\1\0\0\0\0\0\0\0\0\0\0\2" * 4


@pytest.mark.parametrize("octets", [b"\1" * 24, b"\1" * 8 + bytes(8) + b"\1" * 8])
def test_the_first_entries(octets):
    found = used_of(rows_of(octets, 8), 4).head(1)
    assert found.numbers().tolist() == [4]
    assert found.numbers(0x1000, 8).tolist() == [0x1020]
    assert found.octets.tolist() == [[1] * 8]


def test_a_table_that_the_dump_lacks_has_no_entry():
    dump = Dump([Segment(ADDRESS, np.ones(64, np.uint8))])
    for address, length in ((0x8000, 64), (ADDRESS, 0), (ADDRESS, 7)):
        found = nonzero(dump, address, length, 8)
        assert found.numbers().tolist() == []
        assert found.octets.shape == (0, 8)
