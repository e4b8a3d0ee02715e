# SPDX-License-Identifier: Apache-2.0
"""RESTORE_TABLES on an ITS that was not reset, with no collection in the table: Linux adds every device once more.

`vgic_its_alloc_device` does not ask whether the DeviceID has a device, and every look-up finds the first.
"""

import pytest

from gicmodel.kvm.ites import NO_COLLECTION
from gicmodel.layouts.kvm_abi import KVM_DTE, KVM_ITE
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, Guest
from tests.kvm.tables import put_device

SECOND = ITTS + 0x1000


@pytest.fixture
def guest():
    """Event 3 of device 2 is mapped; then the tables are restored, with an ITT elsewhere and without a collection."""
    guest = Guest()
    guest.mapc(0, 0)
    guest.mapd(2, ITTS)
    guest.mapti(2, 3, 8200, 0)
    guest.mapd(4, ITTS + 0x2000)
    guest.its.save_tables()
    guest.memory.write_u64(COLLECTIONS, 0)
    put_device(guest, 2, bits=3, itt_addr=SECOND)
    guest.its.restore_tables()
    return guest


def devices(guest):
    return [(device.device_id, device.itt_addr) for device in guest.its.all_devices()]


def test_the_first_device_is_found(guest):
    assert devices(guest) == [(2, ITTS), (4, ITTS + 0x2000), (2, SECOND)]
    guest.mapti(2, 4, 8201, 0)
    assert sorted(guest.its.devices[2].ites) == [3, 4]
    guest.mapc(0, 0, valid=0)
    assert {ite.icid for ite in guest.its.devices[2].ites.values()} == {NO_COLLECTION}


def test_the_second_is_found_once_the_first_is_unmapped(guest):
    guest.mapd(2, valid=0)
    assert devices(guest) == [(4, ITTS + 0x2000), (2, SECOND)]
    guest.mapd(2, ITTS + 0x3000)
    assert devices(guest) == [(4, ITTS + 0x2000), (2, ITTS + 0x3000)]


def test_a_device_that_is_mapped_anew_stays_behind_the_second(guest):
    guest.mapd(2, ITTS + 0x3000)
    assert guest.its.devices[2].itt_addr == SECOND
    guest.its.reset()
    assert devices(guest) == []
    assert not len(guest.vgic.lpis)


def test_each_save_changes_their_places_and_the_first_one_is_written_last(guest):
    """Linux list_sort with vgic_its_device_cmp, which never calls two devices equal. A `next` of 0 ends the chain."""
    guest.its.save_tables()
    assert guest.memory.read_u64(DEVICES + 16) == KVM_DTE.pack(V=1, next=2, ITT_addr=ITTS, Size=7)
    assert guest.its.devices[2].itt_addr == SECOND
    guest.its.save_tables()
    assert guest.memory.read_u64(DEVICES + 16) == KVM_DTE.pack(V=1, next=2, ITT_addr=SECOND, Size=2)
    assert guest.its.devices[2].itt_addr == ITTS
    assert guest.memory.read_u64(ITTS + 24) == KVM_ITE.pack(pINTID=8200, ICID=0)
