# SPDX-License-Identifier: Apache-2.0
"""commands_per_step: what software polls can be seen while it is busy, and what it writes too early is ignored."""

import pytest

from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CTLR, GITS_SGIR
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_INVLPIR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_SYNCR,
    GICR_VSGIPENDR,
)
from tests.hardware.bench import PROPERTIES, SPARE, Bench, furnished

LPI, VLPI = FIRST_LPI + 3, FIRST_LPI + 5


@pytest.fixture
def slow() -> Bench:
    """A GICv4.1 that executes two commands a step; vPE 0 is mapped."""
    bench = furnished(commands_per_step=2)
    bench.map_vpe()
    bench.map_vlpi(7, VLPI)
    return bench


def quiescent(bench: Bench) -> int:
    return GITS_CTLR.unpack(bench.read_its("CTLR"))["Quiescent"]


def rwp(bench: Bench) -> int:
    return GICR_CTLR.unpack(bench.read_rd("CTLR"))["RWP"]


def test_creadr_follows_step_by_step(slow):
    start = slow.creadr()[0]
    for icid in range(5):
        slow.queue_command("MAPC", ICID=10 + icid, V=1)
    slow.ring()
    seen = []
    for _ in range(4):
        executed = slow.gic.step()
        seen.append(((slow.creadr()[0] - start) // COMMAND_BYTES, executed))
    assert seen == [(2, 2), (4, 2), (5, 1), (5, 0)]
    assert [slow.cte(icid)["Valid"] for icid in range(10, 16)] == [1, 1, 1, 1, 1, 0]


def test_nothing_happens_before_a_step(slow):
    slow.queue_command("MAPC", ICID=10, V=1)
    with slow.unchanged():
        slow.ring()
    assert slow.creadr()[0] != slow.read_its("CWRITER")


def test_a_gic_without_a_budget_has_nothing_to_step(bench):
    assert bench.gic.step() == 0


def test_every_its_has_its_own_budget():
    bench = furnished(its=2, commands_per_step=1)
    for its in (0, 1):
        for _ in range(2):
            bench.queue_command("SYNC", its)
        bench.ring(its)
    assert (bench.gic.step(), bench.gic.step(), bench.gic.step()) == (2, 2, 0)


def test_a_stall_ends_a_step():
    bench = furnished(commands_per_step=8)
    offset = bench.queue_command("MAPC", RDbase=99, V=1)
    bench.queue_command("SYNC")
    bench.ring()
    assert (bench.gic.step(), bench.gic.step(), bench.creadr()) == (0, 0, (offset, 1))


# GITS_CTLR.Quiescent.


def test_quiescent_is_0_until_a_disable_is_complete(slow):
    slow.enable_its(False)
    assert quiescent(slow) == 0
    slow.gic.step()
    assert quiescent(slow) == 1


@pytest.mark.parametrize(("architecture", "before"), [("3", 1), ("4.0", 1), ("4.1", 1)])
def test_quiescent_after_an_enable(architecture, before):
    """GICv4.1: 1 until the write took effect, then 0. Before, UNKNOWN: whether commands wait."""
    bench = furnished(architecture=architecture, commands_per_step=1)
    bench.enable_its(False)
    bench.gic.step()
    bench.enable_its(True)
    assert quiescent(bench) == before
    bench.gic.step()
    assert quiescent(bench) == (architecture != "4.1")


def test_before_gicv41_quiescent_is_0_while_commands_wait():
    bench = furnished(architecture="4.0", commands_per_step=1)
    for _ in range(2):
        bench.queue_command("SYNC")
    bench.ring()
    assert [quiescent(bench), bench.gic.step(), quiescent(bench), bench.gic.step(), quiescent(bench)] == [0, 1, 0, 1, 1]


def test_an_its_that_is_not_quiescent_keeps_its_tables_and_stays_disabled(slow):
    before = slow.read_its("BASER0"), slow.read_its("CBASER")
    slow.enable_its(False)
    slow.write_its("BASER0", GITS_BASER.pack(Physical_Address=SPARE))
    slow.write_its("CBASER", 0)
    slow.enable_its(True)
    assert (slow.read_its("BASER0"), slow.read_its("CBASER")) == before
    slow.gic.step()
    assert GITS_CTLR.unpack(slow.read_its("CTLR"))["Enabled"] == 0
    slow.write_its("CBASER", 0)
    assert slow.read_its("CBASER") == 0
    slow.enable_its(True)
    assert GITS_CTLR.unpack(slow.read_its("CTLR"))["Enabled"] == 1


def test_a_disable_in_the_middle_of_the_queue_keeps_creadr(slow):
    start = slow.creadr()[0]
    for icid in range(4):
        slow.queue_command("MAPC", ICID=10 + icid, V=1)
    slow.ring()
    slow.gic.step()
    slow.enable_its(False)
    assert slow.gic.step() == 0
    assert slow.creadr() == (start + 2 * COMMAND_BYTES, 0)
    slow.enable_its(True)
    assert slow.gic.step() == 2


# GICR_CTLR.RWP, GICR_SYNCR.Busy.


def test_rwp_stands_until_lpis_are_off(slow):
    slow.enable_lpis(False)
    assert rwp(slow) == 1
    before = slow.read_rd("PROPBASER"), slow.read_rd("PENDBASER")
    slow.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=SPARE))
    slow.write_rd("PENDBASER", GICR_PENDBASER.pack(Physical_Address=SPARE))
    slow.enable_lpis(True)
    assert (slow.read_rd("PROPBASER"), slow.read_rd("PENDBASER")) == before
    assert GICR_CTLR.unpack(slow.read_rd("CTLR"))["EnableLPIs"] == 0
    slow.gic.step()
    assert rwp(slow) == 0
    slow.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=PROPERTIES, IDbits=13))
    slow.enable_lpis(True)
    assert (GICR_CTLR.unpack(slow.read_rd("CTLR"))["EnableLPIs"], rwp(slow)) == (1, 0)


def test_rwp_stands_until_the_vpe_configuration_table_is_given_up(slow):
    valid = slow.read_rd("VPROPBASER")
    slow.write_rd("VPROPBASER", valid)
    assert rwp(slow) == 0
    slow.write_rd("VPROPBASER", 0)
    assert rwp(slow) == 1
    slow.enable_lpis(True)
    assert GICR_CTLR.unpack(slow.read_rd("CTLR"))["EnableLPIs"] == 1, "it was on before"
    slow.gic.step()
    assert rwp(slow) == 0
    slow.write_rd("VPROPBASER", 0)
    assert rwp(slow) == 0, "it was given up before"


@pytest.mark.parametrize("name", ["INVLPIR", "INVALLR"])
@pytest.mark.parametrize("virtual", [0, 1])
def test_syncr_is_busy_on_the_redistributor_that_was_written(slow, name, virtual):
    slow.write_rd(name, GICR_INVLPIR.pack(V=virtual), 1)
    busy = [[GICR_SYNCR.unpack(slow.read_rd("SYNCR", rd))["Busy"] for rd in (0, 1)]]
    slow.gic.step()
    busy.append([GICR_SYNCR.unpack(slow.read_rd("SYNCR", rd))["Busy"] for rd in (0, 1)])
    assert busy == [[0, 1], [0, 0]]


# GICR_VPENDBASER.Dirty, GICR_VSGIPENDR.Busy.


@pytest.mark.parametrize("architecture", ["4.0", "4.1"])
def test_dirty_after_schedule_and_deschedule(architecture):
    bench = furnished(architecture=architecture, commands_per_step=1)
    bench.map_vpe()
    seen = []
    for act in (bench.schedule, bench.deschedule):
        act()
        seen.append(bench.vpendbaser()["Dirty"])
        bench.gic.step()
        seen.append(bench.vpendbaser()["Dirty"])
    assert seen == [1, 0, 1, 0]


def test_while_dirty_valid_does_not_change(slow):
    """Both are UNPREDICTABLE: a deschedule before the VPT is parsed, a schedule before the last vPE is gone."""
    slow.schedule()
    slow.deschedule()
    assert slow.vpendbaser()["Valid"] == 1
    slow.gic.step()
    slow.deschedule()
    assert not slow.schedule()
    slow.gic.step()
    assert slow.schedule()


def test_a_schedule_that_is_refused_is_not_dirty(slow):
    assert not slow.schedule(99)
    assert slow.vpendbaser()["Dirty"] == 0


def test_vsgipendr_is_busy_until_the_answer_is_there(slow):
    slow.map_vpe(1)
    slow.write_its("SGIR", GITS_SGIR.pack(vINTID=3))
    slow.write_rd("VSGIR", 0)
    assert GICR_VSGIPENDR.unpack(slow.read_rd("VSGIPENDR"))["Busy"] == 1
    slow.write_rd("VSGIR", 1)
    slow.gic.step()
    assert GICR_VSGIPENDR.unpack(slow.read_rd("VSGIPENDR")) == {"Busy": 0, "Pending": 1 << 3}, "the first query's"
    slow.write_rd("VSGIR", 1)
    slow.gic.step()
    assert GICR_VSGIPENDR.unpack(slow.read_rd("VSGIPENDR")) == {"Busy": 0, "Pending": 0}
