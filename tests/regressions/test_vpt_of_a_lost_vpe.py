# SPDX-License-Identifier: Apache-2.0
"""VMAPP {V,Alloc} = {1,1} with PTZ = 0 reads the VPT, also where its address is still held for a vPE that was lost.

A vPE is lost without VMAPP V=0 when its table is taken away, as by kexec: the next kernel's VM got the vLPIs and vSGIs
of the last kernel's (IHI0069 5.3.19: "PTZ = 0", the VPT is what it is in RAM).
"""

import pytest

from gicmodel.hardware.observe import pending_virtual
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes
from gicmodel.layouts.registers.its import GITS_SGIR
from tests.hardware.bench import INTID_BITS, PAGE_BYTES, Bench, furnished

WRITEBACK = ("unmap", "deschedule")
VINTID = FIRST_LPI + 8


def with_pending(**choices: object) -> Bench:
    bench = furnished(**choices)
    bench.map_vpe()
    bench.run("VSGI", vINTID=3, Enable=1, Group=1, Priority=15)
    bench.map_vlpi(0, VINTID)
    bench.run("INT", DeviceID=1, EventID=0)
    bench.write_its("SGIR", GITS_SGIR.pack(vINTID=3))
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == [3, VINTID]
    return bench


def new_kernel(bench: Bench, *, empty: bool) -> None:
    """GICR_VPROPBASER is written anew; `empty`: the table and the VPT have been zeroed."""
    if empty:
        bench.memory.zero(bench.vpe_table(), PAGE_BYTES)
        bench.memory.zero(bench.vpt(), table_bytes(INTID_BITS))
    for rd in range(bench.config.redistributors):
        bench.write_rd("VPROPBASER", bench.read_rd("VPROPBASER", rd), rd)


@pytest.mark.parametrize("caching", ["none", "retain"])
@pytest.mark.parametrize("vpt_writeback", WRITEBACK)
@pytest.mark.parametrize("ptz", [0, 1])
def test_the_vpt_in_ram_counts(vpt_writeback, caching, ptz):
    bench = with_pending(vpt_writeback=vpt_writeback, caching=caching)
    new_kernel(bench, empty=True)
    if caching == "retain":  # what was retained of the ITS's table goes when it is disabled
        bench.enable_its(False)
        bench.enable_its(True)
    if not ptz:
        bench.set_bit(bench.vpt(), VINTID + 1)
    bench.map_vpe(PTZ=ptz)
    expected = [] if ptz else [VINTID + 1]
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == expected
    bench.unmap_vpe()
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == expected


@pytest.mark.parametrize("vpt_writeback", WRITEBACK)
def test_a_vpe_that_the_table_still_has_goes_on(vpt_writeback):
    bench = with_pending(vpt_writeback=vpt_writeback)
    new_kernel(bench, empty=False)
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == [3, VINTID]
    bench.unmap_vpe()
    assert bench.bit(bench.vpt(), VINTID) == 1
    bench.map_vpe()
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == [3, VINTID]
    new_kernel(bench, empty=False)
    bench.unmap_vpe()
    assert bench.bit(bench.vpt(), VINTID) == 1


def test_what_is_held_of_a_lost_vpe_is_not_written_over_the_next_ones_vpt():
    """Zeroed by software, said to be zero by PTZ: then it is zero in RAM, too, when the vPE is unmapped."""
    bench = with_pending(vpt_writeback="unmap")
    new_kernel(bench, empty=True)
    bench.map_vpe(PTZ=1)
    bench.unmap_vpe()
    assert not any(bench.memory.read(bench.vpt(), table_bytes(INTID_BITS)))
