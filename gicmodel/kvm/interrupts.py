# SPDX-License-Identifier: Apache-2.0
"""What happens to an LPI: mapped, configured, retargeted, made pending, unmapped (Linux vgic-its.c).

For an LPI that is forwarded each step has a twin in the physical GIC.
"""

from contextlib import suppress

import numpy as np

from gicmodel.kvm.ap_list import queue, queue_all
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.guest_ram import read_u8
from gicmodel.kvm.pending_tables import take_pending_bit
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION

_CONFIGURATIONS = LPI_CONFIGURATION.decode(np.arange(256))
PRIORITIES, ENABLED = _CONFIGURATIONS["Priority"].astype(np.uint8), _CONFIGURATIONS["Enable"].astype(np.bool_)
"""What each value of a configuration byte means."""


def add_lpi(dist: VgicDist, intid: int, target_vcpu: int) -> int:
    """One more reference to the LPI `intid`; return its slot (Linux `vgic_add_lpi`).

    The first reference creates it: its configuration and pending bit are read from guest RAM. A further one, through
    another event or another ITS, or to an LPI that is only on an ap_list any more, reads nothing and keeps its target.

    KvmError EFAULT if the configuration or pending byte is outside guest RAM.
    """
    slot = dist.lpis.find(intid)
    if slot is not None:
        dist.lpis.hold(slot)
        return slot
    properties = _read_configuration(dist, intid)
    pending = take_pending_bit(dist, target_vcpu, intid)
    slot = dist.lpis.allocate(intid, target_vcpu, PRIORITIES[properties], ENABLED[properties], pending)
    queue(dist, slot)
    return slot


def put_lpis(dist: VgicDist, slots: list[int]) -> None:
    """Drop a reference for each event that is unmapped, and end its LPI's forwarding (Linux `its_free_ite`)."""
    hw = dist.lpis.rows["hw"]
    forwarded = [slot for slot in dict.fromkeys(slots) if hw[slot]]
    if forwarded:
        dist.vlpis.unmap(forwarded, ends_hw=dist.behaviour.freed_ite_ends_hw)
    dist.lpis.release(slots)


def update_configuration(dist: VgicDist, slot: int) -> None:
    """Read the LPI's configuration byte again (Linux `update_lpi_config`). KvmError EFAULT."""
    row = dist.lpis.rows[slot]
    properties = _read_configuration(dist, int(row["intid"]))
    row["priority"], row["enabled"] = PRIORITIES[properties], ENABLED[properties]
    if row["hw"]:
        dist.vlpis.update_properties(slot, properties, needs_inv=True)
    else:
        queue(dist, slot)


def update_configurations(dist: VgicDist, vcpu: int) -> None:
    """Read the configuration of every LPI that targets `vcpu` again; outside guest RAM it stays as it is (INVALL).

    The GIC is given the configuration of every forwarded LPI of the VM, whatever its target.
    """
    rows, memory = dist.lpis.rows, dist.memory
    slots = dist.lpis.slots() if dist.behaviour.walks_every_lpi else dist.lpis.targeting(vcpu)
    addresses = dist.configuration_table + rows["intid"][slots] - FIRST_LPI
    inside = (addresses >= memory.base) & (addresses < memory.end)
    slots, properties = slots[inside], memory.octets[addresses[inside] - memory.base]
    own = rows["target_vcpu"][slots] == vcpu
    rows["priority"][slots[own]] = PRIORITIES[properties[own]]
    rows["enabled"][slots[own]] = ENABLED[properties[own]]
    hw = rows["hw"][slots]
    queue_all(dist, slots[own & ~hw])
    for index in np.flatnonzero(hw):
        with suppress(KvmError):  # Linux goes on with the next.
            dist.vlpis.update_properties(int(slots[index]), int(properties[index]), needs_inv=False)
    if dist.has_gicv4:
        dist.vlpis.invall(vcpu)


def update_affinity(dist: VgicDist, slot: int, vcpu: int) -> None:
    """Let the LPI target `vcpu` (Linux `update_affinity`, whose result nobody looks at)."""
    dist.lpis.retarget(slot, vcpu)
    if dist.lpis.rows["hw"][slot]:
        with suppress(KvmError):
            dist.vlpis.move(slot)


def set_pending(dist: VgicDist, slot: int) -> None:
    """Make the LPI pending, in the GIC if it is forwarded (Linux `vgic_its_trigger_msi`)."""
    if dist.lpis.rows["hw"][slot]:
        dist.vlpis.set_pending([slot], True)
    else:
        set_latch(dist, slot)


def set_latch(dist: VgicDist, slot: int) -> None:
    """Make the LPI pending in software, forwarded or not (Linux `vgic_its_inject_cached_translation`)."""
    dist.lpis.rows["pending_latch"][slot] = True
    queue(dist, slot)


def clear_pending(dist: VgicDist, slot: int) -> None:
    """Make the LPI not pending."""
    dist.lpis.rows["pending_latch"][slot] = False
    if dist.lpis.rows["hw"][slot]:
        dist.vlpis.set_pending([slot], False)


def _read_configuration(dist: VgicDist, intid: int) -> int:
    return read_u8(dist.memory, dist.configuration_table + intid - FIRST_LPI, "LPI configuration byte")
