# SPDX-License-Identifier: Apache-2.0
"""Every image that RESTORE_TABLES refuses, with the error, and that nothing is left of it.

One check of Linux cannot fail here nor there: that an ITE is storable where the walk has just read it.
"""

import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_LEVEL1
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, RAM_BASE, RAM_END, Guest
from tests.kvm.tables import put_device, put_event


def refused(guest, errno):
    """RESTORE_TABLES fails with `errno` and leaves nothing behind."""
    with pytest.raises(KvmError) as caught:
        guest.its.restore_tables()
    assert caught.value.errno == errno
    assert not guest.its.devices
    assert not guest.its.collections
    assert not len(guest.vgic.lpis)
    return caught.value.cause


@pytest.mark.parametrize("rdbase", [4, 0xFFFF, 0xFFFF_FFFE])
def test_cte_of_a_missing_vcpu(fresh, rdbase):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=rdbase, ICID=6))
    assert f"RDBase {rdbase:#x}" in refused(fresh, "EINVAL")


def test_cte_of_a_collection_that_is_there(fresh):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=2, ICID=5))
    refused(fresh, "EEXIST")


def test_cte_whose_icid_has_no_entry(fresh):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=2, ICID=8192))
    refused(fresh, "EINVAL")


def test_cte_whose_icid_has_its_entry_outside_ram(fresh):
    """A table of two pages, the second of which is not there: ICID 9000 could not be saved again."""
    fresh.collection_baser = fresh.collection_baser - COLLECTIONS + RAM_END - PAGE + 1
    fresh.restart_its()
    fresh.memory.write_u64(RAM_END - PAGE, KVM_CTE.pack(V=1, RDBase=2, ICID=9000))
    assert "ICID 0x2328" in refused(fresh, "EINVAL")


def test_collection_table_that_leaves_ram(fresh):
    fresh.collection_baser = fresh.collection_baser - COLLECTIONS + RAM_END - PAGE + 1
    fresh.restart_its()
    for index in range(8192):
        fresh.memory.write_u64(RAM_END - PAGE + 8 * index, KVM_CTE.pack(V=1, RDBase=0, ICID=index))
    assert f"{RAM_END:#x}" in refused(fresh, "EFAULT")


def test_collection_table_outside_ram(fresh):
    fresh.collection_baser = fresh.collection_baser - COLLECTIONS + RAM_END
    fresh.restart_its()
    refused(fresh, "EFAULT")


def test_device_table_outside_ram(fresh):
    fresh.device_baser = fresh.device_baser - DEVICES + RAM_END
    fresh.restart_its()
    refused(fresh, "EFAULT")


def test_level_1_table_that_leaves_ram():
    guest = Guest(indirect=True)
    guest.device_baser = guest.device_baser - DEVICES + RAM_END - PAGE + 1
    guest.restart_its()
    refused(guest, "EFAULT")


def test_level_2_page_outside_ram():
    guest = Guest(indirect=True)
    guest.restart_its()
    guest.memory.write_u64(DEVICES, KVM_LEVEL1.pack(V=1, Physical_Address=RAM_END))
    refused(guest, "EFAULT")


def test_itt_outside_ram(fresh):
    put_device(fresh, itt_addr=RAM_END)
    assert f"{RAM_END:#x}" in refused(fresh, "EFAULT")


def test_itt_that_leaves_ram_before_its_chain_ends(fresh):
    put_device(fresh, itt_addr=RAM_END - 0x100, bits=8)
    put_event(fresh, 0, distance=100, itt_addr=RAM_END - 0x100)
    assert f"{RAM_END - 0x100 + 8 * 100:#x}" in refused(fresh, "EFAULT")


def test_itt_of_invalid_entries_that_leaves_ram(fresh):
    put_device(fresh, itt_addr=RAM_END - 0x100, bits=8)
    assert f"{RAM_END:#x}" in refused(fresh, "EFAULT")


@pytest.mark.parametrize("bits", [17, 32])
def test_dte_with_too_many_event_bits(fresh, bits):
    put_device(fresh, 2, bits=bits)
    assert f"device 0x2: {bits} EventID bits" in refused(fresh, "EINVAL")


def test_dte_of_a_device_id_of_17_bits(fresh):
    table = RAM_BASE + 0x40_0000
    fresh.device_baser = fresh.device_baser - DEVICES + table + 8
    fresh.restart_its()
    fresh.memory.write_u64(table + 8 * 0x1_0000, KVM_DTE.pack(V=1, ITT_addr=ITTS, Size=4))
    assert "device 0x10000" in refused(fresh, "EINVAL")


def test_dte_of_a_device_id_of_17_bits_in_two_levels():
    guest = Guest(indirect=True)
    guest.restart_its()
    guest.memory.write_u64(DEVICES + 8 * 8, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2))
    guest.memory.write_u64(LEVEL2, KVM_DTE.pack(V=1, ITT_addr=ITTS, Size=4))
    assert "device 0x10000" in refused(guest, "EINVAL")


@pytest.mark.parametrize("intid", [1, 1023, 8191])
def test_ite_with_an_intid_below_the_lpis(fresh, intid):
    put_device(fresh)
    put_event(fresh, 3, intid)
    assert f"event 0x3: INTID {intid}" in refused(fresh, "EINVAL")


@pytest.mark.parametrize(("event_id", "distance"), [(0, 16), (15, 1), (8, 0xFFFF)])
def test_ite_whose_next_leaves_the_itt(fresh, event_id, distance):
    put_device(fresh)
    put_event(fresh, event_id, distance=distance)
    assert f"next {distance:#x}" in refused(fresh, "EINVAL")


def test_ite_of_an_unknown_collection(fresh):
    put_device(fresh)
    put_event(fresh, icid=6)
    assert "ICID 0x6" in refused(fresh, "EINVAL")


def test_configuration_byte_outside_ram(fresh):
    put_device(fresh)
    put_event(fresh, intid=8192 + RAM_END - RAM_BASE)
    assert "configuration" in refused(fresh, "EFAULT")


def test_pending_byte_outside_ram(fresh):
    fresh.vgic.dist.set_pendbaser(1, RAM_END)
    put_device(fresh)
    put_event(fresh)
    assert "pending" in refused(fresh, "EFAULT")


def test_a_failure_frees_devices_restored_before(fresh):
    put_device(fresh, 0, distance=1)
    put_device(fresh, 1, itt_addr=ITTS + 0x1000)
    put_event(fresh)
    put_event(fresh, itt_addr=ITTS + 0x1000, intid=8193, icid=77)
    refused(fresh, "EINVAL")
