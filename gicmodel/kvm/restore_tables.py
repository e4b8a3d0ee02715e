# SPDX-License-Identifier: Apache-2.0
"""KVM_DEV_ARM_ITS_RESTORE_TABLES, ITS table ABI revision 0.

Linux Documentation/virt/kvm/devices/arm-vgic-its.rst and arch/arm64/kvm/vgic/vgic-its.c. Linux goes entry by entry. An
entry that was decoded ahead is compared with RAM when its turn comes: another table of the guest may lie over it.
"""

from collections.abc import Callable, Generator, Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import direct, kernel
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES, outside, readable_entries
from gicmodel.kvm.interrupts import ENABLED, PRIORITIES
from gicmodel.kvm.ites import Ites
from gicmodel.kvm.its import ID_BITS, PAGE_ENTRIES, Device, VgicIts
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS, LPI, NO_HOST, NO_LPI, NO_VCPU
from gicmodel.kvm.pending_tables import BIT_OF, BITS, BYTE_OF, CLEAR
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import PAGE_BYTES, STORED

Entry = dict[str, int]

CHAIN_ENDED = -1
_UNBOUNDED = (1 << 64) // ENTRY_BYTES
_PINTID, _NEXT = (np.uint64(KVM_ITE[name].shift) for name in ("pINTID", "next"))
_MASK16, _MASK32 = (np.uint64(KVM_ITE[name].mask) for name in ("ICID", "pINTID"))
_ZERO, _FIRST_LPI, _INTIDS = np.uint64(0), np.uint64(FIRST_LPI), np.uint64(1 << INTERRUPT_ID_BITS_ITS)


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
    vcpu = NO_VCPU if target == COLLECTION_NOT_MAPPED else target
    if behaviour.checks_restored_ids:
        its.add_collection(icid, vcpu)
    else:
        its.collections[icid] = vcpu


def _restore_device_tables(its: VgicIts) -> None:
    try:
        itts = _Itts(its)
        for device_id, entry in _device_entries(its):
            device = _device_of(its, device_id, entry)
            its.add_device(device)
            itts.restore(device)
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
    dist: VgicDist, base: int, count: int, layout: Layout, valid: str, first_id: int = 0, index: int = 0
) -> Generator[tuple[int, Entry], None, bool]:
    """The entries of a table that a walk from entry `index` finds, with their IDs (Linux `scan_its_table`).

    An invalid entry is stepped over; a valid one leads on to the one `next` entries further. Returns whether the walk
    ended at an entry without `next`. KvmError EFAULT if it comes to an entry outside guest RAM.

    What is done with an entry may change those that follow: a pending bit is taken out of RAM. That makes no invalid
    entry valid.
    """
    words = readable_entries(dist.memory, base, count)
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


class _Itts:
    """How the ITTs of a guest are restored: what is the same for all."""

    def __init__(self, its: VgicIts) -> None:
        self._its = its
        self._targets = np.full(1 << ID_BITS, NO_VCPU)
        """The vCPU of each collection."""
        self._targets[list(its.collections)] = list(its.collections.values())
        self._pending_tables = np.array(its.dist.pending_tables, np.int64) - its.dist.memory.base

    def restore(self, device: Device) -> None:
        """Map the events of a device: by the kernel up to the first that is out of the ordinary."""
        its, count = self._its, _itt_entries(self._its.dist, device)
        itt = readable_entries(its.dist.memory, device.itt_addr, count)
        index = self._restore_plain(device, itt) if device.num_eventid_bits <= ID_BITS else 0
        if index != CHAIN_ENDED:
            for event_id, entry in _chain(its.dist, device.itt_addr, count, KVM_ITE, "pINTID", index=index):
                _restore_ite(its, device, event_id, entry)

    def _restore_plain(self, device: Device, itt: NDArray[np.uint64]) -> int:
        """As `restore_events`, which says what is plain: where the walk goes on, or CHAIN_ENDED."""
        dist, lpis = self._its.dist, self._its.dist.lpis
        slots = lpis.next_slots(int(np.count_nonzero(itt)))
        columns = np.empty((3, len(slots)), np.int64)
        configuration = dist.configuration_table - dist.memory.base
        ram = dist.memory.octets, dist.memory.page_state, self._pending_tables, configuration, dist.enabled
        arrays = lpis.rows, lpis.queued, lpis.slot_of, lpis.created, lpis.mapping_changes
        arguments = itt, 1 << device.num_eventid_bits, self._targets, *ram, slots, *arrays, *columns
        index, found = _kernel()(*arguments)
        lpis.took(found)
        device.ites = Ites.of(columns[:, :found])
        return index


@cache
def _kernel() -> Callable[..., tuple[int, int]]:
    """`restore_events` without numba's look at the types of a dozen arrays for each device."""
    octets, numbers, slots = np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int32)
    ram = octets, octets, numbers, 0, True
    arrays = np.zeros(1, LPI), slots, slots, numbers, 0
    return direct(restore_events, np.zeros(1, np.uint64), 0, numbers, *ram, numbers, *arrays, *(numbers,) * 3)


@kernel
def restore_events(
    itt: NDArray[np.uint64],
    end: int,
    targets: NDArray[np.int64],
    octets: NDArray[np.uint8],
    page_state: NDArray[np.uint8],
    pending_tables: NDArray[np.int64],
    configuration: int,
    group_enabled: bool,
    free: NDArray[np.int64],
    rows: NDArray[np.void],
    queued: NDArray[np.int32],
    slot_of: NDArray[np.int32],
    created: NDArray[np.int64],
    changes: int,
    event_ids: NDArray[np.int64],
    slots: NDArray[np.int64],
    icids: NDArray[np.int64],
) -> tuple[int, int]:
    """Linux `vgic_its_restore_ite` for the events of an ITT up to the first that is not plain.

    Plain is an event below `end` with a `next` below it too, whose LPI is new, has a target by its ICID in `targets`,
    and has both its bytes in RAM. Tables are bytes from the start of RAM, the pending tables one a vCPU. The LPIs go to
    the slots `free`; the arrays that follow are those of `Lpis`. Returns the entry at which the walk has come to a
    stop, or CHAIN_ENDED, and how many events there are in the last three arrays.
    """
    index, found = 0, 0
    while index < len(itt):
        word = itt[index]
        intid, icid, distance = word >> _PINTID & _MASK32, np.int64(word & _MASK16), int(np.int64(word >> _NEXT))
        if intid == _ZERO:
            index += 1
            continue
        vcpu = targets[icid]
        if intid < _FIRST_LPI or intid >= _INTIDS or vcpu == NO_VCPU or index + distance >= end:
            return index, found
        lpi = int(np.int64(intid))
        setting, place = configuration + lpi - FIRST_LPI, pending_tables[vcpu] + BYTE_OF(lpi)
        in_ram = 0 <= setting < len(octets) and 0 <= place < len(octets)
        if slot_of[lpi] != NO_LPI or not in_ram:
            return index, found
        octet, bit = octets[setting], BITS[BIT_OF(lpi)]
        pending = octets[place] & bit != CLEAR
        if pending:
            octets[place] ^= bit
            page_state[place // PAGE_BYTES] |= STORED
        slot, row = free[found], rows[free[found]]
        row["intid"], row["target_vcpu"], row["references"] = lpi, vcpu, 1
        row["priority"], row["enabled"], row["pending_latch"] = PRIORITIES[octet], ENABLED[octet], pending
        row["hw"], row["host_device"], row["host_event"] = False, NO_HOST, 0
        if pending and ENABLED[octet] and group_enabled:
            queued[slot], row["references"] = vcpu, 2
        slot_of[lpi], created[slot] = slot, changes + found + 1
        event_ids[found], slots[found], icids[found] = index, slot, icid
        found += 1
        if distance == 0:
            return CHAIN_ENDED, found
        index += distance
    return index, found


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
    if entry["ICID"] not in its.collections:
        raise KvmError("EINVAL", f"{where}: ICID {entry['ICID']:#x} is no collection")
    its.map_event(device, event_id, entry["ICID"], entry["pINTID"])


def _require_readable(base: int, index: int, readable: int, count: int, what: str) -> None:
    """KvmError EFAULT if entry `index` belongs to the table of `count` but not to the `readable` ones of it."""
    if readable <= index < count:
        raise outside(base + index * ENTRY_BYTES, what)
