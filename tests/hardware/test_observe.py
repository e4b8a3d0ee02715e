# SPDX-License-Identifier: Apache-2.0
"""Pending bits are seen wherever they are."""

import pytest

from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.layouts.registers import GITS_SGIR
from gicmodel.layouts.vpt import FIRST_LPI
from gicmodel.memory import ExternalAbort
from tests.hardware.bench import furnished
from tests.hardware.board import INTID_BITS, OUTSIDE

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


def test_a_table_that_nobody_holds_and_that_is_no_ram(bench):
    with pytest.raises(ExternalAbort):
        pending_virtual(bench.gic, OUTSIDE, INTID_BITS)
