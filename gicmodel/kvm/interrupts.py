# SPDX-License-Identifier: Apache-2.0
"""What happens to an LPI: mapped, configured, retargeted, made pending, unmapped (Linux vgic-its.c).

For an LPI that is forwarded each step has a twin in the physical GIC.
"""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.ap_list import queue, queue_all
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.guest_ram import Intervals, apart, mark_written, read_u8
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS, NO_VCPU
from gicmodel.kvm.pending_tables import take_pending_bit
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION, bit_of, byte_of

_CONFIGURATIONS = LPI_CONFIGURATION.decode(np.arange(256))
_PRIORITIES: list[int] = _CONFIGURATIONS["Priority"].tolist()
_ENABLED: list[bool] = _CONFIGURATIONS["Enable"].tolist()
"""What each value of a configuration byte means."""
_MASKS = np.left_shift(1, np.arange(8)).astype(np.uint8)


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
    slot = dist.lpis.allocate(intid, target_vcpu, _PRIORITIES[properties], _ENABLED[properties], pending)
    queue(dist, slot)
    return slot


def add_lpis(
    dist: VgicDist, intids: NDArray[np.int64], vcpus: NDArray[np.int64], later: Intervals
) -> NDArray[np.int64] | None:
    """`add_lpi` for many LPIs, int64 [n], that are new, at once; their slots.

    None, and nothing has happened, where Linux, which goes one by one, might not come to the same. `later` is what is
    read of guest RAM after the first of them is created.
    """
    if not _come_to_the_same(dist, intids, vcpus, later):
        return None
    octets = dist.memory.octets
    places = np.array(dist.pending_tables, np.int64)[vcpus] + byte_of(intids) - dist.memory.base
    masks = _MASKS[bit_of(intids)]
    pending = octets[places] & masks != 0
    np.bitwise_and.at(octets, places[pending], ~masks[pending])
    mark_written(dist.memory, places[pending] + dist.memory.base)
    columns = _CONFIGURATIONS[octets[dist.configuration_table - dist.memory.base + intids - FIRST_LPI]]
    slots = dist.lpis.allocate_all(intids, vcpus, columns["Priority"].astype(np.uint8), columns["Enable"], pending)
    queue_all(dist, slots)
    return slots


def _come_to_the_same(dist: VgicDist, intids: NDArray[np.int64], vcpus: NDArray[np.int64], later: Intervals) -> bool:
    """Whether they are LPIs, new and different, each with a target, and all their bytes are in guest RAM.

    And whether the pending tables, out of which bits are taken, do not lie over the configuration table or `later`.
    """
    if not len(intids):
        return True
    first, last, memory = int(intids.min()), int(intids.max()), dist.memory
    if first < FIRST_LPI or last >= 1 << INTERRUPT_ID_BITS_ITS or vcpus.min() == NO_VCPU:
        return False
    tables = np.array(dist.pending_tables, np.int64)[np.flatnonzero(np.bincount(vcpus))]
    taken = np.stack((tables + byte_of(first), tables + byte_of(last) + 1))
    properties = dist.configuration_table + first - FIRST_LPI, dist.configuration_table + last + 1 - FIRST_LPI
    return (
        memory.covers(properties[0], properties[1] - properties[0])
        and bool((taken[0] >= memory.base).all() and (taken[1] <= memory.end).all())
        and apart(taken, np.column_stack((later, properties)))
        and dist.lpis.none_of(intids)
        and int(np.bincount(intids - first).max()) == 1
    )


def put_lpis(dist: VgicDist, slots: list[int]) -> None:
    """Drop a reference for each event that is unmapped, and end its LPI's forwarding (Linux `its_free_ite`)."""
    hw = dist.lpis.rows["hw"]
    forwarded = [slot for slot in dict.fromkeys(slots) if hw[slot]]
    if forwarded:
        dist.vlpis.unmap(forwarded, ends_hw=dist.behaviour.freed_ite_ends_hw)
    dist.lpis.release(slots)


def update_configuration(dist: VgicDist, slot: int, needs_inv: bool = False) -> None:
    """Read the LPI's configuration byte again (Linux `update_lpi_config`). KvmError EFAULT."""
    row = dist.lpis.rows[slot]
    properties = _read_configuration(dist, int(row["intid"]))
    row["priority"], row["enabled"] = _PRIORITIES[properties], _ENABLED[properties]
    if row["hw"]:
        dist.vlpis.update_properties(slot, properties, needs_inv)
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
    rows["priority"][slots[own]] = _CONFIGURATIONS["Priority"][properties[own]]
    rows["enabled"][slots[own]] = _CONFIGURATIONS["Enable"][properties[own]]
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
