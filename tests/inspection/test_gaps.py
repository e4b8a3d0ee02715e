# SPDX-License-Identifier: Apache-2.0
"""What the dump lacks, or --limit did not let be read, is unknown: never "none", never a finding of its own."""

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Piece
from gicmodel.images.elf import write_core
from gicmodel.inspection import gaps
from gicmodel.inspection.linux.devices import KernelDevice, KernelEvent, KernelView, KernelVpe
from gicmodel.inspection.octets import explain
from gicmodel.inspection.paths import paths_of
from gicmodel.inspection.report import Report
from gicmodel.inspection.rules import find
from gicmodel.inspection.selection import Selection, entries, select
from gicmodel.inspection.source import Source
from gicmodel.layouts.lpi_tables import bit_of, byte_of
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER_V40
from tests.inspection.machine import (
    BASE,
    COLLECTIONS,
    CONFIGURATION,
    DEVICES,
    END,
    ITT8,
    ITT16,
    KIB64,
    LEVEL2,
    PENDING0,
    PENDING1,
    VCONF,
    VPES,
    VPT0,
    VPT1,
    Machine,
    SavedGuest,
)

PAGE = 0x1000
OF_ABSENCE = {"table-absent", "itt-absent", "pending-absent", "configuration-absent", "pending-unconfigured"}
"""The findings that say that something is not in the dump."""


def busy(make=Machine):
    """A machine with an interrupt pending in each table, and vPE 0 resident, in which nothing is wrong."""
    machine = make()
    machine.pend(PENDING0, 8192)
    if not isinstance(machine, SavedGuest):
        machine.set("GICR0", "VPENDBASER", GICR_VPENDBASER_V40, Valid=1)
        machine.pend(VPT0, 8193)
        machine.pend(VPT1, 8194)
    return machine


def without(*places, make=Machine, size=PAGE):
    """A busy machine whose dump lacks `size` bytes from each place."""
    machine = busy(make)
    machine.holes += [(place, place + size) for place in places]
    return machine


def refused(found, **selection):
    with pytest.raises(UnusableInput) as problem:
        select(found, find(found), Selection(**selection))
    return str(problem.value)


def report(machine, **options):
    found = machine.inspect(**options)
    return Report("a test", Source(found.dump, machine.registers, []), found, find(found))


def summary(machine, **options):
    return report(machine, **options).summary().partition(";")[0]


def test_many_vpes_are_asked_after_at_once_with_the_answer_of_each():
    for machine in (busy(), without(VPES), without(VPES, make=lambda: Machine(indirect=True))):
        found, ids = machine.inspect(), np.arange(0, 1 << 16, 61)
        assert gaps.unsure_vpes(found, ids).tolist() == [gaps.vpe(found, one) is not None for one in ids.tolist()]


MACHINES = {
    "flat": Machine,
    "two levels": lambda: Machine(indirect=True),
    "guest": SavedGuest,
    "guest, two levels": lambda: SavedGuest(indirect=True),
}


@pytest.mark.parametrize("make", MACHINES.values(), ids=MACHINES)
def test_no_hole_is_taken_for_a_fault(make):
    assert find(busy(make).inspect()).counts == {}
    pages = [table + page for table in range(BASE, END, KIB64) for page in (0, PAGE)]
    words = [*range(ITT8, ITT8 + 48, 4), *range(COLLECTIONS, COLLECTIONS + 24, 4)]
    for place in pages + words:
        found = find(without(place, make=make, size=PAGE if place in pages else 4).inspect())
        assert set(found.counts) <= OF_ABSENCE, hex(place)


@pytest.mark.parametrize("make", MACHINES.values(), ids=MACHINES)
def test_no_limit_makes_a_fault(make):
    for limit in range(1, 16):
        machine = busy(make)
        found = machine.inspect(limit=limit)
        assert find(found).counts == {}, limit
        assert bool(found.truncated) == any(gaps.OF_VIEWS[name](found) for name in gaps.OF_VIEWS), limit


@pytest.mark.parametrize(
    ("place", "selection", "told"),
    [
        (
            DEVICES,
            {"device": 8},
            f"its entry in the device table of GITS0_BASER0 at {DEVICES + 64:#x} is not in the dump",
        ),
        (
            DEVICES,
            {"lpi": 8192},
            f"0x1000 bytes of the device table of GITS0_BASER0 are not in the dump, the first at {DEVICES:#x}",
        ),
        (ITT8, {"device": 8, "event": 3}, f"its entry in the ITT of device 0x8 at {ITT8 + 36:#x} is not in the dump"),
        (ITT8, {"lpi": 9000}, f"the ITT of device 0x8 at {ITT8:#x} is not wholly in the dump"),
        (VPES, {"vpe": 7}, f"its entry in the vpe table of GITS0_BASER2 at {VPES + 56:#x} is not in the dump"),
    ],
)
def test_what_may_be_mapped_is_unknown_with_the_address_that_is_missing(place, selection, told):
    said = refused(without(place).inspect(), **selection)
    assert ": it is not known whether it " in said
    assert said.endswith(f" is mapped: {told}")


@pytest.mark.parametrize(
    ("place", "selection"),
    [
        (DEVICES, {"device": 0x1000}),  # another page of the table
        (DEVICES, {"device": 0x2000}),  # beyond the table
        (ITT8, {"device": 16, "event": 3}),
        (ITT8, {"device": 8, "event": 4}),  # beyond the ITT
        (VPES, {"vpe": 0x1000}),
    ],
)
def test_what_is_held_tells_that_it_is_not_mapped(place, selection):
    assert refused(without(place).inspect(), **selection).endswith("is not mapped in this dump")


def test_a_level_2_page_and_the_entry_that_leads_to_it():
    make = MACHINES["two levels"]
    assert f"at {LEVEL2 + 64:#x} is not in the dump" in refused(without(LEVEL2, make=make).inspect(), device=8)
    assert f"at {DEVICES:#x} is not in the dump" in refused(without(DEVICES, make=make).inspect(), device=8)
    # The entry is there and names no page.
    assert refused(without(LEVEL2, make=make).inspect(), device=0x2000).endswith("is not mapped in this dump")


@pytest.mark.parametrize(
    ("limit", "selection", "what"),
    [
        (1, {"device": 16}, "GITS0_BASER0"),
        (2, {"vpe": 1}, "GITS0_BASER2"),
        (6, {"lpi": 8192}, "events of devices"),
        (6, {"device": 8, "event": 0}, "events of devices"),
    ],
)
def test_where_the_limit_ended_the_reading_it_is_unknown(limit, selection, what):
    assert refused(busy().inspect(limit=limit), **selection).endswith(f"--limit ended the reading of {what}")


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ((), "2 devices, 3 events, 2 vPEs, 3 pending interrupts"),
        ((DEVICES,), "- devices, - events, 2 vPEs, 3 pending interrupts"),
        ((DEVICES + PAGE,), "at least 2 devices, at least 3 events, 2 vPEs, 3 pending interrupts"),
        ((ITT8,), "2 devices, at least 1 events, 2 vPEs, 3 pending interrupts"),
        ((ITT8, ITT16), "2 devices, - events, 2 vPEs, 3 pending interrupts"),
        ((VPES,), "2 devices, 3 events, - vPEs, at least 1 pending interrupts"),
        ((VPT0,), "2 devices, 3 events, 2 vPEs, at least 2 pending interrupts"),
        ((PENDING0, VPT0, VPT1), "2 devices, 3 events, 2 vPEs, - pending interrupts"),
    ],
)
def test_the_summary_counts_only_what_is_known(places, told):
    assert summary(without(*places)) == told


def test_the_summary_of_what_the_limit_ended():
    assert summary(busy(), limit=1) == "at least 1 devices, - events, - vPEs, - pending interrupts"


def test_in_json_unknown_is_null_with_its_reason():
    document = report(without(VPES, ITT8, ITT16)).to_json()
    assert document["vpes"] is None
    assert document["events"] is None
    assert (
        document["unknown"]["vpes"]
        == f"0x1000 bytes of the vpe table of GITS0_BASER2 are not in the dump, the first at {VPES:#x}"
    )
    assert document["unknown"]["events"] == f"the ITT of device 0x8 at {ITT8:#x} is not wholly in the dump"
    assert set(document["unknown"]) == {"events", "paths", "vpes", "pending"}
    assert [row["events"] for row in document["devices"]] == [None, None]
    assert [row["events"] for row in document["pending"]] == [None]
    assert report(busy()).to_json()["unknown"] == {}
    assert report(busy()).to_json()["vsgis"] == []


@pytest.mark.parametrize(("limit", "events"), [(7, [None, None]), (8, [None, None]), (9, [2, 1])])
def test_a_count_that_the_limit_ended_is_unknown(limit, events):
    document = report(busy(), limit=limit).to_json()
    assert [row["events"] for row in document["devices"]] == events
    assert [row["pending"] for row in document["redistributors"] + document["vpes"]] == [None] * 4


def test_an_lpi_of_an_absent_configuration_page_has_no_enable_and_no_priority():
    machine = without(CONFIGURATION, VCONF)
    found = find(machine.inspect())
    assert found.counts["configuration-absent"] == 2
    rows = report(machine).to_json()["events"]
    assert [(row["enabled"], row["priority"]) for row in rows] == [(None, None)] * 3


def kernel(*devices):
    return KernelView("the kernel's structures", {0: list(devices)})


VPE0, VPE1 = (KernelVpe(n, vpt, VCONF, n, n == 0) for n, vpt in enumerate((VPT0, VPT1)))
DEVICE8 = KernelDevice(8, ITT8, 4, True, [KernelEvent(0, 8192, 0), KernelEvent(1, 8201, 0, 8193, VPE0)])
DEVICE16 = KernelDevice(16, ITT16, 4, True, [KernelEvent(0, 8202, 0, 8194, VPE1)])
COLUMNS = ["DeviceID", "EventID", "INTID", "virtual", "ICID", "vPEID", "RDbase", "configuration", "pending"]


@pytest.mark.parametrize("make", [Machine, MACHINES["two levels"]])
@pytest.mark.parametrize(
    "places", [(DEVICES,), (ITT8,), (ITT16,), (DEVICES, ITT8), (VPES,), (LEVEL2, ITT16), (DEVICES, VPES, ITT8, ITT16)]
)
def test_the_kernel_tells_what_the_dump_lacks_and_is_named(places, make):
    machine = without(*places, make=make)
    machine.kernel = kernel(DEVICE16, DEVICE8)
    found = machine.inspect()
    assert found.events[COLUMNS].tolist() == busy(make).inspect().events[COLUMNS].tolist()
    assert found.devices["ITT_addr"].tolist() == [ITT8, ITT16]
    assert found.vpes["VPT_addr"].tolist() == [VPT0, VPT1]
    assert set(find(found).counts) <= OF_ABSENCE
    if find(found).counts:
        assert any("as told by the kernel's structures" in line for line in found.evidence)
        assert refused(found, device=9).startswith("device 0x9 is not mapped in this dump")


def test_a_kernel_that_tells_all_tells_what_is_not_there():
    machine = without(DEVICES, ITT8)
    machine.kernel = kernel(DEVICE16, DEVICE8)
    assert (
        refused(machine.inspect(), device=9)
        == "device 0x9 is not mapped in this dump, as told by the kernel's structures"
    )
    assert summary(machine) == "2 devices, 3 events, 2 vPEs, 3 pending interrupts"


def test_a_kernel_that_breaks_off_tells_what_it_has_and_nothing_else():
    machine = without(DEVICES, ITT8)
    machine.kernel = kernel(DEVICE8)
    machine.kernel.broken[0] = "the list breaks"
    found = machine.inspect()
    assert found.events["DeviceID"].tolist() == [8, 8]
    assert "it is not known whether it is mapped" in refused(found, device=16)
    assert summary(machine).startswith("at least 1 devices, at least 2 events")


def test_a_kernel_that_does_not_know_what_the_tables_show_does_not_tell_all():
    machine = without(ITT8)
    machine.kernel = kernel(DEVICE8)
    assert machine.inspect().events["EventID"].tolist() == [0, 1, 0]
    assert "device" not in machine.inspect().its[0].told


@pytest.mark.parametrize("whole", [True, False])
def test_the_queue_tells_what_the_dump_lacks(whole):
    machine = without(ITT8, VPES)
    machine.command(0, "MAPC", ICID=0, RDbase=0, V=1)
    machine.command(1, "MAPC", ICID=1, RDbase=1, V=1)
    machine.command(2, "VMAPP", vPEID=0, RDbase=0, VPT_addr=VPT0, VPT_size=15, V=1)
    machine.command(3, "MAPD", DeviceID=8, ITT_addr=ITT8, Size=1, V=1)
    machine.command(4, "MAPTI", DeviceID=8, EventID=0, pINTID=8192, ICID=0)
    machine.command(5, "VMAPTI", DeviceID=8, EventID=1, vINTID=8193, vPEID=0)
    if whole:
        machine.command(6, "VMAPP", vPEID=1, RDbase=1, VPT_addr=VPT1, VPT_size=15, V=1)
        machine.command(7, "MAPD", DeviceID=16, ITT_addr=ITT16, Size=1, V=1)
        machine.command(8, "VMAPTI", DeviceID=16, EventID=0, vINTID=8194, vPEID=1)
    machine.queue(9, 9)
    found = machine.inspect()
    assert found.events["INTID"].tolist() == [8192, 8193, 8194]
    assert found.vpes["vPEID"].tolist() == ([0, 1] if whole else [0])
    assert "as told by commands that stand in GITS0's queue" in found.evidence[-1]
    # A queue that does not know a device that the tables show has been overwritten, or is another one.
    assert (refused(found, device=8, event=2).startswith("event 2 of device 0x8 is not mapped")) == whole


def test_an_empty_queue_does_not_tell_that_nothing_is_mapped():
    assert "it is not known" in refused(without(DEVICES, COLLECTIONS, VPES).inspect(), device=8)


def test_interrupts_that_a_collection_may_lead_to_are_not_unmapped():
    found = without(COLLECTIONS).inspect()
    assert found.pending["events"].tolist() == [-1, 1, 1]
    machine = without(COLLECTIONS)
    machine.pend(PENDING1, 8300)
    assert find(machine.inspect()).counts["pending-unmapped"] == 1


def test_a_device_whose_entry_is_absent_is_shown_in_bytes_as_far_as_it_can_be():
    machine = without(DEVICES)
    machine.kernel = kernel(DEVICE16, DEVICE8)
    found = machine.inspect()
    ((entry, rows), _) = entries(found, Selection(device=8))
    assert [line[:35] for line in explain(found.dump, entry, rows[0])] == ["DTE at a place that is not known: D"]


@pytest.mark.parametrize("holes", [(ITT8, ITT16), (VPT0, VPT1, ITT8, ITT16)])
def test_an_entry_that_points_into_a_hole_does_not_speak_against_its_format(holes):
    found = without(*holes).inspect()
    assert found.profile.name == "qemu"
    assert find(found).counts["itt-absent"] == 2
    # Beyond all that the dump holds there is no RAM.
    machine = busy()
    machine.device(8, END + PAGE)
    assert machine.inspect().evidence[0] == "qemu: 6 of 7 entries make sense"


def test_without_an_entry_no_format_is_told():
    found = without(DEVICES, COLLECTIONS, VPES).inspect()
    assert "opaque: no entry tells its format" in found.evidence


def test_an_lpi_may_be_the_one_behind_a_forwarded_event():
    assert refused(busy().inspect(), lpi=9000).endswith("that of device 0x8 event 1 is not known")
    machine = busy()
    machine.kernel = kernel(DEVICE8, DEVICE16)
    assert refused(machine.inspect(), lpi=9000) == "LPI 9000 has no event that is mapped in this dump"


def test_without_the_width_of_intids_none_is_too_wide_and_no_table_is_counted():
    machine = busy()
    machine.physical(ITT8, 0, 70000, icid=0)
    machine.virtual(ITT8, 1, 8193, vpe=0, doorbell=70000)
    machine.memory.write_u8(PENDING1 + byte_of(70000), 1 << bit_of(70000))
    broken = {"intid-out-of-range", "doorbell-no-lpi", "pending-beyond-idbits", "pending-unmapped"}
    assert set(find(machine.inspect()).counts) == broken
    for frame in ("GICR0", "GICR1"):
        del machine.registers[frame]["PROPBASER"]
    assert set(find(machine.inspect()).counts) == {"pending-unmapped"}
    assert summary(machine).endswith("at least 3 pending interrupts")
    rows = report(machine).to_json()["redistributors"]
    assert [(row["INTID_bits"], row["pending"]) for row in rows] == [(None, None)] * 2


@pytest.mark.parametrize("given", [True, False])
def test_where_no_redistributor_is_left_out_a_vpe_is_not_resident(given):
    machine = busy()
    if not given:
        del machine.registers["GICR1"]
    row = machine.inspect().events[-1:]
    assert paths_of(machine.inspect(), row)[0].resident is (False if given else None)


def test_csv_says_beside_it_that_there_may_be_more(tmp_path):
    image, machine = tmp_path / "image.elf", without(ITT8)
    write_core(image, [Piece(segment.address, segment.data) for segment in machine.segments()])
    values = [(f"{frame}_{name}", value) for frame, own in machine.registers.items() for name, value in own.items()]
    pairs = [argument for name, value in values for argument in ("--set", f"{name}={value:#x}")]
    result = CliRunner().invoke(main, ["inspect", str(image), *pairs, "--csv"])
    assert result.stdout.count("\n") == 2
    assert result.stderr == f"events (at least 1: the ITT of device 0x8 at {ITT8:#x} is not wholly in the dump)\n"


def test_a_stall_is_not_explained_by_what_is_absent():
    def reason(place, mnemonic, **fields):
        machine = without(place)
        machine.command(0, mnemonic, **fields)
        machine.queue(0, 1, stalled=1)
        (told,) = [one.sentence for one in find(machine.inspect()).told if one.rule.identifier == "queue-stalled"]
        return told

    assert "no reason is seen in the tables, which are not known in full" in reason(DEVICES, "INT", DeviceID=9)
    assert "no reason" in reason(ITT8, "INT", DeviceID=8, EventID=3)
    assert "no reason" in reason(COLLECTIONS, "MOVI", DeviceID=8, ICID=5)
    assert "no reason" in reason(VPES, "VSYNC", vPEID=3)
    assert "device 0x9 is not mapped" in reason(PENDING1, "INT", DeviceID=9)


def test_bytes_that_are_lacking_by_identifier():
    machine = without(DEVICES + PAGE)
    found = machine.inspect()
    ids = np.array([0, 0x1FF, 0x200, 0x3FF, 0x400, 0x1FFF, 0x2000])
    lost = found.its[0].lacking(found.dump, "device", ids).tolist()
    assert lost == [-1, -1, DEVICES + PAGE, DEVICES + 2 * PAGE - 8, -1, -1, -1]
