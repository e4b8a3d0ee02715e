# SPDX-License-Identifier: Apache-2.0
"""GICR_VPENDBASER: who is resident, PendingLast, and the default doorbell (DDI0601)."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER, GICR_VPENDBASER_V40, GICR_VPROPBASER
from tests.hardware.bench import DISABLED, DOORBELL, ENABLED, OUTSIDE, Bench, furnished

VLPI = FIRST_LPI + 5
EVENT = {"DeviceID": 1, "EventID": 7}
V4 = pytest.mark.parametrize("architecture", ["4.0", "4.1"])


def with_vpe(architecture: str = "4.1", **choices: object) -> Bench:
    """vPE 0 at redistributor 0, event 7 is its vLPI."""
    bench = furnished(architecture=architecture, **choices)
    bench.map_vpe()
    bench.map_vlpi(7, VLPI)
    return bench


def doorbell(bench: Bench, rd: int = 0) -> int:
    """The default doorbell of vPE 0 is taken."""
    return bench.gic.redistributors[rd].cpu.acknowledge()


def nothing_to_take(bench: Bench) -> bool:
    """The resident vPE finds nothing, not even the vLPI of event 7."""
    cpu = bench.gic.redistributors[0].cpu
    return (cpu.acknowledge_virtual(), cpu.take_virtual(VLPI)) == (1023, False)


# Residency.


@V4
def test_a_resident_vpe_takes_its_interrupts(architecture):
    bench = with_vpe(architecture)
    cpu = bench.gic.redistributors[0].cpu
    bench.run("INT", **EVENT)
    assert (cpu.pending_virtual(), cpu.acknowledge_virtual()) == (1023, 1023)
    assert bench.schedule()
    assert cpu.pending_virtual() == VLPI
    assert (cpu.acknowledge_virtual(), cpu.acknowledge_virtual()) == (VLPI, 1023)
    bench.run("INT", **EVENT)
    bench.run("INT", **EVENT)
    assert [cpu.acknowledge_virtual() for _ in range(2)] == [VLPI, 1023]


@V4
@pytest.mark.parametrize("vintid", [15, 16, 1023, 8191, 1 << 14, 1 << 20])
def test_only_interrupts_of_the_vpt_can_be_taken(architecture, vintid):
    bench = with_vpe(architecture)
    cpu = bench.gic.redistributors[0].cpu
    assert not cpu.take_virtual(VLPI), "no vPE is resident"
    bench.run("INT", **EVENT)
    bench.schedule()
    assert not cpu.take_virtual(vintid)
    assert cpu.take_virtual(VLPI)
    assert not cpu.take_virtual(VLPI)


@V4
def test_priorities_then_the_lowest_vintid(architecture):
    bench = with_vpe(architecture)
    for event, vintid, priority in [(1, VLPI + 9, 0x80), (2, VLPI + 2, 0x80), (3, VLPI + 1, 0x84), (4, VLPI + 3, 0x7C)]:
        bench.configure(bench.vconf(), vintid, priority | 1)
        bench.map_vlpi(event, vintid)
        bench.run("INT", DeviceID=1, EventID=event)
    bench.schedule()
    taken = [bench.gic.redistributors[0].cpu.acknowledge_virtual() for _ in range(5)]
    assert taken == [VLPI + 3, VLPI + 2, VLPI + 9, VLPI + 1, 1023]


def test_schedule_sets_pending_last_and_keeps_the_group_enables(bench):
    bench.map_vpe(3)
    assert bench.schedule(3, groups=0b01)
    expected = {"Valid": 1, "Doorbell": 0, "PendingLast": 1, "Dirty": 0, "VGrp0En": 1, "VGrp1En": 0, "vPEID": 3}
    assert bench.vpendbaser() == expected
    bench.deschedule()
    assert bench.vpendbaser() == expected | {"Valid": 0, "PendingLast": 0}


def test_a_write_to_a_resident_vpe_other_than_a_deschedule_is_ignored(bench):
    bench.map_vpe()
    bench.map_vpe(1)
    bench.schedule(0)
    before = bench.vpendbaser()
    bench.write_rd("VPENDBASER", GICR_VPENDBASER.pack(Valid=1, vPEID=1, VGrp0En=1))
    assert bench.vpendbaser() == before


@pytest.mark.parametrize("vpe_id", [1, 127, 128, 0xFFFF])
def test_a_vpe_that_is_not_mapped_does_not_become_resident(bench, vpe_id):
    with bench.unchanged():
        assert not bench.schedule(vpe_id)


def test_a_vpeid_that_is_too_wide_does_not_become_resident():
    bench = with_vpe(vpe_id_bits=4)
    assert not bench.schedule(16)
    assert bench.schedule(0)


def test_a_vpe_is_resident_once():
    bench = with_vpe()
    assert bench.schedule(0, 0)
    assert not bench.schedule(0, 1)
    bench.deschedule()
    assert bench.schedule(0, 1), "any redistributor of the CommonLPIAff group will do"


def test_a_vpe_of_another_common_lpi_aff_group_does_not_become_resident():
    """Here two groups were given one table."""
    bench = with_vpe(redistributors=17, common_lpi_aff=3)
    assert not bench.schedule(0, 16)
    assert bench.schedule(0, 15)


def test_nothing_becomes_resident_without_a_vpe_configuration_table():
    bench = with_vpe()
    bench.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Physical_Address=bench.vpe_table()))
    assert not bench.schedule()


def test_a_table_that_software_took_away_leaves_nothing_to_take():
    bench = with_vpe()
    bench.run("INT", **EVENT)
    bench.schedule()
    bench.write_rd("VPROPBASER", 0)
    assert nothing_to_take(bench)
    assert bench.deschedule() == 1, "nothing is known of the vPE"


# PendingLast and the default doorbell: the truth table.


@pytest.mark.parametrize(
    ("doorbell_written", "pending_last_written", "enabled_pending", "pending_last", "rings"),
    [
        (0, 0, False, 0, False),
        (0, 0, True, 1, False),
        (1, 0, False, 0, True),
        (1, 0, True, 1, False),
        (0, 1, False, 1, False),
        (1, 1, False, 1, False),
        (0, 1, True, 1, False),
        (1, 1, True, 1, False),
    ],
)
def test_truth_table(doorbell_written, pending_last_written, enabled_pending, pending_last, rings):
    """PendingLast written 1 makes its value UNKNOWN: this model says 1."""
    bench = with_vpe()
    bench.map_vlpi(8, VLPI + 1)
    if enabled_pending:
        bench.run("INT", **EVENT)
    bench.schedule()
    assert bench.deschedule(doorbell=doorbell_written, pending_last=pending_last_written) == pending_last
    assert bench.vpe()["DoorbellArmed"] == rings
    bench.run("INT", DeviceID=1, EventID=8)
    assert doorbell(bench) == (DOORBELL if rings else 1023)


@V4
@pytest.mark.parametrize(("byte", "pending_last"), [(ENABLED, 1), (DISABLED, 0)])
def test_pending_last_counts_enabled_vlpis_only(architecture, byte, pending_last):
    bench = with_vpe(architecture)
    bench.configure(bench.vconf(), VLPI, byte)
    bench.run("INT", **EVENT)
    bench.schedule()
    assert bench.deschedule() == pending_last


def test_a_vpt_outside_ram_may_have_something_pending():
    """GICv4.1: PendingLast = 1, for it is not known."""
    bench = with_vpe()
    bench.schedule()
    word = bench.memory.read_u64(bench.vpe_table())
    bench.memory.write_u64(bench.vpe_table(), word & 0xFFFF | OUTSIDE)
    assert nothing_to_take(bench)
    assert bench.deschedule() == 1


def test_a_vpt_outside_ram_has_nothing_pending_in_gicv40():
    bench = with_vpe("4.0")
    bench.schedule()
    bench.deschedule()
    bench.write_rd("VPENDBASER", GICR_VPENDBASER_V40.pack(Valid=1, Physical_Address=OUTSIDE))
    assert nothing_to_take(bench)
    assert bench.deschedule() == 0


def test_gicv40_without_enough_id_bits_has_no_vlpis():
    bench = with_vpe("4.0")
    bench.run("INT", **EVENT)
    bench.schedule()
    bench.write_rd("VPROPBASER", 0xC)
    assert nothing_to_take(bench)
    assert bench.deschedule() == 0


@pytest.mark.parametrize(("groups", "pending_last"), [(0b00, 0), (0b01, 0), (0b10, 1), (0b11, 1)])
def test_vlpis_are_in_group_1(groups, pending_last):
    bench = with_vpe()
    bench.run("INT", **EVENT)
    bench.schedule(groups=groups)
    assert bench.gic.redistributors[0].cpu.pending_virtual() == (VLPI if pending_last else 1023)
    assert bench.deschedule() == pending_last
