# SPDX-License-Identifier: Apache-2.0
"""One VM's interrupt controller."""

from collections.abc import Iterable, Sequence

import numpy as np

from gicmodel.driver import GicDriver, ItsDevice, ItsVm
from gicmodel.kvm.ap_list import flush_pending_lpis, prune, prune_all
from gicmodel.kvm.behaviour import NEWEST, KvmBehaviour
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.distributor import VirtualDistributor
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.forwarding import Forwarding, Route
from gicmodel.kvm.lpi import Lpis
from gicmodel.kvm.pending_tables import save_pending_tables
from gicmodel.kvm.redistributor import VirtualRedistributor
from gicmodel.kvm.virtual_its import ITS_BYTES, VirtualIts
from gicmodel.kvm.vlpi import HostIrq
from gicmodel.layouts.lpi_tables import SPURIOUS, VSGIS
from gicmodel.memory import GuestMemory

FIRST_ITS_ADDRESS = 0x0808_0000
"""Where QEMU's virt machine has its ITS; further ones follow."""


class Vgic:
    """The virtual GICv3 of a VM, with `its`, `redistributors` and `distributor` as its guest sees them.

    Args:
        memory: the guest's RAM.
        nr_vcpus: vCPUs, numbered from 0; with a GICv4 host each gets a vPE, mapped from now on.
        driver: the host's GIC driver; None for a host whose GIC cannot inject directly.
        nr_its: virtual ITSs.
        behaviour: the Linux release that KVM is of.
        initialise: give the ITSs their addresses and do `init`; without it everything is as KVM_CREATE_DEVICE leaves
            it.
        vsgi_cpu_interface: whether the CPU interfaces of a GICv4.1 host have vSGIs (ID_AA64PFR0_EL1.GIC >= 3).

    KvmError if the host cannot have that many vPEs.
    """

    def __init__(
        self,
        memory: GuestMemory,
        nr_vcpus: int,
        driver: GicDriver | None = None,
        nr_its: int = 1,
        behaviour: KvmBehaviour = NEWEST,
        initialise: bool = True,
        vsgi_cpu_interface: bool = True,
    ) -> None:
        self.dist = VgicDist(memory, nr_vcpus, driver, behaviour, vsgi_cpu_interface)
        self.its = [VirtualIts(self.dist) for _ in range(nr_its)]
        self.distributor = VirtualDistributor(self.dist)
        self.redistributors = [VirtualRedistributor(self.dist, vcpu) for vcpu in range(nr_vcpus)]
        self.forwarding = Forwarding(self.dist)
        if initialise:
            for number, its in enumerate(self.its):
                its.set_base_address(FIRST_ITS_ADDRESS + number * ITS_BYTES)
            self.init()

    def init(self) -> None:
        """KVM_DEV_ARM_VGIC_CTRL_INIT: map the vPEs. KvmError with the host driver's errno if it has no room."""
        self.dist.initialise()

    def destroy(self) -> None:
        """Unmap everything and give the vPEs back to the host, as when a VM ends. KvmError EBUSY while a vCPU runs."""
        self.dist.lock_all_vcpus()
        for its in self.its:
            its.free_device_list()
            its.free_collection_list()
        for vcpu in range(self.dist.nr_vcpus):
            flush_pending_lpis(self.dist, vcpu)
        if self.dist.has_gicv4:
            self.dist.vlpis.destroy()

    @property
    def memory(self) -> GuestMemory:
        """The guest's RAM."""
        return self.dist.memory

    @property
    def lpis(self) -> Lpis:
        """Every LPI that the guest has mapped, or that is still to be delivered."""
        return self.dist.lpis

    @property
    def its_vm(self) -> ItsVm | None:
        """The VM's vPEs as the host's driver knows them; None without GICv4."""
        return self.dist.vlpis.vm if self.dist.has_gicv4 else None

    @property
    def running(self) -> set[int]:
        """The vCPUs in KVM_RUN. What needs all vCPUs stopped raises KvmError EBUSY while it is not empty."""
        return self.dist.running

    def load(self, vcpu: int, cpu: int) -> None:
        """The vCPU starts to run on host CPU `cpu`; its vPE moves there and becomes resident (Linux `vgic_v4_load`).

        KvmError EBUSY before `init`, or as the host driver; HostOops as `VgicDist.map_resources`.
        """
        self.dist.require_initialised("EBUSY")
        self.dist.map_resources()
        if self.dist.has_gicv4:
            self.dist.vlpis.load(vcpu, cpu, self.dist.enabled)
        self.running.add(vcpu)

    def put(self, vcpu: int, wfi: bool = False) -> None:
        """The vCPU stops running; `wfi` asks for a doorbell when its next interrupt comes (Linux `vgic_v4_put`)."""
        self.running.remove(vcpu)
        self.sync_hwstate(vcpu)
        if self.dist.has_gicv4:
            self.dist.vlpis.put(vcpu, doorbell=wfi)

    def sync_hwstate(self, vcpu: int) -> None:
        """The vCPU leaves its guest, if only for a moment: its ap_list is brought up to date (see `ap_list`).

        It does so in `put`, and by the time that a vCPU acknowledges an interrupt every vCPU has done so.
        """
        prune(self.dist, vcpu)

    def acknowledge(self, vcpu: int) -> int:
        """The highest priority SGI or LPI that software delivers to the vCPU, taken; 1023 if there is none."""
        intids = self._deliverable(vcpu)
        if not intids:
            return SPURIOUS
        self._take(vcpu, intids[:1])
        return intids[0]

    def acknowledge_all(self, vcpu: int) -> list[int]:
        """Every interrupt that `acknowledge` would return one by one before 1023."""
        intids = self._deliverable(vcpu)
        self._take(vcpu, intids)
        return intids

    def send_sgi(self, vcpu: int, number: int) -> None:
        """A vCPU writes ICC_SGI1R_EL1: SGI 0 to 15 becomes pending for `vcpu`."""
        self.dist.sgis.set_pending(vcpu, number, True)

    def _deliverable(self, vcpu: int) -> list[int]:
        """The INTIDs that software has to deliver, highest priority first, then lowest; none in a disabled Group 1."""
        prune_all(self.dist)
        if not self.dist.enabled:
            return []
        sgis, lpis = self.dist.sgis.deliverable(vcpu), self.lpis.deliverable(vcpu)
        intids = np.concatenate((sgis, self.lpis.rows["intid"][lpis]))
        priorities = np.concatenate((self.dist.sgis.rows["priority"][vcpu, sgis], self.lpis.rows["priority"][lpis]))
        # Both are in order already.
        ordered: list[int] = intids[np.argsort(priorities, kind="stable")].tolist()
        return ordered

    def _take(self, vcpu: int, intids: list[int]) -> None:
        taken = [intid for intid in intids if intid < VSGIS]
        self.dist.sgis.rows["pending_latch"][vcpu, taken] = False
        slots = [slot for intid in intids if (slot := self.lpis.find(intid)) is not None]
        self.lpis.rows["pending_latch"][slots] = False
        self.sync_hwstate(vcpu)

    def inject_msi(self, device_id: int, event_id: int, its: int = 0) -> int:
        """KVM_SIGNAL_MSI; see `VirtualIts.inject_msi`."""
        return self.its[its].inject_msi(device_id, event_id)

    def save_pending_tables(self, lpi_by_lpi: bool = False) -> None:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES; see `pending_tables.save_pending_tables`.

        What forwarding holds back in software goes to the VPTs first.
        """
        self.dist.lock_all_vcpus()
        self.forwarding.transfer_pending()
        save_pending_tables(self.dist, lpi_by_lpi)

    def get_vlpi_state(self, intid: int) -> bool:
        """Whether the forwarded LPI `intid` is pending in its VPT.

        KvmError EINVAL if it is not forwarded, EACCES unless the host is GICv4.1 and the vPE is unmapped.
        """
        slot = self.lpis.find(intid)
        if slot is None or not self.lpis.rows["hw"][slot]:
            raise KvmError("EINVAL", f"LPI {intid} is not a forwarded vLPI")
        return bool(self.dist.vlpis.pending(np.array([slot]))[0])

    def unmap_all_vpes(self) -> None:
        """Bring every VPT in host RAM up to date; see `Vlpis.unmap_vpes`. KvmError ENODEV without GICv4."""
        self.dist.vlpis.unmap_vpes(self.dist.vlpis.vm.vpes)

    def map_all_vpes(self) -> None:
        """The reverse of `unmap_all_vpes`."""
        self.dist.vlpis.map_vpes(self.dist.vlpis.vm.vpes)

    def set_forwarding(self, its: int, device_id: int, event_id: int, host: HostIrq, transfer: bool = True) -> bool:
        """Forward a host (device, event) to the guest's; whether that is new. See `Forwarding.set`."""
        device, event = host
        return self.set_forwarding_many(its, device_id, [event_id], device, [event], transfer) == 1

    def set_forwarding_many(
        self,
        its: int,
        device_id: int,
        event_ids: Sequence[int],
        host: ItsDevice,
        events: Sequence[int],
        transfer: bool = True,
    ) -> int:
        """Forward many events of a host device to the guest's `event_ids`; how many are new. See `Forwarding.set`."""
        which = np.array(event_ids, np.int64), host, np.array(events, np.int64)
        return self.forwarding.set(self.its[its], device_id, *which, transfer)

    def unset_forwarding(self, host: HostIrq, retrieve: bool = False) -> bool:
        """End a forwarding; whether there was one. See `Forwarding.unset`."""
        return self.unset_forwarding_many([host], retrieve) == 1

    def unset_forwarding_many(self, hosts: Iterable[HostIrq], retrieve: bool = False) -> int:
        """End forwardings; how many there were. See `Forwarding.unset`."""
        return self.forwarding.unset(hosts, retrieve)

    def is_forwarded(self, host: HostIrq) -> bool:
        """Whether a host (device, event) is the guest's directly."""
        return self.dist.has_gicv4 and self.dist.vlpis.feeds(host)

    def transfer_pending(self) -> int:
        """Give the GIC what `set_forwarding` with transfer=False left in software; how much that was."""
        return self.forwarding.transfer_pending()

    def route_changed(self, host: HostIrq, to: tuple[int, int, int] | None = None) -> bool:
        """The MSI route of a host interrupt changes; whether that ends a forwarding. See `Forwarding.route_changed`.

        `to` is (virtual ITS, DeviceID, EventID); None leads to no virtual ITS.
        """
        route = None if to is None else Route(self.its[to[0]], *to[1:])
        return self.forwarding.route_changed(host, route)
