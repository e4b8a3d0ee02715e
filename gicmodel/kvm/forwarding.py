# SPDX-License-Identifier: Apache-2.0
"""Forwarding: a host interrupt that becomes a guest's LPI without software (Linux arch/arm64/kvm/vgic/vgic-v4.c)."""

from collections.abc import Iterable

import numpy as np

from gicmodel.driver import ItsDevice
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.its import VgicIts
from gicmodel.kvm.vlpi import HostIrq


def set_forwarding(its: VgicIts, device_id: int, vectors: Iterable[tuple[int, HostIrq]]) -> int:
    """Let host interrupts be injected directly as the LPIs that the guest maps its device's events to.

    `vectors` are (guest EventID, host interrupt); returns how many are forwarded now that were not. A pending state
    that software holds moves to the VPT (Linux 12df7429213a).

    A vector goes on being injected by software if the host has no GICv4, the guest's mapping does not lead to a vCPU
    that has LPIs enabled (Linux 5c57533eb8c1), or its LPI is forwarded already. KvmError with the host driver's errno.
    """
    if not its.dist.has_gicv4:
        return 0
    chosen: dict[int, HostIrq] = {}
    for event_id, host in vectors:
        slot = _forwardable(its, device_id, event_id)
        if slot is not None:
            chosen.setdefault(slot, host)
    for device in dict.fromkeys(host.device for host in chosen.values()):
        _forward(its.dist, device, {slot: host.event for slot, host in chosen.items() if host.device is device})
    return len(chosen)


def unset_forwarding(dist: VgicDist, hosts: Iterable[HostIrq]) -> int:
    """End the forwarding of host interrupts, found by themselves (Linux 05b9405f2fa1); how many were forwarded.

    A vLPI that is pending in the VPT loses its pending state: no Linux retrieves it.
    """
    if not dist.has_gicv4:
        return 0
    slots = [slot for host in dict.fromkeys(hosts) if (slot := dist.vlpis.slot_of(host)) is not None]
    dist.vlpis.unmap(slots)
    return len(slots)


def _forwardable(its: VgicIts, device_id: int, event_id: int) -> int | None:
    try:
        slot = its.resolve_lpi(device_id, event_id)
    except KvmError:
        return None
    return None if slot is None or its.dist.lpis.rows["hw"][slot] else slot


def _forward(dist: VgicDist, device: ItsDevice, events: dict[int, int]) -> None:
    """Forward events of one host device, given by the slot of the LPI that each is to feed."""
    slots = np.array(list(events), np.int64)
    dist.vlpis.map(slots, device, np.array(list(events.values()), np.int64))
    pending = slots[dist.lpis.rows["pending_latch"][slots]]
    # Dropped even if the GIC cannot be told, as by Linux, which then only warns: nothing may be delivered twice.
    dist.lpis.rows["pending_latch"][pending] = False
    dist.vlpis.set_pending_events(device, np.array([events[slot] for slot in pending.tolist()], np.int64), True)
