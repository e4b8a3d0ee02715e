# SPDX-License-Identifier: Apache-2.0
"""The redistributor's registers at work: LPIs on and off, direct LPIs, invalidation, which LPI the PE takes."""

import pytest

from gicmodel.driver import DriverError, GicDriver, PageAllocator
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_INVALLR,
    GICR_INVLPIR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_STATUSR,
    GICR_WAKER,
)
from tests.hardware.bench import INTID_BITS, OUTSIDE, PROPERTIES, Bench, furnished

LPI, LAST_LPI = FIRST_LPI + 3, (1 << INTID_BITS) - 1
WRITEBACKS = pytest.mark.parametrize("pending_writeback", ["disable", "immediate"])


def taken(bench: Bench, count: int = 3, rd: int = 0) -> list[int]:
    return [bench.gic.redistributors[rd].cpu.acknowledge() for _ in range(count)]


# GICR_CTLR, GICR_WAKER.


@pytest.mark.parametrize(
    ("architecture", "direct_lpi", "implemented"),
    [("3", False, 0), ("3", True, 1), ("4.0", False, 0), ("4.1", False, 1), ("4.1", True, 1)],
)
def test_ir_says_whether_the_invalidation_registers_exist(architecture, direct_lpi, implemented):
    bench = Bench(architecture=architecture, direct_lpi=direct_lpi)
    assert GICR_CTLR.unpack(bench.read_rd("CTLR"))["IR"] == implemented
    for name in ("INVLPIR", "INVALLR", "SYNCR"):
        bench.gic.redistributors[0].read(register(f"GICR_{name}").offset, 4)
        assert GICR_STATUSR.unpack(bench.read_rd("STATUSR"))["RRD"] == (not implemented)
        bench.write_rd("STATUSR", 0xF)
    bench.write_rd("SETLPIR", LPI)
    assert GICR_STATUSR.unpack(bench.read_rd("STATUSR"))["WRD"] == (not direct_lpi)
    assert taken(bench, 1) == [LPI if direct_lpi else 1023]


def test_a_sleeping_redistributor_forwards_nothing(bench):
    bench.write_rd("SETLPIR", LPI)
    bench.write_rd("WAKER", GICR_WAKER.pack(ProcessorSleep=1))
    assert bench.read_rd("WAKER") == GICR_WAKER.pack(ProcessorSleep=1, ChildrenAsleep=1)
    assert taken(bench, 1) == [1023]
    bench.write_rd("WAKER", 0)
    assert bench.read_rd("WAKER") == 0
    assert taken(bench, 1) == [LPI]


@pytest.mark.parametrize("name", ["PROPBASER", "PENDBASER"])
def test_tables_are_fixed_while_lpis_are_enabled(bench, name):
    before = bench.read_rd(name)
    bench.write_rd(name, 0)
    assert bench.read_rd(name) == before
    bench.enable_lpis(False)
    bench.write_rd(name, 0)
    assert bench.read_rd(name) == 0


# GICR_SETLPIR, GICR_CLRLPIR.


@WRITEBACKS
def test_setlpir_and_clrlpir(pending_writeback):
    bench = Bench(pending_writeback=pending_writeback)
    for intid in (LPI, LPI, LAST_LPI):
        bench.write_rd("SETLPIR", intid)
    bench.write_rd("CLRLPIR", LAST_LPI)
    assert taken(bench, 2) == [LPI, 1023]
    bench.write_rd("CLRLPIR", LPI)
    assert taken(bench, 1, rd=1) == [1023]


@pytest.mark.parametrize("intid", [0, 1023, 8191, LAST_LPI + 1, 1 << 31])
def test_an_intid_that_is_no_lpi_has_no_effect(bench, intid):
    with bench.unchanged():
        bench.write_rd("SETLPIR", intid)
        bench.write_rd("CLRLPIR", intid)
        bench.write_rd("INVLPIR", intid)
    assert not bench.gic.redistributors[0].cpu.take(intid)


@pytest.mark.parametrize("name", ["SETLPIR", "INVLPIR"])
def test_a_32_bit_write_is_zero_extended(bench, name):
    bench.gic.redistributors[0].write(register(f"GICR_{name}").offset, LPI, 4)
    assert taken(bench, 1) == [LPI if name == "SETLPIR" else 1023]


def test_lpis_that_are_off_are_lost(bench):
    bench.enable_lpis(False)
    bench.map_lpi(7, LPI)
    bench.write_rd("SETLPIR", LPI)
    bench.run("INT", DeviceID=1, EventID=7)
    bench.run("CLEAR", DeviceID=1, EventID=7)
    assert taken(bench, 1) == [1023]
    bench.enable_lpis(True)
    assert taken(bench, 1) == [1023]


@pytest.mark.parametrize(("id_bits", "lpis"), [(0x0C, 0), (0x0D, 1), (0x1F, 1)])
def test_propbaser_id_bits_limit_the_lpis_but_gicd_typer_limits_them_too(id_bits, lpis):
    """Fewer than 14 bits: all LPIs are out of range (DDI0601 GICR_PROPBASER)."""
    bench = Bench(intid_bits=15)
    bench.enable_lpis(False)
    bench.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=PROPERTIES, IDbits=id_bits))
    bench.enable_lpis(True)
    bench.write_rd("SETLPIR", LPI)
    bench.write_rd("SETLPIR", 1 << 15)
    bench.write_rd("SETLPIR", 1 << 14)
    assert taken(bench, 1) == [LPI if lpis else 1023]
    assert bench.gic.redistributors[0].cpu.take(1 << 14) == (id_bits == 0x1F)


# Which LPI the PE takes.


@WRITEBACKS
def test_priority_then_the_lowest_intid_then_enable(pending_writeback):
    bench = Bench(pending_writeback=pending_writeback)
    for intid, byte in [(LPI, 0xA1), (LPI + 70, 0x81), (LPI + 64, 0x81), (LPI + 1, 0x00), (LAST_LPI, 0x7D)]:
        bench.configure(PROPERTIES, intid, byte)
        bench.write_rd("SETLPIR", intid)
    cpu = bench.gic.redistributors[0].cpu
    assert (cpu.pending(), cpu.pending()) == (LAST_LPI, LAST_LPI)
    assert taken(bench, 5) == [LAST_LPI, LPI + 64, LPI + 70, LPI, 1023]
    assert cpu.take(LPI + 1), "disabled, but pending"


def test_a_configuration_table_outside_ram_disables_its_lpis(bench):
    bench.enable_lpis(False)
    bench.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=OUTSIDE, IDbits=INTID_BITS - 1))
    bench.enable_lpis(True)
    bench.write_rd("SETLPIR", LPI)
    assert taken(bench, 1) == [1023]


@WRITEBACKS
def test_a_pending_table_outside_ram_works_as_far_as_the_redistributor_holds_it(pending_writeback):
    bench = furnished(pending_writeback=pending_writeback)
    bench.map_lpi(7, LPI)
    bench.enable_lpis(False)
    bench.write_rd("PENDBASER", GICR_PENDBASER.pack(Physical_Address=OUTSIDE))
    bench.enable_lpis(True)
    bench.memory.clear_dirty()
    bench.write_rd("SETLPIR", LPI)
    assert taken(bench, 1) == [LPI if pending_writeback == "disable" else 1023]
    bench.enable_lpis(False)
    assert bench.memory.dirty_pages().size == 0


# GICR_INVLPIR, GICR_INVALLR: without a cache they change nothing; with one, see test_table_cache.


@pytest.mark.parametrize("virtual", [0, 1])
@pytest.mark.parametrize("vpe_id", [0, 3, 128, 0xFFFF])
def test_invalidations_change_no_ram(bench, virtual, vpe_id):
    bench.map_vpe()
    with bench.unchanged():
        for intid in (0, LPI, 1 << 31):
            bench.write_rd("INVLPIR", GICR_INVLPIR.pack(V=virtual, vPEID=vpe_id, INTID=intid))
        bench.write_rd("INVALLR", GICR_INVALLR.pack(V=virtual, vPEID=vpe_id))
    assert bench.read_rd("SYNCR") == 0


def test_before_gicv41_v_is_reserved():
    bench = furnished(architecture="4.0", caching="retain")
    bench.write_rd("SETLPIR", LPI)
    assert bench.gic.redistributors[0].cpu.pending() == LPI
    bench.configure(PROPERTIES, LPI, 0)
    bench.write_rd("INVLPIR", GICR_INVLPIR.pack(V=1, INTID=LPI))
    assert bench.gic.redistributors[0].cpu.pending() == 1023


@pytest.mark.parametrize("architecture", ["3", "4.1"])
def test_lpis_that_cannot_be_disabled(architecture):
    """GICR_CTLR.CES = 0: EnableLPIs stays 1, and with it the tables; a driver that comes later is told EBUSY."""
    bench = furnished(architecture=architecture, ces=False)
    bench.write_rd("SETLPIR", FIRST_LPI, 1)
    before = bench.read_rd("PROPBASER", 1)
    bench.enable_lpis(False, 1)
    assert GICR_CTLR.unpack(bench.read_rd("CTLR", 1))["EnableLPIs"] == 1
    assert GICR_CTLR.unpack(bench.read_rd("CTLR", 1))["CES"] == 0
    bench.write_rd("PROPBASER", 0, 1)
    assert bench.read_rd("PROPBASER", 1) == before
    assert bench.gic.redistributors[1].cpu.acknowledge() == FIRST_LPI
    allocator = PageAllocator(bench.memory, bench.memory.base, bench.memory.end)
    with pytest.raises(DriverError, match="EBUSY: LPIs of CPU 0 stay enabled"):
        GicDriver(bench.gic, allocator, INTID_BITS).probe()


def test_lpis_that_can_be_disabled(bench):
    assert GICR_CTLR.unpack(bench.read_rd("CTLR", 1))["CES"] == 1
    bench.enable_lpis(False, 1)
    assert GICR_CTLR.unpack(bench.read_rd("CTLR", 1))["EnableLPIs"] == 0
