# SPDX-License-Identifier: Apache-2.0
"""GICv4.0: a vPE that one ITS unmaps keeps what is pending as long as another ITS has it.

Linux unmaps the vPEs of a VM on the ITS that has the VM's last vLPI (its_unmap_vm), and on no other.
"""

import pytest

from gicmodel.hardware.observe import pending_virtual
from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.hardware.bench import INTID_BITS, Bench, furnished

VINTID = FIRST_LPI + 8


def on_two_itss(caching: str) -> Bench:
    bench = furnished(architecture="4.0", its=2, vmovp=False, caching=caching)
    for its in range(2):
        bench.map_vpe(its=its)
    bench.map_vlpi(0, VINTID)
    bench.run("INT", DeviceID=1, EventID=0)
    return bench


@pytest.mark.parametrize("caching", ["none", "retain"])
@pytest.mark.parametrize("its", [0, 1])
def test_what_is_pending_stays(its: int, caching: str):
    bench = on_two_itss(caching)
    bench.unmap_vpe(its=its)
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == [VINTID]
    bench.unmap_vpe(its=1 - its)
    assert pending_virtual(bench.gic, bench.vpt(), INTID_BITS).tolist() == [], "with vpt_writeback=unmap it is gone"
