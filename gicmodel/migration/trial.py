# SPDX-License-Identifier: Apache-2.0
"""Trials: does every pending vLPI arrive, once, on its vCPU? For a VM made up for it, or for a saved guest image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver import DriverError
from gicmodel.errors import Interrupted
from gicmodel.kvm import KvmError
from gicmodel.migration.guest import enable_sgis, new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import Delivery, VirtualMachine
from gicmodel.migration.migrate import DEFAULTS, Migration, MigrationError, Options
from gicmodel.migration.pending import pending_interrupts, pending_lpis, pending_sgis, pending_vlpis
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import Progress, Steps
from gicmodel.migration.verdict import Verdict
from gicmodel.migration.workload import Workload

__all__ = [
    "Verdict",
    "VmSize",
    "hosts_for",
    "migrate_new_vm",
    "pending_interrupts",
    "pending_lpis",
    "pending_sgis",
    "pending_vlpis",
    "raise_some",
    "resume_saved_guest",
    "vm_targets",
]

MOST_HOST_CPUS = 16
BeforeDelivery = Callable[[list[VirtualMachine]], None]


@dataclass(frozen=True)
class VmSize:
    """The size of a VM that is made up."""

    vcpus: int
    devices: int
    vectors: int

    @property
    def lpis(self) -> int:
        """Physical LPIs that a host needs for it: powers of two for each device, and a doorbell for each vCPU."""
        return self.devices * max(2, 1 << (self.vectors - 1).bit_length()) + self.vcpus


@dataclass(frozen=True)
class Course:
    """What happens in a trial: a `fraction` of the interrupts is raised before each of `hops` migrations."""

    fraction: float
    seed: int
    hops: int = 1
    options: Options = DEFAULTS


def hosts_for(vcpus: int, architecture: Literal["4.0", "4.1"] = "4.1") -> GicConfig:
    """The GIC of hosts that are large enough for a VM."""
    return GicConfig(architecture=architecture, redistributors=max(2, min(vcpus, MOST_HOST_CPUS)))


def migrate_new_vm(
    hosts: GicConfig, vm_size: VmSize, course: Course, progress: Progress, before_delivery: BeforeDelivery
) -> Verdict:
    """Make up a VM, have some of its interrupts raised, SGIs too, migrate it to and fro, deliver where it ends.

    If a step fails, the guest goes on where it was, and takes its interrupts there. `before_delivery` is shown the VMs
    of the last migration, source first, before the guest takes what is pending in the end.

    Raises:
        DriverError, KvmError, ValueError: the hosts cannot carry such a VM at all.
        Interrupted: by Ctrl-C; with the verdict on what was done before.
    """
    config = config_for(hosts, vm_size.lpis)
    vm = new_virtual_machine(Host("source", config), vm_size.vcpus, vm_size.devices, vm_size.vectors, progress)
    enable_sgis(vm.vgic)
    vm.run_vcpus()
    chain = _Chain(vm, Host("destination", config), course, progress)
    try:
        chain.run()
        before_delivery([chain.left, chain.workload.vm])
        chain.deliver_all()
    except KeyboardInterrupt as stop:
        chain.verdict.interrupted = True
        raise Interrupted(chain.verdict) from stop
    return chain.verdict


class _Chain:
    """A VM on its way to and fro between two hosts.

    `left` is what it left last, which is destroyed before the next migration; after one that failed, its target.
    """

    def __init__(self, vm: VirtualMachine, destination: Host, course: Course, progress: Progress) -> None:
        self.workload = Workload(vm)
        self.verdict = Verdict(len(self.workload.targets), Counter(), policy=course.options.policy)
        self.left = vm
        self._next_host = destination
        self._course = course
        self._progress = progress
        self._rng = np.random.default_rng(course.seed)

    def run(self) -> None:
        """All hops, until something is lost or does not work."""
        self.workload.fire_some(self._rng, self._course.fraction)
        self.workload.send_some_sgis(self._rng, self._course.fraction)
        for hop in range(self._course.hops):
            if hop:
                self._between_hops()
            if self._course.options.abort_at is not None:
                self._abort()
            if not self.verdict.passed or not self._hop():
                break
        self.verdict.look(self.workload.vm)

    def deliver_all(self) -> None:
        """The guest enables every interrupt and takes everything."""
        self.workload.unmask_all()
        self._deliver(range(self.workload.vm.vcpus))

    def _hop(self) -> bool:
        """Whether the VM is on the other host now. If not, the migration has destroyed what was to become of it."""
        source = self.workload.vm
        self.verdict.pending_before, self.verdict.sgis_before = len(self.workload.pending), len(self.workload.sgis)
        options = Options(self._course.options.policy, self._course.options.forwarding_resets)
        migration = Migration(source, self._next_host, self._progress, options)
        self.left, self._next_host = migration.target, source.host
        try:
            migration.run()
        except MigrationError as error:
            self.verdict.failure = error
            return False
        finally:
            self.verdict.count(migration)
        self.left, self.workload.vm = source, migration.target
        self.verdict.migrations += 1
        return True

    def _abort(self) -> None:
        """A migration that is cancelled: the source takes what was pending and goes on for an eventful while."""
        migration = Migration(self.workload.vm, self._next_host, self._progress, self._course.options)
        try:
            migration.run()
        except MigrationError as error:
            self.verdict.aborted.append(error)
        self._deliver(range(self.workload.vm.vcpus))
        self._stir()

    def _between_hops(self) -> None:
        """The VM runs, and every second vCPU takes its interrupts."""
        self.left.destroy()
        self._deliver(range(0, self.workload.vm.vcpus, 2))
        self._stir()

    def _stir(self) -> None:
        self.workload.stir(self._rng, self._course.fraction)
        self.workload.send_some_sgis(self._rng, self._course.fraction)

    def _deliver(self, vcpus: range) -> None:
        self.verdict.deliver(self.workload.vm, vcpus, self.workload.owed(vcpus).elements())


def resume_saved_guest(
    hosts: GicConfig, guest: SavedGuest, options: Options, progress: Progress, before_delivery: BeforeDelivery
) -> Verdict:
    """Resume a saved guest, forward all its events, save it again, compare, deliver.

    A host that cannot save it leaves a `failure` in the verdict, and the guest takes its interrupts all the same.

    Raises:
        UnusableInput: KVM or the host refuses what the image holds.
        DriverError, KvmError: the host cannot carry such a VM at all.
    """
    host = Host("destination", config_for(hosts, guest.lpis))
    commands_before = host.commands
    steps = Steps(progress, guest.memory)
    pending, sgis = guest.pending(), guest.pending_sgis()
    vm = VirtualMachine(host, guest.memory, guest.vcpus)
    for name, step in guest.resume_steps(vm, options):
        guest.memory.clear_dirty()
        steps.take(name, step)
    mapped = vm_targets(vm)
    verdict = Verdict(len(mapped), Counter((pending & mapped) | sgis), steps=steps.reports, policy=options.policy)
    verdict.pending_before, verdict.sgis_before = len(pending & mapped), len(sgis)
    verdict.look(vm)
    try:
        for name, step in guest.save_steps(vm):
            guest.memory.clear_dirty()
            steps.take(name, step)
        verdict.image_identical = guest.is_identical()
    except (KvmError, DriverError) as error:
        verdict.failure = MigrationError(name, error)
    verdict.commands, verdict.unmaps = host.commands - commands_before, vm.unmaps
    before_delivery([vm])
    verdict.deliver(vm)
    return verdict


def raise_some(vm: VirtualMachine, fraction: float, rng: np.random.Generator) -> set[Delivery]:
    """Let the VM's devices raise a random `fraction` of their interrupts; which they are, by vCPU and INTID."""
    workload = Workload(vm)
    workload.fire_some(rng, fraction)
    return {workload.targets[event] for event in workload.pending}


def vm_targets(vm: VirtualMachine) -> set[Delivery]:
    """The (vCPU, INTID) of every event that the guest has mapped."""
    devices = vm.vgic.its[0].devices.items()
    return {vm.target_of(device_id, event_id) for device_id, device in devices for event_id in device.ites}
