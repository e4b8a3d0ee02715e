# SPDX-License-Identifier: Apache-2.0
"""GICv4.0 doorbells: masked while the vPE runs, reloaded by GICR_INVLPIR or through the proxy device."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.driver.host import Host


def enabled(host: Host, intid: int) -> bool:
    return bool(host.memory.read_u8(host.driver.gic.lpi_configuration.address + intid - FIRST_LPI) & 1)


def test_a_doorbell_is_unmasked_only_while_the_vcpu_blocks() -> None:
    host = Host(architecture="4.0")
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.words()
    seen = []
    for doorbell in (False, True, True):
        host.driver.vpes.schedule(vpe, 0)
        seen.append(enabled(host, vpe.doorbell_intid))
        host.driver.vpes.deschedule(vpe, doorbell)
        seen.append(enabled(host, vpe.doorbell_intid))
    assert seen == [False, False, False, True, False, True]
    assert host.commands() == [], "the redistributor has GICR_INVLPIR"


def test_a_doorbell_that_is_pending_does_not_follow_its_vpe() -> None:
    host = Host(architecture="4.0")
    device = host.driver.lpis.create_device(1, 2)
    host.driver.lpis.activate(device, 0)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vlpis.map(device, 0, vpe.vm, 0, 8200, 0xA3)
    host.driver.vpes.schedule(vpe, 0)
    host.driver.vpes.deschedule(vpe, doorbell=True)
    host.gic.its[0].translate(1, 0)
    assert host.gic.redistributors[0].cpu.pending() == vpe.doorbell_intid
    host.driver.vpes.set_affinity(vpe, 1)
    assert host.gic.redistributors[0].cpu.pending() == 1023


@pytest.mark.parametrize("direct_lpi", [True, False])
def test_a_doorbell_that_is_pending_can_be_taken_back(direct_lpi: bool) -> None:
    """By GICR_CLRLPIR, or CLEAR of the proxy's event, where the vPE is mapped (Linux' its_vpe_set_irqchip_state)."""
    host = Host(architecture="4.0", direct_lpi=direct_lpi)
    device = host.driver.lpis.create_device(1, 2)
    host.driver.lpis.activate(device, 0)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vpes.set_affinity(vpe, 2)
    host.driver.vlpis.map(device, 0, vpe.vm, 0, 8200, 0xA3)
    host.driver.vpes.schedule(vpe, 2)
    host.driver.vpes.deschedule(vpe, doorbell=True)
    host.gic.its[0].translate(1, 0)
    assert host.gic.redistributors[2].cpu.pending() == vpe.doorbell_intid
    host.words(), host.writes()
    host.driver.doorbells.clear(vpe)
    assert host.gic.redistributors[2].cpu.pending() == 1023
    assert [write.face for write in host.writes("GICR_CLRLPIR")] == ["RD 2"] * direct_lpi
    assert host.mnemonics() == ("" if direct_lpi else "CLEAR SYNC")


@pytest.mark.parametrize("choices", [{}, {"direct_lpi": False}, {"vmovp": False}])
def test_the_doorbell_of_a_vpe_that_ends_while_it_blocks_is_masked(choices: dict[str, object]) -> None:
    """free_irq masks it (irq_shutdown), mapped on demand or not; its LPI may be a device's next."""
    host = Host(architecture="4.0", **choices)
    vm = host.driver.vpes.create_vm(1)
    host.driver.vpes.schedule(vm.vpes[0], 0)
    host.driver.vpes.deschedule(vm.vpes[0], doorbell=True)
    assert enabled(host, vm.db_lpi_base)
    host.words(), host.writes()
    host.driver.vpes.destroy_vm(vm)
    assert not enabled(host, vm.db_lpi_base)
    if "direct_lpi" in choices:
        assert host.mnemonics() == "INV SYNC VMAPP VSYNC DISCARD SYNC"
    else:
        assert [write.value for write in host.writes("GICR_INVLPIR")] == [vm.db_lpi_base]


def test_the_proxy_lends_its_events_to_doorbells_in_turn() -> None:
    host = Host(architecture="4.0", direct_lpi=False, redistributors=2, command_errors="ignore", boot=False)
    host.driver.probe()
    assert host.commands()[0].startswith("MAPD DeviceID=0xffff Size=0x0"), "at boot, before any collection"
    first, second, third = host.driver.vpes.create_vm(3).vpes
    host.words()

    def block(*vpes: object) -> list[str]:
        for vpe in vpes:
            host.driver.vpes.schedule(vpe, 0)
            host.driver.vpes.deschedule(vpe, doorbell=True)
        return host.commands()

    proxy = f"MAPTI DeviceID=0xffff EventID=0x0 pINTID={first.doorbell_intid:#x} ICID=0x0"
    assert block(first) == [proxy, "SYNC RDbase=0x0", "INV DeviceID=0xffff EventID=0x0", "SYNC RDbase=0x0"]
    assert block(second)[0] == f"MAPTI DeviceID=0xffff EventID=0x1 pINTID={second.doorbell_intid:#x} ICID=0x0"
    assert block(third)[:3] == [
        "DISCARD DeviceID=0xffff EventID=0x0",
        "SYNC RDbase=0x0",
        f"MAPTI DeviceID=0xffff EventID=0x0 pINTID={third.doorbell_intid:#x} ICID=0x0",
    ]
    host.driver.vpes.set_affinity(second, 1)
    assert host.mnemonics() == "VMOVP VSYNC MOVI SYNC"
    host.driver.vpes.destroy_vm(first.vm)
    lines = host.commands()
    takes = "DISCARD SYNC MAPTI SYNC INV SYNC VMAPP VSYNC"
    assert " ".join(line.split()[0] for line in lines) == f"{takes} {takes} {takes} DISCARD SYNC DISCARD SYNC"
    assert lines[-6:] == [
        "VMAPP vPEID=0x2 RDbase=0x0 V=0 VPT_size=0x0 VPT_addr=0x0",
        "VSYNC vPEID=0x2",
        "DISCARD DeviceID=0xffff EventID=0x0",
        "SYNC RDbase=0x1",
        "DISCARD DeviceID=0xffff EventID=0x1",
        "SYNC RDbase=0x0",
    ], "every vPE is masked and unmapped before a proxy event is given back"
    assert host.gic.redistributors[0].cpu.pending() == 1023


def test_the_proxy_lends_an_event_that_was_given_back_before_it_takes_one_away() -> None:
    """Linux' its_vpe_db_proxy_unmap_locked: next_victim follows, unless it is a free event itself."""
    host = Host(architecture="4.0", direct_lpi=False, redistributors=2, command_errors="ignore")
    kept, gone, new = (host.driver.vpes.create_vm(1) for _ in range(3))
    for vm in (kept, gone):
        host.driver.doorbells.clear(vm.vpes[0])
    host.driver.vpes.destroy_vm(gone)
    host.words()
    host.driver.doorbells.clear(new.vpes[0])
    assert host.commands()[0].startswith("MAPTI DeviceID=0xffff EventID=0x1 ")


def test_the_proxy_is_on_the_first_its_of_linux_list() -> None:
    host = Host(architecture="4.0", direct_lpi=False, its=2, boot=False)
    host.driver.probe()
    assert [host.mnemonics(its).split()[0] for its in range(2)] == ["MAPC", "MAPD"]
