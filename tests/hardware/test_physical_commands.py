# SPDX-License-Identifier: Apache-2.0
"""The GICv3 commands: the bytes they leave in RAM, the pending bits they move, and every error they make."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER
from tests.hardware.bench import (
    COLLECTION_TABLES,
    DEVICE_TABLES,
    DISABLED,
    ENABLED,
    INTID_BITS,
    PROPERTIES,
    Bench,
    furnished,
)

LPI, OTHER_LPI = FIRST_LPI + 3, FIRST_LPI + 64
LAST_LPI = (1 << INTID_BITS) - 1
EVENT = {"DeviceID": 1, "EventID": 7}


def pending(bench: Bench) -> list[int]:
    """The most urgent pending LPI of each redistributor."""
    return [redistributor.cpu.pending() for redistributor in bench.gic.redistributors]


# MAPD, MAPC.


def test_mapd_writes_and_zeroes_the_dte(bench):
    entry = DEVICE_TABLES + 0x42 * 8
    bench.run("MAPD", DeviceID=0x42, Size=4, ITT_addr=0x8000_1230_0, V=1)
    assert bench.memory.read_u64(entry) == (0x8000_1230_0 >> 8) << 6 | 4 << 1 | 1
    bench.run("MAPD", DeviceID=0x42, Size=4, ITT_addr=0x8000_1230_0, V=0)
    assert bench.memory.read_u64(entry) == 0


def test_mapd_keeps_the_itt_and_pending_state(bench):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    before = bench.memory.read(bench.itt(1), 32 * 12)
    bench.run("MAPD", DeviceID=1, V=0)
    bench.map_device()
    assert bench.memory.read(bench.itt(1), 32 * 12) == before
    assert pending(bench)[0] == LPI


def test_mapd_gives_the_device_another_itt(bench):
    bench.map_lpi(7, LPI)
    bench.run("MAPD", DeviceID=1, Size=4, ITT_addr=bench.itt(0), V=1)
    assert bench.refused("INT", **EVENT) == 0x010307


def test_mapc_writes_and_zeroes_the_cte(bench):
    entry = COLLECTION_TABLES + 5 * 8
    bench.run("MAPC", ICID=5, RDbase=2, V=1)
    assert bench.memory.read_u64(entry) == 0x5
    bench.run("MAPC", ICID=5, RDbase=0xF_FFFF_FFFF, V=0)
    assert bench.memory.read_u64(entry) == 0


def test_mapc_leaves_pending_state_where_it_is(bench):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.run("MAPC", ICID=0, RDbase=2, V=1)
    assert pending(bench) == [LPI, 1023, 1023, 1023]
    bench.run("INT", **EVENT)
    assert pending(bench) == [LPI, 1023, LPI, 1023]


def test_unmapping_what_is_not_mapped_succeeds(bench):
    with bench.unchanged():
        bench.enable_its(True)
    bench.run("MAPD", DeviceID=9)
    bench.run("MAPC", ICID=9)
    assert (bench.dte(9)["Valid"], bench.cte(9)["Valid"]) == (0, 0)


# MAPTI, MAPI, DISCARD.


def test_mapti_writes_and_discard_zeroes_the_twelve_bytes_of_the_ite(bench):
    bench.run("MAPTI", **EVENT, pINTID=LPI, ICID=1)
    entry = bench.itt(1) + 7 * 12
    assert bench.memory.read_u64(entry) == 1 << 32 | LPI << 2 | 0b11
    assert int.from_bytes(bench.memory.read(entry + 8, 4), "little") == 1023
    assert bench.memory.read(entry - 12, 12) == bench.memory.read(entry + 12, 12) == bytes(12)
    bench.run("DISCARD", **EVENT)
    assert bench.memory.read(entry, 12) == bytes(12)


def test_mapi_gives_the_event_its_own_number(bench):
    bench.run("MAPD", DeviceID=2, Size=13, ITT_addr=bench.itt(0), V=1)
    bench.run("MAPI", DeviceID=2, EventID=LAST_LPI, ICID=0)
    bench.run("INT", DeviceID=2, EventID=LAST_LPI)
    assert pending(bench)[0] == LAST_LPI


def test_a_second_mapti_replaces_the_first_and_leaves_its_pending_bit(bench):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.map_lpi(7, OTHER_LPI, icid=1)
    bench.run("INT", **EVENT)
    assert pending(bench) == [LPI, OTHER_LPI, 1023, 1023]


def test_the_collection_of_mapti_may_be_mapped_later(bench):
    bench.map_lpi(7, LPI, icid=3)
    bench.run("MAPC", ICID=3, RDbase=3, V=1)
    bench.run("INT", **EVENT)
    assert pending(bench)[3] == LPI


def test_discard_clears_the_pending_state(bench):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.run("DISCARD", **EVENT)
    assert pending(bench)[0] == 1023


def test_discard_needs_no_mapped_collection(bench):
    bench.map_lpi(7, LPI, icid=3)
    bench.run("DISCARD", **EVENT)
    assert bench.memory.read(bench.itt(1) + 7 * 12, 12) == bytes(12)


def test_discard_needs_a_mapped_collection_where_the_implementation_says_so():
    bench = furnished(discard_unmapped="refuse")
    bench.map_lpi(7, LPI, icid=3)
    assert bench.refused("DISCARD", **EVENT) == 0x010F10


def test_discard_of_an_event_whose_collection_is_out_of_range(bench):
    """The collection table has become smaller, or the ITT was tampered with."""
    bench.map_lpi(7, LPI, icid=3)
    bench.memory.write_u64(bench.itt(1) + 7 * 12, bench.memory.read_u64(bench.itt(1) + 7 * 12) | 0xFFFF << 32)
    assert bench.refused("DISCARD", **EVENT) == 0x010F10


# INT, CLEAR, MOVI, MOVALL.


def test_int_and_clear(bench):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.run("INT", **EVENT)
    assert pending(bench)[0] == LPI
    bench.run("CLEAR", **EVENT)
    assert pending(bench)[0] == 1023
    bench.run("CLEAR", **EVENT)


@pytest.mark.parametrize("was_pending", [True, False])
def test_movi_changes_the_ite_and_moves_the_pending_bit(bench, was_pending):
    bench.map_lpi(7, LPI)
    bench.map_lpi(8, OTHER_LPI)
    bench.run("INT", DeviceID=1, EventID=8)
    if was_pending:
        bench.run("INT", **EVENT)
    bench.run("MOVI", **EVENT, ICID=1)
    assert bench.ite(7) == {"Valid": 1, "IntType": 1, "IntID": LPI, "ICID": 1, "vPEID": 0, "Doorbell": 1023}
    assert pending(bench) == [OTHER_LPI, LPI if was_pending else 1023, 1023, 1023]


def test_movi_to_the_same_redistributor_moves_nothing(bench):
    bench.run("MAPC", ICID=2, RDbase=0, V=1)
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.run("MOVI", **EVENT, ICID=2)
    assert (bench.ite(7)["ICID"], pending(bench)[0]) == (2, LPI)


@pytest.mark.parametrize("off", [0, 1])
def test_movi_moves_no_pending_bit_while_lpis_are_off_at_either_end(bench, off):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.enable_lpis(False, off)
    bench.run("MOVI", **EVENT, ICID=1)
    bench.enable_lpis(True, off)
    assert bench.ite(7)["ICID"] == 1
    assert pending(bench) == [LPI, 1023, 1023, 1023]


def test_movall_adds_to_what_is_pending_at_the_target(bench):
    for event, intid, icid in [(0, LPI, 0), (1, LAST_LPI, 0), (2, OTHER_LPI, 1)]:
        bench.map_lpi(event, intid, icid)
        bench.run("INT", DeviceID=1, EventID=event)
    bench.run("MOVALL", RDbase=0, RDbase2=1)
    assert pending(bench)[0] == 1023
    assert [bench.gic.redistributors[1].cpu.acknowledge() for _ in range(4)] == [LPI, OTHER_LPI, LAST_LPI, 1023]


@pytest.mark.parametrize(("target", "off"), [(0, None), (1, 0), (1, 1)])
def test_movall_to_itself_or_while_lpis_are_off_does_nothing(bench, target, off):
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    if off is not None:
        bench.enable_lpis(False, off)
    bench.run("MOVALL", RDbase=0, RDbase2=target)
    if off is not None:
        bench.enable_lpis(True, off)
    assert pending(bench) == [LPI, 1023, 1023, 1023]


@pytest.mark.parametrize(("id_bits", "moved"), [(12, []), (13, [LPI])])
def test_movall_moves_what_both_pending_tables_have_a_bit_for(id_bits, moved):
    bench = furnished(intid_bits=16)
    for rd, bits in [(0, 15), (1, id_bits)]:
        bench.enable_lpis(False, rd)
        bench.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=PROPERTIES, IDbits=bits), rd)
        bench.enable_lpis(True, rd)
    for intid in (LPI, 1 << 14):
        bench.write_rd("SETLPIR", intid)
    bench.run("MOVALL", RDbase=0, RDbase2=1)
    taken = [bench.gic.redistributors[1].cpu.acknowledge() for _ in range(2)]
    assert taken == [*moved, *[1023] * (2 - len(moved))]
    assert bench.gic.redistributors[0].cpu.take(1 << 14)


# INV, INVALL, SYNC: without a cache they change nothing.


@pytest.mark.parametrize("command", [("INV", EVENT), ("INVALL", {"ICID": 0}), ("SYNC", {"RDbase": 0})])
def test_without_a_cache_configuration_needs_no_invalidation(bench, command):
    mnemonic, fields = command
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.configure(PROPERTIES, LPI, DISABLED)
    assert pending(bench)[0] == 1023
    bench.configure(PROPERTIES, LPI, ENABLED)
    bench.run(mnemonic, **fields)
    assert pending(bench)[0] == LPI


# PTA, HCC.


def test_with_pta_an_rdbase_is_an_address():
    bench = furnished(pta=True)
    assert bench.rdbase(1) == 0x080E_0000 >> 16
    assert bench.cte(1)["RDbase"] == 1
    for wrong in (1, bench.rdbase(0) - 1, bench.rdbase(0) + 1, bench.rdbase(4)):
        assert bench.refused("MAPC", ICID=2, RDbase=wrong, V=1) == 0x010902
        assert bench.refused("MOVALL", RDbase=bench.rdbase(0), RDbase2=wrong) == 0x010E01
        assert bench.refused("SYNC", RDbase=wrong) == 0x010502


def test_hardware_collections_are_not_in_ram():
    bench = furnished(hcc=1)
    assert bench.cte(0)["RDbase"] == 1, "ICID 1 is the first of the table"
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    assert pending(bench)[0] == LPI
    bench.run("MAPC", ICID=0)
    assert bench.refused("INVALL", ICID=0) == 0x010D09
    bench.run("MAPC", ICID=512, V=1)
    assert bench.refused("MAPC", ICID=513, V=1) == 0x010903


# Errors.


def event_errors(opcode: int) -> list[tuple[dict[str, int], int]]:
    """What INT, CLEAR, DISCARD, INV and MOVI say of an event that is not there."""
    wrong = [({"DeviceID": 512}, 0x01), ({"DeviceID": 2}, 0x04), ({"EventID": 32}, 0x05), ({"EventID": 1}, 0x07)]
    return [(EVENT | fields, 0x01_0000 | opcode << 8 | reason) for fields, reason in wrong]


def target_errors(opcode: int) -> list[tuple[dict[str, int], int]]:
    """What INT, CLEAR and INV say of an event whose collection or vPE is not mapped."""
    return [(EVENT | {"EventID": event}, 0x01_0010 | opcode << 8) for event in (8, 9)]


def map_errors(opcode: int, intid: dict[str, int]) -> list[tuple[dict[str, int], int]]:
    """What MAPTI and MAPI say; `intid` makes the mapping valid."""
    wrong = [({"DeviceID": 512}, 0x01), ({"ICID": 512}, 0x03), ({"DeviceID": 9}, 0x04), ({"EventID": 1 << 14}, 0x05)]
    orders = [({"DeviceID": 512, "ICID": 512}, 0x01), ({"DeviceID": 9, "ICID": 512}, 0x03)]
    return [({"DeviceID": 3} | intid | fields, 0x01_0000 | opcode << 8 | reason) for fields, reason in wrong + orders]


ERRORS = {
    "MAPD": [
        ({"DeviceID": 512, "V": 1}, 0x010801),
        ({"DeviceID": 512}, 0x010801),
        ({"Size": 16, "V": 1}, 0x010802),
        ({"Size": 31, "V": 1}, 0x010802),
    ],
    "MAPC": [
        ({"ICID": 512, "RDbase": 9, "V": 1}, 0x010903),
        ({"ICID": 512}, 0x010903),
        ({"RDbase": 4, "V": 1}, 0x010902),
        ({"RDbase": 0x1_0001, "V": 1}, 0x010902),
        ({"RDbase": 0xF_FFFF_FFFF, "V": 1}, 0x010902),
    ],
    "MAPTI": [
        *map_errors(0x0A, {"pINTID": LPI}),
        *(({"DeviceID": 3, "pINTID": intid}, 0x010A06) for intid in (0, 1023, 8191, LAST_LPI + 1, 0x1_2000, 1 << 31)),
    ],
    "MAPI": [
        *map_errors(0x0B, {"EventID": LPI}),
        ({"DeviceID": 3, "EventID": 8191}, 0x010B06),
    ],
    "MOVI": [
        *event_errors(0x01),
        (EVENT | {"EventID": 9, "ICID": 1}, 0x010110),
        (EVENT | {"EventID": 8, "ICID": 1}, 0x010109),
        (EVENT | {"ICID": 512}, 0x010103),
        (EVENT | {"ICID": 5}, 0x010109),
    ],
    "INT": event_errors(0x03) + target_errors(0x03),
    "CLEAR": event_errors(0x05) + target_errors(0x05),
    "DISCARD": event_errors(0x0F),
    "INV": event_errors(0x0C) + target_errors(0x0C),
    "INVALL": [({"ICID": 512}, 0x010D03), ({"ICID": 5}, 0x010D09)],
    "MOVALL": [
        ({"RDbase": 4}, 0x010E01),
        ({"RDbase2": 4}, 0x010E01),
        ({"RDbase": 0x1_0000}, 0x010E01),
        ({"RDbase2": 0x1_0000}, 0x010E01),
    ],
    "SYNC": [({"RDbase": 4}, 0x010502), ({"RDbase": 0x1_0000}, 0x010502)],
}


@pytest.mark.parametrize("policy", ["stall", "ignore"])
@pytest.mark.parametrize("mnemonic", ERRORS)
def test_errors(mnemonic, policy):
    bench = furnished(command_errors=policy)
    bench.run("MAPD", DeviceID=3, Size=13, ITT_addr=bench.itt(3), V=1)
    bench.map_lpi(7, LPI)
    bench.map_lpi(8, OTHER_LPI, icid=9)
    bench.map_vlpi(9, FIRST_LPI, vpe_id=5)
    for fields, number in ERRORS[mnemonic]:
        assert hex(bench.refused(mnemonic, **fields)) == hex(number), fields


def test_unmapping_checks_neither_size_nor_redistributor(bench):
    bench.run("MAPD", DeviceID=1, Size=31)
    bench.run("MAPC", ICID=1, RDbase=0xF_FFFF_FFFF)
    assert (bench.dte(1)["Valid"], bench.cte(1)["Valid"]) == (0, 0)
