# SPDX-License-Identifier: Apache-2.0
"""A VM's whole life at random: traffic, masks, affinities, resets, migrations that succeed and that do not.

At every moment exactly that is pending which a device has raised and the guest has not taken, on the vCPU that it gave
it to; it is delivered when that vCPU runs, once; and a save writes just that to the guest's pending tables.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gicmodel.layouts.vpt import bit_of, byte_of
from gicmodel.migration import DeviceState, Migration, MigrationError, Options, Policy
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
remedies = st.sampled_from([policy for policy in Policy if policy is not Policy.RFC])


@st.composite
def options(draw, aborting):
    """How a migration goes; `aborting` is whether it is cancelled at some step."""
    policy = draw(remedies)
    steps = [name for name, _ in plan_of(policy)]
    return Options(policy, draw(st.integers(0, VECTORS + 1)), draw(st.sampled_from(steps)) if aborting else None)


class WholeVm(RuleBasedStateMachine):
    """A VM on one of two hosts; of the devices `in_software` no vector is forwarded."""

    @initialize(caching=st.sampled_from(["none", "retain"]))
    def boot(self, caching):
        self.other = new_host("other", CPUS, caching=caching)
        self.workload = Workload(new_vm(VCPUS, DEVICES, VECTORS, new_host("one", CPUS, caching=caching)))
        self.in_software = set()

    @property
    def vm(self):
        return self.workload.vm

    @rule(raised=st.lists(events, min_size=1, max_size=6))
    def fire(self, raised):
        self.workload.fire(raised)

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
        self.vm.vgic.save_pending_tables()
        assert self.saved(self.vm) == self.owed_to_all()
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
        assert self.saved(source) == self.owed_to_all()
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
        return {self.workload.targets[event] for event in self.workload.pending}

    def saved(self, vm):
        """What the pending tables in the guest's RAM say of its LPIs."""
        tables, read = vm.vgic.dist.pending_tables, vm.memory.read_u8
        deliveries = self.workload.targets.values()
        return {(vcpu, lpi) for vcpu, lpi in deliveries if read(tables[vcpu] + byte_of(lpi)) >> bit_of(lpi) & 1}


TestWholeVm = WholeVm.TestCase
TestWholeVm.settings = settings(max_examples=max(1, settings.default.max_examples // 5), stateful_step_count=20)
