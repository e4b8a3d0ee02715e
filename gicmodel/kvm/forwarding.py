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
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.ap_list import queue_all
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import HostOops, KvmError
from gicmodel.kvm.its import VgicIts
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.kvm.vlpi import HostIrq


@dataclass
class ForwardingCounts:
    """What forwarding did to pending state so far: numbers of vLPIs, and the INTIDs of lost ones."""

    transferred: int = 0
    """Pending in software, made pending in a VPT (INT)."""
    retrieved: int = 0
    """Pending in a VPT, taken back by software."""
    unread: int = 0
    """Forwarding ended without a look at the VPT: those that were pending are lost."""
    lost: list[int] = field(default_factory=list)
    """Those of the unread that KVM itself had made pending, for a vCPU that has not run since: lost for certain."""


class Route(NamedTuple):
    """An MSI route of an irqfd: the guest's name of an interrupt."""

    its: VgicIts
    device_id: int
    event_id: int

    def slot(self) -> int | None:
        """The LPI that the route leads to now. None if there is none or KVM could not deliver it."""
        return self.its.resolve_lpis(self.device_id, [self.event_id]).get(self.event_id)


class Forwarding:
    """The forwarded interrupts of a VM.

    `devices_stopped` is the machine monitor's word that no device sends interrupts to the VM: KVM cannot see it.
    """

    def __init__(self, dist: VgicDist) -> None:
        self._dist = dist
        self.counts = ForwardingCounts()
        self.devices_stopped = False
        self._routes: dict[HostIrq, Route] = {}
        self._held: set[int] = set()
        """LPIs whose pending state software kept when they were forwarded."""
        self._unseen: set[int] = set()
        """LPIs whose pending state was transferred to a vPE that has not run since."""

    def set(self, its: VgicIts, device_id: int, vectors: Iterable[tuple[int, HostIrq]], transfer: bool = True) -> int:
        """Let host interrupts be injected directly as the LPIs that the guest maps its device's events to.

        `vectors` are (guest EventID, host interrupt); returns how many are forwarded now that were not. What software
        has pending moves to the VPT (Linux 12df7429213a), unless `transfer` is False.

        A vector goes on being injected by software if the host has no GICv4, the guest's mapping does not lead to a
        vCPU that has LPIs enabled, or its LPI is forwarded already. KvmError with the host driver's errno. HostOops if
        the LPI, which another event maps too, targets no vCPU.
        """
        if not self._dist.has_gicv4:
            return 0
        chosen: dict[int, HostIrq] = {}
        again: list[tuple[int, HostIrq]] = []
        found = self._forwardable(its, device_id, vectors)
        hw = self._dist.lpis.rows["hw"][[slot for slot, _ in found]].tolist()
        for (slot, host), known in zip(found, hw, strict=True):
            if slot in chosen or known:
                again.append((slot, host))
            else:
                chosen[slot] = host
        for device in dict.fromkeys(device for device, _ in chosen.values()):
            hosts = {slot: host for slot, host in chosen.items() if host[0] is device}
            self._dist.vlpis.map(hosts)
            self._hand_over(hosts, transfer)
        for slot, host in () if self._dist.behaviour.leaves_forwarded else again:
            self._dist.vlpis.remap(slot, host)
            self._hand_over([slot], transfer)
        return len(chosen)

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
        else:
            self._count_unread(slots)
        self._unseen.difference_update(slots)
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

    def vcpu_runs(self, vcpu: int) -> None:
        """The guest may take from now on what is pending for `vcpu`."""
        targets = self._dist.lpis.rows["target_vcpu"]
        self._unseen = {slot for slot in self._unseen if targets[slot] != vcpu}

    def _count_unread(self, slots: Sequence[int]) -> None:
        self.counts.unread += len(slots)
        intids = self._dist.lpis.rows["intid"]
        self.counts.lost += [int(intids[slot]) for slot in slots if slot in self._unseen]

    def _forwardable(
        self, its: VgicIts, device_id: int, vectors: Iterable[tuple[int, HostIrq]]
    ) -> list[tuple[int, HostIrq]]:
        """The LPIs that vectors lead to, forwarded already or not, each with the host interrupt that is to feed it."""
        vectors = list(vectors)
        if self._dist.behaviour.forwarding_falls_back:
            self._note_routes(its, device_id, vectors)
            slots = its.resolve_lpis(device_id, (event_id for event_id, _ in vectors))
        else:
            slots = {vector[0]: self._resolve(its, device_id, vector) for vector in vectors}
        if (self._dist.lpis.rows["target_vcpu"][list(slots.values())] == NO_VCPU).any():
            targets = self._dist.lpis.rows["target_vcpu"]
            event_id = next(event_id for event_id, slot in slots.items() if targets[slot] == NO_VCPU)
            where = f"device {device_id:#x}, event {event_id:#x}"
            raise HostOops(f"{where}: set_forwarding dereferences the target of an LPI without one")
        return [(slots[event_id], host) for event_id, host in vectors if event_id in slots]

    def _resolve(self, its: VgicIts, device_id: int, vector: tuple[int, HostIrq]) -> int:
        """As before 6.15: KvmError if the vector leads to no LPI."""
        self._note_routes(its, device_id, [vector])
        slot = its.resolve_lpi(device_id, vector[0])
        if slot is None:
            where = f"device {device_id:#x}, event {vector[0]:#x}"
            raise KvmError("E_ITS_INT_UNMAPPED_INTERRUPT", f"{where}: the guest has no LPI there that can be delivered")
        return slot

    def _note_routes(self, its: VgicIts, device_id: int, vectors: Iterable[tuple[int, HostIrq]]) -> None:
        """From 6.16 on nobody asks for them."""
        if not self._dist.behaviour.unsets_by_host_irq:
            self._routes.update((host, Route(its, device_id, event_id)) for event_id, host in vectors)

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

    def _hand_over(self, slots: Iterable[int], transfer: bool) -> None:
        """What is pending in software of LPIs that are forwarded now."""
        forwarded = np.array(list(slots), np.int64)
        pending: list[int] = forwarded[self._dist.lpis.rows["pending_latch"][forwarded]].tolist()
        if not transfer:
            self._held.update(pending)
        elif self._dist.behaviour.moves_pending_state:
            self._transfer(pending)

    def _transfer(self, slots: Sequence[int]) -> None:
        if slots:
            # Dropped even if the GIC cannot be told, as by Linux, which only warns: nothing may be delivered twice.
            self._dist.lpis.rows["pending_latch"][slots] = False
            self.counts.transferred += len(slots)
            self._unseen.update(slots)
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
        self.counts.retrieved += int(pending.sum())
