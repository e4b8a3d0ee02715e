# SPDX-License-Identifier: Apache-2.0
"""Forwarding: a host interrupt that becomes a guest's LPI without software (Linux arch/arm64/kvm/vgic/vgic-v4.c).

Forwarding that is reset loses what is pending in the VPT: no Linux reads it back, and the cover letter of "KVM: arm64:
Add VLPI migration support on GICv4.1" calls that almost insoluble. Two ways out that Linux does not have are here:

- `transfer=False` leaves pending state in software while forwarding is set up, reset and set up again; when that is
  over, `transfer_pending` gives it to the GIC (the cover letter's second proposal).
- `retrieve=True` reads the state back when forwarding ends. The VPT is current only while its vPE is unmapped, and what
  a device sends then is lost, so that this is refused unless the whole VM is stopped.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import ItsDevice
from gicmodel.kvm.ap_list import queue_all
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import HostOops, KvmError
from gicmodel.kvm.its import VgicIts
from gicmodel.kvm.lpi import NO_LPI, NO_VCPU
from gicmodel.kvm.vlpi import HostIrq


class Route(NamedTuple):
    """An MSI route of an irqfd: the guest's name of an interrupt."""

    its: VgicIts
    device_id: int
    event_id: int

    def slot(self) -> int | None:
        """The LPI that the route leads to now. None if there is none or KVM could not deliver it."""
        slot = int(self.its.resolve_lpis(self.device_id, np.array([self.event_id]))[0])
        return None if slot == NO_LPI else slot


class Forwarding:
    """The forwarded interrupts of a VM.

    `devices_stopped` is the machine monitor's word that no device sends interrupts to the VM: KVM cannot see it.
    """

    def __init__(self, dist: VgicDist) -> None:
        self._dist = dist
        self.devices_stopped = False
        self._routes: dict[HostIrq, Route] = {}
        self._held: set[int] = set()
        """LPIs whose pending state software kept when they were forwarded."""

    def set(
        self,
        its: VgicIts,
        device_id: int,
        event_ids: NDArray[np.int64],
        host: ItsDevice,
        events: NDArray[np.int64],
        transfer: bool = True,
    ) -> int:
        """Let events of a host device, int64 [n], be injected directly as the LPIs that the guest maps its events to.

        Returns how many are forwarded now that were not. What software has pending moves to the VPT (Linux
        12df7429213a), unless `transfer` is False.

        An event goes on being injected by software if the host has no GICv4, the guest's mapping does not lead to a
        vCPU that has LPIs enabled, or its LPI is forwarded already. KvmError with the host driver's errno. HostOops if
        the LPI, which another event maps too, targets no vCPU.
        """
        if not self._dist.has_gicv4:
            return 0
        slots = self._resolved(its, device_id, event_ids, host, events)
        return self._forward(host, events[slots != NO_LPI], slots[slots != NO_LPI], transfer)

    def unset(self, hosts: Iterable[HostIrq], retrieve: bool = False) -> int:
        """End the forwarding of host interrupts; how many were forwarded.

        A vLPI that is pending in the VPT loses its pending state, unless `retrieve` is True. Then KvmError EACCES on a
        host without GICv4.1, EBUSY while a vCPU runs or the devices are not stopped; nothing has changed.
        """
        if not self._dist.has_gicv4:
            return 0
        known = self._known(hosts)
        count = sum(self._dist.vlpis.feeds(host) for host in known.values())
        slots = list(known)
        if retrieve and slots:
            self._retrieve(np.array(slots, np.int64))
        if self._dist.behaviour.unsets_by_host_irq:
            self._dist.vlpis.unmap(slots)
            return count
        for slot, host in known.items():
            self._dist.vlpis.unmap_by_route(slot, host)
        return count

    def route_changed(self, host: HostIrq, route: Route | None = None) -> bool:
        """The monitor gives the MSI of a host interrupt another address or data; whether that ends its forwarding.

        `route` is the new one; None leads to no virtual ITS. Linux `kvm_arch_update_irqfd_routing`: nothing is
        forwarded anew.
        """
        ended = self._dist.behaviour.route_change_unforwards and self.unset([host]) == 1
        self._routes.pop(host, None)
        if route is not None:
            self._routes[host] = route
        return ended

    def transfer_pending(self) -> int:
        """Make pending in the VPTs what `set` has left in software; how many that were. KvmError as the host driver."""
        rows = self._dist.lpis.rows
        pending = [slot for slot in sorted(self._held) if rows["pending_latch"][slot] and rows["hw"][slot]]
        self._held.clear()
        self._transfer(pending)
        return len(pending)

    def _resolved(
        self, its: VgicIts, device_id: int, event_ids: NDArray[np.int64], host: ItsDevice, events: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The LPIs, int64 [n], that the guest's events lead to, forwarded already or not; NO_LPI for those to none."""
        if self._dist.behaviour.forwarding_falls_back:
            self._note_routes(its, device_id, event_ids, host, events)
            slots = its.resolve_lpis(device_id, event_ids)
        else:
            pairs = zip(event_ids.tolist(), events.tolist(), strict=True)
            slots = np.array([self._resolve(its, device_id, event_id, (host, n)) for event_id, n in pairs], np.int64)
        lacking = (slots != NO_LPI) & (self._dist.lpis.rows["target_vcpu"][slots] == NO_VCPU)
        if lacking.any():
            where = f"device {device_id:#x}, event {event_ids[lacking][0]:#x}"
            raise HostOops(f"{where}: set_forwarding dereferences the target of an LPI without one")
        return slots

    def _resolve(self, its: VgicIts, device_id: int, event_id: int, host: HostIrq) -> int:
        """As before 6.15: KvmError if the event leads to no LPI."""
        self._note_routes(its, device_id, np.array([event_id]), host[0], np.array([host[1]]))
        slot = its.resolve_lpi(device_id, event_id)
        if slot is None:
            where = f"device {device_id:#x}, event {event_id:#x}"
            raise KvmError("E_ITS_INT_UNMAPPED_INTERRUPT", f"{where}: the guest has no LPI there that can be delivered")
        return slot

    def _note_routes(
        self, its: VgicIts, device_id: int, event_ids: NDArray[np.int64], host: ItsDevice, events: NDArray[np.int64]
    ) -> None:
        """From 6.16 on nobody asks for them."""
        if not self._dist.behaviour.unsets_by_host_irq:
            for event_id, event in zip(event_ids.tolist(), events.tolist(), strict=True):
                self._routes[host, event] = Route(its, device_id, event_id)

    def _forward(self, device: ItsDevice, events: NDArray[np.int64], slots: NDArray[np.int64], transfer: bool) -> int:
        """Let events of a host device, int64 [n], feed the LPIs `slots`; for how many that is new."""
        again = self._dist.lpis.rows["hw"][slots]
        order = slots.argsort(kind="stable")
        again[order[1:][np.diff(slots[order]) == 0]] = True
        new = slots[~again]
        if len(new):
            self._dist.vlpis.map(device, events[~again], new)
            self._hand_over(new, transfer)
        if again.any() and not self._dist.behaviour.leaves_forwarded:
            for slot, event in zip(slots[again].tolist(), events[again].tolist(), strict=True):
                self._dist.vlpis.remap(slot, (device, event))
                self._hand_over(np.array([slot]), transfer)
        return len(new)

    def _known(self, hosts: Iterable[HostIrq]) -> dict[int, HostIrq]:
        """The forwarded LPIs that KVM finds for host interrupts.

        Before 6.16 it looks where the route of each leads now, and takes the LPI there for that which the host
        interrupt feeds.
        """
        found: dict[int, HostIrq] = {}
        for host in hosts:
            if self._dist.behaviour.unsets_by_host_irq:
                slot = self._dist.vlpis.slot_of(host)
            else:
                slot = self._routes[host].slot() if host in self._routes else None
            if slot is not None and self._dist.lpis.rows["hw"][slot]:
                found.setdefault(slot, host)
        return found

    def _hand_over(self, slots: NDArray[np.int64], transfer: bool) -> None:
        """What is pending in software of LPIs that are forwarded now."""
        pending: list[int] = slots[self._dist.lpis.rows["pending_latch"][slots]].tolist()
        if not transfer:
            self._held.update(pending)
        elif self._dist.behaviour.moves_pending_state:
            self._transfer(pending)

    def _transfer(self, slots: Sequence[int]) -> None:
        if slots:
            # Dropped even if the GIC cannot be told, as by Linux, which only warns: nothing may be delivered twice.
            self._dist.lpis.rows["pending_latch"][slots] = False
            self._dist.vlpis.set_pending(slots, True)

    def _retrieve(self, slots: NDArray[np.int64]) -> None:
        if not self._dist.has_gicv4_1:
            raise KvmError("EACCES", "the pending state of a vLPI can only be retrieved on GICv4.1")
        self._dist.lock_all_vcpus()
        if not self.devices_stopped:
            raise KvmError("EBUSY", "devices may send interrupts, which would be lost while their vPEs are unmapped")
        vlpis, rows = self._dist.vlpis, self._dist.lpis.rows
        with vlpis.unmapped([vlpis.vpe(vcpu) for vcpu in np.unique(rows["target_vcpu"][slots]).tolist()]):
            pending = vlpis.pending(slots)
        rows["pending_latch"][slots[pending]] = True
        queue_all(self._dist, slots[pending])
