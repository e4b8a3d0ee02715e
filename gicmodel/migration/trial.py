# SPDX-License-Identifier: Apache-2.0
"""Trials: does every pending vLPI arrive, once, on its vCPU? For a VM made up for it, or for a saved guest image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.errors import Interrupted
from gicmodel.migration.guest import enable_sgis, new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import Delivery, VirtualMachine
from gicmodel.migration.migrate import DEFAULTS, IMAGE_STEPS, Migration, Options, Resume, plan_of
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import Progress, no_progress
from gicmodel.migration.verdict import Verdict
from gicmodel.migration.vfio import DeviceState
from gicmodel.migration.workload import SavedWorkload, Workload

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


def hosts_for(vcpus: int, architecture: Literal["4.0", "4.1"] = "4.1") -> GicConfig:
    """The GIC of hosts that are large enough for a VM."""
    return GicConfig(architecture=architecture, redistributors=max(2, min(vcpus, MOST_HOST_CPUS)))


def steps_of(options: Options, of_an_image: bool) -> list[str]:
    """The names of the steps to which a trial comes: an image is resumed, and its further hops are migrations."""
    plans = [plan_of(options.policy, IMAGE_STEPS)] if of_an_image else []
    if not of_an_image or options.hops > 1:
        plans.append(plan_of(options.policy))
    return list(dict.fromkeys(step.name for plan in plans for step in plan))


def run_trial(
    hosts: GicConfig,
    guest: VmSize | SavedGuest,
    options: Options = DEFAULTS,
    progress: Progress = no_progress,
    before_delivery: BeforeDelivery = lambda machines: None,
) -> Verdict:
    """Migrate a VM to and fro, and let the guest take its interrupts where it ends.

    One that is made up has some of its interrupts raised before, SGIs too. A saved one is resumed with all its events
    forwarded, saved again and compared; that is its first migration. If a step fails, the guest goes on where it was,
    and takes its interrupts there. `before_delivery` is shown the VMs of the last migration, source first, before the
    guest takes what is pending in the end.

    Raises:
        UnusableInput: KVM or the host refuses what an image holds.
        DriverError, KvmError, ValueError: the hosts cannot carry such a VM at all.
        Interrupted: by Ctrl-C; with the verdict on what was done before.
    """
    config = config_for(hosts, guest.lpis)
    if isinstance(guest, SavedGuest):
        chain = _resumed(Host("destination", config), guest, options, progress)
    else:
        chain = _made_up(Host("source", config), guest, options, progress)
    try:
        chain.run()
        before_delivery([vm for vm in (chain.left, chain.workload.vm) if vm is not None])
        chain.deliver_all()
    except KeyboardInterrupt as stop:
        chain.verdict.interrupted = True
        raise Interrupted(chain.verdict) from stop
    return chain.verdict


def _made_up(host: Host, size: VmSize, options: Options, progress: Progress) -> _Chain:
    """A new VM that runs, with some of its interrupts raised."""
    vm = new_virtual_machine(host, size.vcpus, size.devices, size.vectors, progress)
    enable_sgis(vm.vgic)
    vm.run_vcpus()
    workload = Workload(vm)
    return _Chain(workload, Verdict(len(workload.targets), Counter(), policy=options.policy), options, progress)


def _resumed(host: Host, guest: SavedGuest, options: Options, progress: Progress) -> _Chain:
    """A VM that has been resumed from an image, and saved again unless the host cannot do that."""
    verdict = Verdict(0, Counter(), policy=options.policy)
    if options.abort_at in [step.name for step in plan_of(options.policy, IMAGE_STEPS)]:
        verdict.note_abort(Resume(guest, host, progress, options))
    pending, sgis = guest.pending(), guest.pending_sgis()
    resume = Resume(guest, host, progress, replace(options, abort_at=None))
    if verdict.take(resume):
        verdict.image_identical = guest.is_identical()
    mapped = vm_targets(resume.target)
    verdict.vlpis, verdict.pending_before, verdict.sgis_before = len(mapped), len(pending & mapped), len(sgis)
    return _Chain(SavedWorkload(resume.target, pending & mapped | sgis), verdict, options, progress, done=1)


class _Chain:
    """A VM on its way to and fro between two hosts, of which `done` migrations are over.

    `left` is what it left last, which is destroyed before the next migration; after one that failed, its target.
    """

    def __init__(
        self, workload: Workload, verdict: Verdict, options: Options, progress: Progress, done: int = 0
    ) -> None:
        self.workload = workload
        self.verdict = verdict
        self.left: VirtualMachine | None = None
        self._hosts = {workload.vm.host.name: workload.vm.host}
        self._options = options
        self._progress = progress
        self._done = done
        self._rng = np.random.default_rng(options.seed)

    def run(self) -> None:
        """All hops, until something is lost or does not work."""
        self.workload.begin(self._rng, self._options.fraction)
        for hop in range(self._done, self._options.hops) if self.verdict.passed else ():
            if hop:
                self._between_hops()
            if self._options.abort_at is not None:
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
        migration = self._migration(replace(self._options, abort_at=None))
        self.left = migration.target
        if not self.verdict.take(migration):
            return False
        self.left, self.workload.vm = source, migration.target
        return True

    def _abort(self) -> None:
        """A migration that is cancelled: the source takes what was pending and goes on for an eventful while."""
        self.verdict.note_abort(self._migration(self._options))
        self._deliver(range(self.workload.vm.vcpus))
        self._go_on()

    def _between_hops(self) -> None:
        """The VM runs, and every second vCPU takes its interrupts."""
        if self.left is not None:
            self.left.destroy()
        self.workload.vm.set_devices(DeviceState.RUNNING)
        self._deliver(range(0, self.workload.vm.vcpus, 2))
        self._go_on()

    def _go_on(self) -> None:
        self.workload.go_on(self._rng, self._options.fraction)

    def _migration(self, options: Options) -> Migration:
        """To the host where the VM is not."""
        host = self.workload.vm.host
        other = "source" if host.name == "destination" else "destination"
        if other not in self._hosts:
            self._hosts[other] = Host(other, host.config)
        return Migration(self.workload.vm, self._hosts[other], self._progress, options)

    def _deliver(self, vcpus: range) -> None:
        self.verdict.deliver(self.workload.vm, vcpus, self.workload.owed(vcpus).elements())


def raise_some(vm: VirtualMachine, fraction: float, rng: np.random.Generator) -> set[Delivery]:
    """Let the VM's devices raise a random `fraction` of their interrupts; which they are, by vCPU and INTID."""
    workload = Workload(vm)
    workload.fire_some(rng, fraction)
    return {workload.targets[event] for event in workload.pending}


def vm_targets(vm: VirtualMachine) -> set[Delivery]:
    """The (vCPU, INTID) of every event that the guest has mapped."""
    devices = vm.vgic.its[0].devices.items()
    return {vm.target_of(device_id, event_id) for device_id, device in devices for event_id in device.ites}
