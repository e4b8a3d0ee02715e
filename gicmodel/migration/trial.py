# SPDX-License-Identifier: Apache-2.0
"""Trials: does every pending vLPI arrive, once, on its vCPU? For a VM made up for it, or for a saved guest image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gicmodel.driver import DriverError, ItsVpe
from gicmodel.hardware import GicConfig
from gicmodel.hardware.observe import pending_virtual
from gicmodel.kvm import KvmError
from gicmodel.layouts.vpt import FIRST_LPI
from gicmodel.migration.guest import new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import Delivery, VirtualMachine
from gicmodel.migration.migrate import Migration, MigrationError
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import Progress, StepReport, Steps

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


@dataclass
class Verdict:
    """What became of the vLPIs, as (vCPU, INTID); `held` are still pending because the guest has them disabled."""

    vlpis: int
    expected: set[Delivery]
    delivered: Counter[Delivery] = field(default_factory=Counter)
    held: set[Delivery] = field(default_factory=set)
    pending_after: int = 0
    image_identical: bool | None = None
    steps: list[StepReport] = field(default_factory=list)
    failure: MigrationError | None = None

    @property
    def lost(self) -> list[Delivery]:
        """Pending before, neither delivered nor held."""
        return sorted(self.expected - self.delivered.keys() - self.held)

    @property
    def duplicated(self) -> list[Delivery]:
        """Delivered more than once, or without having been raised."""
        return sorted(one for one, count in self.delivered.items() if count > 1 or one not in self.expected)

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing twice, the migration complete, and an image, if any, saved again as it was."""
        return not (self.lost or self.duplicated or self.failure or self.image_identical is False)

    def deliver(self, vm: VirtualMachine) -> None:
        """Let the guest take its interrupts, and note which."""
        self.delivered.update(vm.deliver())
        lpis = vm.vgic.lpis
        pending = pending_interrupts(vm)
        self.held = {(vcpu, intid) for vcpu, intid in pending if intid in lpis and not lpis[intid].enabled}


def migrate_new_vm(
    hosts: GicConfig, vm_size: VmSize, fraction: float, seed: int, progress: Progress, before_delivery: BeforeDelivery
) -> Verdict:
    """Make up a VM, have a random `fraction` of its interrupts raised, migrate it, deliver on the destination.

    If a step fails, the guest goes on where it was, and takes its interrupts there. `before_delivery` is shown the VMs,
    source first, before the guest takes any.

    Raises:
        DriverError, KvmError, ValueError: the hosts cannot carry such a VM at all.
    """
    config = config_for(hosts, vm_size.lpis)
    vm = new_virtual_machine(Host("source", config), vm_size.vcpus, vm_size.devices, vm_size.vectors, progress)
    vm.run_vcpus()
    verdict = Verdict(vm_size.devices * vm_size.vectors, raise_some(vm, fraction, np.random.default_rng(seed)))
    migration = Migration(vm, Host("destination", config), progress)
    survivor = migration.target
    try:
        migration.run()
    except MigrationError as error:
        verdict.failure, survivor = error, vm
    verdict.steps = migration.steps.reports
    verdict.pending_after = len(pending_interrupts(survivor))
    before_delivery([vm, migration.target])
    verdict.deliver(survivor)
    return verdict


def resume_saved_guest(
    hosts: GicConfig, guest: SavedGuest, progress: Progress, before_delivery: BeforeDelivery
) -> Verdict:
    """Resume a saved guest, forward all its events, save it again, compare, deliver.

    A host that cannot save it leaves a `failure` in the verdict, and the guest takes its interrupts all the same.

    Raises:
        UnusableInput: KVM or the host refuses what the image holds.
        DriverError, KvmError: the host cannot carry such a VM at all.
    """
    host = Host("destination", config_for(hosts, guest.lpis))
    steps = Steps(progress, guest.memory)
    expected = guest.pending()
    vm = VirtualMachine(host, guest.memory, guest.vcpus)
    for name, step in guest.resume_steps(vm):
        guest.memory.clear_dirty()
        steps.take(name, step)
    mapped = vm_targets(vm)
    verdict = Verdict(len(mapped), expected & mapped, pending_after=len(pending_interrupts(vm)), steps=steps.reports)
    try:
        for name, step in guest.save_steps(vm):
            guest.memory.clear_dirty()
            steps.take(name, step)
        verdict.image_identical = guest.is_identical()
    except (KvmError, DriverError) as error:
        verdict.failure = MigrationError(name, error)
    before_delivery([vm])
    verdict.deliver(vm)
    return verdict


def pending_interrupts(vm: VirtualMachine) -> set[Delivery]:
    """The LPIs that are pending now, as (vCPU, INTID): in the VPTs for those forwarded, else in KVM's latch."""
    rows = vm.vgic.lpis.rows[vm.vgic.lpis.slots()]
    latched = rows[rows["pending_latch"]]
    return pending_vlpis(vm) | set(zip(latched["target_vcpu"].tolist(), latched["intid"].tolist(), strict=True))


def pending_vlpis(vm: VirtualMachine) -> set[Delivery]:
    """The vLPIs that are pending in the VM's VPTs now, as (vCPU, INTID), wherever the hardware holds the bits."""
    if vm.vgic.its_vm is None:
        return set()
    return {
        (vcpu, int(intid))
        for vcpu, vpe in enumerate(vm.vgic.its_vm.vpes)
        for intid in _pending_of(vm, vpe)
        if intid >= FIRST_LPI
    }


def _pending_of(vm: VirtualMachine, vpe: ItsVpe) -> list[int]:
    intids: list[int] = pending_virtual(vm.host.gic, vpe.vpt_page, vm.host.driver.lpi_id_bits).tolist()
    return intids


def raise_some(vm: VirtualMachine, fraction: float, rng: np.random.Generator) -> set[Delivery]:
    """Let the VM's devices raise a random `fraction` of their interrupts; which they are, by vCPU and INTID."""
    raised: set[Delivery] = set()
    for device in vm.devices:
        vectors = np.flatnonzero(rng.random(len(device.events)) < fraction)
        device.fire(vectors.tolist())
        for vector in vectors.tolist():
            raised.add(target_of(vm, device.guest_device_id, device.events[vector]))
    return raised


def vm_targets(vm: VirtualMachine) -> set[Delivery]:
    """The (vCPU, INTID) of every event that the guest has mapped."""
    return {
        target_of(vm, device_id, event_id)
        for device_id, device in vm.vgic.its[0].devices.items()
        for event_id in device.ites
    }


def target_of(vm: VirtualMachine, device_id: int, event_id: int) -> Delivery:
    """The (vCPU, INTID) to which the guest has mapped an event."""
    ite = vm.vgic.its[0].find_ite(device_id, event_id)
    if ite is None:
        raise KeyError((device_id, event_id))
    return ite.target_vcpu, int(vm.vgic.lpis.rows["intid"][ite.lpi])
