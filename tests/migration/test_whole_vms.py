# SPDX-License-Identifier: Apache-2.0
"""A VM's whole life at random: traffic, SGIs, masks, affinities, mappings, resets, migrations that succeed or do not.

Every interrupt that a device raised or a vCPU sent is delivered at least once after its last raise, and none that
nobody raised is: at every moment exactly that is pending which was raised and the guest has not taken, on the vCPU that
it gave it to, and it is delivered when that vCPU runs, once. After every save the pending tables in the guest's RAM
have just those bits.
"""

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gicmodel.kvm.forwarding import Forwarding
from gicmodel.kvm.sgi import Sgis
from gicmodel.layouts.vpt import FIRST_LPI, VSGIS, table_bytes
from gicmodel.migration import DeviceState, Migration, MigrationError, Options, Policy, VirtualMachine
from gicmodel.migration.guest import enable_sgis
from gicmodel.migration.migrate import plan_of
from gicmodel.migration.pending import pending_interrupts
from gicmodel.migration.policy import enable_vectors
from gicmodel.migration.steps import no_progress
from gicmodel.migration.workload import Workload
from tests.migration.machines import new_host, new_vm

VCPUS, DEVICES, VECTORS, CPUS = 3, 2, 3, 2
events = st.tuples(st.integers(0, DEVICES - 1), st.integers(0, VECTORS - 1))
devices = st.integers(0, DEVICES - 1)
vcpus = st.integers(0, VCPUS - 1)
cpus = st.integers(0, CPUS - 1)
sgis = st.tuples(vcpus, st.integers(0, VSGIS - 1))
remedies = st.sampled_from([policy for policy in Policy if policy is not Policy.RFC])


@st.composite
def options(draw, aborting):
    """How a migration goes; `aborting` is whether it is cancelled at some step."""
    policy = draw(remedies)
    steps = [name for name, _ in plan_of(policy)]
    return Options(policy, draw(st.integers(0, VECTORS + 1)), draw(st.sampled_from(steps)) if aborting else None)


class WholeVm(RuleBasedStateMachine):
    """A VM on one of two hosts; of the devices `in_software` not every vector is forwarded."""

    @initialize(caching=st.sampled_from(["none", "retain"]), with_sgis=st.booleans())
    def boot(self, caching, with_sgis):
        self.other = new_host("other", CPUS, caching=caching)
        self.workload = Workload(new_vm(VCPUS, DEVICES, VECTORS, new_host("one", CPUS, caching=caching)))
        if with_sgis:
            enable_sgis(self.vm.vgic)
        self.in_software = set()

    @property
    def vm(self):
        return self.workload.vm

    @rule(raised=st.lists(events, min_size=1, max_size=6))
    def fire(self, raised):
        self.workload.fire(raised)

    @rule(sent=st.lists(sgis, min_size=1, max_size=4))
    def send_sgis(self, sent):
        self.workload.send_sgis(sent)

    @rule(event=events)
    def mask(self, event):
        self.workload.mask(event)

    @rule(event=events)
    def unmask(self, event):
        self.workload.unmask(event)

    @rule(event=events, vcpu=vcpus)
    def move(self, event, vcpu):
        self.workload.move(event, vcpu)

    @rule(first_cpu=cpus)
    def run(self, first_cpu):
        self.workload.run_on(first_cpu)

    @rule()
    def pause(self):
        self.vm.pause_vcpus()

    @rule(taking=st.sets(vcpus, min_size=1))
    def deliver(self, taking):
        owed = self.workload.owed(taking)
        assert sorted(self.vm.deliver(sorted(taking))) == sorted(owed.elements())

    @rule(number=devices)
    def reset_device(self, number):
        """What software holds is not the device's any more, so that only a forwarded one can be told to forget."""
        if number not in self.in_software:
            self.workload.reset_device(number)

    @rule(number=devices, discard=st.booleans())
    def reload_driver(self, number, discard):
        self.workload.reload_driver(number, discard)
        self.in_software.discard(number)

    @rule(event=events)
    def remap(self, event):
        self.workload.remap(event)
        self.in_software.add(event[0])

    @rule(number=devices, resets=st.integers(0, VECTORS))
    def reset_forwarding(self, number, resets):
        self.stop()
        enable_vectors(self.vm.devices[number], self.vm.vgic, Policy.RETRIEVE_ON_UNSET, resets)
        self.in_software.discard(number)
        self.vm.set_devices(DeviceState.RUNNING)

    @rule(number=devices)
    def end_forwarding(self, number):
        self.stop()
        self.vm.devices[number].unforward(self.vm.vgic, retrieve=True)
        self.in_software.add(number)
        self.vm.set_devices(DeviceState.RUNNING)

    @precondition(lambda self: self.in_software)
    @rule(number=devices)
    def forward_while_it_runs(self, number):
        self.vm.devices[number].forward(self.vm.vgic)
        self.in_software.discard(number)

    @rule()
    def save(self):
        """As QEMU does whenever a VM stops."""
        self.stop()
        self.vm.vgic.its[0].save_tables()
        self.vm.flush_pending_tables()
        assert self.saved(self.vm) == self.raised()
        self.vm.set_devices(DeviceState.RUNNING)

    @rule(raised=st.lists(events, max_size=6), how=options(aborting=True))
    def abort(self, raised, how):
        self.workload.fire(raised)
        with pytest.raises(MigrationError, match="cancelled"):
            Migration(self.vm, self.other, no_progress, how).run()

    @rule(raised=st.lists(events, max_size=6), how=options(aborting=False))
    def migrate(self, raised, how):
        self.workload.fire(raised)
        source = self.vm
        migration = Migration(source, self.other, no_progress, how)
        migration.run()
        assert self.saved(source) == self.raised()
        source.destroy()
        self.other, self.workload.vm = source.host, migration.target
        self.in_software.clear()

    @invariant()
    def exactly_that_is_pending_which_was_raised(self):
        assert pending_interrupts(self.vm) == self.owed_to_all()

    def teardown(self):
        if hasattr(self, "workload"):
            self.workload.unmask_all()
            self.deliver(set(range(VCPUS)))
            assert pending_interrupts(self.vm) == set()
            assert (self.vm.host.gic.errors, self.other.gic.errors) == ([], [])

    def stop(self):
        self.vm.pause_vcpus()
        self.vm.set_devices(DeviceState.STOP)

    def owed_to_all(self):
        return self.raised() | self.workload.sgis

    def raised(self):
        return {self.workload.targets[event] for event in self.workload.pending}

    def saved(self, vm):
        """The set bits of the pending tables in the guest's RAM."""
        tables = [vm.memory.view(table, table_bytes(16), np.uint8) for table in vm.vgic.dist.pending_tables]
        bits = [np.flatnonzero(np.unpackbits(table, bitorder="little")).tolist() for table in tables]
        return {(vcpu, intid) for vcpu, intids in enumerate(bits) for intid in intids if intid >= FIRST_LPI}


TestWholeVm = WholeVm.TestCase
TestWholeVm.settings = settings(max_examples=max(1, settings.default.max_examples // 5), stateful_step_count=20)


def keep_flushed_tables(vm):
    vm._before_flush.clear()


def forget_pending_sgis(self, vcpu, number, pending, reaches_gic):
    """As a monitor that does not know GICR_ISPENDR0."""


def drop_what_is_pending(self, slots):
    """As `unset_forwarding` of all Linux releases."""


@pytest.mark.parametrize(
    ("owner", "name", "mistake"),
    [
        (VirtualMachine, "_undo_flush", keep_flushed_tables),
        (Sgis, "restore_pending", forget_pending_sgis),
        (Forwarding, "_retrieve", drop_what_is_pending),
    ],
)
def test_it_notices(monkeypatch, owner, name, mistake):
    monkeypatch.setattr(owner, name, mistake)
    few = settings(max_examples=300, stateful_step_count=20, phases=[Phase.generate], derandomize=True, database=None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(WholeVm, settings=few)
