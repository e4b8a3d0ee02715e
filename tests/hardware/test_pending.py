# SPDX-License-Identifier: Apache-2.0
"""When pending bits are in RAM: LPI pending tables around EnableLPIs, VPTs around VMAPP and VPENDBASER."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI, FIRST_LPI_BYTE
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER
from tests.hardware.bench import INTID_BITS, OUTSIDE, UNIT, Bench, furnished

LPI, VLPI = FIRST_LPI + 3, FIRST_LPI + 5
LINE_BYTES, LINE_INTIDS = 64, 512
LAST = (1 << INTID_BITS) - 1
EVENT = {"DeviceID": 1, "EventID": 7}
PENDBASER = register("GICR_PENDBASER").offset


def taken(bench: Bench, count: int = 2, rd: int = 0) -> list[int]:
    return [bench.gic.redistributors[rd].cpu.acknowledge() for _ in range(count)]


# LPI pending tables.


@pytest.mark.parametrize(("pending_writeback", "at_once"), [("disable", 0), ("immediate", 1)])
def test_lpi_pending_bits_reach_ram_at_once_or_at_the_latest_when_lpis_go_off(pending_writeback, at_once):
    bench = Bench(pending_writeback=pending_writeback)
    for intid in (LPI, LAST):
        bench.write_rd("SETLPIR", intid)
    assert [bench.bit(bench.pending_table(), intid) for intid in (LPI, LAST)] == [at_once, at_once]
    bench.enable_lpis(False)
    assert [bench.bit(bench.pending_table(), intid) for intid in (LPI, LAST)] == [1, 1]
    bench.enable_lpis(True)
    assert taken(bench, 3) == [LPI, LAST, 1023]
    bench.enable_lpis(False)
    assert bench.memory.read(bench.pending_table(), 1 << INTID_BITS >> 3) == bytes(1 << INTID_BITS >> 3)


@pytest.mark.parametrize("pending_writeback", ["disable", "immediate"])
def test_enabling_takes_what_software_left_in_the_table(pending_writeback):
    bench = Bench(pending_writeback=pending_writeback)
    bench.enable_lpis(False)
    bench.set_bit(bench.pending_table(), LPI)
    bench.enable_lpis(True)
    assert taken(bench) == [LPI, 1023]


def test_writing_back_leaves_what_did_not_change():
    """A redistributor writes 64-byte lines; the first KiB is its own, and this model leaves it alone."""
    bench = Bench()
    bench.enable_lpis(False)
    bench.memory.write(bench.pending_table(), bytes([0xA5]) * FIRST_LPI_BYTE)
    bench.enable_lpis(True)
    bench.memory.clear_dirty()
    bench.enable_lpis(False)
    assert bench.memory.dirty_pages().size == 0
    bench.enable_lpis(True)
    bench.write_rd("SETLPIR", LPI)
    bench.enable_lpis(False)
    assert bench.memory.dirty_pages().tolist() == [bench.pending_table()]
    assert bench.memory.read(bench.pending_table(), FIRST_LPI_BYTE) == bytes([0xA5]) * FIRST_LPI_BYTE


@pytest.mark.parametrize("lines", [[16], [31], [16, 17], [17, 19, 20, 21, 31], [*range(16, 32)]])
def test_exactly_the_lines_that_changed_are_written_back(lines):
    """One alone, and runs of them: what lies in RAM between them is not touched."""
    bench = Bench()
    length = 1 << INTID_BITS >> 3
    bench.memory.write(bench.pending_table(), bytes([0xA5]) * length)
    for line in lines:
        bench.write_rd("SETLPIR", line * LINE_INTIDS + line)
    bench.enable_lpis(False)
    expected = bytearray([0xA5]) * length
    for line in lines:
        expected[line * LINE_BYTES : (line + 1) * LINE_BYTES] = (1 << line).to_bytes(LINE_BYTES, "little")
    assert bench.memory.read(bench.pending_table(), length) == expected


def test_ptz_trusts_software_that_the_table_is_zero():
    bench = Bench()
    bench.enable_lpis(False)
    bench.set_bit(bench.pending_table(), LPI)
    bench.write_rd("PENDBASER", GICR_PENDBASER.pack(PTZ=1, Physical_Address=bench.pending_table()))
    assert GICR_PENDBASER.unpack(bench.read_rd("PENDBASER"))["PTZ"] == 0
    bench.enable_lpis(True)
    assert taken(bench, 1) == [1023]


def test_ptz_is_used_once():
    """Else LPIs that were written back would be lost at the next EnableLPIs."""
    bench = Bench()
    bench.enable_lpis(False)
    bench.write_rd("PENDBASER", GICR_PENDBASER.pack(PTZ=1, Physical_Address=bench.pending_table()))
    bench.enable_lpis(True)
    bench.write_rd("SETLPIR", LPI)
    bench.enable_lpis(False)
    bench.enable_lpis(True)
    assert taken(bench) == [LPI, 1023]


def test_every_redistributor_has_a_table_of_its_own():
    bench = furnished()
    for event, intid, icid in [(0, LPI, 0), (1, LPI, 1)]:
        bench.map_lpi(event, intid, icid)
    bench.run("INT", DeviceID=1, EventID=1)
    bench.enable_lpis(False, 1)
    assert [bench.bit(bench.pending_table(rd), LPI) for rd in (0, 1)] == [0, 1]


# VPTs.


def with_vlpi(architecture: str = "4.1", **choices: object) -> Bench:
    """vPE 0 at redistributor 0, event 7 is its vLPI."""
    bench = furnished(architecture=architecture, **choices)
    bench.map_vpe()
    bench.map_vlpi(7, VLPI)
    return bench


@pytest.mark.parametrize("architecture", ["4.0", "4.1"])
@pytest.mark.parametrize(
    ("vpt_writeback", "in_ram"),
    [("unmap", [0, 0, 0, 0]), ("deschedule", [1, 0, 1, 1]), ("immediate", [1, 1, 1, 1])],
)
def test_when_a_vpt_in_ram_is_current(architecture, vpt_writeback, in_ram):
    """After an INT while not resident, one while resident, the deschedule, and one after it."""
    bench = with_vlpi(architecture, vpt_writeback=vpt_writeback)
    seen = []
    bench.run("INT", **EVENT)
    seen.append(bench.bit(bench.vpt(), VLPI))
    for event in (1, 2):
        bench.map_vlpi(event, VLPI + event)
    bench.schedule()
    bench.run("INT", DeviceID=1, EventID=1)
    seen.append(bench.bit(bench.vpt(), VLPI + 1))
    bench.deschedule(pending_last=1)
    seen.append(bench.bit(bench.vpt(), VLPI + 1))
    bench.run("INT", DeviceID=1, EventID=2)
    seen.append(bench.bit(bench.vpt(), VLPI + 2))
    assert seen == in_ram


@pytest.mark.parametrize("vpt_writeback", ["unmap", "deschedule", "immediate"])
def test_the_last_unmap_makes_the_vpt_current(vpt_writeback):
    """VMAPP {V,Alloc} = {0,1} cleans and invalidates all caching of the VPT (IHI0069 5.3.19)."""
    bench = with_vlpi(vpt_writeback=vpt_writeback)
    bench.map_vlpi(8, LAST)
    for event in (7, 8):
        bench.run("INT", DeviceID=1, EventID=event)
    bench.unmap_vpe()
    assert [bench.bit(bench.vpt(), intid) for intid in (VLPI, VLPI + 1, LAST)] == [1, 0, 1]
    bench.memory.zero(bench.vpt(), 1 << INTID_BITS >> 3)
    bench.set_bit(bench.vpt(), VLPI + 1)
    bench.map_vpe()
    bench.schedule()
    cpu = bench.gic.redistributors[0].cpu
    assert [cpu.acknowledge_virtual() for _ in range(2)] == [VLPI + 1, 1023]


def test_an_unmap_that_is_not_the_last_guarantees_nothing():
    bench = furnished(its=2)
    bench.map_vpe()
    bench.map_vpe(its=1, Alloc=0)
    bench.map_vlpi(7, VLPI)
    bench.run("INT", **EVENT)
    bench.unmap_vpe(its=1, Alloc=0)
    assert bench.bit(bench.vpt(), VLPI) == 0
    bench.unmap_vpe()
    assert bench.bit(bench.vpt(), VLPI) == 1


@pytest.mark.parametrize(("vpt_writeback", "kept"), [("unmap", 0), ("deschedule", 1), ("immediate", 1)])
def test_in_gicv40_an_unmap_guarantees_nothing(vpt_writeback, kept):
    bench = with_vlpi("4.0", vpt_writeback=vpt_writeback)
    bench.run("INT", **EVENT)
    bench.unmap_vpe()
    assert bench.bit(bench.vpt(), VLPI) == kept
    bench.map_vpe()
    bench.schedule()
    assert bench.gic.redistributors[0].cpu.acknowledge_virtual() == (VLPI if kept else 1023)


def test_software_that_edits_a_held_vpt_is_not_heard():
    bench = with_vlpi()
    bench.run("INT", **EVENT)
    bench.set_bit(bench.vpt(), VLPI + 1)
    bench.memory.zero(bench.vpt() + VLPI // 8, 1)
    bench.schedule()
    cpu = bench.gic.redistributors[0].cpu
    assert [cpu.acknowledge_virtual() for _ in range(2)] == [VLPI, 1023]


@pytest.mark.parametrize("vpt_writeback", ["unmap", "deschedule", "immediate"])
def test_a_crowded_set_writes_the_older_vpt_back_and_loses_nothing(vpt_writeback):
    """One set of four ways, five VPTs."""
    bench = furnished(vpt_cache_sets=1, vpt_writeback=vpt_writeback)
    for vpe_id in range(5):
        bench.map_vpe(vpe_id, PTZ=1)
        bench.map_vlpi(vpe_id, VLPI + vpe_id, vpe_id)
    for event in (0, 1, 2, 3, 4, 0):
        bench.run("INT", DeviceID=1, EventID=event)
    for vpe_id in range(5):
        bench.schedule(vpe_id)
        assert bench.gic.redistributors[0].cpu.acknowledge_virtual() == VLPI + vpe_id
        bench.deschedule()
        bench.unmap_vpe(vpe_id)
        assert bench.bit(bench.vpt(vpe_id), VLPI + vpe_id) == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_vpes_of_one_vpt_see_the_same_bits(order):
    """Also if one has fewer vINTID bits."""
    bench = furnished(intid_bits=16)
    sizes = {0: 13, 1: 15}
    for vpe_id in order:
        bench.map_vpe(vpe_id, VPT_addr=bench.vpt(), VPT_size=sizes[vpe_id])
        bench.map_vlpi(vpe_id, VLPI + vpe_id, vpe_id)
        bench.run("INT", DeviceID=1, EventID=vpe_id)
    for vpe_id, vintid in zip(order, (VLPI, VLPI + 1), strict=True):
        bench.schedule(vpe_id)
        assert bench.gic.redistributors[0].cpu.acknowledge_virtual() == vintid
        bench.deschedule()


def test_a_vpt_is_written_back_as_far_as_it_reaches():
    bench = with_vlpi()
    end = bench.vpt() + (1 << INTID_BITS >> 3)
    bench.memory.write(end, bytes([0xA5]) * (UNIT - (1 << INTID_BITS >> 3)))
    bench.map_vlpi(8, LAST)
    bench.run("INT", DeviceID=1, EventID=8)
    bench.unmap_vpe()
    assert bench.memory.read_u8(end - 1) == 0x80
    assert set(bench.memory.read(end, UNIT - (1 << INTID_BITS >> 3))) == {0xA5}


def test_a_second_vpe_whose_vpt_would_leave_ram_aborts():
    """The first 2 KiB are held already; the rest is not there."""
    bench = furnished(intid_bits=16)
    bench.map_vpe(VPT_addr=bench.memory.end - UNIT)
    fields = {"vPEID": 1, "V": 1, "Alloc": 1, "VPT_size": 15, "Default_Doorbell": 1023}
    assert bench.refused("VMAPP", VPT_addr=OUTSIDE, **fields) == 0x0129FE
    bench.run("VMAPP", VPT_addr=bench.memory.end - UNIT, **fields)


@pytest.mark.parametrize("order", [(0, 4), (4, 0)])
def test_pendbaser_by_halves_keeps_ptz(order):
    """Xen a43e2b02df lost it."""
    bench = Bench()
    bench.enable_lpis(False)
    bench.set_bit(bench.pending_table(), LPI)
    value = GICR_PENDBASER.pack(PTZ=1, Physical_Address=bench.pending_table())
    for part in order:
        bench.gic.redistributors[0].write(PENDBASER + part, value >> 8 * part, 4)
    bench.enable_lpis(True)
    assert taken(bench, 1) == [1023]
