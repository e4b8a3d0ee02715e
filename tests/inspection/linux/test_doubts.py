# SPDX-License-Identifier: Apache-2.0
"""Where the tables' format is private, a damaged kernel structure or queue never makes a wrong answer look certain."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.images.dump import Dump, Piece
from gicmodel.images.elf import write_core
from gicmodel.images.segments import Segment
from gicmodel.inspection import gaps, inspect
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.linux.btf import read_btf
from gicmodel.inspection.linux.devices import _devices_of, view_of
from gicmodel.inspection.linux.kernels import find_kernels
from gicmodel.inspection.linux.pages import Pages
from gicmodel.inspection.linux.registers import registers_of
from gicmodel.inspection.paths import paths_of
from gicmodel.inspection.rules import find
from gicmodel.memory import PAGE_BYTES as PAGE
from tests.inspection.linux import dumps
from tests.inspection.linux.dumps import changed
from tests.inspection.linux.test_devices import HEAD, LINEAR, device_at, viewed

DUMP = dumps.dump("scrambled")
FOUND = find_kernels(DUMP)
KERNEL = FOUND.choose(None)
BTF = next(btf for _, btf in read_btf(DUMP, FOUND.places) if btf.structure("its_node"))
QUEUE, QUEUE_BYTES = 0x4217_0000, 0x1_0000
COLUMNS = ["DeviceID", "EventID", "INTID", "RDbase", "configuration", "pending"]
DEVICES = {number: device_at(dumps.dump("v3crash"), number) for number in (0x8, 0x10, 0x18)}
WORDS = range(-12, 6)
"""Of a `struct its_device` around its `itt`: from `entry` to `device_id`."""


def word(dump, address):
    return int.from_bytes(dump.read(address, 8)[0].tobytes(), "little")


def forgotten(dump):
    """The dump as if the queue were full of commands that say nothing of a mapping (SYNC)."""
    return changed(dump, {QUEUE + 8 * n: 5 if n % 4 == 0 else 1 for n in range(QUEUE_BYTES // 8)})


FORGOTTEN = forgotten(DUMP)


def inspected(dump, of_kernel=True):
    view = _devices_of(dump, KERNEL, BTF, "its BTF") if of_kernel else None
    return inspect(dump, registers_of(KERNEL, view), kernel=view)


TRUTH = {tuple(row) for row in inspected(DUMP).events[COLUMNS].tolist()}


def certain(found):
    """The rows of events of which nothing is doubted, and whose redistributor is known."""
    rows = found.events[COLUMNS].tolist()
    return {tuple(row) for row in rows if row[3] != UNKNOWN and not found.its[0].doubt(row[0], row[1])}


def is_honest(found):
    """No wrong event is certain; where a right one is missing nobody says that all is told; the finding is there."""
    missing = {row[:2] for row in TRUTH} - set(found.events[["DeviceID", "EventID"]].tolist())
    told = bool(found.its[0].doubts) == ("mapping-doubtful" in find(found).counts)
    return certain(found) <= TRUTH and (not missing or not tells_all(found)) and told


def tells_all(found):
    """Whether it is said that there are no other events."""
    return gaps.events(found) is None


def lpi_base(device):
    first = {0x8: 8192, 0x10: 8196, 0x18: 8200}[device]
    (at,) = [at for at in range(DEVICES[device] - 80, DEVICES[device] + 80, 8) if word(DUMP, at) == first]
    return at


@pytest.mark.parametrize(("device", "whole_queue"), [(0x8, False), (0x10, False), (0x18, False), (0x10, True)])
def test_no_damaged_word_of_a_device_is_believed(device, whole_queue):
    """Each word of each `struct its_device`, with the values that a neighbour has, or that are near.

    Of a CPU nothing but the queue tells: with that forgotten, `col_map` at other memory of small numbers is believed.
    """
    dump = DUMP if whole_queue else FORGOTTEN
    for at in (DEVICES[device] + 8 * n for n in WORDS):
        here = word(dump, at)
        others = {word(dump, DEVICES[other] + at - DEVICES[device]) for other in DEVICES} - {here}
        near = (0, here ^ 1, *([here ^ 8] if whole_queue or at != lpi_base(device) - 8 else ()))
        for value in (*near, *others):
            found = inspected(changed(dump, {at: value}))
            assert is_honest(found), (hex(at - DEVICES[device]), hex(here), hex(value), found.its[0].doubts)


def test_untouched_nothing_is_doubtful():
    for dump in (DUMP, FORGOTTEN):
        found = inspected(dump)
        assert certain(found) == TRUTH
        assert find(found).counts == {}


@pytest.mark.parametrize("at", [HEAD - LINEAR, HEAD + 8 - LINEAR])
@pytest.mark.parametrize("whole_queue", [True, False])
@pytest.mark.parametrize("there", [HEAD, 0, HEAD + 8, *DEVICES])
def test_no_damaged_head_of_the_list_is_believed(at, there, whole_queue):
    dump = DUMP if whole_queue else FORGOTTEN
    # `entry` is 24 bytes before `itt` in neither release: the list tells where it is.
    value = there if there not in DEVICES else ENTRIES[there]
    found = inspected(changed(dump, {at: value}))
    if value != word(DUMP, at):
        assert is_honest(found)
        assert found.kernel.broken
        # What the queue still has is told, and is right.
        assert certain(found) == TRUTH if whole_queue else not tells_all(found)


def entries():
    """Where the `struct list_head` of each device is, in the kernel's addresses."""
    at, found = word(DUMP, HEAD - LINEAR), {}
    for number in sorted(DEVICES, reverse=True):
        found[number] = at
        at = word(DUMP, at - LINEAR)
    return found


ENTRIES = entries()


def test_a_list_that_looks_empty_is_not_believed():
    for dump in (DUMP, FORGOTTEN):
        found = inspected(changed(dump, {HEAD - LINEAR: HEAD, HEAD + 8 - LINEAR: HEAD}))
        assert not found.kernel.broken
        assert is_honest(found)
        assert certain(found) == set()
        assert {subject.device for subject in found.its[0].doubts} >= set(DEVICES)


def test_of_two_devices_that_share_lpis_both_are_doubtful_unless_the_queue_decides():
    damaged = changed(DUMP, {lpi_base(0x10): 8200})
    unit = inspected(forgotten(damaged)).its[0]
    assert unit.doubt(0x18) == "device 0x10 has LPIs 8200 to 8203, this one 8200 to 8203"
    assert unit.doubt(0x10) == "device 0x18 has LPIs 8200 to 8203, this one 8200 to 8203"
    assert not unit.doubt(0x8)
    unit = inspected(damaged).its[0]
    assert unit.doubt(0x10, 0) == "the commands in the queue map it to LPI 8196 of collection 1"
    assert not unit.doubt(0x18)


def test_a_format_that_is_known_tells_which_device_has_an_lpi():
    """The tables speak for the events; the kernel's structures are said to be doubtful."""
    _, view = viewed(damaged := changed(dumps.dump("v3crash"), {lpi_base(0x10): 8200}))
    found = inspect(damaged, registers_of(KERNEL, view), kernel=view)
    assert certain(found) == TRUTH
    counts = find(found).counts
    assert (counts["mapping-doubtful"], counts["kernel-differs"]) == (2, 3)


@pytest.mark.parametrize(
    ("name", "address", "value", "text"),
    [
        (name, 0x4219_0008, 0x10003, "collection 1: the tables have it at redistributor 32769, the kernel at 1")
        for name in ("v3crash", "v4run")
    ]
    + [
        (
            "v4run",
            0x4344_A210,
            0x2002_0000_0000,
            "device 0x10 event 1: the tables have Doorbell 8194, the kernel 8192",
        ),
        ("v4run", 0x4367_0008, 0, "the kernel has vPE 1 (resident, cpu 1) mapped, the tables have not"),
    ],
)
def test_a_damaged_entry_differs_from_the_kernels_structures(name, address, value, text):
    registers, view = viewed(damaged := changed(dumps.dump(name), {address: value}))
    found = find(inspect(damaged, registers, kernel=view))
    assert text in [one.sentence for one in found.told if one.rule.identifier == "kernel-differs"]


def test_what_is_pending_for_a_lost_vpe_is_not_known():
    registers, view = viewed(damaged := changed(dumps.dump("v4run"), {0x4367_0008: 0}))
    assert "vPE 1" in gaps.pending(inspect(damaged, registers, kernel=view))
    assert gaps.pending(inspect(dumps.dump("v4run"), registers, kernel=view)) is None


@pytest.mark.parametrize(("target", "differs"), [(0x1_0000, True), (1 << 63, False), (0, False)])
def test_collections_are_where_the_drivers_structures_have_them(target, differs):
    """The dumps lack `struct its_collection`: here it stands, with that of CPU 0 at another redistributor."""
    collections = np.array([target, 0, 0x1_0000, 1, -1 & (1 << 64) - 1, 0], np.uint64).view(np.uint8)
    dump = Dump([*dumps.dump("v3crash").segments, Segment(0x4215_9900, collections)])
    registers, view = viewed(dump)
    assert ("kernel-differs" in find(inspect(dump, registers, kernel=view)).counts) == differs


MAPS = [slot for slot in range(0, 0x720, 0x20) if word(DUMP, QUEUE + slot) & 0xFF in (0x8, 0xA)]
"""MAPD and MAPTI."""


@pytest.mark.parametrize("slot", MAPS)
def test_no_damaged_mapping_in_the_queue_is_believed(slot):
    """Without the kernel's structures: opcode, DeviceID, EventID, pINTID. A collection nothing else tells."""
    at = QUEUE + slot
    for offset, bits in ((0, 1), (0, 8 << 32), (0, 0x18 << 32), (8, 1), (8, 0x1E), (8, 1 << 31), (8, 1 << 33)):
        found = inspected(changed(DUMP, {at + offset: word(DUMP, at + offset) ^ bits}), of_kernel=False)
        assert is_honest(found), (hex(slot), offset, bits, found.its[0].doubts)


def test_text_and_json_say_what_is_doubtful_and_why(tmp_path):
    damaged = forgotten(changed(DUMP, {lpi_base(0x10): 8200}))
    core = tmp_path / "damaged.elf"
    write_core(core, [Piece(segment.address, np.array(segment.data)) for segment in damaged.segments])
    reason = "device 0x18 has LPIs 8200 to 8203, this one 8200 to 8203"
    text = CliRunner().invoke(main, ["inspect", str(core), "--device", "0x10:1"])
    assert text.exit_code == 1
    assert f"unknown whether it is pending; doubtful: {reason}\n" in text.stdout
    document = json.loads(CliRunner().invoke(main, ["inspect", str(core), "--json"]).stdout)
    assert {row["DeviceID"]: row["doubt"] for row in document["devices"]}["0x10"] == reason
    assert [row["doubt"] for row in document["events"] if row["DeviceID"] == "0x10"] == [reason] * 3
    assert f"GITS0: device 0x10: {reason}" in [row["sentence"] for row in document["findings"]]
    (path,) = json.loads(CliRunner().invoke(main, ["inspect", str(core), "--lpi", "8192", "--json"]).stdout)["paths"]
    assert (path["doubt"], path["verdict"]) == (None, "unknown")


def test_a_forwarded_event_of_a_doubtful_device_is_doubtful():
    """Its LPI is the kernel's alone, whatever the tables tell."""
    view = view_of(
        dumps.dump("v4run"), find_kernels(dumps.dump("v4run")), find_kernels(dumps.dump("v4run")).choose(None)
    )
    found = inspect(
        dumps.dump("v4run"), registers_of(find_kernels(dumps.dump("v4run")).choose(None), view), kernel=view
    )
    (device,) = [device for device in view.devices[0] if device.device_id == 0x10]
    assert {path.doubt for path in paths_of(found, found.events)} == {""}
    device.doubt = "a twin"
    doubts = {(path.device_id, path.virtual): path.doubt for path in paths_of(found, found.events)}
    assert doubts[0x10, True] == "a twin"


def test_a_vpe_that_its_vm_does_not_have_is_refused():
    """`vpes` of struct its_vm leads back to each struct its_vpe."""
    dump = dumps.dump("v4run")
    found = find_kernels(dump)
    kernel = found.choose(None)
    btf = next(btf for _, btf in read_btf(dump, found.places) if btf.structure("its_node"))
    events = [event for device in _devices_of(dump, kernel, btf, "").devices[0] for event in device.events]
    (address,) = {event.vpe.its_vm for event in events if event.vpe}
    memory = Pages(dump, kernel.nodes[0].linear, kernel.note)
    at = memory.physical(address + btf.structure("its_vm", "vpes").offsets["vpes"])
    vpes = memory.physical(word(dump, at))
    damaged = changed(dump, {vpes: word(dump, vpes) + 8})
    assert "is none of its struct its_vm" in _devices_of(damaged, kernel, btf, "").broken[0]


def without(dump, page):
    """A dump that lacks a page."""
    kept = []
    for segment in dump.segments:
        for first, end in ((segment.address, page), (page + PAGE, segment.end)):
            first, end = max(first, segment.address), min(end, segment.end)
            if first < end:
                kept.append(Segment(first, segment.data[first - segment.address : end - segment.address]))
    return Dump(kept)


@pytest.mark.parametrize("page", [0x4218_0000, 0x429E_0000])
@pytest.mark.parametrize(("name", "profile"), [("scrambled", "opaque"), ("v3crash", "qemu")])
def test_without_the_device_table_the_itts_tell_their_format(page, name, profile):
    """Either level. Two collections alone were taken for QEMU's, and scrambled entries for vLPIs of QEMU's format."""
    found = inspected(without(dumps.dump(name), page))
    assert found.profile.name == profile
    assert certain(found) == TRUTH


LOG = 0x41C1_2000
"""The page of the kernel's log that tells of the second redistributor."""


@pytest.mark.parametrize("name", ["scrambled", "v3crash"])
def test_what_is_pending_on_a_redistributor_of_which_nothing_is_told_is_unknown(name):
    dump = without(dumps.dump(name), LOG)
    kernel = find_kernels(dump).choose(None)
    view = _devices_of(dump, kernel, BTF, "its BTF")
    found = inspect(dump, registers_of(kernel, view), kernel=view)
    assert [one.number for one in found.redistributors] == [0]
    assert gaps.pending(found) == "the redistributor of collection 1 of GITS0 is not known"
    assert find(found).counts == {}, "a collection is not unmapped because nobody knows where it leads"


def test_the_doorbell_of_an_event_that_the_kernel_alone_tells_is_unknown():
    """It was said to be 1023, none: the ITT, which the dump lacks, has the vPE's."""
    dump = without(dumps.dump("v4run"), 0x4344_A000)
    kernel = find_kernels(dump).choose(None)
    view = view_of(dump, find_kernels(dump), kernel)
    found = inspect(dump, registers_of(kernel, view), kernel=view)
    virtual = found.events["virtual"]
    assert found.events["Doorbell"][virtual].tolist() == [UNKNOWN] * 3
    assert set(found.events["Doorbell"][~virtual].tolist()) == {1023}
    assert find(found).counts == {"itt-absent": 1}
