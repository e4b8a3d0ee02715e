# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from gicmodel.driver import DriverError
from gicmodel.kvm import Vgic
from gicmodel.memory import GuestMemory
from gicmodel.migration import DeviceState, new_virtual_machine
from gicmodel.migration.guest import GUEST_RAM_BASE, boot_guest
from tests.migration.machines import new_host, new_vm


@pytest.fixture
def vgic():
    return Vgic(GuestMemory(GUEST_RAM_BASE, 1 << 24), nr_vcpus=3)


def mapped(vgic):
    """(DeviceID, EventID) -> (vCPU, INTID)"""
    return {
        (device_id, event_id): (vgic.its[0].target_vcpu(ite.icid), int(vgic.lpis.rows["intid"][ite.lpi]))
        for device_id, device in vgic.its[0].devices.items()
        for event_id, ite in device.ites.items()
    }


def test_events_are_spread_over_the_vcpus(vgic):
    boot_guest(vgic, [(8, range(2)), (16, range(3))])
    assert mapped(vgic) == {
        (8, 0): (0, 8192),
        (8, 1): (1, 8193),
        (16, 0): (2, 8194),
        (16, 1): (0, 8195),
        (16, 2): (1, 8196),
    }


def test_the_guest_enables_what_it_maps(vgic):
    boot_guest(vgic, [(8, range(4))])
    rows = vgic.lpis.rows[vgic.lpis.slots()]
    assert rows["enabled"].all()
    assert np.unique(rows["priority"]).tolist() == [0xA0]


def test_a_device_without_events_has_an_itt_all_the_same(vgic):
    boot_guest(vgic, [(8, ())])
    assert [device.num_eventid_bits for device in vgic.its[0].devices.values()] == [1]
    assert mapped(vgic) == {}


def test_its_tables_are_in_its_ram(vgic):
    driver = boot_guest(vgic, [(8, range(2))])
    its = vgic.its[0]
    for address in (its.device_table.address, its.collection_table.address, *vgic.dist.pending_tables):
        assert vgic.memory.covers(address, 0x1_0000)
    assert driver.gic.lpi_configuration.address == vgic.dist.configuration_table


def test_more_lpis_than_the_guest_has_intids_for(vgic):
    with pytest.raises(DriverError) as refusal:
        boot_guest(vgic, [(8 * number, range(2048)) for number in range(1, 30)])
    assert refusal.value.errno == "ENOSPC"


def test_a_new_vm_runs_its_devices_with_all_vectors_forwarded():
    vm = new_vm(vcpus=3, devices=2, vectors=5)
    assert [device.guest_device_id for device in vm.devices] == [8, 16]
    assert {device.state for device in vm.devices} == {DeviceState.RUNNING}
    assert vm.vgic.lpis.rows["hw"][vm.vgic.lpis.slots()].all()
    assert len(vm.vgic.lpis) == 10


def test_progress_while_a_vm_is_made():
    seen = []
    new_virtual_machine(new_host(), 1, 2, 3, lambda *progress: seen.append(progress))
    assert seen == [
        ("boot the guest", 1, 2),
        ("boot the guest", 2, 2),
        ("forward its vectors", 1, 2),
        ("forward its vectors", 2, 2),
    ]


def test_a_new_vm_without_gicv4_is_served_by_software():
    vm = new_vm(host=new_host(architecture="3"))
    vm.devices[0].fire([0, 1])
    assert sorted(vm.deliver()) == [(0, 8192), (1, 8193)]
