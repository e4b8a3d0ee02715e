# SPDX-License-Identifier: Apache-2.0
"""Registers from RAM alone: those that drgn tells with the kernel's debug information."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.registers import RD_BASE, origin_of
from gicmodel.images.segments import Segment
from gicmodel.images.sources import read_registers
from gicmodel.inspection import Dump, inspect
from gicmodel.inspection.linux.kernels import find_kernels
from gicmodel.inspection.linux.registers import registers_of
from gicmodel.inspection.linux.scan import _MOST_BASERS, scan
from tests.inspection.linux import dumps
from tests.inspection.linux.dumps import changed

NODE = 0x42109A50
"""Where `cmd_base` is in v3crash."""


def registers(dump, number=None):
    return registers_of(find_kernels(dump).choose(number))


@pytest.mark.parametrize("name", dumps.NAMES)
def test_registers_are_those_of_the_kernels_structures(name):
    found = registers(dumps.dump(name))
    for frame, values in read_registers(dumps.DUMPS / f"{name}.kernel.toml").items():
        wanted = {register: value for register, value in values.items() if not register.startswith("V")}
        assert {register: found[frame][register] for register in wanted} == wanted, frame


@pytest.mark.parametrize("name", ["v3run", "v3crash", "v4run", "v612run"])
def test_what_is_pending_is_what_drgn_says(name):
    found = inspect(dumps.dump(name), registers(dumps.dump(name)))
    physical = found.pending[~found.pending["virtual"]]
    by_cpu = {cpu: physical["INTID"][physical["target"] == cpu].tolist() for cpu in (0, 1)}
    assert by_cpu == dumps.pending(name)
    virtual = found.pending[found.pending["virtual"]]
    assert virtual[["target", "INTID"]].tolist() == ([(1, 8194)] if name == "v4run" else [])


@pytest.mark.parametrize("name", ["v3run", "v3crash", "v4run", "v612run"])
def test_what_is_mapped_is_what_drgn_says(name):
    found = inspect(dumps.dump(name), registers(dumps.dump(name)))
    mapped = found.events[["DeviceID", "EventID", "INTID", "RDbase"]].tolist()
    wanted = []
    for device, (_, _, events) in sorted(dumps.devices(name).items()):
        for event, (lpi, cpu, forwarded) in sorted(events.items()):
            if forwarded is not None:
                cpu = {0: 0, 1: 1}[forwarded[1]]
            wanted.append((device, event, forwarded[0] if forwarded else lpi, cpu))
    assert sorted(mapped)[: len(wanted)] == wanted


def test_the_redistributors_addresses_are_the_logs():
    found = registers(dumps.dump("v4run"))
    assert [found[f"GICR{cpu}"][RD_BASE] for cpu in (0, 1)] == [0x80A0000, 0x80E0000]


def test_every_value_has_its_place():
    for name in dumps.NAMES:
        found = registers_of(find_kernels(dumps.dump(name)).choose(None))
        places = [origin_of(value) for values in found.values() for value in values.values()]
        assert all("struct its_node" in place or "the kernel's log" in place for place in places)


def with_a_guest():
    """v3crash, and in it the page of v4run's its_node where a guest's RAM could be."""
    page, held = dumps.dump("v4run").gather(np.array([0x4210_9000], np.int64), 4096)
    assert held.all()
    return Dump([*dumps.dump("v3crash").segments, Segment(0x4E10_8000, page[0], 0)])


def test_a_guests_kernel_is_told_from_the_dumped_one():
    found = find_kernels(with_a_guest())
    assert [kernel.own for kernel in found.kernels] == [True, False]
    assert registers(with_a_guest()) == registers(dumps.dump("v3crash"))
    guest = found.choose(1)
    assert registers_of(guest)["GITS0"]["TYPER"] == 0x3F0001EFB3
    # Nothing tells where in the dump a guest's RAM is: it must not be read where the host's is.
    assert guest.ram(with_a_guest()).octets == 0


def test_a_node_that_there_is_not():
    with pytest.raises(UnusableInput, match="--node 2: Linux kernels with an ITS in this dump: 1"):
        find_kernels(dumps.dump("v3run")).choose(2)


def test_at_another_base_no_kernel_is_the_dumped_one():
    moved = Dump([Segment(s.address + 0x1_0000_0000, s.data, s.offset) for s in dumps.dump("v3run").segments])
    assert find_kernels(moved).choose(None) is None


def test_a_log_that_was_overwritten_leaves_its_registers_unknown():
    (kernel,) = find_kernels(dumps.dump("v3run")).kernels
    (place,) = [p for p in scan(dumps.dump("v3run")).lines if b"property" in line(p)]
    assert kernel.log.property_table is not None
    found = registers(changed(dumps.dump("v3run"), {place: 0}))
    assert ("PENDBASER" in found["GICR0"], "PROPBASER" in found["GICR0"]) == (True, False)


def line(place):
    return b"".join(piece.octets.tobytes() for piece in dumps.dump("v3run").pieces(place, 64))


def test_two_logs_that_contradict_are_not_believed():
    """Two kernels alike have their tables at the same addresses; only the log's own buffer tells which is whose."""
    dump = dumps.dump("v3run")
    first, last = min(scan(dump).lines), max(scan(dump).lines)
    text, _ = dump.gather(np.array([first], np.int64), last + 256 - first)
    other = bytes(text[0]).replace(b"table @0x00000000421b0000", b"table @0x00000000421e0000")
    assert other != bytes(text[0])
    both = Dump([*dump.segments, Segment(0x9000_0000 + first % 8, np.frombuffer(other, np.uint8))])
    assert registers(both)["GICR0"]["PENDBASER"] == 0x421B0000
    unknown = Dump([*both.segments[:0], *changed(both, dict.fromkeys(scan(both).notes, 0)).segments])
    assert "GICR0" not in registers(unknown)


@given(
    places=st.dictionaries(
        st.integers(-32, 39).map(lambda word: NODE + 8 * word),
        st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 0xFFFF_0000_0210_9A50, 1 << 63, (1 << 64) - 1])),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_node_is_none_or_is_read_as_it_is(places):
    dump = changed(SMALL, places)
    for kernel in find_kernels(dump).kernels:
        for value in registers_of(kernel)["GITS0"].values():
            assert 0 <= value < 1 << 64


SMALL = Dump([segment for segment in dumps.dump("v3crash").segments if segment.address <= NODE < segment.end])


def test_too_many_places_are_bounded():
    """A dump that is all of what is looked for."""
    words = np.tile(
        np.array([0xFFFF_0000_0218_0000, 0xF907_0000_4218_0600, 0x1_0000_0000_0004], "<u8"), 3 * _MOST_BASERS
    )
    dump = Dump([Segment(0x4000_0000, words.view(np.uint8))])
    places = scan(dump)
    assert (len(places.basers), places.full) == (_MOST_BASERS, {"basers"})
    assert find_kernels(dump).kernels == []


def test_a_scan_says_how_far_it_is(monkeypatch):
    """In its middle only: what is over at once needs no bar."""
    told = []
    dump = dumps.dump("v3run")
    assert scan(dump, lambda done, of: told.append((done, of))) == scan(dump)
    assert told == []
    monkeypatch.setattr("gicmodel.inspection.linux.scan._PIECE", dump.octets // 4)
    assert scan(dump, lambda done, of: told.append((done, of))) == scan(dump)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {of for _, of in told} == {dump.octets}
    assert 0 < told[0][0] < told[-1][0] < dump.octets
