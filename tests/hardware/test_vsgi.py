# SPDX-License-Identifier: Apache-2.0
"""vSGIs: VSGI, GITS_SGIR, GICR_VSGIR and GICR_VSGIPENDR, and their state in the first KiB of the VPT."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_SGIR
from gicmodel.layouts.registers.redistributor import GICR_VSGIPENDR
from tests.hardware.bench import DOORBELL, OUTSIDE, Bench, furnished

SGIR = register("GITS_SGIR").offset
WRITEBACKS = pytest.mark.parametrize("vpt_writeback", ["unmap", "deschedule", "immediate"])


def with_vpe(**choices: object) -> Bench:
    """vPE 0 at redistributor 0, and vSGIs 3 and 6 enabled in Group 1 and Group 0."""
    bench = furnished(**choices)
    bench.map_vpe()
    bench.run("VSGI", vINTID=3, Enable=1, Group=1, Priority=0xB)
    bench.run("VSGI", vINTID=6, Enable=1, Group=0, Priority=0xA)
    return bench


def send(bench: Bench, vintid: int, vpe_id: int = 0, its: int = 0) -> None:
    bench.write_its("SGIR", GITS_SGIR.pack(vPEID=vpe_id, vINTID=vintid), its)


def queried(bench: Bench, vpe_id: int = 0, rd: int = 0) -> set[int]:
    """The vSGIs that GICR_VSGIPENDR shows."""
    bench.write_rd("VSGIR", vpe_id, rd)
    pending = GICR_VSGIPENDR.unpack(bench.read_rd("VSGIPENDR", rd))["Pending"]
    return {vintid for vintid in range(16) if pending >> vintid & 1}


def taken(bench: Bench, rd: int = 0) -> list[int]:
    """Everything that the resident vPE takes, in order."""
    return [bench.gic.redistributors[rd].cpu.acknowledge_virtual() for _ in range(4)]


@pytest.mark.parametrize("vintid", range(16))
def test_every_vsgi_can_be_configured_sent_queried_and_cleared(bench, vintid):
    bench.map_vpe()
    bench.run("VSGI", vINTID=vintid, Enable=1, Group=1)
    send(bench, vintid)
    assert queried(bench) == {vintid}
    bench.run("VSGI", vINTID=vintid, Clear=1)
    assert queried(bench) == set()


@WRITEBACKS
def test_a_resident_vpe_takes_its_vsgis_by_priority_before_vlpis(vpt_writeback):
    bench = with_vpe(vpt_writeback=vpt_writeback)
    bench.map_vlpi(7, FIRST_LPI)
    bench.configure(bench.vconf(), FIRST_LPI, 0xB1)
    bench.run("INT", DeviceID=1, EventID=7)
    bench.schedule(groups=0b11)
    send(bench, 3)
    send(bench, 6)
    assert taken(bench) == [6, 3, FIRST_LPI, 1023]


@pytest.mark.parametrize(("groups", "expected"), [(0b00, []), (0b01, [6]), (0b10, [3]), (0b11, [6, 3])])
def test_group_enables(groups, expected):
    bench = with_vpe()
    send(bench, 3)
    send(bench, 6)
    bench.schedule(groups=groups)
    assert taken(bench) == [*expected, *[1023] * (4 - len(expected))]
    assert bench.deschedule() == 0
    assert queried(bench) == {3, 6} - set(expected)


@pytest.mark.parametrize(("groups", "pending_last"), [(0b01, 0), (0b10, 1)])
def test_pending_last_counts_vsgis_whose_group_is_enabled(groups, pending_last):
    bench = with_vpe()
    send(bench, 3)
    bench.schedule(groups=groups)
    assert bench.deschedule(doorbell=1) == pending_last
    assert bench.vpe()["DoorbellArmed"] == (not pending_last)


def test_clear_keeps_the_configuration_and_configuring_keeps_the_pending_state():
    bench = with_vpe()
    send(bench, 3)
    bench.run("VSGI", vINTID=3, Clear=1, Enable=0)
    send(bench, 3)
    bench.run("VSGI", vINTID=3, Enable=0)
    assert queried(bench) == {3}
    bench.schedule()
    assert taken(bench)[0] == 1023
    bench.run("VSGI", vINTID=3, Enable=1, Group=1)
    assert taken(bench)[0] == 3


def test_enabling_a_pending_vsgi_rings_the_default_doorbell():
    bench = with_vpe()
    bench.schedule()
    bench.deschedule(doorbell=1)
    send(bench, 4)
    assert bench.gic.redistributors[0].cpu.pending() == 1023
    bench.run("VSGI", vINTID=4, Enable=1, Group=1)
    assert bench.gic.redistributors[0].cpu.acknowledge() == DOORBELL


@WRITEBACKS
def test_the_state_survives_unmap_and_map(vpt_writeback):
    """With PTZ = 0 hardware takes the VPT as it is; this model keeps vSGIs in its first KiB."""
    bench = with_vpe(vpt_writeback=vpt_writeback)
    send(bench, 3)
    bench.unmap_vpe()
    assert bench.memory.read_u64(bench.vpt()) == 1 << 3
    assert bench.memory.read(bench.vpt() + 16, 8) == bytes([0, 0, 0, 0xB3, 0, 0, 0xA1, 0])
    bench.map_vpe(rd=1)
    assert queried(bench, rd=1) == {3}
    bench.schedule(0, 1)
    assert taken(bench, 1)[0] == 3


def test_ptz_starts_with_all_vsgis_disabled_and_none_pending():
    bench = with_vpe()
    send(bench, 3)
    bench.unmap_vpe()
    bench.map_vpe(PTZ=1)
    assert queried(bench) == set()
    send(bench, 3)
    bench.schedule(groups=0b11)
    assert taken(bench)[0] == 1023


def test_every_redistributor_of_the_group_answers_a_query():
    bench = with_vpe()
    send(bench, 3)
    assert queried(bench, rd=2) == {3}
    bench.map_vpe(1)
    assert queried(bench, 1) == set()


@pytest.mark.parametrize("vpe_id", [1, 128, 0xFFFF])
def test_a_vpe_that_is_not_mapped_has_no_vsgis(vpe_id):
    bench = with_vpe()
    with bench.unchanged():
        send(bench, 3, vpe_id)
        assert queried(bench, vpe_id) == set()


def test_a_vpt_outside_ram_has_no_vsgis():
    bench = with_vpe(vpt_writeback="immediate")
    bench.memory.write_u64(bench.vpe_table(), bench.memory.read_u64(bench.vpe_table()) & 0xFFFF | OUTSIDE)
    send(bench, 3)
    assert queried(bench) == set()


def test_vsgis_come_in_through_the_itss_that_map_the_vpe():
    bench = with_vpe(its=2)
    send(bench, 3, its=1)
    assert queried(bench) == set()
    bench.map_vpe(its=1, Alloc=0)
    send(bench, 3, its=1)
    assert queried(bench) == {3}


@pytest.mark.parametrize("part", [0, 4])
def test_sgir_takes_64_bits_only(part):
    bench = with_vpe()
    bench.gic.its[0].write(SGIR + part, 3, 4)
    assert queried(bench) == set()


def test_reserved_bits_of_the_registers_are_ignored():
    bench = with_vpe()
    bench.gic.its[0].write(SGIR, 0xFFFF_0000_FFFF_FFF0 | 3)
    bench.write_rd("VSGIR", 0xFFFF_0000)
    assert bench.read_rd("VSGIPENDR") == 1 << 3
