# SPDX-License-Identifier: Apache-2.0
"""The steps of a migration: their order, what each copies, and what is left when one fails."""

import numpy as np
import pytest

from gicmodel.driver import DriverError
from gicmodel.kvm import KvmError
from gicmodel.layouts.lpi_tables import bit_of, byte_of
from gicmodel.memory import PAGE_BYTES
from gicmodel.migration import STEPS, DeviceState, Migration, MigrationError, new_virtual_machine
from gicmodel.migration.machine import pending_interrupts, pending_vlpis
from tests.migration.machines import expected, migrate, new_host, new_vm, resources

COVER_LETTER = [
    "precopy RAM",
    "pause vCPUs",
    "pause devices",
    "flush ITS tables",
    "flush pending tables",
    "copy dirty RAM",
    "save registers",
    "restore redistributors",
    "restore ITS registers",
    "restore ITS tables",
    "set forwarding",
    "resume devices",
]


def test_the_steps_are_the_cover_letters():
    seen = []
    vm = new_vm()
    migration = Migration(vm, new_host("destination"), lambda step, done, total: seen.append(step))
    migration.run()
    assert [name for name, _ in migration.plan] == COVER_LETTER
    assert [report.name for report in migration.steps.reports] == COVER_LETTER
    assert list(dict.fromkeys(seen)) == COVER_LETTER


def test_devices_run_again_at_the_end_only():
    states = []
    vm = new_vm()
    destination = new_host("destination")

    def look(step, done, total):
        devices = [*vm.devices, *migration.target.devices]
        states.append((step, [device.state for device in devices]))

    migration = Migration(vm, destination, look)
    migration.run()
    running = [step for step, of_devices in states for state in of_devices if state is DeviceState.RUNNING]
    assert set(running) == {"precopy RAM", "pause vCPUs", "pause devices", "resume devices"}
    assert vm.devices[0].state is DeviceState.STOP_COPY
    assert migration.target.devices[0].state is DeviceState.RUNNING


def test_the_last_pass_copies_what_the_flush_wrote():
    vm = new_vm(vcpus=2, vectors=2)
    migration = Migration(vm, new_host("destination"))
    vm.devices[0].fire([0, 1])
    copied = {}
    for name, step in STEPS[:6]:
        copied[name] = step(migration)
    # The level 2 page of the device table, the collection table, the ITT and two pending tables: a page each.
    assert copied["copy dirty RAM"] == 5 * PAGE_BYTES
    assert copied["precopy RAM"] > copied["copy dirty RAM"]
    written = vm.memory.written_pages()
    pages = (written - vm.memory.base) // PAGE_BYTES
    source, target = (memory.octets.reshape(-1, PAGE_BYTES)[pages] for memory in (vm.memory, migration.target.memory))
    assert np.array_equal(source, target)
    assert migration.target.memory.written_pages().tolist() == written.tolist()


def test_pages_that_the_guest_writes_meanwhile_are_copied_too():
    vm = new_vm()
    migration = Migration(vm, new_host("destination"))
    migration.precopy_ram()
    address = vm.memory.base + (512 << 20)
    vm.memory.write(address, b"written while RAM was copied")
    assert migration.target.memory.read(address, 28) == bytes(28)
    for _, step in STEPS[1:6]:
        step(migration)
    assert migration.target.memory.read(address, 28) == b"written while RAM was copied"


def test_what_is_written_after_the_last_pass_stays_behind():
    vm = new_vm()
    migration = Migration(vm, new_host("destination"))
    for _, step in STEPS[:6]:
        step(migration)
    vm.memory.write(vm.memory.end - PAGE_BYTES, b"late")
    for _, step in STEPS[6:]:
        step(migration)
    assert migration.target.memory.read(vm.memory.end - PAGE_BYTES, 4) == bytes(4)


def pending_bit(vm, vcpu, intid):
    return vm.memory.read_u8(vm.vgic.dist.pending_tables[vcpu] + byte_of(intid)) >> bit_of(intid) & 1


def test_a_vlpi_raised_after_the_flush_is_not_in_the_pending_table():
    """Why devices are stopped first: nothing carries this one over."""
    vm = new_vm(vcpus=2, vectors=2)
    vm.devices[0].fire([0])
    migration = Migration(vm, new_host("destination"))
    for name, step in STEPS:
        if name != "pause devices":
            step(migration)
        if name == "flush pending tables":
            vm.devices[0].fire([1])
            assert [pending_bit(vm, 0, 8192), pending_bit(vm, 1, 8193)] == [1, 0]
            assert pending_vlpis(vm) == {(0, 8192), (1, 8193)}
    assert pending_vlpis(migration.target) == {(0, 8192)}


def test_a_stopped_device_cannot_do_that():
    vm = new_vm(vcpus=2, vectors=2)
    vm.devices[0].fire([0])
    migration = Migration(vm, new_host("destination"))
    for name, step in STEPS:
        step(migration)
        if name == "flush pending tables":
            vm.devices[0].fire([1])
    assert list(migration.target.deliver()) == [(0, 8192)]
    assert pending_vlpis(vm) == {(0, 8192)}


@pytest.mark.parametrize("done", [0, 1], ids=["before", "after"])
@pytest.mark.parametrize("step", COVER_LETTER)
def test_a_step_that_fails_loses_nothing_and_the_next_attempt_succeeds(step, done):
    vm = new_vm(vcpus=3, devices=2, vectors=3)
    vm.run_vcpus()
    for device in vm.devices:
        device.fire([0, 2])
    before = pending_vlpis(vm)
    destination = new_host("destination", device_id_bits=8, vpe_id_bits=8)
    free = resources(destination)

    def fail(name, progress, total):
        if (name, progress, total) == (step, done, 1):
            raise KvmError("EIO", "the connection is gone")

    with pytest.raises(MigrationError, match=f"{step}: EIO: the connection is gone"):
        migrate(vm, destination, fail)
    assert resources(destination) == free
    assert {device.state for device in vm.devices} == {DeviceState.RUNNING}
    assert vm.vgic.running == {0}
    assert pending_interrupts(vm) == before
    vm.devices[0].fire([1])
    target = migrate(vm, destination)
    assert set(target.deliver()) == before | set(expected(3, [8193]))


def test_a_destination_that_has_no_room():
    vm = new_vm(vcpus=3)
    destination = new_host("destination", vpe_id_bits=1)
    with pytest.raises(KvmError) as refusal:
        Migration(vm, destination)
    assert refusal.value.errno == "ENOSPC"


def test_a_destination_whose_device_is_taken():
    vm = new_vm(vcpus=2, vectors=2)
    vm.devices[0].fire([0, 1])
    destination = new_host("destination")
    new_virtual_machine(destination, 1, 1, 1)
    with pytest.raises(MigrationError, match="set forwarding: EEXIST: ITS 0 has a device 0x8") as failure:
        migrate(vm, destination)
    assert isinstance(failure.value.__cause__, DriverError)
    assert list(vm.deliver()) == [(0, 8192), (1, 8193)]
