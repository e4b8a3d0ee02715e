# SPDX-License-Identifier: Apache-2.0
"""Which LPIs software is about to deliver, and to which vCPU: Linux' ap_lists (arch/arm64/kvm/vgic/vgic.c).

An LPI comes onto the list of its target when it is made pending, or its configuration or pending table is read, and it
is pending and enabled then, and Group 1 is too. It leaves the list when the vCPU comes back from its guest and there is
nothing to deliver any more, and when the vCPU's LPIs are disabled. Nothing else moves it: neither a new target, nor a
new configuration byte, nor GICD_CTLR.

A list holds a reference to each of its LPIs. That is where KVM differs from the architecture (IHI0069: DISCARD removes
the pending state): unmapping the event drops the event's reference only. A queued LPI is delivered nevertheless,
is saved by SAVE_PENDING_TABLES, and is found again, with its old target, configuration and pending state, by whoever
maps its INTID anew.
"""

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.lpi import NO_VCPU


def queue(dist: VgicDist, slot: int) -> None:
    """Put an LPI on its target's list, if it is on none and is to be delivered (Linux `vgic_queue_irq_unlock`)."""
    lpis = dist.lpis
    if lpis.queued[slot] != NO_VCPU or not dist.enabled:
        return
    row = lpis.rows[slot]
    if row["pending_latch"] and row["enabled"] and row["target_vcpu"] != NO_VCPU:
        lpis.queued[slot] = row["target_vcpu"]
        lpis.hold(slot)


def queue_all(dist: VgicDist, slots: NDArray[np.int64]) -> None:
    """`queue` for the LPIs `slots`, int64 [n], no two alike."""
    lpis = dist.lpis
    waiting = slots[lpis.queued[slots] == NO_VCPU]
    targets = _targets(dist, waiting)
    lpis.queued[waiting] = targets
    lpis.hold(waiting[targets != NO_VCPU])


def prune(dist: VgicDist, vcpu: int) -> None:
    """Take off the list of `vcpu` what is not to be delivered; what has another target goes to the list of that.

    Linux `vgic_prune_ap_list`.
    """
    _prune(dist, dist.lpis.on_list_of(vcpu))


def prune_all(dist: VgicDist) -> None:
    """`prune` for every vCPU."""
    _prune(dist, np.flatnonzero(dist.lpis.queued != NO_VCPU))


def flush_pending_lpis(dist: VgicDist, vcpu: int) -> None:
    """Empty the list of `vcpu`: what was on it is not pending any more (Linux `vgic_flush_pending_lpis`)."""
    lpis = dist.lpis
    slots = lpis.on_list_of(vcpu)
    lpis.rows["pending_latch"][slots] = False
    lpis.queued[slots] = NO_VCPU
    lpis.release(slots.tolist())


def _prune(dist: VgicDist, slots: NDArray[np.int64]) -> None:
    lpis = dist.lpis
    targets = _targets(dist, slots)
    lpis.queued[slots] = targets
    lpis.release(slots[targets == NO_VCPU].tolist())


def _targets(dist: VgicDist, slots: NDArray[np.int64]) -> NDArray[np.int32]:
    """The vCPU that each LPI is to be delivered to, int32 [n]; NO_VCPU for none (Linux `vgic_target_oracle`)."""
    rows = dist.lpis.rows
    deliverable = rows["pending_latch"][slots] & rows["enabled"][slots] & dist.enabled
    targets: NDArray[np.int32] = np.where(deliverable, rows["target_vcpu"][slots], np.int32(NO_VCPU))
    return targets
