# SPDX-License-Identifier: Apache-2.0
"""caching="retain" for what belongs to vPEs: the ITS's entry, the redistributors' entry, the doorbell's byte."""

import pytest

from gicmodel.hardware.kernels.state import SLOT
from gicmodel.layouts.registers.redistributor import GICR_INVLPIR, GICR_VPROPBASER
from tests.hardware.bench import DISABLED, DOORBELL, ENABLED, PROPERTIES, SPARE, Bench, furnished
from tests.hardware.test_table_cache import VLPI, restart, virtual, warm


@pytest.mark.parametrize("how", ["VMAPP", "VMOVP", "disable"])
def test_vpe_entry_of_the_its(how):
    """GICv4.0, where the ITS alone has one: the doorbell shows which redistributor the ITS thinks of."""
    bench = warm(architecture="4.0")
    bench.map_vlpi(9, VLPI + 1, Doorbell=DOORBELL)
    vte = bench.memory.read_u64(bench.vpe_table())
    bench.memory.write_u64(bench.vpe_table(), vte | 1 << 42)
    assert ring(bench) == [DOORBELL, 1023]
    if how == "VMAPP":
        bench.unmap_vpe()
        bench.map_vpe(rd=1)
    elif how == "VMOVP":
        bench.run("VMOVP", RDbase=1)
    else:
        restart(bench)
    assert ring(bench) == [1023, DOORBELL]


def ring(bench: Bench) -> list[int]:
    """Event 9: where its doorbell arrives."""
    bench.run("CLEAR", DeviceID=1, EventID=9)
    bench.run("INT", DeviceID=1, EventID=9)
    return [redistributor.cpu.acknowledge() for redistributor in bench.gic.redistributors[:2]]


@pytest.mark.parametrize("how", ["VMAPP", "VPROPBASER", "another table"])
def test_vpe_configuration_entry_of_the_redistributor(how):
    bench = furnished(caching="retain", svpet=0)
    bench.map_vpe()
    bench.run("VSGI", Enable=1, Group=1)
    bench.write_its("SGIR", 0)
    assert pending_vsgis(bench) == 1
    table = bench.vpe_table(1)
    bench.memory.write_u64(table, bench.memory.read_u64(table) & 0xFFFF | bench.vpt(3))
    assert pending_vsgis(bench) == 1, "the VPT of the entry that is kept"
    if how == "VMAPP":
        bench.unmap_vpe()
        bench.map_vpe(VPT_addr=bench.vpt(3))
    elif how == "VPROPBASER":
        bench.write_rd("VPROPBASER", 0)
        bench.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Valid=1, Physical_Address=table))
    else:
        bench.memory.write(SPARE, bench.memory.read(table, 32))
        bench.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Valid=1, Physical_Address=SPARE))
    assert pending_vsgis(bench) == 0


def pending_vsgis(bench: Bench) -> int:
    bench.write_rd("VSGIR", 0)
    return bench.read_rd("VSGIPENDR")


@pytest.mark.parametrize("how", ["INVDB", "INVLPIR", "INVALLR"])
def test_doorbell_configuration(how):
    """It is an LPI without an event: INVDB names it, and so do the registers of its redistributor."""
    bench = warm()
    assert wake(bench) == DOORBELL
    bench.configure(PROPERTIES, DOORBELL, DISABLED)
    assert wake(bench) == DOORBELL
    invalidate_doorbell(bench, how)
    assert wake(bench) == 1023
    bench.configure(PROPERTIES, DOORBELL, ENABLED)
    invalidate_doorbell(bench, how)
    assert wake(bench) == DOORBELL


def invalidate_doorbell(bench: Bench, how: str) -> None:
    if how == "INVDB":
        bench.run("INVDB")
    else:
        bench.write_rd(how, {"INVLPIR": DOORBELL, "INVALLR": 0}[how])


def wake(bench: Bench, rd: int = 0) -> int:
    """The vPE was resident, waits, and event 8 happens: what the PE takes."""
    assert virtual(bench) == VLPI
    bench.schedule()
    bench.deschedule(doorbell=1)
    bench.gic.its[0].translate(1, 8)
    return bench.gic.redistributors[rd].cpu.acknowledge()


def test_invdb_reaches_every_redistributor():
    """The vPE moves away and back; the byte that its old redistributor kept is gone too."""
    bench = warm()
    assert wake(bench) == DOORBELL
    bench.run("VMOVP", RDbase=1)
    bench.configure(PROPERTIES, DOORBELL, DISABLED)
    bench.run("INVDB")
    bench.run("VMOVP", RDbase=0)
    assert wake(bench) == 1023


@pytest.mark.parametrize("how", ["INV", "VINVALL", "INVLPIR", "INVALLR"])
def test_an_invalidation_of_a_vpe_whose_vpt_is_not_held_has_nothing_to_drop(how):
    """With the VPT its configuration bytes went. The VPT of vPE 7 takes the place of vPE 0's."""
    bench = warm(vpt_cache_sets=1)
    for vpe_id in (1, 2, 3, 7):
        bench.map_vpe(vpe_id)
    tags = bench.gic.machine.slots[bench.config.redistributors :, SLOT.tag]
    assert bench.vpt() | 1 not in tags.tolist()
    bench.configure(bench.vconf(), VLPI, DISABLED)
    if how.startswith("INV") and how.endswith("R"):
        bench.write_rd(how, GICR_INVLPIR.pack(V=1, INTID=VLPI))
    else:
        bench.run(how, **({"DeviceID": 1, "EventID": 8} if how == "INV" else {}))
    assert virtual(bench) == 1023
