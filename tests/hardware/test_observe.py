# SPDX-License-Identifier: Apache-2.0
"""Pending bits are seen wherever they are."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_SGIR
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER
from gicmodel.memory import PAGE_BYTES, ExternalAbort, GuestMemory
from tests.hardware.bench import INTID_BITS, OUTSIDE, PROPERTIES, furnished

LAST = (1 << INTID_BITS) - 1


@pytest.mark.parametrize("vpt_writeback", ["unmap", "deschedule", "immediate"])
def test_pending_virtual(vpt_writeback):
    bench = furnished(vpt_writeback=vpt_writeback)
    bench.map_vpe()
    bench.run("VSGI", vINTID=3, Enable=1, Group=1, Priority=15)
    bench.write_its("SGIR", GITS_SGIR.pack(vINTID=3))
    for event, vintid in [(0, LAST), (1, FIRST_LPI)]:
        bench.map_vlpi(event, vintid)
        bench.run("INT", DeviceID=1, EventID=event)
    seen = pending_virtual(bench.gic, bench.vpt(), INTID_BITS)
    bench.unmap_vpe()
    for pending in (seen, pending_virtual(bench.gic, bench.vpt(), INTID_BITS)):
        assert pending.tolist() == [3, FIRST_LPI, LAST]


@pytest.mark.parametrize("pending_writeback", ["disable", "immediate"])
def test_pending_physical(pending_writeback):
    bench = furnished(pending_writeback=pending_writeback)
    for intid in (LAST, FIRST_LPI):
        bench.write_rd("SETLPIR", intid, 1)
    for _ in range(2):
        assert pending_physical(bench.gic, 1).tolist() == [FIRST_LPI, LAST]
        assert pending_physical(bench.gic, 0).tolist() == []
        bench.enable_lpis(False, 1)


def test_more_intids_than_the_gic_has_are_refused(bench):
    bench.map_vpe()
    with pytest.raises(ValueError, match=rf"^pending_virtual: id_bits is 16, not from 0 to {INTID_BITS}$"):
        pending_virtual(bench.gic, bench.vpt(), 16)


def test_a_slot_with_fewer_intids_than_asked_for():
    """The rest is what RAM says, not what the slot held for another table before."""
    bench = furnished(intid_bits=16, vpt_cache_sets=1)
    bench.map_vpe(VPT_size=15)
    bench.run("VMAPTI", DeviceID=1, EventID=0, vINTID=40000, vPEID=0, Doorbell=1023)
    bench.run("INT", DeviceID=1, EventID=0)
    bench.unmap_vpe()
    bench.map_vpe(1, VPT_size=13)
    assert pending_virtual(bench.gic, bench.vpt(1), 14).tolist() == []
    assert pending_virtual(bench.gic, bench.vpt(1), 16).tolist() == []
    bench.set_bit(bench.vpt(1), 50000)
    assert pending_virtual(bench.gic, bench.vpt(1), 16).tolist() == [50000]


def test_lpis_that_gicr_propbaser_no_longer_gives():
    bench = furnished(intid_bits=15)
    bench.enable_lpis(False, 1)
    for bits, pending in [(15, [20000]), (14, [])]:
        bench.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=PROPERTIES, IDbits=bits - 1), 1)
        bench.enable_lpis(True, 1)
        bench.write_rd("SETLPIR", 20000, 1)
        assert pending_physical(bench.gic, 1).tolist() == pending
        bench.enable_lpis(False, 1)


def test_a_redistributor_that_was_never_set_up_has_no_lpi():
    gic = Gic(GicConfig(), GuestMemory(0x4000_0000, PAGE_BYTES))
    assert pending_physical(gic, 1).tolist() == []


def test_a_table_that_nobody_holds_and_that_is_no_ram(bench):
    with pytest.raises(ExternalAbort):
        pending_virtual(bench.gic, OUTSIDE, INTID_BITS)
