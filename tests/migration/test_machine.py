# SPDX-License-Identifier: Apache-2.0
import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER
from gicmodel.memory import GuestMemory
from gicmodel.migration import VirtualMachine
from gicmodel.migration.machine import pending_vlpis
from gicmodel.migration.state import guest_registers
from tests.migration.machines import DISABLED, ENABLED, FLAT, configure, new_host, new_vm, resources

ALL = [0, 1, 2, 3]


@pytest.fixture
def vm():
    return new_vm(vcpus=4, devices=1, vectors=4, host=new_host(cpus=2))


def test_vcpus_run_as_far_as_there_are_cpus(vm):
    vm.run_vcpus()
    assert vm.vgic.running == {0}
    assert [vpe.resident_cpu for vpe in vm.vgic.its_vm.vpes] == [0, None, None, None]


def test_a_waiting_vcpu_is_woken_by_its_doorbell(vm):
    vm.run_vcpus()
    vm.devices[0].fire(ALL)
    doorbells = vm.host.take_interrupts()
    assert doorbells == [vm.vgic.its_vm.vpes[1].doorbell_intid]


def test_doorbells_are_told_from_vectors(vm):
    vm.run_vcpus()
    vm.devices[0].fire([1])
    assert vm.handle_interrupts() == 1
    assert pending_vlpis(vm) == {(1, 8193)}


def test_pausing_ends_every_residency(vm):
    vm.run_vcpus()
    vm.pause_vcpus()
    assert vm.vgic.running == set()
    assert {vpe.resident_cpu for vpe in vm.vgic.its_vm.vpes} == {None}
    vm.pause_vcpus()


@pytest.mark.parametrize("running", [False, True])
def test_each_interrupt_is_delivered_once_on_its_vcpu(vm, running):
    if running:
        vm.run_vcpus()
    vm.devices[0].fire(ALL)
    assert list(vm.deliver()) == [(0, 8192), (1, 8193), (2, 8194), (3, 8195)]
    assert list(vm.deliver()) == []


def test_an_interrupt_raised_twice_before_it_is_taken_is_one(vm):
    vm.devices[0].fire([2, 2, 2])
    assert list(vm.deliver()) == [(2, 8194)]


def test_highest_priority_first():
    vm = new_vm(vcpus=1, vectors=4)
    configure(vm, 8194, 0x21)
    configure(vm, 8193, 0x41)
    vm.devices[0].fire(ALL)
    assert [intid for _, intid in vm.deliver()] == [8194, 8193, 8192, 8195]


def test_a_disabled_interrupt_waits_until_it_is_enabled(vm):
    configure(vm, 8193, DISABLED)
    vm.devices[0].fire([0, 1])
    assert list(vm.deliver()) == [(0, 8192)]
    assert pending_vlpis(vm) == {(1, 8193)}
    configure(vm, 8193, ENABLED)
    assert list(vm.deliver()) == [(1, 8193)]


def test_vms_on_one_host_do_not_disturb_each_other():
    host = new_host(cpus=2)
    one = new_vm(vcpus=2, devices=1, vectors=2, host=host)
    # The other guest knows its device by a DeviceID that on the host is the first one's.
    other = VirtualMachine(host, GuestMemory(0x4000_0000, 1 << 24), 2)
    one.devices[0].fire([0, 1])
    assert list(other.deliver()) == []
    assert list(one.deliver()) == [(0, 8192), (1, 8193)]


def test_what_needs_paused_vcpus_is_refused_while_they_run(vm):
    vm.run_vcpus()
    for refused in (vm.vgic.its[0].save_tables, vm.vgic.save_pending_tables, vm.vgic.its[0].restore_tables):
        with pytest.raises(KvmError) as refusal:
            refused()
        assert refusal.value.errno == "EBUSY"


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_destroying_a_vm_gives_back_what_it_had(architecture):
    host = new_host(architecture=architecture, **FLAT)
    before = resources(host)
    vm = new_vm(vcpus=3, devices=2, vectors=5, host=host)
    vm.run_vcpus()
    vm.devices[1].fire([0, 1, 2])
    vm.destroy()
    assert resources(host) == before
    assert vm.devices == []
    assert host.gic.errors == []


def test_a_destroyed_vm_can_be_followed_by_another(vm):
    host = vm.host
    vm.devices[0].fire(ALL)
    vm.destroy()
    again = new_vm(vcpus=4, devices=1, vectors=4, host=host)
    assert list(again.deliver()) == []
    again.devices[0].fire([3])
    assert list(again.deliver()) == [(3, 8195)]


def test_registers_describe_the_guests_tables(vm):
    registers = guest_registers(vm.vgic)
    assert set(registers) == {"GITS0", "GICR0", "GICR1", "GICR2", "GICR3", "GICD", "guest"}
    assert registers["guest"] == {"ram_base": 0x4000_0000, "vcpus": 4}
    assert GITS_CTLR.unpack(registers["GITS0"]["CTLR"])["Enabled"]
    baser = GITS_BASER.unpack(registers["GITS0"]["BASER0"])
    assert (baser["Valid"], baser["Physical_Address"]) == (1, vm.vgic.its[0].device_table.address)
    propbaser = GICR_PROPBASER.unpack(registers["GICR3"]["PROPBASER"])
    assert propbaser["Physical_Address"] == vm.vgic.dist.configuration_table
