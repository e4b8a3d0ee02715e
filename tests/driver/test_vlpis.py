# SPDX-License-Identifier: Apache-2.0
"""Forwarding: each operation's commands, RAM before and after, and where the interrupt arrives."""

import numpy as np
import pytest

from gicmodel.driver import DriverError, GicDriver, ItsDevice, ItsVm
from gicmodel.layouts.its_tables import INTTYPE_PHYSICAL, INTTYPE_VIRTUAL, ITE, NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.driver.host import Host

DEVICE_ID, CPU = 0x42, 3


class Forwarding:
    """A device of eight events, mapped on CPU 3, and a VM of two vPEs."""

    def __init__(self, **choices: object) -> None:
        self.host = Host(**choices)  # type: ignore[arg-type]
        self.driver: GicDriver = self.host.driver
        self.device: ItsDevice = self.driver.lpis.create_device(DEVICE_ID, 8)
        self.driver.lpis.activate(self.device, np.arange(8), CPU)
        self.vm: ItsVm = self.driver.vpes.create_vm(2)
        self.host.words()

    def ite(self, event: int) -> dict[str, int]:
        entry = ITE.parse(self.host.memory.read(self.device.itt_addr + event * ITE.bytes, ITE.bytes))
        return {name: entry[name] for name in ITE.fields}

    def vlpi_byte(self, vintid: int) -> int:
        return self.host.memory.read_u8(self.vm.vprop_page + vintid - FIRST_LPI)

    def run(self, vcpu: int) -> int:
        """What the vCPU acknowledges when it runs on its CPU."""
        vpe = self.vm.vpes[vcpu]
        self.driver.vpes.schedule(vpe, vpe.col_idx)
        vintid = self.host.gic.redistributors[vpe.col_idx].cpu.acknowledge_virtual()
        self.driver.vpes.deschedule(vpe, doorbell=False)
        return vintid


@pytest.fixture
def forwarding() -> Forwarding:
    return Forwarding()


def test_forwarding_drops_the_physical_mapping_and_makes_a_virtual_one(forwarding: Forwarding) -> None:
    assert forwarding.vlpi_byte(8200) == 0xA2
    forwarding.driver.vlpis.map(forwarding.device, 7, forwarding.vm, 1, 8200, 0x8B)
    assert forwarding.host.commands() == [
        "DISCARD DeviceID=0x42 EventID=0x7",
        "SYNC RDbase=0x3",
        "VMAPTI DeviceID=0x42 EventID=0x7 vPEID=0x1 vINTID=0x2008 Doorbell=0x3ff",
        "VSYNC vPEID=0x1",
    ]
    assert forwarding.vlpi_byte(8200) == 0x8B
    expected = {"Valid": 1, "IntType": INTTYPE_VIRTUAL, "IntID": 8200, "vPEID": 1, "Doorbell": NO_DOORBELL}
    assert forwarding.ite(7) == {"ICID": 0} | expected
    forwarding.host.gic.its[0].translate(DEVICE_ID, 7)
    assert forwarding.run(0) == 1023
    assert forwarding.run(1) == 8200


def test_a_pending_physical_lpi_is_lost_by_forwarding(forwarding: Forwarding) -> None:
    forwarding.host.gic.its[0].translate(DEVICE_ID, 7)
    forwarding.driver.vlpis.map(forwarding.device, 7, forwarding.vm, 0, 8200, 0xA3)
    assert forwarding.host.gic.redistributors[CPU].cpu.acknowledge() == 1023
    assert forwarding.run(0) == 1023


def test_a_forwarded_event_moves_with_what_is_pending(forwarding: Forwarding) -> None:
    forwarding.driver.vlpis.map(forwarding.device, 7, forwarding.vm, 0, 8200, 0xA3)
    forwarding.driver.lpis.set_irqchip_state(forwarding.device, 7, True)
    forwarding.host.words()
    forwarding.driver.vlpis.map(forwarding.device, 7, forwarding.vm, 1, 8200, 0xA3)
    assert forwarding.host.commands() == [
        "VMOVI DeviceID=0x42 EventID=0x7 vPEID=0x1 D=1 Doorbell=0x3ff",
        "VSYNC vPEID=0x1",
    ]
    assert (forwarding.run(0), forwarding.run(1)) == (1023, 8200)
    with pytest.raises(DriverError, match="EINVAL: event 7 is vLPI 8200, and VMOVI cannot make it 8201"):
        forwarding.driver.vlpis.map(forwarding.device, 7, forwarding.vm, 0, 8201, 0xA3)


def test_unmapping_restores_the_physical_lpi_and_loses_what_is_pending() -> None:
    forwarding = Forwarding(architecture="4.0", direct_lpi=False)
    forwarding.driver.vlpis.map(forwarding.device, 7, forwarding.vm, 1, 8200, 0xA3)
    forwarding.driver.lpis.set_irqchip_state(forwarding.device, 7, True)
    forwarding.host.words()
    forwarding.driver.vlpis.unmap(forwarding.device, 7)
    assert forwarding.host.commands() == [
        "DISCARD DeviceID=0x42 EventID=0x7",
        "SYNC RDbase=0x3",
        f"MAPTI DeviceID=0x42 EventID=0x7 pINTID={forwarding.device.lpi_base + 7:#x} ICID=0x3",
        "SYNC RDbase=0x3",
        "INV DeviceID=0x42 EventID=0x7",
        "SYNC RDbase=0x3",
    ]
    assert forwarding.ite(7)["IntType"] == INTTYPE_PHYSICAL
    assert forwarding.run(1) == 1023
    forwarding.host.gic.its[0].translate(DEVICE_ID, 7)
    assert forwarding.host.gic.redistributors[CPU].cpu.acknowledge() == forwarding.device.lpi_base + 7


def test_set_irqchip_state_is_int_and_clear_for_physical_and_virtual(forwarding: Forwarding) -> None:
    driver, device, host = forwarding.driver, forwarding.device, forwarding.host
    driver.vlpis.map(device, 1, forwarding.vm, 1, 8300, 0xA3)
    host.words()
    for pending in (True, False):
        driver.lpis.set_irqchip_state(device, 0, pending)
        driver.lpis.set_irqchip_state(device, 1, pending)
    assert host.commands() == [
        "INT DeviceID=0x42 EventID=0x0",
        "SYNC RDbase=0x3",
        "INT DeviceID=0x42 EventID=0x1",
        "VSYNC vPEID=0x1",
        "CLEAR DeviceID=0x42 EventID=0x0",
        "SYNC RDbase=0x3",
        "CLEAR DeviceID=0x42 EventID=0x1",
        "VSYNC vPEID=0x1",
    ]
    assert forwarding.run(1) == 1023
    assert host.gic.redistributors[CPU].cpu.acknowledge() == 1023
    driver.lpis.set_irqchip_state(device, np.array([0, 1]), True)
    assert host.mnemonics() == "INT INT SYNC VSYNC"
    assert forwarding.run(1) == 8300
    assert host.gic.redistributors[CPU].cpu.acknowledge() == device.lpi_base


@pytest.mark.parametrize("choices", [{"architecture": "4.1"}, {"architecture": "4.0"}])
def test_a_property_update_counts_after_its_invalidation(choices: dict[str, object]) -> None:
    forwarding = Forwarding(caching="retain", **choices)
    driver, device = forwarding.driver, forwarding.device
    driver.vlpis.map(device, 0, forwarding.vm, 0, 8200, 0xA3)
    driver.lpis.set_irqchip_state(device, 0, True)
    assert forwarding.run(0) == 8200, "the redistributor has seen the byte"
    forwarding.host.words()
    driver.vlpis.prop_update(device, 0, 0xA2, inv=False)
    assert forwarding.vlpi_byte(8200) == 0xA2
    assert forwarding.host.mnemonics() == ("VMOVI VSYNC" if choices["architecture"] == "4.0" else ""), "the doorbell"
    driver.vlpis.prop_update(device, 0, 0xA2)
    assert forwarding.host.mnemonics() == ("INV VSYNC" if choices["architecture"] == "4.0" else "")
    driver.lpis.set_irqchip_state(device, 0, True)
    assert forwarding.run(0) == 1023
    driver.vlpis.prop_update(device, 0, 0xA3)
    assert forwarding.run(0) == 8200


def test_a_configuration_byte_always_has_its_res1_bit() -> None:
    """LPI_PROP_GROUP1, bit 1, which a guest may leave out."""
    forwarding = Forwarding()
    driver, device = forwarding.driver, forwarding.device
    driver.vlpis.map(device, 0, forwarding.vm, 0, 8200, 0xA1)
    assert forwarding.vlpi_byte(8200) == 0xA3
    driver.vlpis.prop_update(device, 0, 0x40)
    assert forwarding.vlpi_byte(8200) == 0x42
    one = np.array([1])
    driver.vlpis.map(device, one, forwarding.vm, one, one + 8200, one)
    assert forwarding.vlpi_byte(8201) == 0x03


@pytest.mark.parametrize("inv", [True, False])
def test_a_gicv40_vlpi_that_is_disabled_has_no_doorbell(inv: bool) -> None:
    """Linux' its_vlpi_set_doorbell: a VMOVI to the vPE that the event is on already."""
    forwarding = Forwarding(architecture="4.0")
    driver, device, host, vpes = forwarding.driver, forwarding.device, forwarding.host, forwarding.vm.vpes
    driver.vlpis.map(device, 0, forwarding.vm, 1, 8200, 0xA3)
    host.words()
    reload = ["INV DeviceID=0x42 EventID=0x0", "VSYNC vPEID=0x1"] if inv else []

    def update(octet: int) -> list[str]:
        driver.vlpis.prop_update(device, 0, octet, inv=inv)
        return host.commands()

    vmovi = "VMOVI DeviceID=0x42 EventID=0x0 vPEID={} D=1 Doorbell={}"
    off, on = vmovi.format("0x1", "0x3ff"), vmovi.format("0x1", f"{vpes[1].doorbell_intid:#x}")
    assert update(0xA2) == [*reload, off, "VSYNC vPEID=0x1"]
    assert update(0x42) == reload, "it has none already"
    assert update(0xA3) == [*reload, on, "VSYNC vPEID=0x1"]
    assert update(0x43) == reload
    driver.vlpis.map(device, 0, forwarding.vm, 0, 8200, 0x43, db_enabled=False)
    assert host.commands()[0] == vmovi.format("0x0", "0x3ff")
    driver.vlpis.prop_update(device, 0, 0xA3)
    assert host.commands()[2] == vmovi.format("0x0", f"{vpes[0].doorbell_intid:#x}"), "it is that of the new vPE"


@pytest.mark.parametrize("individual_doorbell", ["edge", "every"])
@pytest.mark.parametrize("single", [True, False])
def test_a_disabled_vlpi_does_not_wake_a_blocked_gicv40_vcpu(individual_doorbell: str, single: bool) -> None:
    forwarding = Forwarding(architecture="4.0", individual_doorbell=individual_doorbell)
    driver, device, vpe = forwarding.driver, forwarding.device, forwarding.vm.vpes[0]
    if single:
        driver.vlpis.map(device, 0, forwarding.vm, 0, 8200, 0xA3)
    else:
        zero = np.array([0])
        driver.vlpis.map(device, zero, forwarding.vm, zero, zero + 8200, zero + 0xA3)
    driver.vpes.schedule(vpe, 0)
    driver.vpes.deschedule(vpe, doorbell=True)
    driver.vlpis.prop_update(device, 0, 0xA2)
    forwarding.host.gic.its[0].translate(DEVICE_ID, 0)
    assert forwarding.host.gic.redistributors[0].cpu.acknowledge() == 1023
    driver.vlpis.prop_update(device, 0, 0xA3)
    assert forwarding.run(0) == 8200, "it was pending all the time"


def test_many_vlpis_are_mapped_with_one_sync_and_one_vsync_for_each_target(forwarding: Forwarding) -> None:
    driver, device, vm = forwarding.driver, forwarding.device, forwarding.vm
    vcpus, vintids = np.array([1, 0, 1]), np.array([8200, 8300, 8400])
    driver.vlpis.map(device, np.array([2, 4, 6]), vm, vcpus, vintids, np.array([0xA3, 0x43, 0xA2]))
    assert forwarding.host.commands() == [
        "DISCARD DeviceID=0x42 EventID=0x2",
        "DISCARD DeviceID=0x42 EventID=0x4",
        "DISCARD DeviceID=0x42 EventID=0x6",
        "SYNC RDbase=0x3",
        "VMAPTI DeviceID=0x42 EventID=0x2 vPEID=0x1 vINTID=0x2008 Doorbell=0x3ff",
        "VMAPTI DeviceID=0x42 EventID=0x4 vPEID=0x0 vINTID=0x206c Doorbell=0x3ff",
        "VMAPTI DeviceID=0x42 EventID=0x6 vPEID=0x1 vINTID=0x20d0 Doorbell=0x3ff",
        "VSYNC vPEID=0x0",
        "VSYNC vPEID=0x1",
    ]
    assert [forwarding.vlpi_byte(vintid) for vintid in (8200, 8300, 8400)] == [0xA3, 0x43, 0xA2]
    assert device.forwarded.tolist() == [False, False, True, False, True, False, True, False]
    driver.vlpis.unmap(device, np.array([2, 4, 6]))
    assert forwarding.host.mnemonics() == "DISCARD DISCARD DISCARD SYNC MAPTI MAPTI MAPTI SYNC INV INV INV SYNC"
    assert device.vm is None
    empty = np.zeros(0, np.int64)
    driver.vlpis.map(device, empty, vm, empty, empty, empty)
    assert forwarding.host.commands() == []


def test_many_vlpis_move_as_one_does(forwarding: Forwarding) -> None:
    driver, device, vm = forwarding.driver, forwarding.device, forwarding.vm
    events = np.array([2, 4])
    driver.vlpis.map(device, events, vm, events // 4, 8200 + events, events)
    forwarding.host.words()
    driver.vlpis.map(device, events, vm, 1 - events // 4, 8200 + events, events)
    assert forwarding.host.commands() == [
        "VMOVI DeviceID=0x42 EventID=0x2 vPEID=0x1 D=1 Doorbell=0x3ff",
        "VMOVI DeviceID=0x42 EventID=0x4 vPEID=0x0 D=1 Doorbell=0x3ff",
        "VSYNC vPEID=0x0",
        "VSYNC vPEID=0x1",
    ]
    assert device.vpe_id[events].tolist() == [1, 0]
    with pytest.raises(DriverError, match=r"EINVAL: events \[2 3\] of device 0x42 are not all forwarded"):
        driver.vlpis.map(device, np.array([2, 3]), vm, 0, np.array([8202, 8203]), 0xA3)


def test_an_array_of_one_event_is_reloaded_as_one_event_is(forwarding: Forwarding) -> None:
    """By GICR_INVLPIR, as Linux does it for each: KVM ends forwarding in arrays."""
    driver, device, vm, host = forwarding.driver, forwarding.device, forwarding.vm, forwarding.host
    two = np.array([2])
    driver.vlpis.map(device, two, vm, two - 2, two + 8200, two)
    host.words(), host.writes()
    driver.vlpis.unmap(device, two)
    assert host.mnemonics() == "DISCARD SYNC MAPTI SYNC"
    assert [write.value for write in host.writes("GICR_INVLPIR")] == [device.lpi_base + 2]


def test_many_and_one_leave_the_same_bytes() -> None:
    one, many = Forwarding(), Forwarding()
    events = np.arange(8)
    many.driver.vlpis.map(many.device, events, many.vm, events % 2, 8192 + events, np.full(8, 0xA3))
    with one.driver.gic.batch():
        for event in range(8):
            one.driver.vlpis.map(one.device, event, one.vm, event % 2, 8192 + event, 0xA3)
    assert one.host.mnemonics() == " ".join(["DISCARD SYNC VMAPTI VSYNC"] * 8)
    for address, length in ((one.device.itt_addr, 8 * ITE.bytes), (one.vm.vprop_page, 64)):
        assert one.host.memory.read(address, length) == many.host.memory.read(address, length)


@pytest.mark.parametrize(("db_enabled", "single"), [(True, True), (True, False), (False, True)])
def test_gicv40_events_ring_the_doorbell_of_their_vpe(db_enabled: bool, single: bool) -> None:
    forwarding = Forwarding(architecture="4.0")
    vpe = forwarding.vm.vpes[1]
    if single:
        forwarding.driver.vlpis.map(forwarding.device, 0, forwarding.vm, 1, 8200, 0xA3, db_enabled=db_enabled)
    else:
        one = np.array([1])
        forwarding.driver.vlpis.map(forwarding.device, one - 1, forwarding.vm, one, one + 8199, one + 0xA2)
    doorbell = vpe.doorbell_intid if db_enabled else NO_DOORBELL
    assert forwarding.host.commands()[2].endswith(f"vINTID=0x2008 Doorbell={doorbell:#x}")
    forwarding.run(1)
    forwarding.driver.vpes.schedule(vpe, 0)
    forwarding.driver.vpes.deschedule(vpe, doorbell=True)
    forwarding.host.gic.its[0].translate(DEVICE_ID, 0)
    assert forwarding.host.gic.redistributors[0].cpu.acknowledge() == (vpe.doorbell_intid if db_enabled else 1023)


def test_what_cannot_be_done_is_refused_and_sends_nothing(forwarding: Forwarding) -> None:
    driver, device, vm = forwarding.driver, forwarding.device, forwarding.vm
    other = driver.vpes.create_vm(1)
    spare = driver.lpis.create_device(1, 2)
    driver.vlpis.map(device, 0, vm, 0, 8200, 0xA3)
    forwarding.host.words()
    one = np.array([1])
    refused = [
        ("EINVAL", lambda: driver.vlpis.map(spare, 0, vm, 0, 8200, 0xA3)),
        ("EINVAL", lambda: driver.vlpis.map(device, 8, vm, 0, 8200, 0xA3)),
        ("EINVAL", lambda: driver.vlpis.map(device, 1, other, 0, 8200, 0xA3)),
        ("EINVAL", lambda: driver.vlpis.map(device, 1, vm, 0, 8191, 0xA3)),
        ("EINVAL", lambda: driver.vlpis.map(device, 1, vm, 0, 1 << 16, 0xA3)),
        ("EINVAL", lambda: driver.vlpis.map(device, one, vm, one + 1, one + 8200, one)),
        ("EINVAL", lambda: driver.vlpis.map(device, one - 1, vm, one, one + 8200, one)),
        ("EINVAL", lambda: driver.vlpis.unmap(device, 1)),
        ("EINVAL", lambda: driver.vlpis.prop_update(device, 1, 0xA3)),
        ("EINVAL", lambda: driver.lpis.set_irqchip_state(spare, 0, True)),
        ("EINVAL", lambda: driver.lpis.set_affinity(device, 0, 1)),
        ("EINVAL", lambda: driver.lpis.deactivate(device, 0)),
        ("EBUSY", lambda: driver.lpis.free_device(device)),
        ("EBUSY", lambda: driver.vpes.destroy_vm(vm)),
    ]
    for errno, operation in refused:
        with pytest.raises(DriverError) as caught:
            operation()
        assert caught.value.errno == errno
    assert forwarding.host.commands() == []
    assert not device.forwarded[1:].any()
    driver.vlpis.unmap(device, 0)
    driver.vlpis.map(device, 1, other, 0, 8200, 0xA3)
