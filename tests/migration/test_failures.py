# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a connection, a destination or a device: the source goes on, and a retry succeeds."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.kvm import KvmError
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.migration import DeviceState, Host, Migration, MigrationError, Options
from gicmodel.migration.host import RAM_BYTES
from gicmodel.migration.machine import pending_interrupts, pending_vlpis
from gicmodel.migration.migrate import plan_of
from gicmodel.migration.ram import Connection
from gicmodel.migration.steps import no_progress
from gicmodel.policy import Policy
from tests.migration.machines import expected, fire_all, migrate, new_vm, resources

VCPUS, DEVICES, VECTORS = 3, 2, 4
CONFIG = GicConfig(redistributors=2, device_id_bits=8, vpe_id_bits=8)
EVERYTHING = expected(VCPUS, range(8192, 8192 + DEVICES * VECTORS))


@pytest.fixture
def vm():
    """A VM that runs, all but the last interrupt of each device pending."""
    vm = new_vm(VCPUS, DEVICES, VECTORS)
    vm.run_vcpus()
    for device in vm.devices:
        device.fire(range(VECTORS - 1))
    return vm


@pytest.fixture
def destination():
    return Host("destination", CONFIG)


def fails(vm, destination, step, cause, progress=no_progress, options=None, connection=None):
    """A migration that fails in `step`, after which the VM is where it was, and the destination as it was."""
    before, free = pending_interrupts(vm), resources(destination)
    migration = Migration(vm, destination, progress, options or Options(), connection)
    with pytest.raises(MigrationError, match=f"{step}: {cause}") as failure:
        migration.run()
    assert failure.value.step == step
    assert pending_interrupts(vm) == before
    assert vm.vgic.running == {0}
    assert {device.state for device in vm.devices} == {DeviceState.RUNNING}
    assert resources(destination) == free
    return migration


def goes_on(vm, destination):
    """Everything arrives once on the source, a retry succeeds, and everything arrives once there."""
    fire_all(vm)
    assert sorted(vm.deliver()) == EVERYTHING
    assert list(vm.deliver()) == []
    vm.run_vcpus()
    fire_all(vm)
    target = migrate(vm, destination)
    assert sorted(target.deliver()) == EVERYTHING
    assert list(target.deliver()) == []


@pytest.mark.parametrize(
    ("policy", "step"), [(policy, step) for policy in Policy if policy is not Policy.RFC for step, _ in plan_of(policy)]
)
def test_cancelled(vm, destination, policy, step):
    fails(vm, destination, step, "cancelled", options=Options(policy, 2, step))
    goes_on(vm, destination)


def test_cancelled_again_and_again(vm, destination):
    for step, _ in plan_of(Policy.AVOID_UNSET):
        fails(vm, destination, step, "cancelled", options=Options(abort_at=step))
    goes_on(vm, destination)


@pytest.mark.parametrize("pages", [0, 1, 7])
def test_ram_is_cut_short(vm, destination, pages):
    cause = f"the connection broke after {pages} of [0-9]+ pages"
    migration = fails(vm, destination, "precopy RAM", cause, connection=Connection(pages))
    assert len(migration.target.memory.written_pages()) == pages
    goes_on(vm, destination)


@pytest.mark.parametrize("missing", [1, 3])
def test_the_last_pass_is_cut_short(vm, destination, missing):
    """As a second migration would send them, so many pages are written, and so many flushed."""
    written = len(vm.memory.written_pages())
    flushed = 1 + 1 + DEVICES + VCPUS  # device table, collection table, ITTs, pending tables
    connection = Connection(written + flushed - missing)
    cause = f"the connection broke after {flushed - missing} of {flushed} pages"
    fails(vm, destination, "copy dirty RAM", cause, connection=connection)
    goes_on(vm, destination)


def level2(vm):
    return KVM_LEVEL1.unpack(vm.memory.read_u64(vm.vgic.its[0].device_table.address))["Physical_Address"]


BAD_ENTRIES = {
    "an ITE with an SGI's INTID": (
        lambda vm: vm.vgic.its[0].devices[8].itt_addr,
        KVM_ITE.pack(pINTID=3, ICID=0),
        "EINVAL",
    ),
    "a DTE with an ITT outside RAM": (
        lambda vm: level2(vm) + 8 * KVM_DTE.bytes,
        KVM_DTE.pack(V=1, ITT_addr=1 << 44, Size=1),
        "EFAULT",
    ),
    "a CTE of a vCPU that is not there": (
        lambda vm: vm.vgic.its[0].collection_table.address,
        KVM_CTE.pack(V=1, RDBase=99, ICID=0),
        "EINVAL",
    ),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_table_that_arrives_damaged(vm, destination, name):
    address, entry, errno = BAD_ENTRIES[name]

    def damage(step, done, total):
        if (step, done) == ("restore ITS tables", 0):
            memories[0].write_u64(address(vm), entry)

    migration = Migration(vm, destination, damage)
    memories = [migration.target.memory]
    before = pending_interrupts(vm)
    with pytest.raises(MigrationError, match=f"restore ITS tables: {errno}: "):
        migration.run()
    assert pending_interrupts(vm) == before
    assert vm.vgic.running == {0}
    goes_on(vm, destination)


def host_with(free):
    """A destination whose driver has `free` bytes left once it has booted."""
    booted = Host("destination", CONFIG)
    return Host("destination", CONFIG, RAM_BYTES - booted.driver.gic.allocator.free_bytes + free)


def memory_of_vpes(vm):
    """What the vPEs of such a VM need on the destination."""
    destination = Host("destination", CONFIG)
    before = destination.driver.gic.allocator.free_bytes
    Migration(vm, destination)
    return before - destination.driver.gic.allocator.free_bytes


def test_a_destination_without_memory_for_vpes(vm):
    with pytest.raises(KvmError) as refusal:
        Migration(vm, host_with(0))
    assert refusal.value.errno == "ENOMEM"
    goes_on(vm, host_with(1 << 30))


def test_a_destination_without_memory_for_devices(vm):
    """Room for the vPEs and for one ITT."""
    destination = host_with(memory_of_vpes(vm) + 4096)
    fails(vm, destination, "set forwarding", "ENOMEM")
    goes_on(vm, host_with(1 << 30))


def test_a_destination_without_lpis_for_devices(vm):
    """All LPIs but those for the doorbells are in use."""
    destination = Host("destination", CONFIG)
    destination.driver.lpis.alloc(destination.driver.lpis.intids.free - VCPUS - VECTORS)
    fails(vm, destination, "set forwarding", "ENOSPC")
    goes_on(vm, Host("destination", CONFIG))


def test_a_device_of_the_source_that_does_not_respond(vm, destination):
    """The other one is stopped before, and runs again after."""
    vm.host.unresponsive.add(16)
    fails(vm, destination, "pause devices", "ETIMEDOUT: device 0x10 of source does not respond")
    vm.host.unresponsive.clear()
    goes_on(vm, destination)


@pytest.mark.parametrize("device", [8, 16])
def test_a_device_of_the_destination_that_does_not_respond(vm, destination, device):
    destination.unresponsive.add(device)
    cause = f"ETIMEDOUT: device {device:#x} of destination does not respond: it was to become RUNNING"
    fails(vm, destination, "resume devices", cause)
    destination.unresponsive.clear()
    goes_on(vm, destination)


def cancelled(vm, destination, die):
    """A migration that is cancelled, with `die` called while the devices are stopped; the error."""

    def progress(step, done, total):
        if (step, done) == ("flush ITS tables", 0):
            die()

    with pytest.raises(MigrationError, match="save registers: cancelled") as failure:
        Migration(vm, destination, progress, Options(abort_at="save registers")).run()
    return failure.value


def test_a_device_of_the_source_that_dies_while_it_is_stopped_is_reset(vm, destination):
    """It has lost nothing that was pending, and goes on."""
    before = pending_vlpis(vm)
    failure = cancelled(vm, destination, lambda: vm.host.unresponsive.add(8))
    assert failure.casualties == ()
    assert [(device.state, device.resets) for device in vm.devices] == [
        (DeviceState.RUNNING, 1),
        (DeviceState.RUNNING, 0),
    ]
    assert pending_vlpis(vm) == before
    goes_on(vm, destination)


def test_a_device_that_cannot_be_reset_is_in_error_and_named(vm, destination):
    """The guest goes on without it, and takes what it raised before; a migration comes no further than to it."""

    def die():
        vm.host.unresponsive.add(8)
        vm.host.broken.add(8)

    before = pending_vlpis(vm)
    failure = cancelled(vm, destination, die)
    assert str(failure) == "save registers: cancelled; EIO: device 0x8 of source cannot be reset: it is in ERROR"
    assert [error.errno for error in failure.casualties] == ["EIO"]
    assert [device.state for device in vm.devices] == [DeviceState.ERROR, DeviceState.RUNNING]
    assert pending_vlpis(vm) == before
    fire_all(vm)
    from_the_other = {(vcpu, intid) for vcpu, intid in EVERYTHING if intid >= 8192 + VECTORS}
    assert set(vm.deliver()) == before | from_the_other
    with pytest.raises(MigrationError, match="pause devices: EIO: device 0x8 of source is in ERROR, out of which only"):
        Migration(vm, destination).run()
    assert vm.vgic.running == {0}
    vm.host.broken.clear()
    vm.devices[0].reset()
    vm.pause_vcpus()
    goes_on(vm, destination)
