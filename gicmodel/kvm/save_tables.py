# SPDX-License-Identifier: Apache-2.0
"""KVM_DEV_ARM_ITS_SAVE_TABLES, ITS table ABI revision 0.

Linux Documentation/virt/kvm/devices/arm-vgic-its.rst and arch/arm64/kvm/vgic/vgic-its.c.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.errors import HostOops, KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES, write_entries
from gicmodel.kvm.ites import NO_COLLECTION
from gicmodel.kvm.its import Device, VgicIts
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE
from gicmodel.layouts.layout import Layout


def save_tables(its: VgicIts) -> None:
    """Write the devices' ITTs and DTEs, then the CTEs, to guest RAM (Linux `vgic_its_save_tables_v0`).

    Entries of what is not mapped are left as they are. KvmError EACCES if an LPI is forwarded and the host is not
    GICv4.1, EFAULT if an entry is outside guest RAM; what was written before stays. Older kernels also refuse what
    `KvmBehaviour` says.
    """
    if its.device_table.valid:
        _save_device_tables(its)
    if its.collection_table.valid:
        _save_collection_table(its)


class _Events(NamedTuple):
    """The events of devices, int64 [n] each; `owners` says which of the devices has an event."""

    event_ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    icids: NDArray[np.int64]
    owners: NDArray[np.int64]
    places: NDArray[np.int64]
    """Where their ITEs are in guest RAM."""

    @classmethod
    def of(cls, devices: Sequence[Device]) -> Self:
        event_ids, slots, icids = np.concatenate([device.ites.columns for device in devices], axis=1)
        owners = np.repeat(np.arange(len(devices)), [len(device.ites) for device in devices])
        itts = np.array([device.itt_addr for device in devices], np.int64)
        return cls(event_ids, slots, icids, owners, itts[owners] + event_ids * ENTRY_BYTES)


def _save_device_tables(its: VgicIts) -> None:
    """Linux goes device by device. All are saved at once where that comes to the same."""
    devices = its.sort_devices()
    if not _save_devices(its, devices, [], at_once=True):
        for place, device in enumerate(devices):
            _save_devices(its, [device], devices[place + 1 :], at_once=False)


def _save_devices(its: VgicIts, devices: Sequence[Device], following: Sequence[Device], at_once: bool) -> bool:
    """Write the ITTs of devices, then their DTEs; `following` are all others of higher DeviceIDs.

    A device whose DTE has no place in RAM is passed over as if it were not mapped. With `at_once` False, and nothing
    done, where Linux, with one after the other, might not come to the same.
    """
    found = [its.device_table.entry_address(its.dist.memory, device.device_id) for device in devices]
    saved = [device for device, address in zip(devices, found, strict=True) if address is not None]
    if len(saved) < len(devices) and not its.dist.behaviour.skips_unreachable_devices:
        if at_once:
            return False
        raise KvmError("EINVAL", f"device {devices[0].device_id:#x} cannot be stored in the device table")
    if not saved:
        return True
    places, events = np.array([address for address in found if address is not None], np.int64), _Events.of(saved)
    if at_once and not (_nothing_to_refuse(its, events) and _nothing_read_is_written(its, places, events)):
        return False
    _save_itts(its, saved, events)
    _save_dtes(its, saved, places, following)
    return True


def _nothing_to_refuse(its: VgicIts, events: _Events) -> bool:
    """Whether these events can all be saved, if they are in RAM."""
    lacking = not its.dist.behaviour.saves_events_without_collection and (events.icids == NO_COLLECTION).any()
    return not lacking and _allowed(its, events) == len(events.slots)


def _nothing_read_is_written(its: VgicIts, dtes: NDArray[np.int64], events: _Events) -> bool:
    """Whether the ITTs lie in RAM and away from the DTEs, and nothing over a level 1 table."""
    table, memory, places = its.device_table, its.dist.memory, events.places
    firsts = np.flatnonzero(np.diff(events.owners, prepend=-1))
    starts, ends = places[firsts], places[np.append(firsts, len(places))[1:] - 1] + ENTRY_BYTES
    ordered = np.sort(dtes)
    apart = ordered.searchsorted(starts) == ordered.searchsorted(ends)
    in_ram = (starts >= memory.base) & (ends <= memory.end)
    if table.indirect:
        written = np.concatenate((places, dtes))
        apart &= not ((written >= table.address) & (written < table.address + table.size)).any()
    return bool((apart & in_ram).all())


def _save_dtes(its: VgicIts, devices: Sequence[Device], places: NDArray[np.int64], following: Sequence[Device]) -> None:
    """Each `next` leads to the device that is saved next."""
    table, skips = its.device_table, its.dist.behaviour.skips_unreachable_devices
    after = (
        device
        for device in following
        if not skips or table.entry_address(its.dist.memory, device.device_id) is not None
    )
    ids = np.array([device.device_id for device in (*devices, *islice(after, 1))], np.int64)
    words = KVM_DTE.encode(
        V=1,
        next=_distances(ids, np.zeros_like(ids), KVM_DTE)[: len(devices)],
        ITT_addr=[device.itt_addr for device in devices],
        Size=[device.num_eventid_bits - 1 for device in devices],
    )
    write_entries(its.dist.memory, places, words[:, 0], f"DTE of device {devices[0].device_id:#x}")


def _save_itts(its: VgicIts, devices: Sequence[Device], events: _Events) -> None:
    """An event without a collection leaves a zero entry and, in the newest KVM, is no link of the chain."""
    lacking, behaviour, device_id = events.icids == NO_COLLECTION, its.dist.behaviour, devices[0].device_id
    if not behaviour.saves_events_without_collection and lacking.any():
        raise HostOops(f"device {device_id:#x}: SAVE_TABLES dereferences the collection of an event without one")
    links = ~lacking if behaviour.next_skips_zero_entries else np.ones_like(lacking)
    distances = np.zeros_like(events.event_ids)
    distances[links] = _distances(events.event_ids[links], events.owners[links], KVM_ITE)
    intids = its.dist.lpis.rows["intid"][events.slots]
    words = KVM_ITE.encode(next=distances, pINTID=intids, ICID=np.where(lacking, 0, events.icids))[:, 0]
    words[lacking] = 0
    allowed = _allowed(its, events)
    write_entries(its.dist.memory, events.places[:allowed], words[:allowed], f"ITT of device {device_id:#x}: entry")
    if allowed < len(words):
        event = f"device {device_id:#x}, event {events.event_ids[allowed]:#x}"
        place = "with this release of Linux" if its.dist.has_gicv4_1 else "on a host without GICv4.1"
        raise KvmError("EACCES", f"{event}: the state of a forwarded vLPI cannot be saved {place}")


def _allowed(its: VgicIts, events: _Events) -> int:
    """How many of the events come before the first whose state cannot be saved."""
    if its.dist.has_gicv4_1 and its.dist.behaviour.saves_forwarded_lpis:
        return len(events.slots)
    forwarded = np.flatnonzero(its.dist.lpis.rows["hw"][events.slots])
    return int(forwarded[0]) if len(forwarded) else len(events.slots)


def _save_collection_table(its: VgicIts) -> None:
    """The collections in the order of their mapping, then a zero entry unless they fill the table exactly."""
    table = its.collection_table
    # NO_VCPU is COLLECTION_NOT_MAPPED in 32 bits.
    entries = [
        KVM_CTE.pack(V=1, RDBase=vcpu & COLLECTION_NOT_MAPPED, ICID=icid) for icid, vcpu in its.collections.items()
    ]
    # Before `baser_change_frees` there may be more than a table that has shrunk holds.
    if len(entries) != table.entries:
        entries.append(0)
    places = table.address + np.arange(len(entries)) * ENTRY_BYTES
    write_entries(its.dist.memory, places, np.array(entries, np.uint64), "CTE")


def _distances(ids: NDArray[np.int64], owners: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
    """The `next` of ascending IDs: how far the following one of the same owner is, saturated; 0 for its last."""
    gaps = np.diff(ids, append=ids[-1:])
    gaps[np.flatnonzero(np.diff(owners))] = 0
    return np.minimum(gaps, np.int64(layout["next"].mask))
