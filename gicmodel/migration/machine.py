# SPDX-License-Identifier: Apache-2.0
"""A virtual machine on a host: guest RAM, vCPUs with their virtual GIC, and devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gicmodel.driver import DriverError
from gicmodel.hardware import SPURIOUS
from gicmodel.kvm import Vgic
from gicmodel.memory import GuestMemory
from gicmodel.migration.host import Host
from gicmodel.migration.registers import guest_registers
from gicmodel.migration.vfio import DeviceState, VfioDevice

Delivery = tuple[int, int]
"""(vCPU, INTID) of an interrupt that a guest acknowledged."""


class VirtualMachine:
    """One VM on one host. A migration builds a second one on the destination, with RAM of its own.

    Args:
        host: where it runs.
        memory: guest RAM.
        vcpus: how many vCPUs; vCPU n runs on host CPU n modulo the number of host CPUs.
    """

    def __init__(self, host: Host, memory: GuestMemory, vcpus: int) -> None:
        self.host = host
        self.memory = memory
        self.vgic = Vgic(memory, vcpus, host.driver if host.driver.is_v4 else None)
        self.devices: list[VfioDevice] = []

    @property
    def vcpus(self) -> int:
        """How many vCPUs the VM has."""
        return len(self.vgic.redistributors)

    def attach(self, devices: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Give the VM devices, each a guest DeviceID and its EventIDs; their interrupts are not forwarded yet."""
        for guest_device_id, events in devices:
            self.devices.append(VfioDevice(self.host, guest_device_id, guest_device_id, events))

    def set_devices(self, state: DeviceState) -> None:
        """Bring every device into a state of the VFIO migration protocol."""
        for device in self.devices:
            device.state = state

    def run_vcpus(self) -> None:
        """Let the VM run: even vCPUs execute as far as there are host CPUs, odd ones have run and wait (WFI)."""
        for vcpu in range(min(self.vcpus, self.host.cpus)):
            self.vgic.load(vcpu, vcpu)
            if vcpu % 2:
                self.vgic.put(vcpu, wfi=True)

    def pause_vcpus(self) -> None:
        """Stop every vCPU that executes."""
        for vcpu in sorted(self.vgic.running):
            self.vgic.put(vcpu)

    def destroy(self) -> None:
        """End the VM: what it had of the host is the host's again. Its RAM stays as it is."""
        self.pause_vcpus()
        for device in self.devices:
            device.release(self.vgic)
        self.devices.clear()
        self.vgic.destroy()

    def handle_interrupts(self) -> int:
        """The host's handler: physical LPIs of vectors not forwarded go to KVM, doorbells only wake a vCPU.

        Returns how many of them were doorbells.
        """
        doorbells = 0
        for intid in self.host.take_interrupts():
            try:
                its_device, vector = self.host.driver.lpi_to_event(intid)
            except DriverError:
                doorbells += 1
                continue
            for device in self.devices:
                if device.its_device is its_device:
                    device.signal(self.vgic, vector)
        return doorbells

    def deliver(self) -> Iterator[Delivery]:
        """Let each vCPU run in turn and acknowledge until nothing is pending; every interrupt it took.

        Afterwards no vCPU executes.
        """
        self.pause_vcpus()
        self.handle_interrupts()
        for vcpu in range(self.vcpus):
            cpu = vcpu % self.host.cpus
            self.vgic.load(vcpu, cpu)
            interface = self.host.gic.redistributors[cpu].cpu
            while self.vgic.its_vm is not None and (intid := interface.acknowledge_virtual()) != SPURIOUS:
                yield vcpu, intid
            for intid in self.vgic.acknowledge_all(vcpu):
                yield vcpu, intid
            self.vgic.put(vcpu)

    def registers(self) -> dict[str, dict[str, int]]:
        """The registers of the VM's GIC, by frame, for a registers file."""
        return guest_registers(self.vgic)
