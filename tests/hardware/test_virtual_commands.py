# SPDX-License-Identifier: Apache-2.0
"""The GICv4 commands about events, the physical ones on virtual mappings, and all their errors."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.hardware.bench import DOORBELL, INTID_BITS, NO_DOORBELL, Bench, furnished

VLPI = FIRST_LPI + 5
LAST = (1 << INTID_BITS) - 1
EVENT = {"DeviceID": 1, "EventID": 7}
V4 = pytest.mark.parametrize("architecture", ["4.0", "4.1"])


def with_vpes(architecture: str = "4.1", **choices: object) -> Bench:
    """vPEs 0 and 1 at redistributors 0 and 1; individual doorbells exist, and the VPTs in RAM are always current."""
    bench = furnished(architecture=architecture, vpt_writeback="immediate", nid=False, **choices)
    bench.map_vpe(0, 0)
    bench.map_vpe(1, 1)
    return bench


def pending(bench: Bench, vintid: int = VLPI) -> list[int]:
    """The vLPI's bit in the VPTs of vPEs 0 and 1."""
    return [bench.bit(bench.vpt(vpe_id), vintid) for vpe_id in (0, 1)]


@V4
def test_vmapti_writes_and_discard_zeroes_the_twelve_bytes_of_the_ite(architecture):
    bench = with_vpes(architecture)
    bench.run("VMAPTI", **EVENT, vINTID=VLPI, vPEID=1, Doorbell=DOORBELL)
    entry = bench.itt(1) + 7 * 12
    assert bench.memory.read_u64(entry) == 1 << 48 | VLPI << 2 | 0b01
    assert int.from_bytes(bench.memory.read(entry + 8, 4), "little") == DOORBELL
    bench.run("INT", **EVENT)
    bench.run("DISCARD", **EVENT)
    assert bench.memory.read(entry, 12) == bytes(12)
    assert pending(bench) == [0, 0]


@V4
def test_vmapi_gives_the_event_its_own_number(architecture):
    bench = with_vpes(architecture)
    bench.run("MAPD", DeviceID=2, Size=13, ITT_addr=bench.itt(2), V=1)
    bench.run("VMAPI", DeviceID=2, EventID=LAST, vPEID=0, Doorbell=NO_DOORBELL)
    bench.run("INT", DeviceID=2, EventID=LAST)
    assert pending(bench, LAST) == [1, 0]


@V4
def test_int_clear_and_a_message_on_a_virtual_mapping(architecture):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI, vpe_id=1)
    bench.run("INT", **EVENT)
    assert pending(bench) == [0, 1]
    bench.run("CLEAR", **EVENT)
    assert pending(bench) == [0, 0]
    bench.gic.its[0].translate(1, 7)
    assert pending(bench) == [0, 1]


@V4
def test_an_event_becomes_physical_again(architecture):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI)
    bench.run("DISCARD", **EVENT)
    bench.map_lpi(7, FIRST_LPI, icid=1)
    bench.run("INT", **EVENT)
    assert pending(bench) == [0, 0]
    assert bench.gic.redistributors[1].cpu.acknowledge() == FIRST_LPI


@V4
def test_the_vpe_of_vmapti_may_be_mapped_later(architecture):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI, vpe_id=3)
    bench.map_vpe(3)
    bench.run("INT", **EVENT)
    assert bench.bit(bench.vpt(3), VLPI) == 1


# VMOVI.


@V4
@pytest.mark.parametrize("was_pending", [True, False])
def test_vmovi_changes_the_ite_and_moves_the_pending_bit(architecture, was_pending):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI)
    bench.map_vlpi(8, VLPI + 1)
    bench.run("INT", DeviceID=1, EventID=8)
    if was_pending:
        bench.run("INT", **EVENT)
    bench.run("VMOVI", **EVENT, vPEID=1, Doorbell=DOORBELL)
    assert bench.ite(7) == {"Valid": 1, "IntType": 0, "IntID": VLPI, "ICID": 0, "vPEID": 1, "Doorbell": NO_DOORBELL}
    assert pending(bench) == [0, was_pending]
    assert pending(bench, VLPI + 1) == [1, 0]


@V4
def test_vmovi_with_d_replaces_the_doorbell_and_rings_the_new_one(architecture):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI, Doorbell=DOORBELL)
    bench.run("INT", **EVENT)
    bench.run("VMOVI", **EVENT, vPEID=1, D=1, Doorbell=DOORBELL + 9)
    assert bench.ite(7)["Doorbell"] == DOORBELL + 9
    assert [redistributor.cpu.pending() for redistributor in bench.gic.redistributors[:2]] == [DOORBELL, DOORBELL + 9]


def test_vmovi_between_vpes_of_one_vpt_moves_nothing():
    bench = with_vpes("4.0")
    bench.map_vpe(2, 2, VPT_addr=bench.vpt(0))
    bench.map_vlpi(7, VLPI)
    bench.run("INT", **EVENT)
    bench.run("VMOVI", **EVENT, vPEID=2)
    assert (bench.ite(7)["vPEID"], pending(bench)) == (2, [1, 0])


# Individual doorbells.


@V4
def test_an_individual_doorbell_rings_at_the_vpes_redistributor_while_it_is_not_resident(architecture):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI, vpe_id=1, Doorbell=DOORBELL)
    bench.run("INT", **EVENT)
    assert [redistributor.cpu.acknowledge() for redistributor in bench.gic.redistributors[:2]] == [1023, DOORBELL]
    bench.schedule(1, 1)
    assert bench.gic.redistributors[1].cpu.acknowledge_virtual() == VLPI
    bench.run("INT", **EVENT)
    assert bench.gic.redistributors[1].cpu.acknowledge() == 1023


@V4
def test_two_events_may_share_a_doorbell(architecture):
    bench = with_vpes(architecture)
    for event in (7, 8):
        bench.map_vlpi(event, VLPI + event, Doorbell=DOORBELL)
        bench.run("INT", DeviceID=1, EventID=event)
        assert bench.gic.redistributors[0].cpu.acknowledge() == DOORBELL


@pytest.mark.parametrize(("choice", "again"), [("edge", 1023), ("every", DOORBELL)])
def test_a_doorbell_rings_again_for_a_pending_vlpi_if_the_implementation_says_so(choice, again):
    bench = with_vpes("4.0", individual_doorbell=choice)
    bench.map_vlpi(7, VLPI, Doorbell=DOORBELL)
    bench.run("INT", **EVENT)
    assert bench.gic.redistributors[0].cpu.acknowledge() == DOORBELL
    bench.run("INT", **EVENT)
    assert bench.gic.redistributors[0].cpu.acknowledge() == again


@V4
def test_a_doorbell_at_a_redistributor_without_lpis_is_discarded(architecture):
    bench = with_vpes(architecture)
    bench.map_vlpi(7, VLPI, Doorbell=DOORBELL)
    bench.enable_lpis(False)
    bench.run("INT", **EVENT)
    bench.enable_lpis(True)
    assert bench.gic.redistributors[0].cpu.pending() == 1023


def test_gicv40_limits_the_vlpis_of_a_resident_vpe_by_vpropbaser():
    """GICR_VPROPBASER.IDbits below 0xD: all vLPIs are out of range (DDI0601)."""
    bench = with_vpes("4.0")
    bench.map_vlpi(7, VLPI)
    bench.schedule()
    bench.write_rd("VPROPBASER", 0xC)
    bench.run("INT", **EVENT)
    assert pending(bench) == [0, 0]
    bench.deschedule()
    bench.run("INT", **EVENT)
    assert pending(bench) == [1, 0]


# Errors.

OOR = 512
"""DeviceIDs and vPEIDs of the tables end before."""
NO_INTID = 1 << 16
"""The benches below have 16 INTID bits, their VPTs have 14."""


def map_errors(opcode: int, vintid: dict[str, int]) -> list[tuple[dict[str, int], int]]:
    """What VMAPTI and VMAPI say; `vintid` makes the mapping valid."""
    wrong = [({"DeviceID": OOR}, 0x01), ({"DeviceID": 9}, 0x04), ({"EventID": 1 << 14}, 0x05), ({"vPEID": OOR}, 0x11)]
    wrong += [({"Doorbell": intid}, 0x06) for intid in (0, 8191, NO_INTID, 1 << 31)]
    wrong += [({"DeviceID": 9, "vPEID": OOR, "Doorbell": 0}, 0x04), ({"vPEID": OOR, "Doorbell": 0}, 0x06)]
    valid = {"DeviceID": 3, "vPEID": 0, "Doorbell": NO_DOORBELL} | vintid
    return [(valid | fields, 0x01_0000 | opcode << 8 | reason) for fields, reason in wrong]


VMAPTI = {"DeviceID": 3, "Doorbell": NO_DOORBELL}
ERRORS = {
    "VMAPTI": [
        *map_errors(0x2A, {"vINTID": VLPI}),
        *((VMAPTI | {"vINTID": vintid}, 0x012A13) for vintid in (0, 8191, NO_INTID, 1 << 31)),
    ],
    "VMAPI": [*map_errors(0x2B, {"EventID": VLPI}), (VMAPTI | {"EventID": 8191}, 0x012B13)],
    "VMOVI": [
        (EVENT | {"DeviceID": OOR}, 0x012101),
        (EVENT | {"DeviceID": 9}, 0x012104),
        (EVENT | {"EventID": 32}, 0x012105),
        (EVENT | {"EventID": 1}, 0x012107),
        (EVENT | {"EventID": 6}, 0x012115),
        (EVENT | {"EventID": 8}, 0x012116),
        (EVENT | {"EventID": 9}, 0x012116),
        (EVENT | {"vPEID": OOR}, 0x012111),
        (EVENT | {"vPEID": 5}, 0x012117),
        (EVENT | {"vPEID": 1, "D": 1, "Doorbell": 0}, 0x012106),
        (EVENT | {"vPEID": 1, "D": 1, "Doorbell": 8191}, 0x012106),
    ],
    "INT": [({"DeviceID": 1, "EventID": event}, 0x010310) for event in (8, 9)],
    "CLEAR": [({"DeviceID": 1, "EventID": event}, 0x010510) for event in (8, 9)],
    "INV": [({"DeviceID": 1, "EventID": event}, 0x010C10) for event in (8, 9)],
}


@V4
@pytest.mark.parametrize("mnemonic", ERRORS)
def test_errors(mnemonic, architecture):
    """Event 6 is physical, 8 names a vPE that is not mapped, 9 a vLPI that its VPT has no bit for."""
    bench = with_vpes(architecture, intid_bits=16)
    bench.run("MAPD", DeviceID=3, Size=13, ITT_addr=bench.itt(3), V=1)
    bench.map_vlpi(7, VLPI)
    bench.map_lpi(6, FIRST_LPI)
    bench.map_vlpi(8, VLPI, vpe_id=5)
    bench.map_vlpi(9, LAST + 1)
    for fields, number in ERRORS[mnemonic]:
        assert hex(bench.refused(mnemonic, **fields)) == hex(number), fields


@V4
@pytest.mark.parametrize(("vpe_id", "vintid"), [(5, VLPI), (0, LAST + 1)])
def test_discard_needs_no_mapped_vpe(architecture, vpe_id, vintid):
    bench = with_vpes(architecture, intid_bits=16)
    bench.map_vlpi(7, vintid, vpe_id=vpe_id)
    bench.run("DISCARD", **EVENT)
    assert bench.memory.read(bench.itt(1) + 7 * 12, 12) == bytes(12)


@V4
def test_a_vlpi_that_the_new_vpt_has_no_bit_for_stays(architecture):
    bench = with_vpes(architecture, intid_bits=16)
    bench.map_vpe(2, VPT_size=15)
    bench.map_vlpi(7, LAST + 1, vpe_id=2)
    assert bench.refused("VMOVI", **EVENT, vPEID=0) == 0x012113
    assert bench.ite(7)["vPEID"] == 2


def test_without_individual_doorbells_the_only_doorbell_is_none():
    """GITS_TYPER.nID = 1."""
    bench = furnished()
    assert bench.refused("VMAPTI", **EVENT, vINTID=VLPI, Doorbell=DOORBELL) == 0x012A06
    bench.map_vpe(0)
    bench.map_vlpi(7, VLPI)
    assert bench.refused("VMOVI", **EVENT, D=1, Doorbell=DOORBELL) == 0x012106
