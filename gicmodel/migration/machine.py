# SPDX-License-Identifier: Apache-2.0
"""A virtual machine on a host: guest RAM, vCPUs with their virtual GIC, and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gicmodel.driver import DriverError
from gicmodel.errors import UnusableInput
from gicmodel.hardware.observe import pending_virtual
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import write_elf
from gicmodel.kvm import Vgic
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS
from gicmodel.layouts.lpi_tables import FIRST_LPI, SPURIOUS, VSGIS, table_bytes
from gicmodel.memory import GuestMemory
from gicmodel.migration.host import Host
from gicmodel.migration.state import guest_registers
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
        self.vgic = Vgic(memory, vcpus, host.driver if host.driver.gic.is_v4 else None, behaviour=host.behaviour)
        self.devices: list[VfioDevice] = []
        self._before_flush: dict[int, bytes] = {}
        """The pending tables as they were before a flush, by address, until the VM runs again."""

    @property
    def vcpus(self) -> int:
        """How many vCPUs the VM has."""
        return len(self.vgic.redistributors)

    def attach(self, devices: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Give the VM devices, each a guest DeviceID and its EventIDs; their interrupts are not forwarded yet."""
        for guest_device_id, events in devices:
            self.devices.append(VfioDevice(self.host, guest_device_id, guest_device_id, events))
        self._tell_kvm()

    def set_devices(self, state: DeviceState) -> None:
        """Bring every device into a state of the VFIO migration protocol. DriverError if one does not respond."""
        if state.raises_interrupts:
            self._undo_flush()
        refusals = self._each_device(lambda device: device.enter(state))
        if refusals:
            raise refusals[0]

    def recover_devices(self) -> list[DriverError]:
        """Let every device run again after a failure, if need be by a reset; those that do not are in ERROR."""
        self._undo_flush()
        return self._each_device(VfioDevice.run_or_reset)

    def target_of(self, device_id: int, event_id: int) -> Delivery:
        """The (vCPU, INTID) to which the guest has mapped an event. KeyError if it has not."""
        ite = self.vgic.its[0].find_ite(device_id, event_id)
        if ite is None:
            raise KeyError((device_id, event_id))
        return self.vgic.its[0].target_vcpu(ite.icid), int(self.vgic.lpis.rows["intid"][ite.lpi])

    def disabled(self, vcpu: int, intid: int) -> bool:
        """Whether the guest has disabled an SGI or a mapped LPI, or all of them at the distributor.

        A vSGI of Group 0 is as good as disabled: KVM makes vPEs resident without that group.
        """
        if intid < VSGIS:
            sgi = self.vgic.dist.sgis.rows[vcpu, intid]
            enabled = bool(sgi["enabled"] and sgi["group"])
        else:
            enabled = bool(intid not in self.vgic.lpis or self.vgic.lpis[intid].enabled)
        return not (enabled and self.vgic.dist.enabled)

    @property
    def unmaps(self) -> int:
        """How often a vPE of this VM was unmapped to look into its VPT."""
        return self.vgic.dist.vlpis.unmaps if self.vgic.its_vm is not None else 0

    def run_vcpus(self, first_cpu: int = 0) -> None:
        """Let the VM run: even vCPUs execute as far as there are host CPUs, odd ones have run and wait (WFI).

        vCPU 0 is on `first_cpu`, the others on those that follow; a vPE that comes from elsewhere moves (VMOVP).
        """
        for vcpu in range(min(self.vcpus, self.host.cpus)):
            self._load(vcpu, (first_cpu + vcpu) % self.host.cpus)
            if vcpu % 2:
                self.vgic.put(vcpu, wfi=True)

    def pause_vcpus(self) -> None:
        """Stop every vCPU that executes."""
        for vcpu in sorted(self.vgic.running):
            self.vgic.put(vcpu)

    def flush_pending_tables(self) -> None:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES. A VM that runs again here gets back the tables as they were.

        QEMU leaves in RAM what the flush has written. KVM reads such a bit when the guest maps its LPI anew, after it
        has taken the interrupt, and delivers one that no device has raised.
        """
        if not self._before_flush:
            tables = [table for table in self.vgic.dist.pending_tables if self.memory.covers(table, 1)]
            sizes = {table: min(table_bytes(INTERRUPT_ID_BITS_ITS), self.memory.end - table) for table in tables}
            self._before_flush = {table: self.memory.read(table, size) for table, size in sizes.items()}
        self.vgic.save_pending_tables()

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
                its_device, vector = self.host.driver.lpis.event_of(intid)
            except DriverError:
                doorbells += 1
                continue
            for device in self.devices:
                if device.its_device is its_device:
                    device.signal(self.vgic, vector)
        return doorbells

    def deliver(self, vcpus: Iterable[int] | None = None) -> Iterator[Delivery]:
        """Let each vCPU, or each of `vcpus`, run in turn and take what is pending for it; every interrupt it took.

        Afterwards no vCPU executes.
        """
        self.pause_vcpus()
        self.handle_interrupts()
        for vcpu in range(self.vcpus) if vcpus is None else vcpus:
            cpu = vcpu % self.host.cpus
            self._load(vcpu, cpu)
            interface = self.host.gic.redistributors[cpu].cpu
            while self.vgic.its_vm is not None and (intid := interface.acknowledge_virtual()) != SPURIOUS:
                yield vcpu, intid
            for intid in self.vgic.acknowledge_all(vcpu):
                yield vcpu, intid
            self.vgic.put(vcpu)

    def _each_device(self, change: Callable[[VfioDevice], None]) -> list[DriverError]:
        """One that refuses does not keep the others from it."""
        refusals = []
        for device in self.devices:
            try:
                change(device)
            except DriverError as error:
                refusals.append(error)
        self._tell_kvm()
        return refusals

    def _load(self, vcpu: int, cpu: int) -> None:
        self._undo_flush()
        self.vgic.load(vcpu, cpu)

    def _undo_flush(self) -> None:
        for table, octets in self._before_flush.items():
            self.memory.write(table, octets)
        self._before_flush.clear()

    def _tell_kvm(self) -> None:
        self.vgic.forwarding.devices_stopped = not any(device.state.raises_interrupts for device in self.devices)


def save_ram(directory: Path, machines: list[VirtualMachine]) -> None:
    """Write the RAM of VMs and of their hosts, with the registers beside it, into a directory, which is made.

    UnusableInput if it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{directory}: cannot be made: {error.strerror or error}") from error
    for vm in machines:
        name = vm.host.name
        write_elf(directory / f"{name}-host.elf", vm.host.memory)
        write_registers(directory / f"{name}-host.toml", vm.host.gic.registers())
        write_elf(directory / f"{name}-guest.elf", vm.memory)
        write_registers(directory / f"{name}-guest.toml", guest_registers(vm.vgic))


def pending_interrupts(vm: VirtualMachine) -> set[Delivery]:
    """The LPIs and SGIs that are pending now, as (vCPU, INTID): in the VPTs for those in the GIC, else in KVM."""
    rows = vm.vgic.lpis.rows[vm.vgic.lpis.slots()]
    lpis = rows[["target_vcpu", "intid"]][rows["pending_latch"]].tolist()
    sgis = np.argwhere(vm.vgic.dist.sgis.rows["pending_latch"]).tolist()
    return {*_in_vpts(vm), *lpis, *map(tuple, sgis)}


def pending_vlpis(vm: VirtualMachine) -> set[Delivery]:
    """The vLPIs that are pending in the VM's VPTs now, as (vCPU, INTID), wherever the hardware holds the bits."""
    return {(vcpu, intid) for vcpu, intid in _in_vpts(vm) if intid >= FIRST_LPI}


def _in_vpts(vm: VirtualMachine) -> Iterator[Delivery]:
    for vcpu, vpe in enumerate(vm.vgic.its_vm.vpes if vm.vgic.its_vm is not None else ()):
        for intid in pending_virtual(vm.host.gic, vpe.vpt_page, vm.host.driver.gic.lpi_id_bits).tolist():
            yield vcpu, intid
