# SPDX-License-Identifier: Apache-2.0
"""A VM's whole life at random: traffic, SGIs, masks, affinities, mappings, resets, migrations that succeed or do not.

Every interrupt that a device raised or a vCPU sent is delivered at least once after its last raise, and none that
nobody raised is: at every moment exactly that is pending which was raised and the guest has not taken, on the vCPU that
it gave it to, and it is delivered when that vCPU runs, once. After every save the pending tables in the guest's RAM
have just those bits.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import DataObject, DrawFn, SearchStrategy

from gicmodel.config import GicConfig
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS, intids_of, table_bytes
from gicmodel.migration import (
    Delivery,
    DeviceState,
    Host,
    Migration,
    MigrationError,
    Options,
    Policy,
    VirtualMachine,
    new_virtual_machine,
)
from gicmodel.migration.guest import enable_sgis
from gicmodel.migration.machine import pending_interrupts
from gicmodel.migration.migrate import plan_of
from gicmodel.migration.steps import no_progress
from gicmodel.migration.vfio import enable_vectors
from gicmodel.migration.workload import Event, Workload

VCPUS, DEVICES, VECTORS, CPUS = 3, 2, 3, 2
EVENTS = st.tuples(st.integers(0, DEVICES - 1), st.integers(0, VECTORS - 1))
DEVICE = st.integers(0, DEVICES - 1)
VCPU = st.integers(0, VCPUS - 1)
CPU = st.integers(0, CPUS - 1)
SGIS = st.tuples(VCPU, st.integers(0, VSGIS - 1))
REMEDIES = st.sampled_from([policy for policy in Policy if policy is not Policy.RFC])


@st.composite
def options(draw: DrawFn, aborting: bool) -> Options:
    """How a migration goes; `aborting` is whether it is cancelled at some step."""
    policy = draw(REMEDIES)
    steps = [name for name, _ in plan_of(policy)]
    return Options(policy, draw(st.integers(0, VECTORS + 1)), draw(st.sampled_from(steps)) if aborting else None)


class WholeVm(RuleBasedStateMachine):
    """A VM on one of two hosts; of the devices `in_software` not every vector is forwarded.

    Subclass it to fix the hosts' GICs (`configurations`), or to add what a VM may do.
    """

    @staticmethod
    def configurations() -> SearchStrategy[GicConfig]:
        """The GICs that both hosts have."""
        return st.builds(GicConfig, redistributors=st.just(CPUS), caching=st.sampled_from(["none", "retain"]))

    @initialize(data=st.data(), with_sgis=st.booleans())
    def boot(self, data: DataObject, with_sgis: bool) -> None:
        """Two hosts, a VM on one of them."""
        config = data.draw(self.configurations(), "config")
        here, self.other = (Host(name, config) for name in ("one", "other"))
        self.workload = Workload(new_virtual_machine(here, VCPUS, DEVICES, VECTORS))
        if with_sgis:
            enable_sgis(self.vm.vgic)
        self.in_software: set[int] = set()

    @property
    def vm(self) -> VirtualMachine:
        """The VM, wherever it is now."""
        return self.workload.vm

    @rule(raised=st.lists(EVENTS, min_size=1, max_size=6))
    def fire(self, raised: list[Event]) -> None:
        """Devices raise interrupts."""
        self.workload.fire(raised)

    @rule(sent=st.lists(SGIS, min_size=1, max_size=4))
    def send_sgis(self, sent: list[Delivery]) -> None:
        """vCPUs send SGIs."""
        self.workload.send_sgis(sent)

    @rule(event=EVENTS)
    def mask(self, event: Event) -> None:
        """The guest disables an interrupt."""
        self.workload.mask(event)

    @rule(event=EVENTS)
    def unmask(self, event: Event) -> None:
        """The guest enables an interrupt."""
        self.workload.unmask(event)

    @rule(event=EVENTS, vcpu=VCPU)
    def move(self, event: Event, vcpu: int) -> None:
        """The guest gives an interrupt another affinity."""
        self.workload.move(event, vcpu)

    @rule(first_cpu=CPU)
    def run(self, first_cpu: int) -> None:
        """The vCPUs run, from a host CPU on."""
        self.workload.run_on(first_cpu)

    @rule()
    def pause(self) -> None:
        """Every vCPU stops."""
        self.vm.pause_vcpus()

    @rule(taking=st.sets(VCPU, min_size=1))
    def deliver(self, taking: set[int]) -> None:
        """Some vCPUs take what is pending for them: just what they are owed."""
        owed = self.workload.owed(taking)
        assert sorted(self.vm.deliver(sorted(taking))) == sorted(owed.elements())

    @rule(number=DEVICE)
    def reset_device(self, number: int) -> None:
        """What software holds is not the device's any more, so that only a forwarded one can be told to forget."""
        if number not in self.in_software:
            self.workload.reset_device(number)

    @rule(number=DEVICE, discard=st.booleans())
    def reload_driver(self, number: int, discard: bool) -> None:
        """A guest's driver goes and comes again."""
        self.workload.reload_driver(number, discard)
        self.in_software.discard(number)

    @rule(event=EVENTS)
    def remap(self, event: Event) -> None:
        """The guest unmaps an event and maps it again."""
        self.workload.remap(event)
        self.in_software.add(event[0])

    @rule(number=DEVICE, resets=st.integers(0, VECTORS))
    def reset_forwarding(self, number: int, resets: int) -> None:
        """Vectors are enabled one after the other, each time with forwarding reset."""
        self.stop()
        enable_vectors(self.vm.devices[number], self.vm.vgic, Policy.RETRIEVE_ON_UNSET, resets)
        self.in_software.discard(number)
        self.vm.set_devices(DeviceState.RUNNING)

    @rule(number=DEVICE)
    def end_forwarding(self, number: int) -> None:
        """A device's vectors become physical LPIs."""
        self.stop()
        self.vm.devices[number].unforward(self.vm.vgic, retrieve=True)
        self.in_software.add(number)
        self.vm.set_devices(DeviceState.RUNNING)

    @precondition(lambda self: self.in_software)
    @rule(number=DEVICE)
    def forward_while_it_runs(self, number: int) -> None:
        """A device's vectors become vLPIs."""
        self.vm.devices[number].forward(self.vm.vgic)
        self.in_software.discard(number)

    @rule()
    def save(self) -> None:
        """As QEMU does whenever a VM stops."""
        self.stop()
        self.vm.vgic.its[0].save_tables()
        self.vm.flush_pending_tables()
        assert self.saved(self.vm) == self.raised()
        self.vm.set_devices(DeviceState.RUNNING)

    @rule(raised=st.lists(EVENTS, max_size=6), how=options(aborting=True))
    def abort(self, raised: list[Event], how: Options) -> None:
        """A migration that is cancelled at some step: the source goes on."""
        self.workload.fire(raised)
        outcome = ""
        try:
            Migration(self.vm, self.other, no_progress, how).run()
        except MigrationError as error:
            outcome = str(error)
        assert "cancelled" in outcome, f"{how}: {outcome}"

    @rule(raised=st.lists(EVENTS, max_size=6), how=options(aborting=False))
    def migrate(self, raised: list[Event], how: Options) -> None:
        """A migration; the source is no more."""
        self.workload.fire(raised)
        source = self.vm
        migration = Migration(source, self.other, no_progress, how)
        migration.run()
        assert self.saved(source) == self.raised()
        source.destroy()
        self.other, self.workload.vm = source.host, migration.target
        self.in_software.clear()

    @invariant()
    def exactly_that_is_pending_which_was_raised(self) -> None:
        """What is pending, wherever it is held."""
        assert pending_interrupts(self.vm) == self.raised() | self.workload.sgis

    def teardown(self) -> None:
        """In the end everything can be delivered, and no command ever failed."""
        if hasattr(self, "workload"):
            self.workload.unmask_all()
            self.deliver(set(range(VCPUS)))
            assert pending_interrupts(self.vm) == set()
            assert (self.vm.host.gic.errors, self.other.gic.errors) == ([], [])

    def stop(self) -> None:
        """Stop vCPUs and devices."""
        self.vm.pause_vcpus()
        self.vm.set_devices(DeviceState.STOP)

    def raised(self) -> set[Delivery]:
        """Every interrupt of a device that the guest has not taken."""
        return {self.workload.targets[event] for event in self.workload.pending}

    def saved(self, vm: VirtualMachine) -> set[Delivery]:
        """The set bits of the pending tables in the guest's RAM."""
        tables = [vm.memory.view(table, table_bytes(16), np.uint8) for table in vm.vgic.dist.pending_tables]
        bits = [intids_of(table).tolist() for table in tables]
        return {(vcpu, intid) for vcpu, intids in enumerate(bits) for intid in intids if intid >= FIRST_LPI}
