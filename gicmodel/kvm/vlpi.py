# SPDX-License-Identifier: Apache-2.0
"""The LPIs of a VM that the physical GIC injects directly: KVM's calls into the host's GICv4 driver."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import DriverError, GicDriver, ItsDevice, ItsVpe
from gicmodel.kvm.errors import HostStorm, KvmError
from gicmodel.kvm.lpi import NO_LPI, Lpis
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION, bit_of, byte_of

HostIrq: TypeAlias = tuple[ItsDevice, int]
"""A host interrupt: a physical device and its event, on the physical ITS that translates it."""


@contextmanager
def host_refusals() -> Iterator[None]:
    """A refusal of the host driver becomes KVM's, with the same errno and cause."""
    try:
        yield
    except DriverError as error:
        raise KvmError(error.errno, error.cause) from error


class Vlpis:
    """The vPEs of a VM, one a vCPU, and its forwarded LPIs, on a GICv4 host.

    `lpis.rows["hw"]` says of an LPI that KVM takes its pending state to be in the physical GIC; then its row names its
    host interrupt. Before 6.16 KVM may be wrong: that interrupt may be the host's again, or feed another LPI, as the
    host driver alone knows. KvmError from any method is the host driver's refusal. `ptz` is whether VMAPP calls each
    VPT empty, as Linux did before 5.13.
    """

    def __init__(self, driver: GicDriver, nr_vcpus: int, lpis: Lpis, ptz: bool) -> None:
        self.driver = driver
        self._ptz = ptz
        self.unmaps = 0
        """How often a vPE was unmapped to look into its VPT."""
        with host_refusals():
            self.vm = driver.vpes.create_vm(nr_vcpus)
        self._vpts = np.array([vpe.vpt_page for vpe in self.vm.vpes], np.int64) - driver.gic.memory.base
        self._lpis = lpis
        self.devices: list[ItsDevice] = []
        """The host's devices that have fed LPIs, as `lpis.rows["host_device"]` numbers them."""
        self._slots: dict[ItsDevice, NDArray[np.int64]] = {}
        """The LPI that each event of a device feeds, or NO_LPI."""

    def destroy(self) -> None:
        """Give the vPEs and their tables back to the host; nothing may be forwarded any more."""
        with host_refusals():
            self.driver.vpes.destroy_vm(self.vm)

    def vpe(self, vcpu: int) -> ItsVpe:
        """The vPE of a vCPU."""
        return self.vm.vpes[vcpu]

    def slot_of(self, host: HostIrq) -> int | None:
        """The LPI that `host` is forwarded to, as far as KVM knows."""
        device, event = host
        known = device in self._slots and 0 <= event < device.nr_events
        slot = int(self._slots[device][event]) if known else NO_LPI
        return None if slot == NO_LPI else slot

    def feeds(self, host: HostIrq) -> bool:
        """Whether the GIC injects `host` directly, whatever KVM knows of it."""
        device, event = host
        known = 0 <= event < len(device.forwarded)
        return known and device.vm is self.vm and bool(device.forwarded[event])

    def map(self, device: ItsDevice, events: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Let events of a host device feed the LPIs `slots`, int64 [n] (Linux `its_map_vlpi`)."""
        priorities, enabled, intids, vcpus = (
            self._lpis.rows[name][slots] for name in ("priority", "enabled", "intid", "target_vcpu")
        )
        properties = LPI_CONFIGURATION.encode(Priority=priorities, Enable=enabled)[:, 0].astype(np.int64)
        with host_refusals():
            self.driver.vlpis.map(device, events, self.vm, vcpus.astype(np.int64), intids, properties)
        self._lpis.set_hw(slots, True)
        self._feed(device, events, slots)

    def remap(self, slot: int, host: HostIrq) -> None:
        """Let `host` feed a forwarded LPI, as Linux before 6.12 does; what feeds it now is forgotten, not unmapped."""
        slots = np.array([slot])
        self._map_to_target(slot, host, int(self._lpis.rows[slot]["intid"]))
        self._forget(slots)
        self._feed(host[0], np.array([host[1]]), slots)

    def move(self, slot: int) -> None:
        """Let what the LPI's host interrupt feeds follow to the vPE of the LPI's new target, pending or not (VMOVI)."""
        device, event = self._host(slot)
        with host_refusals():
            device.check_forwarded(event)
        self._map_to_target(slot, (device, event), int(device.vintid[event]))

    def unmap(self, slots: Sequence[int], ends_hw: bool = True) -> None:
        """End the forwarding of LPIs; pending bits in the VPTs are lost with it (DISCARD; Linux `its_unmap_vlpi`).

        Of a host interrupt that is the host's again Linux only warns. Not `ends_hw`: KVM does not take note of it.
        """
        which = np.array(slots, np.int64)
        if ends_hw:
            self._lpis.set_hw(which, False)
        self._forget(which)
        with host_refusals():
            for device, events in self._events_by_device(which):
                if forwarded := list(dict.fromkeys(events[device.forwarded[events]].tolist())):
                    self.driver.vlpis.unmap(device, np.array(forwarded, np.int64))

    def unmap_by_route(self, slot: int, host: HostIrq) -> None:
        """End the forwarding of `host`, and think that of the LPI, whatever feeds it, ended: Linux before 6.16."""
        slots = np.array([slot], np.int64)
        self._lpis.set_hw(slots, False)
        self._forget(slots)
        if self.feeds(host):
            with host_refusals():
                self.driver.vlpis.unmap(*host)

    def update_properties(self, slot: int, properties: int, needs_inv: bool) -> None:
        """Copy a configuration byte to the VM's vLPI configuration table (Linux `its_prop_update_vlpi`)."""
        with host_refusals():
            self.driver.vlpis.prop_update(*self._host(slot), properties, inv=needs_inv)

    def set_pending(self, slots: Sequence[int], pending: bool) -> None:
        """Set or clear vLPIs' pending state through their host interrupts' events (INT, CLEAR).

        One that feeds another LPI by now makes that one pending. HostStorm if the host has one back: INT raises it, and
        whoever had the guest's LPI made pending when it came (an irqfd) has it made pending again.
        """
        hosts = self._events_by_device(np.array(slots, np.int64))
        if pending and not all(device.forwarded[events].all() for device, events in hosts):
            raise self._storm(slots)
        with host_refusals():
            for device, events in hosts:
                self.driver.lpis.set_irqchip_state(device, events, pending)

    def invall(self, vcpu: int) -> None:
        """Let the GIC reload the configuration of all vLPIs of the vCPU (Linux `its_invall_vpe`)."""
        with host_refusals():
            self.driver.vpes.invall(self.vpe(vcpu))

    def load(self, vcpu: int, cpu: int, vgrp1: bool) -> None:
        """Move the vCPU's vPE to `cpu`'s redistributor (VMOVP) and make it resident, Group 1 enabled with `vgrp1`.

        A GICv4.0 doorbell that the host has not taken would wake the vCPU for nothing when it blocks next.
        """
        vpe = self.vpe(vcpu)
        with host_refusals():
            self.driver.vpes.set_affinity(vpe, cpu)
            self.driver.vpes.schedule(vpe, cpu, vgrp1=vgrp1)
            if not self.driver.gic.is_v41:
                self.driver.doorbells.clear(vpe)
            self.driver.vpes.commit(vpe)

    def put(self, vcpu: int, doorbell: bool) -> None:
        """Make the vCPU's vPE non-resident."""
        with host_refusals():
            self.driver.vpes.deschedule(self.vpe(vcpu), doorbell)

    def unmap_vpes(self, vpes: Sequence[ItsVpe]) -> None:
        """VMAPP V=0 for vPEs on every ITS; with the last, the GIC cleans its caches of the VPT into RAM.

        If the host driver refuses one, all are mapped as they were.
        """
        with host_refusals():
            self.driver.vpes.deactivate(*vpes)
        self.unmaps += len(vpes)

    def map_vpes(self, vpes: Sequence[ItsVpe]) -> None:
        """VMAPP V=1 for vPEs on every ITS; the GIC takes the pending state from the VPT."""
        with host_refusals():
            self.driver.vpes.activate(*vpes, ptz=self._ptz)

    @contextmanager
    def unmapped(self, vpes: Sequence[ItsVpe]) -> Iterator[None]:
        """As between `unmap_vpes` and `map_vpes`, whatever happens meanwhile."""
        self.unmap_vpes(vpes)
        try:
            yield
        finally:
            self.map_vpes(vpes)

    def pending(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The pending bits, bool [n], of forwarded LPIs in the VPTs in host RAM. KvmError EACCES as `vpts`."""
        rows = self._lpis.rows[slots]
        tables = self.vpts(self.vpe(vcpu) for vcpu in np.unique(rows["target_vcpu"]).tolist())
        octets = self.driver.gic.memory.octets[tables[rows["target_vcpu"]] + byte_of(rows["intid"])]
        bits: NDArray[np.uint8] = octets >> bit_of(rows["intid"]).astype(np.uint8) & 1
        return bits.astype(np.bool_)

    def vpts(self, vpes: Iterable[ItsVpe]) -> NDArray[np.int64]:
        """Where in host RAM, in bytes from its start, the VPT of every vCPU is; those of `vpes` hold the truth.

        KvmError EACCES unless the host is GICv4.1 and these vPEs are unmapped: elsewhere RAM may be stale.
        """
        if not self.driver.gic.is_v41:
            raise KvmError("EACCES", "the pending state of a vLPI can only be read on GICv4.1")
        for vpe in vpes:
            if vpe.vmapp_count:
                raise KvmError("EACCES", f"vPE {vpe.vpe_id} is mapped: its VPT in RAM may be stale")
        return self._vpts

    def _host(self, slot: int) -> HostIrq:
        """The host interrupt that KVM takes for the LPI's (Linux `vgic_irq.host_irq`)."""
        row = self._lpis.rows[slot]
        return self.devices[row["host_device"]], int(row["host_event"])

    def _map_to_target(self, slot: int, host: HostIrq, vintid: int) -> None:
        """Let `host` feed the vLPI `vintid` of the vPE that the LPI targets, or move it there."""
        row = self._lpis.rows[slot]
        properties = LPI_CONFIGURATION.pack(Priority=int(row["priority"]), Enable=int(row["enabled"]))
        with host_refusals():
            self.driver.vlpis.map(*host, self.vm, int(row["target_vcpu"]), vintid, properties)

    def _storm(self, slots: Sequence[int]) -> HostStorm:
        """That of the first of the LPIs whose host interrupt is the host's again."""
        hosts = map(self._host, slots)
        slot = next(slot for slot, (device, event) in zip(slots, hosts, strict=True) if not device.forwarded[event])
        intid = int(self._lpis.rows["intid"][slot])
        return HostStorm(f"LPI {intid} is not forwarded any more: its INT raises the host interrupt that asks for it")

    def _feed(self, device: ItsDevice, events: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Note which events of a device feed LPIs."""
        if device not in self._slots:
            self.devices.append(device)
            self._slots[device] = np.full(device.nr_events, NO_LPI)
        self._slots[device][events] = slots
        self._lpis.rows["host_device"][slots] = self.devices.index(device)
        self._lpis.rows["host_event"][slots] = events

    def _forget(self, slots: NDArray[np.int64]) -> None:
        """No host interrupt that KVM knows of feeds the LPIs."""
        for device, events in self._events_by_device(slots):
            self._slots[device][events] = NO_LPI

    def _events_by_device(self, slots: NDArray[np.int64]) -> list[tuple[ItsDevice, NDArray[np.int64]]]:
        """The LPIs' host interrupts, as `_host`."""
        numbers, events = (self._lpis.rows[name][slots] for name in ("host_device", "host_event"))
        found = dict.fromkeys(numbers.tolist())
        return [(self.devices[number], events[numbers == number].astype(np.int64)) for number in found]
