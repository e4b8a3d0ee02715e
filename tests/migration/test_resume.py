# SPDX-License-Identifier: Apache-2.0
"""A guest that goes on after its tables were flushed: a stop that was no migration, or one that was cancelled.

The flush leaves the bits of what was pending in the guest's pending tables. The guest takes those interrupts, unmaps
them, and maps them again: KVM reads the pending bit then (Linux `vgic_v3_lpi_sync_pending_status`), and a bit that was
left there is an interrupt that nobody raised.
"""

from collections import Counter

import pytest

from gicmodel.migration import DeviceState, Migration, MigrationError, Options, Policy, VirtualMachine
from gicmodel.migration.migrate import plan_of
from gicmodel.migration.steps import no_progress
from gicmodel.migration.workload import Workload
from tests.migration.machines import migrate, new_host, new_vm

VCPUS, EVENTS = 2, [(0, 0), (0, 1), (1, 0)]
STEPS_FROM_THE_FLUSH_ON = [name for name, _ in plan_of(Policy.AVOID_UNSET)][4:]


@pytest.fixture
def workload():
    """A VM that runs, with an interrupt pending for each of `EVENTS`."""
    workload = Workload(new_vm(VCPUS, devices=2, vectors=2))
    workload.vm.run_vcpus()
    workload.fire(EVENTS)
    return workload


def takes_all(workload):
    """The guest takes what it is owed, and nothing else."""
    owed = workload.owed(range(VCPUS))
    return Counter(workload.vm.deliver()) == owed


def cancel(workload, step):
    with pytest.raises(MigrationError, match="cancelled"):
        Migration(workload.vm, new_host("destination"), no_progress, Options(abort_at=step)).run()


REMAPS = {
    "DISCARD": lambda workload: [workload.remap(event) for event in EVENTS],
    "MAPD": lambda workload: [workload.reload_driver(number, discard=False) for number in (0, 1)],
    "DISCARD, MAPD": lambda workload: [workload.reload_driver(number) for number in (0, 1)],
}


@pytest.mark.parametrize("how", REMAPS)
@pytest.mark.parametrize("step", STEPS_FROM_THE_FLUSH_ON)
def test_what_is_mapped_anew_after_a_cancelled_migration_is_not_pending(workload, step, how):
    cancel(workload, step)
    assert takes_all(workload)
    REMAPS[how](workload)
    assert takes_all(workload)
    workload.fire(EVENTS)
    workload.vm = migrate(workload.vm)
    assert takes_all(workload)


def test_as_qemu_leaves_the_tables_it_would_be(workload, monkeypatch):
    monkeypatch.setattr(VirtualMachine, "_undo_flush", lambda vm: vm._before_flush.clear())
    cancel(workload, "copy dirty RAM")
    assert takes_all(workload)
    REMAPS["DISCARD"](workload)
    assert sorted(workload.vm.deliver()) == [(0, 8192), (0, 8194), (1, 8193)]


def test_an_interrupt_that_has_moved_since_the_flush(workload):
    """Its bit is in the table of another vCPU than its own, where no later flush clears it."""
    cancel(workload, "copy dirty RAM")
    workload.move((0, 0), 1)
    assert takes_all(workload)
    workload.vm = migrate(workload.vm)
    workload.vm.run_vcpus()
    workload.move((0, 0), 0)
    workload.remap((0, 0))
    assert takes_all(workload)


@pytest.mark.parametrize("flushes", [1, 2])
def test_the_tables_are_as_they_were_before_the_first_flush(workload, flushes):
    vm = workload.vm
    tables = [vm.memory.read(table, 0x2000) for table in vm.vgic.dist.pending_tables]
    vm.pause_vcpus()
    vm.set_devices(DeviceState.STOP)
    for _ in range(flushes):
        vm.flush_pending_tables()
    assert [vm.memory.read(table, 0x2000) for table in vm.vgic.dist.pending_tables] != tables
    vm.set_devices(DeviceState.RUNNING)
    assert [vm.memory.read(table, 0x2000) for table in vm.vgic.dist.pending_tables] == tables
    assert takes_all(workload)
