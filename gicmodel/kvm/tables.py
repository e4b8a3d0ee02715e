# SPDX-License-Identifier: Apache-2.0
"""KVM_DEV_ARM_ITS_SAVE_TABLES and RESTORE_TABLES, ITS table ABI revision 0.

Linux Documentation/virt/kvm/devices/arm-vgic-its.rst and arch/arm64/kvm/vgic/vgic-its.c. Linux goes entry by entry. An
entry that was decoded ahead is compared with RAM when its turn comes: another table of the guest may lie over it.
"""

from collections.abc import Generator, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import HostOops, KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES, outside, readable_entries, write_entries, write_entry
from gicmodel.kvm.interrupts import add_lpis
from gicmodel.kvm.its import ID_BITS, PAGE_ENTRIES, Device, GuestTable, Ite, VgicIts
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI

Entry = dict[str, int]

_UNBOUNDED = (1 << 64) // ENTRY_BYTES


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


def restore_tables(its: VgicIts) -> None:
    """Map the collections, devices and events that guest RAM holds (Linux `vgic_its_restore_tables_v0`).

    Each LPI's configuration and pending bit is read as the LPI is created, and the pending bit cleared in RAM.

    KvmError EINVAL, EEXIST or EFAULT at the first entry that cannot be restored. Then the ITS has no collection left,
    and after a bad device or event no device either, older ones included; pending bits taken out of RAM are not put
    back.
    """
    if its.collection_table.valid:
        _restore_collection_table(its)
    if its.device_table.valid:
        _restore_device_tables(its)


def _save_device_tables(its: VgicIts) -> None:
    """A device whose DTE has no place in RAM is passed over as if it were not mapped."""
    table, devices = its.device_table, its.sort_devices()
    for place, device in enumerate(devices):
        address = table.entry_address(its.dist.memory, device.device_id)
        if address is None:
            if its.dist.behaviour.skips_unreachable_devices:
                continue
            raise KvmError("EINVAL", f"device {device.device_id:#x} cannot be stored in the device table")
        _save_itt(its, device)
        distance = _distance_to_next(its, table, devices, place)
        entry = KVM_DTE.pack(V=1, next=distance, ITT_addr=device.itt_addr, Size=device.num_eventid_bits - 1)
        write_entry(its.dist.memory, address, entry, f"DTE of device {device.device_id:#x}")


def _distance_to_next(its: VgicIts, table: GuestTable, devices: Sequence[Device], place: int) -> int:
    """The `next` of the device at `place`: how far the DeviceID of the next one is that is saved, saturated."""
    skips = its.dist.behaviour.skips_unreachable_devices
    for number in range(place + 1, len(devices)):
        device_id = devices[number].device_id
        if not skips or table.entry_address(its.dist.memory, device_id) is not None:
            return min(device_id - devices[place].device_id, int(KVM_DTE["next"].mask))
    return 0


def _save_itt(its: VgicIts, device: Device) -> None:
    """An event without a collection leaves a zero entry and, in the newest KVM, is no link of the chain."""
    events = np.array(sorted(device.ites), np.int64)
    ites = [device.ites[event_id] for event_id in events.tolist()]
    slots = np.array([ite.lpi for ite in ites], np.int64)
    icids = np.array([-1 if ite.collection is None else ite.collection.collection_id for ite in ites], np.int64)
    saved, behaviour = np.flatnonzero(icids >= 0), its.dist.behaviour
    if len(saved) < len(ites) and not behaviour.saves_events_without_collection:
        raise HostOops(f"device {device.device_id:#x}: SAVE_TABLES dereferences the collection of an event without one")
    words = np.zeros(len(ites), np.uint64)
    intids = its.dist.lpis.rows["intid"][slots[saved]]
    distances = _distances(events[saved]) if behaviour.next_skips_zero_entries else _distances(events)[saved]
    words[saved] = KVM_ITE.encode(next=distances, pINTID=intids, ICID=icids[saved])[:, 0]
    readable = its.dist.has_gicv4_1 and behaviour.saves_forwarded_lpis
    allowed = len(ites) if readable else _first_forwarded(its, slots)
    what = f"ITT of device {device.device_id:#x}: entry"
    write_entries(its.dist.memory, device.itt_addr, events[:allowed], words[:allowed], what)
    if allowed < len(ites):
        event = f"device {device.device_id:#x}, event {events[allowed]:#x}"
        place = "with this release of Linux" if its.dist.has_gicv4_1 else "on a host without GICv4.1"
        raise KvmError("EACCES", f"{event}: the state of a forwarded vLPI cannot be saved {place}")


def _first_forwarded(its: VgicIts, slots: NDArray[np.int64]) -> int:
    """How many of `slots` come before the first forwarded LPI."""
    forwarded = np.flatnonzero(its.dist.lpis.rows["hw"][slots])
    return int(forwarded[0]) if len(forwarded) else len(slots)


def _save_collection_table(its: VgicIts) -> None:
    """The collections in the order of their mapping, then a zero entry unless they fill the table exactly."""
    table = its.collection_table
    entries = [
        KVM_CTE.pack(V=1, RDBase=collection.target_addr, ICID=collection.collection_id)
        for collection in its.collections.values()
    ]
    if (
        len(entries) != table.entries
    ):  # Before `baser_change_frees` there may be more than a table that has shrunk holds.
        entries.append(0)
    write_entries(its.dist.memory, table.address, np.arange(len(entries)), np.array(entries, np.uint64), "CTE")


def _distances(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """The `next` of ascending EventIDs: how far the following one is, saturated; 0 for the last."""
    return np.minimum(np.diff(events, append=events[-1:]), np.int64(KVM_ITE["next"].mask))


def _restore_collection_table(its: VgicIts) -> None:
    table = its.collection_table
    words = readable_entries(its.dist.memory, table.address, table.entries)
    rows = KVM_CTE.decode(words)
    unused = np.flatnonzero(~rows["V"])
    count = int(unused[0]) if len(unused) else len(words)
    behaviour = its.dist.behaviour
    try:
        for row in rows[:count].tolist():
            _restore_cte(its, dict(zip(KVM_CTE.fields, row, strict=True)))
        _require_readable(table.address, count, len(words), table.entries, "CTE")
    except KvmError:
        if behaviour.frees_collections_of_failed_restore:
            its.free_collection_list()
        if behaviour.reports_cte_errors:
            raise


def _restore_cte(its: VgicIts, entry: Entry) -> None:
    # Linux keeps 32 bits of RDBase.
    target, icid = entry["RDBase"] & COLLECTION_NOT_MAPPED, entry["ICID"]
    behaviour = its.dist.behaviour
    unmapped = target == COLLECTION_NOT_MAPPED and behaviour.restores_unmapped_collections
    if not unmapped and target >= its.dist.nr_vcpus:
        raise KvmError("EINVAL", f"CTE of ICID {icid:#x}: RDBase {target:#x}, but the VM has {its.dist.nr_vcpus} vCPUs")
    if icid in its.collections:
        raise KvmError("EEXIST", f"CTE of ICID {icid:#x}: the collection is mapped already")
    add = its.map_collection if behaviour.checks_restored_ids else its.add_collection
    add(icid).target_addr = target


def _restore_device_tables(its: VgicIts) -> None:
    try:
        for device_id, entry in _device_entries(its):
            _restore_dte(its, device_id, entry)
    except KvmError:
        its.free_device_list()
        if its.dist.behaviour.frees_collections_of_failed_restore:
            its.free_collection_list()
        raise


def _device_entries(its: VgicIts) -> Iterator[tuple[int, Entry]]:
    """The valid DTEs that Linux finds, with their DeviceIDs.

    In a two-level table a `next` that leaves its level 2 page ends the walk of that page only: the following valid
    pages are walked from their first entry. An entry without `next` ends the whole walk.
    """
    table, memory = its.device_table, its.dist.memory
    chain = partial(_chain, its.dist, layout=KVM_DTE, valid="V")
    if not table.indirect:
        yield from chain(table.address, table.entries)
        return
    level1 = readable_entries(memory, table.address, table.entries)
    for index in np.flatnonzero(KVM_LEVEL1.decode(level1)["V"]).tolist():
        page = KVM_LEVEL1.unpack(int(level1[index]))
        if page["V"] and (yield from chain(page["Physical_Address"], PAGE_ENTRIES, first_id=index * PAGE_ENTRIES)):
            return
    _require_readable(table.address, len(level1), len(level1), table.entries, "level 1 entry")


def _chain(
    dist: VgicDist, base: int, count: int, layout: Layout, valid: str, first_id: int = 0
) -> Generator[tuple[int, Entry], None, bool]:
    """The entries of a table that a walk from its start finds, with their IDs (Linux `scan_its_table`).

    An invalid entry is stepped over; a valid one leads on to the one `next` entries further. Returns whether the walk
    ended at an entry without `next`. KvmError EFAULT if it comes to an entry outside guest RAM.

    What is done with an entry may change those that follow: a pending bit is taken out of RAM. That makes no invalid
    entry valid.
    """
    words = readable_entries(dist.memory, base, count)
    index = 0
    for place, word, entry in _valid_entries(words, layout, valid):
        if place < index:
            continue
        if int(words[place]) != word:
            entry = layout.unpack(int(words[place]))
            if not entry[valid]:
                continue
        yield first_id + place, entry
        if not entry["next"]:
            return True
        index = place + entry["next"]
    if index > count and not dist.behaviour.stops_at_table_end:
        # The length that is left is unsigned, and has wrapped.
        return (yield from _chain(dist, base + index * ENTRY_BYTES, _UNBOUNDED, layout, valid, first_id + index))
    _require_readable(base, max(index, len(words)), len(words), count, layout.name)
    return False


def _valid_entries(words: NDArray[np.uint64], layout: Layout, valid: str) -> Iterator[tuple[int, int, Entry]]:
    """The places of the valid entries among `words` as they are now, their words and fields."""
    rows = layout.decode(words)
    found = np.flatnonzero(rows[valid])
    for place, word, row in zip(found.tolist(), words[found].tolist(), rows[found].tolist(), strict=True):
        yield place, word, dict(zip(layout.fields, row, strict=True))


def _restore_dte(its: VgicIts, device_id: int, entry: Entry) -> None:
    num_eventid_bits = entry["Size"] + 1
    behaviour = its.dist.behaviour
    if behaviour.checks_restored_event_bits and num_eventid_bits > ID_BITS:
        raise KvmError("EINVAL", f"DTE of device {device_id:#x}: {num_eventid_bits} EventID bits, at most {ID_BITS}")
    storable = its.device_table.entry_address(its.dist.memory, device_id) is not None
    if behaviour.checks_restored_ids and not storable:
        raise KvmError("EINVAL", f"DTE of device {device_id:#x}: the DeviceID cannot be stored in the device table")
    device = Device(device_id, entry["ITT_addr"], num_eventid_bits)
    its.add_device(device)
    if _restore_at_once(its, device):
        return
    for event_id, ite in _chain(its.dist, device.itt_addr, _itt_entries(its.dist, device), KVM_ITE, "pINTID"):
        _restore_ite(its, device, event_id, ite)


def _restore_at_once(its: VgicIts, device: Device) -> bool:
    """Map all events of an ITT that is as KVM saves it and has nothing to refuse; False, and nothing done, if not."""
    words = readable_entries(its.dist.memory, device.itt_addr, 1 << min(device.num_eventid_bits, ID_BITS))
    events = np.flatnonzero(KVM_ITE.column(words, "pINTID"))
    rows = KVM_ITE.decode(words[events])
    ends = np.flatnonzero(rows["next"] == 0)
    if not len(ends) or device.num_eventid_bits > ID_BITS:
        return False
    events, rows = events[: ends[0] + 1], rows[: ends[0] + 1]
    icids, intids = rows["ICID"].tolist(), rows["pINTID"].astype(np.int64)
    linked = (rows["next"][:-1] <= np.diff(events).astype(np.uint64)).all()
    if not linked or intids.min() < FIRST_LPI or not its.collections.keys() >= set(icids):
        return False
    collections = [its.collections[icid] for icid in icids]
    vcpus = {icid: its.collections[icid].target_vcpu for icid in set(icids)}
    itt = range(device.itt_addr, device.itt_addr + len(words) * ENTRY_BYTES)
    slots = add_lpis(its.dist, intids, np.array([vcpus[icid] for icid in icids]), itt)
    if slots is None:
        return False
    numbers = events.tolist()
    device.ites.update(zip(numbers, map(Ite, numbers, collections, slots), strict=True))
    return True


def _itt_entries(dist: VgicDist, device: Device) -> int:
    """How many entries of an ITT are walked. Its bytes are an `int` of 32 bits, and its length one of 64, unsigned.

    Of 28 EventID bits that makes an endless table, of more an empty one, of which the walk reads the first entry.
    """
    octets = ENTRY_BYTES << device.num_eventid_bits & 0xFFFF_FFFF
    if not octets:
        return int(dist.behaviour.stops_at_table_end)
    return octets // ENTRY_BYTES if octets < 1 << 31 else _UNBOUNDED


def _restore_ite(its: VgicIts, device: Device, event_id: int, entry: Entry) -> None:
    where = f"ITE of device {device.device_id:#x}, event {event_id:#x}"
    if entry["pINTID"] < FIRST_LPI:
        raise KvmError("EINVAL", f"{where}: INTID {entry['pINTID']} is not an LPI, they start at {FIRST_LPI}")
    if event_id + entry["next"] >= 1 << device.num_eventid_bits:
        raise KvmError("EINVAL", f"{where}: next {entry['next']:#x} leads out of its {device.num_eventid_bits}-bit ITT")
    collection = its.collections.get(entry["ICID"])
    if collection is None:
        raise KvmError("EINVAL", f"{where}: ICID {entry['ICID']:#x} is no collection")
    its.map_event(device, event_id, collection, entry["pINTID"])


def _require_readable(base: int, index: int, readable: int, count: int, what: str) -> None:
    """KvmError EFAULT if entry `index` belongs to the table of `count` but not to the `readable` ones of it."""
    if readable <= index < count:
        raise outside(base + index * ENTRY_BYTES, what)
