# SPDX-License-Identifier: Apache-2.0
"""Bugs that machine monitors had around KVM's virtual GIC, each beside the way that is right."""

import pytest

from gicmodel.layouts.kvm_abi import KVM_LEVEL1
from gicmodel.memory import PAGE_BYTES
from gicmodel.migration import STEPS, Migration, Policy
from gicmodel.migration.machine import pending_vlpis
from gicmodel.migration.vfio import enable_vectors
from tests.kvm.guest import DEVICES, ITTS, LEVEL2, Guest, without
from tests.migration.machines import new_host, new_vm
from tests.regressions.test_kvm_tables import errno

TAKE = dict(STEPS)
RIGHT = [name for name in TAKE if name != "transfer pending state"]
ALL = [(0, 8192), (1, 8193)]


def after(step, *moved):
    """The steps of a migration with some of them moved behind `step`."""
    names = [name for name in RIGHT if name not in moved]
    place = names.index(step) + 1
    return [*names[:place], *moved, *names[place:]]


def migrated(order, meanwhile=lambda migration, name: None):
    """What a VM is on its destination; its first interrupt is pending when it leaves."""
    vm = new_vm(vcpus=2, vectors=2)
    vm.devices[0].fire([0])
    migration = Migration(vm, new_host("destination"))
    for name in order:
        TAKE[name](migration)
        meanwhile(migration, name)
    return migration.target


def raises_all(vm):
    vm.devices[0].fire([0, 1])
    return list(vm.deliver())


def test_vfio_loads_its_configuration_after_the_gic():
    """QEMU d329f5032e17, "Move the saving of the config space to the right place in VFIO migration".

    Vectors that are enabled before there are mappings are never forwarded.
    """
    early = migrated(after("save registers", "set forwarding"))
    assert not early.devices[0].is_forwarded(early.vgic)
    right = migrated(RIGHT)
    assert right.devices[0].is_forwarded(right.vgic)
    assert raises_all(early) == raises_all(right) == ALL


def test_vfio_stops_devices_before_the_gic_is_flushed():
    """QEMU 8ce1ff990eff, "Set the priority of the VFIO VM state change handler explicitly"."""

    def delivered(order):
        def fire(migration, name):
            if name == "flush pending tables":
                migration.source.devices[0].fire([1])

        vm = migrated(order, fire)
        raised = sorted(pending_vlpis(vm))
        if order is RIGHT:
            vm.devices[0].fire([1])  # what it did not raise while it was stopped
        return raised, list(vm.deliver())

    assert delivered(RIGHT) == ([(0, 8192)], ALL)
    assert delivered(after("flush pending tables", "pause devices")) == ([(0, 8192)], [(0, 8192)])


@pytest.mark.parametrize(("policy", "pending"), [(Policy.AVOID_UNSET, set(ALL)), (Policy.RFC, {(1, 8193)})])
def test_vectors_are_enabled_all_at_once(policy, pending):
    """QEMU ecebe53fe993, "Avoid disabling and enabling vectors repeatedly in VFIO migration"; dc580d51f7dd later."""
    vm = new_vm(vcpus=2, vectors=2)
    device = vm.devices[0]
    device.unforward(vm.vgic)
    device.fire([0, 1])
    vm.handle_interrupts()
    enable_vectors(device, vm.vgic, policy, resets=1)
    assert pending_vlpis(vm) == pending


def test_its_tables_are_flushed_before_a_snapshot():
    """cloud-hypervisor PR 3049: no MSI arrived after a restore."""
    assert raises_all(migrated(RIGHT)) == ALL
    unflushed = migrated([name for name in RIGHT if name != "flush ITS tables"])
    assert not unflushed.vgic.lpis
    assert not unflushed.devices[0].is_forwarded(unflushed.vgic)


def test_pages_that_kvm_has_written_are_part_of_the_difference():
    """e2b infra 2057: a snapshot of what the guest has written lacks the tables that KVM writes."""

    def forget_what_kvm_wrote(migration, name):
        if name == "flush pending tables":
            migration.source.memory.clear_dirty()

    assert len(migrated(RIGHT).vgic.lpis) == 2
    assert len(migrated(RIGHT, forget_what_kvm_wrote).vgic.lpis) == 0


def test_a_guest_that_reboots_gets_its_its_reset():
    """QEMU 2.12, KVM_DEV_ARM_ITS_CTRL_RESET: the mappings stayed, the guest's RAM did not, and SAVE_TABLES failed."""

    def saved(reset):
        guest = Guest(indirect=True, behaviour=without("skips_unreachable_devices"))
        guest.memory.write_u64(DEVICES, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2))
        guest.mapd(2, ITTS)
        if reset:
            guest.its.reset()
        guest.memory.zero(DEVICES, PAGE_BYTES)
        return errno(guest.its.save_tables)

    assert saved(reset=True) is None
    assert saved(reset=False) == "EINVAL"
