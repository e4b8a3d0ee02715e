# SPDX-License-Identifier: Apache-2.0
"""Devices and physical LPIs: each operation's commands, RAM before and after, and where the interrupt arrives."""

import numpy as np
import pytest

from gicmodel.driver import DriverError, ItsDevice
from gicmodel.layouts.its_tables import INTTYPE_PHYSICAL, ITE, NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.driver.host import Host


def configuration(host: Host, device: ItsDevice, event: int) -> int:
    return host.memory.read_u8(host.driver.gic.lpi_configuration.address + device.lpi_base + event - FIRST_LPI)


def configuration_page(host: Host) -> int:
    return host.driver.gic.lpi_configuration.address


def ite(host: Host, device: ItsDevice, event: int) -> bytes:
    return host.memory.read(device.itt_addr + event * ITE.bytes, ITE.bytes)


@pytest.fixture
def gicv3() -> Host:
    """A GIC without invalidation registers: configuration is reloaded by INV."""
    return Host(architecture="3", direct_lpi=False)


def test_a_device_is_one_mapd_without_sync(host: Host) -> None:
    device = host.driver.lpis.create_device(0x42, 20)
    assert host.commands() == [f"MAPD DeviceID=0x42 Size=0x4 ITT_addr={device.itt_addr:#x} V=1"]
    assert (device.nr_events, device.lpi_base, device.itt_addr % 256) == (32, FIRST_LPI, 0)
    assert host.memory.read(device.itt_addr, 32 * ITE.bytes) == bytes(32 * ITE.bytes)


def test_a_device_of_one_event_has_an_itt_of_two(host: Host) -> None:
    device = host.driver.lpis.create_device(1, 1)
    assert (device.nr_events, device.event_bits) == (1, 1)
    assert "Size=0x0" in host.commands()[0]
    assert host.driver.lpis.create_device(2, 2).lpi_base == device.lpi_base + 1, "it takes one LPI only"


def test_activate_maps_then_enables_then_invalidates(gicv3: Host) -> None:
    device = gicv3.driver.lpis.create_device(0x42, 8)
    gicv3.words()
    assert ite(gicv3, device, 7) == bytes(12)
    assert configuration(gicv3, device, 7) == 0xA2
    gicv3.memory.clear_dirty()
    gicv3.driver.lpis.activate(device, 7, cpus=3)
    assert gicv3.commands() == [
        "MAPTI DeviceID=0x42 EventID=0x7 pINTID=0x2007 ICID=0x3",
        "SYNC RDbase=0x3",
        "INV DeviceID=0x42 EventID=0x7",
        "SYNC RDbase=0x3",
    ]
    assert configuration(gicv3, device, 7) == 0xA3
    assert configuration_page(gicv3) in gicv3.memory.dirty_pages()
    expected = ITE.build(Valid=1, IntType=INTTYPE_PHYSICAL, IntID=8199, ICID=3, Doorbell=NO_DOORBELL)
    assert ite(gicv3, device, 7) == expected


def test_with_invalidation_registers_inv_is_a_register_write(host: Host) -> None:
    """Linux' has_direct_lpi, which RVPEID implies."""
    device = host.driver.lpis.create_device(0x42, 8)
    host.driver.lpis.activate(device, 7, cpus=3)
    assert host.mnemonics() == "MAPD MAPTI SYNC"
    host.gic.its[0].translate(0x42, 7)
    assert host.gic.redistributors[3].cpu.acknowledge() == 8199


def test_many_events_have_one_sync_for_each_redistributor(gicv3: Host) -> None:
    device = gicv3.driver.lpis.create_device(0x42, 4)
    gicv3.words()
    gicv3.driver.lpis.activate(device, np.arange(4), np.array([2, 0, 2, 2]))
    assert gicv3.commands() == [
        "MAPTI DeviceID=0x42 EventID=0x0 pINTID=0x2000 ICID=0x2",
        "MAPTI DeviceID=0x42 EventID=0x1 pINTID=0x2001 ICID=0x0",
        "MAPTI DeviceID=0x42 EventID=0x2 pINTID=0x2002 ICID=0x2",
        "MAPTI DeviceID=0x42 EventID=0x3 pINTID=0x2003 ICID=0x2",
        "SYNC RDbase=0x0",
        "SYNC RDbase=0x2",
        "INV DeviceID=0x42 EventID=0x0",
        "INV DeviceID=0x42 EventID=0x1",
        "INV DeviceID=0x42 EventID=0x2",
        "INV DeviceID=0x42 EventID=0x3",
        "SYNC RDbase=0x0",
        "SYNC RDbase=0x2",
    ]
    assert [configuration(gicv3, device, event) for event in range(4)] == [0xA3] * 4
    assert device.mapped.all()


def test_many_events_are_masked_and_moved_as_one_is(gicv3: Host) -> None:
    device = gicv3.driver.lpis.create_device(0x42, 4)
    gicv3.driver.lpis.activate(device, np.arange(4), np.array([2, 0, 1, 2]))
    gicv3.words()
    gicv3.driver.lpis.mask(device, np.array([0, 1]))
    assert gicv3.mnemonics() == "INV INV SYNC SYNC"
    assert [configuration(gicv3, device, event) for event in range(4)] == [0xA2, 0xA2, 0xA3, 0xA3]
    gicv3.driver.lpis.set_affinity(device, np.arange(4), 1)
    assert gicv3.commands() == [
        "MOVI DeviceID=0x42 EventID=0x0 ICID=0x1",
        "MOVI DeviceID=0x42 EventID=0x1 ICID=0x1",
        "MOVI DeviceID=0x42 EventID=0x3 ICID=0x1",
        "SYNC RDbase=0x0",
        "SYNC RDbase=0x2",
    ], "event 2 is there already"
    assert device.col.tolist() == [1, 1, 1, 1]
    gicv3.driver.lpis.deactivate(device, np.array([0, 3]))
    with pytest.raises(DriverError, match=r"EINVAL: events \[0 1\] of device 0x42 are not all physical LPIs"):
        gicv3.driver.lpis.unmask(device, np.array([0, 1]))


@pytest.mark.parametrize("caching", ["none", "retain"])
@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_every_event_arrives_at_its_cpu(architecture: str, caching: str) -> None:
    host = Host(architecture=architecture, caching=caching)
    device = host.driver.lpis.create_device(9, 16)
    host.driver.lpis.activate(device, np.arange(16), np.arange(16) % 4)
    host.gic.its[0].translate_many([9] * 16, range(16))
    for cpu in range(4):
        interface = host.gic.redistributors[cpu].cpu
        assert [interface.acknowledge() for _ in range(5)] == [device.lpi_base + cpu + 4 * n for n in range(4)] + [1023]


def test_affinity_is_movi_and_a_sync_of_the_redistributor_that_is_left(host: Host) -> None:
    device = host.driver.lpis.create_device(0x42, 8)
    host.driver.lpis.activate(device, 7, cpus=3)
    host.gic.its[0].translate(0x42, 7)
    host.words()
    host.driver.lpis.set_affinity(device, 7, 1)
    assert host.commands() == ["MOVI DeviceID=0x42 EventID=0x7 ICID=0x1", "SYNC RDbase=0x3"]
    host.driver.lpis.set_affinity(device, 7, 1)
    assert host.commands() == [], "it is there already"
    assert host.gic.redistributors[3].cpu.acknowledge() == 1023
    assert host.gic.redistributors[1].cpu.acknowledge() == 8199, "what was pending moved along"


@pytest.mark.parametrize("choices", [{}, {"architecture": "3", "direct_lpi": False}])
def test_mask_and_unmask(choices: dict[str, object]) -> None:
    host = Host(caching="retain", **choices)
    device = host.driver.lpis.create_device(0x42, 8)
    host.driver.lpis.activate(device, 7, cpus=1)
    host.words()
    host.driver.lpis.mask(device, 7)
    assert configuration(host, device, 7) == 0xA2
    host.gic.its[0].translate(0x42, 7)
    assert host.gic.redistributors[1].cpu.acknowledge() == 1023
    host.driver.lpis.unmask(device, 7)
    assert configuration(host, device, 7) == 0xA3
    assert host.gic.redistributors[1].cpu.acknowledge() == 8199
    assert host.mnemonics() == ("INV SYNC INV SYNC" if choices else "")


def test_deactivate_masks_and_discards(gicv3: Host) -> None:
    device = gicv3.driver.lpis.create_device(0x42, 8)
    gicv3.driver.lpis.activate(device, 7, cpus=3)
    gicv3.words()
    gicv3.driver.lpis.deactivate(device, 7)
    assert gicv3.commands() == [
        "INV DeviceID=0x42 EventID=0x7",
        "SYNC RDbase=0x3",
        "DISCARD DeviceID=0x42 EventID=0x7",
        "SYNC RDbase=0x3",
    ]
    assert not ITE.parse(ite(gicv3, device, 7))["Valid"]
    assert configuration(gicv3, device, 7) == 0xA2
    gicv3.driver.lpis.activate(device, 7)


def test_freeing_a_device_discards_unmaps_and_gives_everything_back(host: Host) -> None:
    host.driver.lpis.free_device(host.driver.lpis.create_device(0x42, 2))
    memory, lpis = host.allocator.free_bytes, host.driver.lpis.intids.free
    device = host.driver.lpis.create_device(0x42, 8)
    host.driver.lpis.activate(device, np.arange(2, 4), 1)
    host.words()
    with host.driver.gic.batch():
        host.driver.lpis.free_device(device)
        published = "INV INV SYNC DISCARD DISCARD SYNC MAPD"
        assert host.mnemonics() == published, "the ITT is not given back before the ITS let go of it"
    assert (host.allocator.free_bytes, host.driver.lpis.intids.free) == (memory, lpis)
    with pytest.raises(DriverError, match="ENOENT"):
        host.driver.lpis.event_of(device.lpi_base)


def test_a_device_is_unmapped_with_the_size_and_address_of_its_itt(host: Host) -> None:
    """V=0 makes both of no account; Linux' its_send_mapd fills them in all the same."""
    device = host.driver.lpis.create_device(0x42, 8)
    host.words()
    host.driver.lpis.free_device(device)
    assert host.commands() == [f"MAPD DeviceID=0x42 Size=0x2 ITT_addr={device.itt_addr:#x} V=0"]


def test_lpis_lead_back_to_their_events(host: Host) -> None:
    devices = [host.driver.lpis.create_device(n, 4) for n in (7, 3, 5)]
    for device in devices:
        assert host.driver.lpis.event_of(device.lpi_base + 3) == (device, 3)
    host.driver.lpis.free_device(devices[1])
    assert host.driver.lpis.event_of(devices[2].lpi_base) == (devices[2], 0)
    for intid in (FIRST_LPI - 1, devices[1].lpi_base, devices[2].lpi_base + 4):
        with pytest.raises(DriverError, match=f"ENOENT: LPI {intid} "):
            host.driver.lpis.event_of(intid)


def test_what_cannot_be_done_is_refused_and_sends_nothing(host: Host) -> None:
    driver = host.driver
    device = driver.lpis.create_device(1, 4)
    driver.lpis.activate(device, 1)
    host.words()
    refused = [
        ("EEXIST", lambda: driver.lpis.create_device(1, 4)),
        ("EEXIST", lambda: driver.lpis.activate(device, 1)),
        ("EEXIST", lambda: driver.lpis.activate(device, np.arange(4))),
        ("EINVAL", lambda: driver.lpis.activate(device, 4)),
        ("EINVAL", lambda: driver.lpis.activate(device, -1)),
        ("EINVAL", lambda: driver.lpis.activate(device, np.arange(2, 5))),
        ("EINVAL", lambda: driver.lpis.activate(device, 2, cpus=4)),
        ("EINVAL", lambda: driver.lpis.set_affinity(device, 1, 4)),
        ("EINVAL", lambda: driver.lpis.set_affinity(device, 0, 1)),
        ("EINVAL", lambda: driver.lpis.deactivate(device, 0)),
        ("EINVAL", lambda: driver.lpis.mask(device, 0)),
        ("EINVAL", lambda: driver.lpis.unmask(device, 0)),
        ("ENODEV", lambda: Host(architecture="3").driver.vpes.create_vm(1)),
    ]
    for errno, operation in refused:
        with pytest.raises(DriverError) as caught:
            operation()
        assert caught.value.errno == errno
    assert host.commands() == []


def test_the_lpi_space_ends(host: Host) -> None:
    lpis = host.driver.lpis.intids.free
    host.driver.lpis.create_device(0, lpis // 2 + 1)
    with pytest.raises(DriverError, match="ENOSPC: no 32768 LPIs in a row are free of 16 bits"):
        host.driver.lpis.create_device(1, 32768)


def test_no_memory_for_an_itt_leaks_no_lpis(host: Host) -> None:
    host.driver.lpis.create_device(0, 2)
    while host.allocator.free_bytes > 0x1000:
        host.allocator.alloc(0x1000 if host.allocator.free_bytes < 0x100_0000 else 0x80_0000)
    lpis = host.driver.lpis.intids.free
    with pytest.raises(DriverError, match="ENOMEM: no 0x60000 bytes"):
        host.driver.lpis.create_device(1, 1 << 15)
    assert host.driver.lpis.intids.free == lpis
    host.driver.lpis.create_device(1, 2)
