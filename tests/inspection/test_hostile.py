# SPDX-License-Identifier: Apache-2.0
"""Damaged images and registers: a report or one line, no traceback, and a bounded amount of work."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gicmodel.cli.output import view_lines
from gicmodel.errors import UnusableInput
from gicmodel.images.segments import Segment
from gicmodel.images.sources import read_dump
from gicmodel.inspection import PROFILES, Dump, inspect
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.diff import compare
from gicmodel.inspection.octets import explain
from gicmodel.inspection.report import Report
from gicmodel.inspection.selection import TABLES, Selection, entries
from gicmodel.inspection.source import Source
from gicmodel.layouts.its_tables import DTE, LEVEL1, VTE
from gicmodel.layouts.registers.its import GITS_BASER, GITS_TYPER
from tests.inspection.machine import (
    BASE,
    COLLECTIONS,
    CONFIGURATION,
    DEVICES,
    END,
    ITT8,
    ITT16,
    LEVEL2,
    PENDING0,
    PENDING1,
    QUEUE,
    VPES,
    VPT0,
    Machine,
    SavedGuest,
)
from tests.inspection.museum import GUEST, HOST

MACHINES = {
    (make, indirect): (machine.memory.read(BASE, END - BASE), machine.registers)
    for make in (Machine, SavedGuest)
    for indirect in (False, True)
    for machine in [make(indirect=indirect)]
}
PLACES = [QUEUE, DEVICES, COLLECTIONS, VPES, CONFIGURATION, PENDING0, PENDING1, VPT0, LEVEL2, ITT8, ITT16]
WORD = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 63).map(lambda bit: 1 << bit),
    st.sampled_from([0, (1 << 64) - 1, BASE, ITT8, DEVICES | 1 << 63]),
    # What makes an entry valid in one format or another, around an address that exists.
    st.tuples(st.sampled_from(PLACES), st.integers(0, 31)).map(
        lambda both: DTE.pack(Valid=1, ITT_addr=both[0], Size=both[1])
    ),
    st.sampled_from(PLACES).map(lambda place: LEVEL1.pack(Valid=1, Physical_Address=place)),
    st.tuples(st.sampled_from(PLACES), st.integers(0, 31)).map(
        lambda both: VTE.pack(Valid=1, VPT_addr=both[0] & -0x10000, VPT_size=both[1])
    ),
)
WRITES = st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 600), WORD, st.integers(1, 64)), max_size=8)
HOLES = st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 70000), st.integers(1, 70000)), max_size=2)
REGISTER = st.tuples(
    st.sampled_from(["GITS0", "GITS1", "GICR0", "GICR1", "GICR7", "GICD", "guest"]),
    st.sampled_from(
        "CTLR TYPER CBASER CREADR CWRITER BASER0 BASER1 BASER2 PROPBASER PENDBASER VPROPBASER VPENDBASER vcpus".split()
    ),
    WORD,
)


def damaged(octets, writes):
    image = np.frombuffer(octets, np.uint8).copy()
    for place, word, value, times in writes:
        start = place - BASE + 4 * word
        data = np.array([value] * times, "<u8").view(np.uint8)
        image[start : start + data.size] = data[: image.size - start]
    return image


def with_holes(image, holes):
    kept = np.ones(image.size + 2, np.bool_)
    kept[[0, -1]] = False
    for place, offset, length in holes:
        start = place - BASE + offset + 1
        kept[start : start + length] = False
    edges = np.flatnonzero(np.diff(kept))
    return [Segment(BASE + start, image[start:end], start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def check_message(message):
    assert message
    assert "\n" not in message


def report(dump, registers, profile):
    """Everything that `inspect` can print."""
    told = Report.of("image", Source(dump, registers, []), profile, limit=1 << 16)
    found, views = told.found, told.views()
    json.loads("\n".join(told.document(views)))
    for view in views:
        assert sum(1 for _ in view_lines(view)) in (0, len(view) + 1)
    for table in TABLES:
        for entry, rows in entries(found, Selection(table=table)):
            for row in rows[:4]:
                assert list(explain(dump, entry, row))
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(list(MACHINES)),
    WRITES,
    HOLES,
    st.lists(REGISTER, max_size=4),
    st.sampled_from([None, None, *PROFILES.values()]),
)
def test_a_damaged_machine_is_reported(machine, writes, holes, changes, profile):
    octets, intact = MACHINES[machine]
    registers = {frame: dict(values) for frame, values in intact.items()}
    for frame, name, value in changes:
        registers.setdefault(frame, {})[name] = value
    segments = with_holes(damaged(octets, writes), holes)
    try:
        found = report(Dump(segments), registers, profile)
        compare(inspect(Dump(segments), intact), found)
    except UnusableInput as refused:
        check_message(str(refused))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["elf", "lime"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, 9000)),
)
def test_a_damaged_file_is_read_or_refused(tmp_path, kind, writes, length):
    contents = bytearray(FILES[kind])
    for place, value in writes:
        contents[place % len(contents)] = value
    path = tmp_path / f"ram.{kind}"
    path.write_bytes(contents[:length])
    try:
        dump = read_dump(path)
        report(dump, {"GITS0": {"BASER0": GITS_BASER.pack(Valid=1, Type=1, Entry_Size=7, Physical_Address=BASE)}}, None)
    except UnusableInput as refused:
        check_message(str(refused))


def _elf():
    page = bytes(range(256)) * 16
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0\xb7\0\x01\0\0\0" + bytes(8) + (64).to_bytes(8, "little")
    header += bytes(12) + (64).to_bytes(2, "little") + (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(6)
    words = (4096, 0, BASE, 4096, 4096, 4096)
    load = b"\x01\0\0\0\x06\0\0\0" + b"".join(word.to_bytes(8, "little") for word in words)
    return (header + load).ljust(4096, b"\0") + page


def _lime():
    page = bytes(range(256)) * 16
    ranges = [(BASE, BASE + 4095), (BASE + 8192, BASE + 12287)]
    return b"".join(
        b"EMiL\x01\0\0\0" + first.to_bytes(8, "little") + last.to_bytes(8, "little") + bytes(8) + page
        for first, last in ranges
    )


FILES = {"elf": _elf(), "lime": _lime()}


def test_undamaged_files_are_read(tmp_path):
    for kind, contents in FILES.items():
        path = tmp_path / f"ram.{kind}"
        path.write_bytes(contents)
        dump = read_dump(path)
        assert [segment.address for segment in dump.segments] == ([BASE] if kind == "elf" else [BASE, BASE + 8192])
        assert dump.offset(BASE + 5) == (4096 if kind == "elf" else 32) + 5


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"KDUMP   " + bytes(100), "its header: 0x1d0 bytes"),
        (b"EMiL\x02" + bytes(100), "LiME format version 2"),
        (b"EMiL\x01" + bytes(100), "exceeds the file|no LiME range begins at"),
        (FILES["lime"][:-1], "exceeds the file"),
        (b"nothing", "is not an ELF file"),
        (b"", "is empty"),
    ],
)
def test_files_that_are_refused(tmp_path, contents, message):
    path = tmp_path / "ram.bin"
    path.write_bytes(contents)
    with pytest.raises(UnusableInput, match=message):
        read_dump(path)


def test_devices_that_share_one_large_table_end_at_the_budget():
    machine = Machine()
    for device in range(4096):
        machine.device(device, QUEUE, size=31)
    found = machine.inspect(limit=5000)
    assert found.events.size <= 5000
    assert "events of devices" in found.truncated


def test_a_page_that_every_level_1_entry_names_is_read_once():
    machine = Machine(indirect=True)
    for index in range(8192):
        machine.level1(index, LEVEL2)
    machine.set("GITS0", "TYPER", GITS_TYPER, Devbits=25)
    assert machine.inspect().devices.size == 2


def test_the_budget():
    budget = Budget(entries=10, octets=100)
    assert budget.read(60, "a")
    assert not budget.read(41, "b")
    assert budget.read(40, "c")
    assert (budget.keep(7, "d"), budget.keep(7, "e"), budget.keep(7, "e")) == (7, 3, 0)
    assert budget.ended == ["b", "e"]


@pytest.mark.parametrize(("image", "registers"), [HOST, GUEST])
def test_registers_in_too_many_frames_are_refused(image, registers):
    with pytest.raises(UnusableInput, match="at most 64"):
        inspect(read_dump(image), {f"GITS{n}": {"CTLR": 1} for n in range(65)})
