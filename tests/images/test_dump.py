# SPDX-License-Identifier: Apache-2.0
"""A dump's bytes by physical address; what is not in the file is absent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import ABSENT, Dump
from gicmodel.images.segments import Segment, read_image, write_elf
from gicmodel.memory import PAGE_BYTES, GuestMemory


def segment(address, octets, offset=0):
    return Segment(address, np.frombuffer(bytes(octets), np.uint8), offset)


def gathered(dump, address, size):
    octets, held = dump.gather(np.array([address], np.int64), size)
    return octets[0].tobytes() if held[0] else None


TWO = Dump([segment(0x2000, b"klm", 0x500), segment(0x1000, b"abcdefgh", 0x100)])
ADJACENT = Dump([segment(0x1000, b"abcd"), segment(0x1004, b"efgh", 0x80)])


def test_bytes_are_found_by_address():
    assert gathered(TWO, 0x1002, 3) == b"cde"
    assert gathered(TWO, 0x2000, 3) == b"klm"


@pytest.mark.parametrize("address", [0xFFF, 0x1006, 0x1008, 0x1FFF, 0x2001, 0x3000])
def test_what_is_not_wholly_there_is_absent(address):
    assert gathered(TWO, address, 3) is None


def test_an_entry_in_two_neighbouring_segments_is_put_together():
    assert gathered(ADJACENT, 0x1002, 4) == b"cdef"
    assert gathered(ADJACENT, 0x1006, 4) is None


def test_offsets_are_places_in_the_file():
    addresses = np.array([0x1000, 0x1007, 0x1008, 0x2002, 0xFFF], np.int64)
    assert TWO.offsets(addresses).tolist() == [0x100, 0x107, ABSENT, 0x502, ABSENT]
    assert TWO.offset(0x2001) == 0x501


def test_pieces_are_what_is_held():
    assert [(piece.address, piece.octets.tobytes()) for piece in TWO.pieces(0x1006, 0x1000)] == [
        (0x1006, b"gh"),
        (0x2000, b"klm"),
    ]
    assert TWO.held(0x1006, 0x1000) == 5
    assert list(TWO.pieces(0x1008, 8)) == []


def test_a_dump_without_bytes_or_with_two_at_one_address_is_refused():
    with pytest.raises(UnusableInput, match="without bytes"):
        Dump([])
    with pytest.raises(UnusableInput, match="overlap at 0x1002"):
        Dump([segment(0x1000, b"abcd"), segment(0x1002, b"x")])


def test_offsets_lead_back_to_the_file(tmp_path):
    memory = GuestMemory(0x4000_0000, 16 * PAGE_BYTES)
    memory.write(0x4000_3004, b"first")
    memory.write(0x4000_9008, b"second")
    write_elf(tmp_path / "ram.elf", memory)
    dump = Dump(read_image(tmp_path / "ram.elf"))
    file = (tmp_path / "ram.elf").read_bytes()
    assert file[dump.offset(0x4000_3004) :].startswith(b"first")
    assert file[dump.offset(0x4000_9008) :].startswith(b"second")


SIZES = st.integers(1, 12)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=6), SIZES, st.data())
def test_gather_and_pieces_agree_with_a_dict_of_bytes(runs, size, data):
    address, segments, memory = 0x1000, [], {}
    for gap, length in runs:
        address += gap
        octets = data.draw(st.binary(min_size=length, max_size=length))
        segments.append(segment(address, octets))
        memory |= {address + n: octet for n, octet in enumerate(octets)}
        address += length
    dump = Dump(segments)
    wanted = np.arange(0xFF0, address + 4, dtype=np.int64)
    octets, held = dump.gather(wanted, size)
    for row, start in enumerate(wanted.tolist()):
        expected = [memory.get(start + n) for n in range(size)]
        assert bool(held[row]) == (None not in expected)
        if held[row]:
            assert octets[row].tolist() == expected
        assert dump.held(start, size) == sum(octet is not None for octet in expected)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9))),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))),
)
def test_how_many_bytes_are_held(runs, wanted):
    taken, segments = set(), []
    for address, size in runs or [(3, 4)]:
        if taken.isdisjoint(range(address, address + size)):
            taken |= set(range(address, address + size))
            segments.append(Segment(address, np.zeros(size, np.uint8)))
    dump = Dump(segments)
    addresses, lengths = np.array(wanted, np.int64).reshape(-1, 2).T
    expected = [len(taken & set(range(address, address + length))) for address, length in wanted]
    assert dump.held_each(addresses, lengths).tolist() == expected
    assert [dump.held(*one) for one in wanted] == expected
