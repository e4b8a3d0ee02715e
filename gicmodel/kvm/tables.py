# SPDX-License-Identifier: Apache-2.0
"""KVM_DEV_ARM_ITS_SAVE_TABLES and RESTORE_TABLES, ITS table ABI revision 0.

Linux Documentation/virt/kvm/devices/arm-vgic-its.rst and arch/arm64/kvm/vgic/vgic-its.c. Linux goes entry by entry. An
entry that was decoded ahead is compared with RAM when its turn comes: another table of the guest may lie over it.
"""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import HostOops, KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES, Intervals, apart, outside, readable_entries, write_entries
from gicmodel.kvm.interrupts import add_lpis
from gicmodel.kvm.ites import NO_COLLECTION, Ites
from gicmodel.kvm.its import ID_BITS, PAGE_ENTRIES, TABLE_PAGE_BYTES, Device, GuestTable, VgicIts
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import GuestMemory

Entry = dict[str, int]

_PINTID = np.uint64(KVM_ITE.mask_in_word("pINTID")[1])
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
    """Whether the ITTs lie in RAM, outside a level 1 table and away from the DTEs, as these do from it."""
    table, memory, places = its.device_table, its.dist.memory, events.places
    firsts = np.flatnonzero(np.diff(events.owners, prepend=-1))
    lasts = np.append(firsts, len(places))[1:] - 1
    itts = np.stack((places[firsts], places[lasts] + ENTRY_BYTES))
    entries = np.stack((dtes, dtes + ENTRY_BYTES))
    if table.indirect:
        level1 = np.array([[table.address], [table.address + table.size]])
        if not (apart(itts, level1) and apart(entries, level1)):
            return False
    return bool((itts[0] >= memory.base).all() and (itts[1] <= memory.end).all()) and apart(itts, entries)


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
    entries = [
        KVM_CTE.pack(V=1, RDBase=collection.target_addr, ICID=collection.collection_id)
        for collection in its.collections.values()
    ]
    if (
        len(entries) != table.entries
    ):  # Before `baser_change_frees` there may be more than a table that has shrunk holds.
        entries.append(0)
    places = table.address + np.arange(len(entries)) * ENTRY_BYTES
    write_entries(its.dist.memory, places, np.array(entries, np.uint64), "CTE")


def _distances(ids: NDArray[np.int64], owners: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
    """The `next` of ascending IDs: how far the following one of the same owner is, saturated; 0 for its last."""
    gaps = np.diff(ids, append=ids[-1:])
    gaps[np.flatnonzero(np.diff(owners))] = 0
    return np.minimum(gaps, np.int64(layout["next"].mask))


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
        if not _restore_devices_at_once(its):
            for device_id, entry in _device_entries(its):
                _restore_dte(its, device_id, entry)
    except KvmError:
        its.free_device_list()
        if its.dist.behaviour.frees_collections_of_failed_restore:
            its.free_collection_list()
        raise


def _restore_devices_at_once(its: VgicIts) -> bool:
    """Map all devices and events, if nothing is to be refused; False, and nothing done, if not."""
    if not its.dist.behaviour.stops_at_table_end:
        return False
    try:
        devices = [_device_of(its, device_id, entry) for device_id, entry in _device_entries(its)]
    except KvmError:
        return False
    if not _restore_events(its, devices, _memory_of(its.device_table, its.dist.memory)):
        return False
    for device in devices:
        its.add_device(device)
    return True


def _memory_of(table: GuestTable, memory: GuestMemory) -> Intervals:
    """Where a device table is: itself, or level 1 and its pages."""
    itself = np.array([[table.address], [table.address + table.size]], np.int64)
    if not table.indirect:
        return itself
    level1 = KVM_LEVEL1.decode(readable_entries(memory, table.address, table.entries))
    pages = level1["Physical_Address"][level1["V"]].astype(np.int64)
    return np.column_stack((itself, (pages, pages + TABLE_PAGE_BYTES)))


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
    found = np.flatnonzero(layout.column(words, valid))
    rows = layout.decode(words[found])
    for place, word, row in zip(found.tolist(), words[found].tolist(), rows.tolist(), strict=True):
        yield place, word, dict(zip(layout.fields, row, strict=True))


def _device_of(its: VgicIts, device_id: int, entry: Entry) -> Device:
    """The device of a DTE, none of whose events is mapped yet. KvmError EINVAL."""
    num_eventid_bits = entry["Size"] + 1
    behaviour = its.dist.behaviour
    if behaviour.checks_restored_event_bits and num_eventid_bits > ID_BITS:
        raise KvmError("EINVAL", f"DTE of device {device_id:#x}: {num_eventid_bits} EventID bits, at most {ID_BITS}")
    storable = its.device_table.entry_address(its.dist.memory, device_id) is not None
    if behaviour.checks_restored_ids and not storable:
        raise KvmError("EINVAL", f"DTE of device {device_id:#x}: the DeviceID cannot be stored in the device table")
    return Device(device_id, entry["ITT_addr"], num_eventid_bits)


def _restore_dte(its: VgicIts, device_id: int, entry: Entry) -> None:
    device = _device_of(its, device_id, entry)
    its.add_device(device)
    if _restore_events(its, [device], np.zeros((2, 0), np.int64)):
        return
    for event_id, ite in _chain(its.dist, device.itt_addr, _itt_entries(its.dist, device), KVM_ITE, "pINTID"):
        _restore_ite(its, device, event_id, ite)


def _restore_events(its: VgicIts, devices: Sequence[Device], later: Intervals) -> bool:
    """Map all events of ITTs that are as KVM saves them and have nothing to refuse; False, and nothing done, if not.

    `later` is what is read of guest RAM after they are mapped.
    """
    memory = its.dist.memory
    if any(device.num_eventid_bits > ID_BITS for device in devices):
        return False
    if not devices:
        return True
    itts = [readable_entries(memory, device.itt_addr, 1 << device.num_eventid_bits) for device in devices]
    found = _chains(itts, [1 << device.num_eventid_bits for device in devices])
    if found is None:
        return False
    event_ids, words, ends = found
    starts = np.array([device.itt_addr for device in devices], np.int64)
    read = np.stack((starts, starts + [len(itt) * ENTRY_BYTES for itt in itts]))
    intids, icids = (KVM_ITE.column(words, name).astype(np.int64) for name in ("pINTID", "ICID"))
    targets = np.full(1 << ID_BITS, NO_VCPU)
    targets[list(its.collections)] = [collection.target_vcpu for collection in its.collections.values()]
    slots = add_lpis(its.dist, intids, targets[icids], np.column_stack((read, later)))
    if slots is None:
        return False
    columns = np.stack((event_ids, slots, icids))
    for device, start, end in zip(devices, [0, *ends], ends, strict=False):
        device.ites = Ites.of(columns[:, start:end])
    return True


def _chains(
    itts: Sequence[NDArray[np.uint64]], counts: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.uint64], list[int]] | None:
    """The entries that walks of ITTs find, all EventIDs and words, and up to where in these are those of each ITT.

    `itts` are the words in RAM of so many entries each. None if a walk might fail.
    """
    valid = [np.flatnonzero(words & _PINTID) for words in itts]
    event_ids = np.concatenate(valid)
    words = np.concatenate([words[found] for words, found in zip(itts, valid, strict=True)])
    distances = KVM_ITE.column(words, "next").astype(np.int64)
    sizes = np.array([len(found) for found in valid])
    lasts = sizes.cumsum()
    # A walk ends at the first entry without `next`, or without any at the end of the ITT.
    ends = np.append(np.flatnonzero(distances == 0), len(words))
    stops = np.where(sizes, ends[np.searchsorted(ends, lasts - sizes)] + 1, lasts)
    missing = np.array([len(words) for words in itts]) < counts
    if (stops > lasts).any() or (missing & (sizes == 0)).any():
        return None
    walked = np.arange(len(words)) < np.repeat(stops, sizes)
    event_ids, words, distances = event_ids[walked], words[walked], distances[walked]
    if (distances > np.diff(event_ids, append=0)).any(where=distances != 0):
        return None
    return event_ids, words, (stops - lasts + sizes).cumsum().tolist()


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
