# SPDX-License-Identifier: Apache-2.0
"""Interrupts and tables that come too late for the migration are lost, and the model shows it.

The order of the VM state change handlers decides: QEMU 8ce1ff990eff gave that of VFIO a priority, so that it stops the
devices before those of the GIC flush its tables.
"""

import pytest

from gicmodel.layouts.lpi_tables import bit_of, byte_of
from gicmodel.migration import STEPS, DeviceState, Migration
from gicmodel.migration.machine import pending_vlpis
from tests.migration.machines import new_host, new_vm

TAKE = dict(STEPS)
BEFORE = ["precopy RAM", "pause vCPUs"]
STOP, ITS, GIC, COPY = "pause devices", "flush ITS tables", "flush pending tables", "copy dirty RAM"
AFTER = [name for name in TAKE if name not in (*BEFORE, STOP, ITS, GIC, COPY)]


@pytest.fixture
def vm():
    vm = new_vm(vcpus=2, vectors=2)
    vm.devices[0].fire([0])
    return vm


def migrated(vm, handlers, fire_after=None, state=None):
    """Take the steps `handlers` in their order; after one of them the device fires its second vector.

    With `state`, the device is brought into that instead of stopped.
    """
    migration = Migration(vm, new_host("destination"))
    for name in [*BEFORE, *handlers, *AFTER]:
        if name == STOP and state is not None:
            vm.set_devices(state)
        else:
            TAKE[name](migration)
        if name == fire_after:
            vm.devices[0].fire([1])
    return migration.target


def test_vfio_after_the_gic_loses_what_devices_send_in_between(vm):
    target = migrated(vm, [ITS, GIC, STOP, COPY], fire_after=GIC)
    assert pending_vlpis(vm) == {(0, 8192), (1, 8193)}
    assert list(target.deliver()) == [(0, 8192)]


@pytest.mark.parametrize("moment", [*BEFORE, ITS])
def test_what_comes_before_the_pending_tables_are_flushed_arrives(vm, moment):
    target = migrated(vm, [ITS, GIC, STOP, COPY], fire_after=moment)
    assert list(target.deliver()) == [(0, 8192), (1, 8193)]


@pytest.mark.parametrize("moment", [STOP, ITS, GIC, COPY])
def test_vfio_before_the_gic_lets_nothing_come_late(vm, moment):
    """The device has not raised it: it is stopped, and raises it when it runs on the destination."""
    target = migrated(vm, [STOP, ITS, GIC, COPY], fire_after=moment)
    assert pending_vlpis(vm) == {(0, 8192)}
    target.devices[0].fire([1])
    assert list(target.deliver()) == [(0, 8192), (1, 8193)]


@pytest.mark.parametrize(
    ("state", "delivered"),
    [
        (DeviceState.STOP, [(0, 8192)]),
        (DeviceState.STOP_COPY, [(0, 8192)]),
        (DeviceState.RESUMING, [(0, 8192)]),
        (DeviceState.RUNNING_P2P, [(0, 8192)]),
        (DeviceState.PRE_COPY_P2P, [(0, 8192)]),
        (DeviceState.PRE_COPY, [(0, 8192)]),
    ],
)
def test_a_state_that_is_not_stopped_is_not_enough(vm, state, delivered):
    """The same arrives; but a device in one of the last three has sent an interrupt that does not."""
    target = migrated(vm, [STOP, ITS, GIC, COPY], fire_after=GIC, state=state)
    assert list(target.deliver()) == delivered
    sent_too_late = pending_vlpis(vm) - {(0, 8192)}
    assert sent_too_late == ({(1, 8193)} if state.raises_interrupts else set())


def test_an_interrupt_sent_while_vpes_are_unmapped_is_lost_on_the_source_too(vm):
    vm.vgic.unmap_all_vpes()
    vm.devices[0].fire([1])
    vm.vgic.map_all_vpes()
    assert list(vm.deliver()) == [(0, 8192)]


@pytest.mark.parametrize(
    ("handlers", "delivered"),
    [([STOP, ITS, GIC, COPY], [(0, 8192)]), ([STOP, ITS, COPY, GIC], [])],
    ids=["before", "after"],
)
def test_a_pending_table_that_is_flushed_after_the_last_pass_over_ram(vm, handlers, delivered):
    target = migrated(vm, handlers)
    table = vm.vgic.dist.pending_tables[0]
    assert vm.memory.read_u8(table + byte_of(8192)) >> bit_of(8192) & 1
    assert list(target.deliver()) == delivered
