# SPDX-License-Identifier: Apache-2.0
"""What KVM keeps of one virtual ITS outside guest RAM (Linux `struct vgic_its`): registers, devices, collections."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES
from gicmodel.kvm.interrupts import add_lpi, put_lpis
from gicmodel.kvm.ites import NO_COLLECTION, Ite, Ites
from gicmodel.kvm.lpi import NO_LPI, NO_VCPU
from gicmodel.layouts.kvm_abi import KVM_LEVEL1
from gicmodel.layouts.table import Table, TableType
from gicmodel.memory import GuestMemory

ID_BITS = 16
"""DeviceID, EventID and ICID bits of KVM's ITS."""

TABLE_PAGE_BYTES = 0x1_0000
PAGE_ENTRIES = TABLE_PAGE_BYTES // ENTRY_BYTES


@dataclass(slots=True)
class Device:
    """A mapped device and its mapped events (Linux `struct its_device`)."""

    device_id: int
    itt_addr: int
    num_eventid_bits: int
    ites: Ites = field(default_factory=Ites)


class GuestTable(Table):
    """A device or collection table as its GITS_BASER describes it: 64 KiB pages and entries of 8 bytes, as KVM has."""

    @property
    def entries(self) -> int:
        """How many entries the register gives memory to: of level 1 if the table is indirect."""
        return self.size // ENTRY_BYTES

    def entry_address(self, memory: GuestMemory, number: int) -> int | None:
        """Where entry `number` lies in guest RAM; None if it cannot be stored there (Linux `vgic_its_check_id`)."""
        if number >= 1 << ID_BITS:
            return None
        if self.indirect:
            page, index = self._level2_page(memory, number // PAGE_ENTRIES), number % PAGE_ENTRIES
        else:
            page, index = self.address if number < self.entries else None, number
        if page is None or not memory.covers(page + index * ENTRY_BYTES, ENTRY_BYTES):
            return None
        return page + index * ENTRY_BYTES

    def _level2_page(self, memory: GuestMemory, index: int) -> int | None:
        address = self.address + index * ENTRY_BYTES
        if index >= self.entries or not memory.covers(address, ENTRY_BYTES):
            return None
        level1 = KVM_LEVEL1.unpack(memory.read_u64(address))
        return level1["Physical_Address"] if level1["V"] else None


_table = lru_cache(GuestTable.of_baser)


class VgicIts:
    """The state of one virtual ITS.

    `devices` has the device that each DeviceID leads to; `collections` the vCPU of each ICID, NO_VCPU for one that only
    an event names, in the order in which they were mapped: that of the saved collection table.
    """

    def __init__(self, dist: VgicDist) -> None:
        self.dist = dist
        self.translation_cache = dist.new_translation_cache()
        self.enabled = False
        self.cbaser = 0
        self.creadr = 0
        self.cwriter = 0
        self.basers = dict.fromkeys((TableType.DEVICES, TableType.COLLECTIONS), 0)
        self.devices: dict[int, Device] = {}
        self.hidden_devices: list[Device] = []
        """Further devices of a DeviceID, which RESTORE_TABLES adds to an ITS that was not reset."""
        self.collections: dict[int, int] = {}

    @property
    def device_table(self) -> GuestTable:
        """The device table in guest RAM."""
        return _table(self.basers[TableType.DEVICES])

    @property
    def collection_table(self) -> GuestTable:
        """The collection table in guest RAM."""
        return _table(self.basers[TableType.COLLECTIONS])

    def find_ite(self, device_id: int, event_id: int) -> Ite | None:
        """The mapped event, or None."""
        device = self.devices.get(device_id)
        return device.ites.get(event_id) if device else None

    def target_vcpu(self, icid: int) -> int:
        """The vCPU of a collection; NO_VCPU if it is not mapped."""
        return self.collections.get(icid, NO_VCPU)

    def resolve_lpi(self, device_id: int, event_id: int) -> int | None:
        """The slot of an MSI's LPI; None if the event or its collection is not mapped (Linux `vgic_its_resolve_lpi`).

        It is remembered, unless the LPI is forwarded.

        KvmError EBUSY if the ITS is disabled, or the target's LPIs are.
        """
        if not self.enabled:
            raise KvmError("EBUSY", "the virtual ITS is disabled")
        ite = self.find_ite(device_id, event_id)
        vcpu = NO_VCPU if ite is None else self.target_vcpu(ite.icid)
        if ite is None or vcpu == NO_VCPU:
            return None
        if not self.dist.lpis_enabled[vcpu]:
            raise KvmError("EBUSY", f"GICR_CTLR.EnableLPIs of vCPU {vcpu} is 0")
        if self.dist.behaviour.caches_translations and not self.dist.lpis.rows["hw"][ite.lpi]:
            self.translation_cache.remember(device_id, np.array([event_id]), np.array([ite.lpi]))
        return ite.lpi

    def resolve_lpis(self, device_id: int, event_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """What `resolve_lpi` finds for events of a device, int64 [n]; NO_LPI for those for which it has no LPI."""
        device = self.devices.get(device_id)
        if device is None or not self.enabled or not device.ites:
            return np.full(len(event_ids), NO_LPI)
        ites = device.ites
        places = ites.event_ids.searchsorted(event_ids).clip(max=len(ites) - 1)
        known = ites.event_ids[places] == event_ids
        icids = ites.icids[places]
        vcpus = {icid: self.target_vcpu(icid) for icid in set(icids.tolist())}
        closed = [icid for icid, vcpu in vcpus.items() if vcpu == NO_VCPU or not self.dist.lpis_enabled[vcpu]]
        if closed:
            known &= ~np.isin(icids, closed)
        slots = np.where(known, ites.lpis[places], NO_LPI)
        if self.dist.behaviour.caches_translations:
            new = np.flatnonzero(known & ~self.dist.lpis.rows["hw"][slots])
            self.translation_cache.remember(device_id, event_ids[new], slots[new])
        return slots

    def event_storable(self, device: Device, event_id: int) -> bool:
        """Whether the ITE lies in the device's ITT and in guest RAM (Linux `vgic_its_check_event_id`)."""
        if event_id >= 1 << device.num_eventid_bits:
            return False
        address = device.itt_addr + event_id * ENTRY_BYTES
        return self.dist.memory.covers(address, ENTRY_BYTES) or not self.dist.behaviour.mapti_checks_itt

    def add_collection(self, icid: int, vcpu: int = NO_VCPU) -> None:
        """A new collection. KvmError EINVAL if its entry could not be saved."""
        if self.collection_table.entry_address(self.dist.memory, icid) is None:
            raise KvmError("EINVAL", f"ICID {icid:#x} cannot be stored in the collection table")
        self.collections[icid] = vcpu

    def map_event(self, device: Device, event_id: int, icid: int, intid: int) -> None:
        """A new event; its LPI is created if this is the first to map it. KvmError as `add_lpi`."""
        lpi = add_lpi(self.dist, intid, self.target_vcpu(icid))
        device.ites.add(Ite(event_id, lpi, icid))

    def free_ite(self, device: Device, ite: Ite) -> None:
        """Unmap an event."""
        device.ites.remove(ite.event_id)
        put_lpis(self.dist, [ite.lpi])

    def all_devices(self) -> list[Device]:
        """Every device, those of one DeviceID in Linux' order: the first is the one that the DeviceID leads to."""
        return [*self.devices.values(), *self.hidden_devices]

    def add_device(self, device: Device) -> None:
        """Map a device; behind the one that its DeviceID has, if there is one (Linux `vgic_its_alloc_device`)."""
        if device.device_id in self.devices:
            self.hidden_devices.append(device)
        else:
            self.devices[device.device_id] = device

    def sort_devices(self) -> list[Device]:
        """Every device by DeviceID. Those of one DeviceID change places: Linux `vgic_its_device_cmp` has no equals."""
        devices = self.all_devices()[::-1]
        devices.sort(key=lambda device: device.device_id)
        if self.hidden_devices:
            self.devices.clear()
            self.hidden_devices.clear()
            for device in devices:
                self.add_device(device)
        return devices

    def free_device(self, device_id: int) -> None:
        """Unmap a device, if it is mapped, and all its events; the DeviceID leads to the next device that has it."""
        device = self.devices.pop(device_id, None)
        if device:
            put_lpis(self.dist, device.ites.lpis.tolist())
            hidden, self.hidden_devices = self.hidden_devices, []
            for other in hidden:
                self.add_device(other)
            self.translation_cache.invalidate()

    def free_collection(self, icid: int) -> None:
        """Unmap a collection, if there is one; its events stay, without a collection."""
        if self.collections.pop(icid, None) is not None:
            for device in self.all_devices():
                device.ites.icids[device.ites.icids == icid] = NO_COLLECTION

    def free_device_list(self) -> None:
        """Unmap all devices."""
        while self.devices:
            for device_id in list(self.devices):
                self.free_device(device_id)

    def free_collection_list(self) -> None:
        """Unmap all collections."""
        self.collections.clear()
        for device in self.all_devices():
            device.ites.icids[:] = NO_COLLECTION
