# SPDX-License-Identifier: Apache-2.0
"""The ITS's registers at work: control, tables, and messages that cannot be translated."""

import numpy as np
import pytest

from gicmodel.hardware.observe import pending_physical
from gicmodel.layouts.its_tables import DTE, LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR, GITS_SGIR, GITS_STATUSR, GITS_UMSIR
from tests.hardware.bench import COLLECTION_TABLES, DEVICE_TABLES, OUTSIDE, SPARE, UNIT, VPE_TABLES, Bench, furnished

TRANSLATER = register("GITS_TRANSLATER").offset
TABLES = {"BASER0": DEVICE_TABLES, "BASER1": COLLECTION_TABLES, "BASER2": VPE_TABLES}


def acknowledged(bench: Bench) -> list[int]:
    """What each PE takes next."""
    return [redistributor.cpu.acknowledge() for redistributor in bench.gic.redistributors]


# GITS_CTLR.


@pytest.mark.parametrize(("architecture", "number"), [("3", 0), ("4.0", 2), ("4.1", 2)])
def test_its_number_is_the_its_number_and_read_only(architecture, number):
    bench = Bench(architecture=architecture, its=3, boot=False)
    bench.write_its("CTLR", GITS_CTLR.pack(ITS_Number=9), its=2)
    assert GITS_CTLR.unpack(bench.read_its("CTLR", its=2))["ITS_Number"] == number


@pytest.mark.parametrize(("architecture", "enabled"), [("3", 1), ("4.0", 1), ("4.1", 0)])
def test_quiescent_while_enabled_with_an_empty_queue(architecture, enabled):
    """UNKNOWN before GICv4.1, which says 0."""
    bench = Bench(architecture=architecture)
    assert GITS_CTLR.unpack(bench.read_its("CTLR"))["Quiescent"] == enabled
    bench.enable_its(False)
    assert GITS_CTLR.unpack(bench.read_its("CTLR"))["Quiescent"] == 1


def test_quiescent_is_0_while_commands_wait():
    bench = Bench(architecture="4.0")
    bench.queue_command("MAPC", RDbase=99, V=1)
    bench.ring()
    assert bench.creadr() == (0, 1)
    assert GITS_CTLR.unpack(bench.read_its("CTLR"))["Quiescent"] == 0


def test_disabled_its_ignores_messages_commands_and_vsgis(bench):
    bench.map_lpi(0, FIRST_LPI)
    bench.map_vpe()
    bench.enable_its(False)
    bench.queue_command("MAPC", ICID=5, V=1)
    bench.ring()
    with bench.unchanged():
        assert bench.gic.its[0].translate(1, 0) == 0
        bench.write_its("SGIR", GITS_SGIR.pack(vPEID=0, vINTID=3))
    assert acknowledged(bench)[0] == 1023
    bench.enable_its(True)
    assert bench.cte(5)["Valid"] == 1


# GITS_BASER<n>.


@pytest.mark.parametrize("name", ["CBASER", *TABLES])
def test_queue_and_tables_are_fixed_while_enabled(bench, name):
    before = bench.read_its(name)
    bench.write_its(name, 0)
    assert bench.read_its(name) == before
    bench.enable_its(False)
    bench.write_its(name, 0)
    assert bench.read_its(name) & GITS_CBASER.pack(Valid=1) == 0


def test_a_table_that_does_not_exist_is_res0(bench):
    bench.enable_its(False)
    bench.write_its("BASER3", (1 << 64) - 1)
    assert bench.read_its("BASER3") == 0


@pytest.mark.parametrize("baser", TABLES)
def test_messages_are_discarded_while_a_table_is_not_valid(bench, baser):
    bench.map_lpi(0, FIRST_LPI)
    bench.enable_its(False)
    bench.write_its(baser, GITS_BASER.pack(Physical_Address=TABLES[baser]))
    bench.enable_its(True)
    assert bench.gic.its[0].translate(1, 0) == 0
    assert acknowledged(bench)[0] == 1023


def test_hardware_collections_need_no_collection_table():
    bench = furnished(hcc=2)
    bench.map_lpi(0, FIRST_LPI)
    bench.enable_its(False)
    bench.write_its("BASER1", 0)
    bench.enable_its(True)
    bench.gic.its[0].translate(1, 0)
    assert acknowledged(bench)[0] == FIRST_LPI


PAGE_SIZES = [(0, 0x1000), (1, 0x4000), (2, 0x1_0000), (3, 0x1_0000)]


@pytest.mark.parametrize(("code", "page"), PAGE_SIZES)
def test_a_flat_table_ends_with_its_pages(code, page):
    """Page_Size 3 is 64 KiB (DDI0601 GITS_BASER<n>)."""
    bench = Bench()
    with_table(bench, Page_Size=code, Size=1)
    limit = 2 * page // DTE.bytes
    bench.run("MAPD", DeviceID=limit - 1, ITT_addr=bench.itt(), V=1)
    assert DTE.unpack(bench.memory.read_u64(SPARE + 2 * page - 8))["ITT_addr"] == bench.itt()
    assert bench.refused("MAPD", DeviceID=limit, ITT_addr=bench.itt(), V=1) == 0x010801


@pytest.mark.parametrize(("code", "page"), PAGE_SIZES)
def test_a_two_level_table_reaches_the_page_of_the_entry(code, page):
    bench = Bench()
    second = SPARE + 4 * UNIT
    with_table(bench, Page_Size=code, Indirect=1)
    bench.memory.write_u64(SPARE + 8, LEVEL1.pack(Valid=1, Physical_Address=second))
    device_id = page // DTE.bytes + 3
    bench.run("MAPD", DeviceID=device_id, ITT_addr=bench.itt(), V=1)
    assert bench.memory.read_u64(second + 3 * DTE.bytes) == DTE.pack(Valid=1, ITT_addr=bench.itt())
    limit = min(page // 8 * (page // DTE.bytes), 1 << bench.config.device_id_bits)
    assert bench.refused("MAPD", DeviceID=limit, ITT_addr=bench.itt(), V=1) == 0x010801


def test_an_id_wider_than_typer_says_is_out_of_range():
    bench = Bench(device_id_bits=6)
    bench.run("MAPD", DeviceID=63, ITT_addr=bench.itt(), V=1)
    assert bench.refused("MAPD", DeviceID=64, ITT_addr=bench.itt(), V=1) == 0x010801


def test_an_entry_under_an_invalid_level_1_entry_does_not_exist():
    bench = Bench()
    with_table(bench, Indirect=1)
    bench.queue_command("MAPD", DeviceID=3, ITT_addr=bench.itt(), V=1)
    with bench.unchanged():
        bench.ring()
    assert bench.refused("MAPTI", DeviceID=3, pINTID=FIRST_LPI) == 0x010A04


def test_the_low_bits_of_a_level_1_entry_are_not_an_address():
    """They are RES0; with 64 KiB pages PA[15:12] are too."""
    bench = Bench()
    with_table(bench, Page_Size=2, Indirect=1)
    bench.memory.write_u64(SPARE, LEVEL1.pack(Valid=1, Physical_Address=SPARE + UNIT) | 0xF018)
    bench.run("MAPD", DeviceID=0, ITT_addr=bench.itt(), V=1)
    assert DTE.unpack(bench.memory.read_u64(SPARE + UNIT))["Valid"] == 1


def test_with_64_kib_pages_the_low_address_bits_are_the_high_ones():
    """Bits [15:12] of the register are PA[51:48] (DDI0601 GITS_BASER<n>)."""
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("BASER0", GITS_BASER.pack(Valid=1, Page_Size=2, Physical_Address=DEVICE_TABLES | 0x1000))
    bench.enable_its(True)
    assert bench.refused("MAPD", DeviceID=0, ITT_addr=bench.itt(), V=1) == 0x0108FE


def with_table(bench: Bench, **fields: int) -> None:
    """A device table at SPARE."""
    bench.enable_its(False)
    bench.write_its("BASER0", GITS_BASER.pack(Valid=1, Physical_Address=SPARE, **fields))
    bench.enable_its(True)


# GITS_TRANSLATER, GITS_STATUSR, GITS_UMSIR.


@pytest.mark.parametrize("size", [2, 4])
def test_translater_takes_16_and_32_bits(bench, size):
    bench.map_lpi(9, FIRST_LPI)
    bench.gic.its[0].write(TRANSLATER, 9 | 1 << 8 * size, size, device_id=1)
    assert acknowledged(bench)[0] == FIRST_LPI


@pytest.mark.parametrize(("device_id", "event_id", "syndrome"), [(512, 0, 2), (2, 0, 3), (1, 32, 4), (1, 1, 5)])
def test_an_unmapped_message_is_reported(bench, device_id, event_id, syndrome):
    bench.gic.its[0].translate(device_id, event_id)
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == status(UMSI=1, Syndrome=syndrome)
    assert GITS_UMSIR.unpack(bench.read_its("UMSIR")) == {"DeviceID": device_id, "EventID": event_id}


def test_a_message_to_an_unmapped_collection_is_reported(bench):
    bench.map_lpi(0, FIRST_LPI, icid=3)
    bench.gic.its[0].translate(1, 0)
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == status(UMSI=1, Syndrome=7)


def test_a_message_to_an_unmapped_vpe_is_reported(bench):
    bench.map_vlpi(0, FIRST_LPI, vpe_id=3)
    bench.gic.its[0].translate(1, 0)
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == status(UMSI=1, Syndrome=9)


def test_a_message_lost_to_an_external_abort_has_no_syndrome(bench):
    bench.run("MAPD", DeviceID=2, ITT_addr=OUTSIDE, V=1)
    bench.gic.its[0].translate(2, 0)
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == status(UMSI=1, Syndrome=0)


def test_the_first_unmapped_message_is_kept_until_it_is_cleared(bench):
    bench.gic.its[0].translate(2, 0)
    bench.gic.its[0].translate(1, 32)
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == status(UMSI=1, Syndrome=3, Overflow=1)
    assert GITS_UMSIR.unpack(bench.read_its("UMSIR")) == {"DeviceID": 2, "EventID": 0}
    bench.write_its("STATUSR", GITS_STATUSR.pack(UMSI=1))
    assert bench.read_its("STATUSR") == 0
    bench.gic.its[0].translate(1, 32)
    assert GITS_UMSIR.unpack(bench.read_its("UMSIR")) == {"DeviceID": 1, "EventID": 32}


def test_reports_of_accesses_and_of_messages_stand_side_by_side(bench):
    for _ in range(2):
        bench.gic.its[0].read(0x0FF8, 4)
        bench.gic.its[0].translate(2, 0)
        bench.gic.its[0].write(0x0FF8, 0, 4)
    expected = status(RRD=1, WRD=1, UMSI=1, Syndrome=3, Overflow=1)
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == expected


def test_overflow_can_be_cleared_alone(bench):
    bench.gic.its[0].translate(2, 0)
    bench.gic.its[0].translate(2, 0)
    bench.write_its("STATUSR", GITS_STATUSR.pack(Overflow=1))
    assert GITS_STATUSR.unpack(bench.read_its("STATUSR")) == status(UMSI=1, Syndrome=3)


def test_without_umsi_nothing_is_reported():
    bench = furnished(umsi=False)
    assert bench.gic.its[0].translate(2, 0) != 0
    assert (bench.read_its("STATUSR"), bench.read_its("UMSIR")) == (0, 0)


def test_a_burst_of_messages_arrives_in_order(bench):
    for event in range(4):
        bench.map_lpi(event, FIRST_LPI + event, icid=event % 2)
    assert bench.gic.its[0].translate_many(np.array([1, 1, 1, 2, 1]), [0, 1, 2, 0, 3]) == 4
    assert acknowledged(bench) == [FIRST_LPI, FIRST_LPI + 1, 1023, 1023]
    assert acknowledged(bench) == [FIRST_LPI + 2, FIRST_LPI + 3, 1023, 1023]
    bench.enable_its(False)
    assert bench.gic.its[0].translate_many([1, 1], [0, 1]) == 0, "a disabled ITS ignores messages"
    assert acknowledged(bench) == [1023] * 4
    with pytest.raises(ValueError, match=r"^translate_many: \(1,\) DeviceIDs for \(2,\) EventIDs$"):
        bench.gic.its[0].translate_many([1], [1, 2])


@pytest.mark.parametrize("caching", ["none", "retain"])
def test_a_burst_does_what_its_messages_do_one_by_one(caching):
    """More messages than are read ahead at once; some of devices and events that are not mapped, or outside RAM."""
    burst, single = furnished(caching=caching), furnished(caching=caching)
    for bench in (burst, single):
        bench.run("MAPD", DeviceID=3, Size=4, ITT_addr=OUTSIDE, V=1)
        for event in range(16):
            bench.map_lpi(event, FIRST_LPI + event, icid=event % 2)
    chooser = np.random.default_rng(1)
    devices, events = chooser.choice([1, 1, 1, 2, 3, 1 << 20], 150), chooser.integers(0, 20, 150)
    reasons = [single.gic.its[0].translate(*message) for message in zip(devices.tolist(), events.tolist(), strict=True)]
    assert 0 < reasons.count(0) < 150
    assert burst.gic.its[0].translate_many(devices, events) == reasons.count(0)
    for name in ("STATUSR", "UMSIR"):
        assert burst.read_its(name) == single.read_its(name)
    for rd in range(2):
        assert np.array_equal(pending_physical(burst.gic, rd), pending_physical(single.gic, rd))


def status(**fields: int) -> dict[str, int]:
    """GITS_STATUSR with these fields only."""
    return GITS_STATUSR.unpack(GITS_STATUSR.pack(**fields))
