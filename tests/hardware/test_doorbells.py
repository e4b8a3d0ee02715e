# SPDX-License-Identifier: Apache-2.0
"""The default doorbell: armed by a deschedule, rung once, withdrawn by residency (DDI0601 GICR_VPENDBASER.Doorbell)."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_SGIR
from gicmodel.layouts.registers.redistributor import GICR_INVALLR, GICR_INVLPIR
from tests.hardware.bench import DISABLED, DOORBELL, ENABLED, INTID_BITS, Bench
from tests.hardware.test_residency import EVENT, VLPI, doorbell, with_vpe


def armed(**choices: object) -> Bench:
    """vPE 0 was resident and waits for its doorbell."""
    bench = with_vpe(**choices)
    bench.map_vlpi(8, VLPI + 1)
    bench.schedule()
    bench.deschedule(doorbell=1)
    return bench


def test_the_doorbell_rings_once_for_each_time_the_vpe_is_not_resident():
    bench = armed()
    bench.run("INT", **EVENT)
    assert doorbell(bench) == DOORBELL
    bench.run("INT", DeviceID=1, EventID=8)
    bench.run("CLEAR", **EVENT)
    bench.run("INT", **EVENT)
    assert doorbell(bench) == 1023
    bench.schedule()
    for _ in range(2):
        bench.gic.redistributors[0].cpu.acknowledge_virtual()
    bench.deschedule(doorbell=1)
    bench.run("INT", **EVENT)
    assert doorbell(bench) == DOORBELL


@pytest.mark.parametrize("vintid", [FIRST_LPI, (1 << INTID_BITS) - 1])
def test_the_first_and_the_last_vlpi_ring(vintid):
    bench = armed()
    bench.map_vlpi(9, vintid)
    bench.run("INT", DeviceID=1, EventID=9)
    assert doorbell(bench) == DOORBELL


def test_a_vpe_that_was_never_resident_has_no_doorbell():
    bench = with_vpe()
    bench.run("INT", **EVENT)
    assert doorbell(bench) == 1023


@pytest.mark.parametrize("rd", [0, 1])
def test_residency_withdraws_the_doorbell(rd):
    bench = armed()
    bench.run("INT", **EVENT)
    bench.schedule(0, rd)
    assert doorbell(bench) == 1023


def test_residency_disarms_the_doorbell():
    bench = armed()
    bench.schedule()
    bench.deschedule()
    bench.run("INT", **EVENT)
    assert doorbell(bench) == 1023


def test_the_doorbell_rings_where_the_vpe_is_mapped():
    bench = armed()
    bench.run("VMOVP", RDbase=2, DB=1, Default_Doorbell=DOORBELL + 9)
    bench.run("INT", **EVENT)
    assert (doorbell(bench), doorbell(bench, 2)) == (1023, DOORBELL + 9)


def test_vmovp_keeps_the_doorbell_armed():
    bench = armed()
    bench.run("VMOVP", RDbase=2)
    bench.run("INT", **EVENT)
    assert doorbell(bench, 2) == DOORBELL


def test_a_disabled_vlpi_does_not_ring():
    bench = armed()
    bench.configure(bench.vconf(), VLPI, DISABLED)
    bench.run("INT", **EVENT)
    assert doorbell(bench) == 1023
    bench.run("INT", DeviceID=1, EventID=8)
    assert doorbell(bench) == DOORBELL


def test_a_vlpi_whose_group_was_off_does_not_ring():
    bench = with_vpe()
    bench.schedule(groups=0b01)
    bench.deschedule(doorbell=1)
    bench.run("INT", **EVENT)
    assert doorbell(bench) == 1023


def test_a_doorbell_of_1023_or_at_a_redistributor_without_lpis_is_lost():
    bench = armed()
    bench.enable_lpis(False)
    bench.run("INT", **EVENT)
    bench.enable_lpis(True)
    assert doorbell(bench) == 1023
    assert bench.vpe()["DoorbellArmed"] == 0


@pytest.mark.parametrize("how", ["INV", "VINVALL", "INVLPIR", "INVALLR"])
def test_an_invalidation_that_finds_a_pending_vlpi_enabled_rings(how):
    bench = armed()
    bench.configure(bench.vconf(), VLPI, DISABLED)
    bench.run("INT", **EVENT)
    bench.configure(bench.vconf(), VLPI, ENABLED)
    assert doorbell(bench) == 1023
    if how == "INVLPIR":
        bench.write_rd(how, GICR_INVLPIR.pack(V=1, vPEID=0, INTID=VLPI))
    elif how == "INVALLR":
        bench.write_rd(how, GICR_INVALLR.pack(V=1, vPEID=0))
    else:
        bench.run(how, **(EVENT if how == "INV" else {}))
    assert doorbell(bench) == DOORBELL


def test_a_vsgi_rings_like_a_vlpi():
    bench = armed()
    bench.run("VSGI", vINTID=3, Enable=1, Group=1)
    bench.write_its("SGIR", GITS_SGIR.pack(vPEID=0, vINTID=4))
    assert doorbell(bench) == 1023, "vSGI 4 is disabled"
    bench.write_its("SGIR", GITS_SGIR.pack(vPEID=0, vINTID=3))
    assert doorbell(bench) == DOORBELL


def test_two_vpes_have_two_doorbells():
    bench = armed()
    bench.map_vpe(1, 1)
    bench.map_vlpi(9, VLPI, vpe_id=1)
    bench.schedule(1, 1)
    bench.deschedule(1, doorbell=1)
    bench.run("INT", DeviceID=1, EventID=9)
    assert (doorbell(bench, 0), doorbell(bench, 1)) == (1023, DOORBELL + 1)
