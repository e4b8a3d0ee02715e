# SPDX-License-Identifier: Apache-2.0
"""SAVE_TABLES and RESTORE_TABLES against bytes worked out by hand from the ABI's bit layouts, and every refusal."""

import numpy as np
import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.commands import encode_many
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, QUEUE, RAM_BASE, RAM_END, Guest, offset_of


def words(guest, address, count):
    return [guest.memory.read_u64(address + 8 * n) for n in range(count)]


def refused(guest, errno):
    """RESTORE_TABLES fails with `errno` and leaves nothing behind."""
    with pytest.raises(KvmError) as caught:
        guest.its.restore_tables()
    assert caught.value.errno == errno
    assert not guest.its.devices
    assert not guest.its.collections
    assert not len(guest.vgic.lpis)
    return caught.value.cause


@pytest.fixture
def fresh(guest):
    """A guest whose ITS is as after RESET, its registers written, with one collection on vCPU 1 in RAM."""
    guest.restart_its()
    guest.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=1, ICID=5))
    return guest


def put_device(guest, device_id=0, bits=4, itt_addr=ITTS, distance=0):
    guest.memory.write_u64(DEVICES + 8 * device_id, KVM_DTE.pack(V=1, next=distance, ITT_addr=itt_addr, Size=bits - 1))


def put_event(guest, event_id=0, intid=8192, icid=5, distance=0, itt_addr=ITTS):
    guest.memory.write_u64(itt_addr + 8 * event_id, KVM_ITE.pack(next=distance, pINTID=intid, ICID=icid))


# --- saving ----------------------------------------------------------------------------------------------------------


def test_saved_bytes(setup1):
    setup1.its.save_tables()
    assert setup1.memory.read_u64(DEVICES + 8 * 2) == 0x8000_0000_0000_0000 | 5 << 49 | (ITTS >> 8) << 5 | 7
    assert setup1.memory.read_u64(DEVICES + 8 * 7) == 0x8000_0000_0000_0000 | (ITTS + 0x800 >> 8) << 5 | 7
    assert setup1.memory.read_u64(ITTS + 8 * 20) == 0x0000_0000_2003_0003
    assert setup1.memory.read_u64(ITTS + 0x800 + 8 * 255) == 0x0000_0000_2004_0002
    assert setup1.memory.read(COLLECTIONS, 24).hex(" ", 8) == "0300030000000080 0200020000000080 0000000000000000"


def test_collections_keep_the_order_of_their_mapping_and_unmapped_ones_are_marked(guest):
    guest.mapd(0)
    guest.mapc(9, 1)
    guest.mapti(0, 0, 8192, 0)
    guest.mapc(4, 2)
    guest.its.save_tables()
    assert words(guest, COLLECTIONS, 4) == [0x8000_0000_0001_0009, 0x8000_FFFF_FFFF_0000, 0x8000_0000_0002_0004, 0]


def test_next_of_events_counts_what_is_saved(guest):
    guest.mapd(0)
    guest.mapc(1, 1)
    for event_id in (250, 3, 15):
        guest.mapti(0, event_id, 8192 + event_id, 1)
    guest.its.save_tables()
    distances = {event: KVM_ITE.unpack(guest.memory.read_u64(ITTS + 8 * event))["next"] for event in (3, 15, 250)}
    assert distances == {3: 12, 15: 235, 250: 0}


def test_an_event_without_collection_leaves_zero_and_no_link(guest):
    guest.mapd(0)
    guest.mapc(1, 1)
    guest.mapc(2, 2)
    for event_id, icid in ((1, 1), (2, 2), (5, 1)):
        guest.mapti(0, event_id, 8192 + event_id, icid)
    guest.mapc(2, 2, valid=0)
    guest.memory.write_u64(ITTS + 8 * 2, 0xFFFF_FFFF_FFFF_FFFF)
    guest.its.save_tables()
    assert words(guest, ITTS + 8, 2) == [KVM_ITE.pack(next=4, pINTID=8193, ICID=1), 0]


def test_next_saturates_and_restore_steps_on(guest):
    """DeviceIDs further apart than 14 bits: the chain lands on an invalid entry and goes on by one."""
    # A flat table of 8 pages, for all 65536 DeviceIDs, has room further up only.
    table = RAM_BASE + 0x40_0000
    guest.device_baser = guest.device_baser - DEVICES + table + 7
    guest.restart_its()
    guest.enable_its()
    guest.mapc(0, 0)
    for number, device_id in enumerate((1, 2 + 0x3FFF, 0xFFFF)):
        guest.mapd(device_id, ITTS + 0x1000 * number, bits=5)
        guest.mapti(device_id, 3, 8200 + number, 0)
    guest.its.save_tables()
    assert KVM_DTE.unpack(guest.memory.read_u64(table + 8))["next"] == 0x3FFF
    assert KVM_DTE.unpack(guest.memory.read_u64(table + 8 * 0x4001))["next"] == 0x3FFF
    saved = guest.mappings()
    guest.restart_its()
    guest.its.restore_tables()
    assert guest.mappings() == saved


def test_a_stale_entry_in_a_saturated_gap_comes_back(guest):
    """The walk goes by single entries from where a saturated `next` lands to the next valid entry."""
    table = RAM_BASE + 0x40_0000
    guest.device_baser = guest.device_baser - DEVICES + table + 7
    guest.restart_its()
    guest.enable_its()
    guest.mapc(0, 0)
    guest.mapd(0, ITTS, bits=5)
    guest.mapd(0x8000, ITTS + 0x1000, bits=5)
    stale = KVM_DTE.pack(V=1, next=0x10, ITT_addr=ITTS + 0x2000, Size=4)
    guest.memory.write_u64(table + 8 * 0x2000, stale)
    guest.memory.write_u64(table + 8 * 0x4001, stale)
    guest.its.save_tables()
    guest.restart_its()
    guest.its.restore_tables()
    assert sorted(guest.its.devices) == [0, 0x4001, 0x8000]


def test_the_level_2_pages_get_the_dtes(guest):
    guest = Guest(indirect=True)
    for index in (0, 1):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    guest.mapc(0, 0)
    guest.mapd(2075, ITTS, bits=5)
    guest.mapd(9472, ITTS + 0x1000, bits=5)
    guest.its.save_tables()
    assert guest.memory.read_u64(LEVEL2 + 8 * 2075) == KVM_DTE.pack(V=1, next=7397, ITT_addr=ITTS, Size=4)
    assert guest.memory.read_u64(LEVEL2 + PAGE + 8 * 1280) == KVM_DTE.pack(V=1, ITT_addr=ITTS + 0x1000, Size=4)


def test_a_next_that_leaves_its_level_2_page(guest):
    """Linux c000a2607145: 59176 bytes of `next` with 48936 left in the page underflowed the remaining length."""
    test_guest = Guest(indirect=True)
    for index in (0, 1):
        address = DEVICES + 8 * index
        test_guest.memory.write_u64(address, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    test_guest.mapc(0, 0)
    for number, device_id in enumerate((2075, 9472)):
        test_guest.mapd(device_id, ITTS + 0x1000 * number, bits=5)
        test_guest.mapti(device_id, 1, 8192 + number, 0)
    saved = test_guest.mappings()
    test_guest.its.save_tables()
    test_guest.restart_its()
    test_guest.its.restore_tables()
    assert test_guest.mappings() == saved


def test_an_unreachable_device_is_skipped():
    """kernel selftests, vgic_its_save (b): the guest invalidates a level 1 entry after MAPD."""
    guest = Guest(indirect=True)
    for index in (0, 1):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    guest.mapd(0, ITTS, bits=13)
    guest.mapd(8192, ITTS + 0x10000, bits=13)
    guest.memory.write_u64(DEVICES + 8, 0)
    guest.memory.write(LEVEL2, b"\x55" * 2 * PAGE)
    guest.its.save_tables()
    assert guest.memory.read_u64(LEVEL2) == KVM_DTE.pack(V=1, next=0, ITT_addr=ITTS, Size=12)
    assert guest.memory.read(LEVEL2 + PAGE, PAGE) == b"\x55" * PAGE
    guest.restart_its()
    guest.its.restore_tables()
    assert list(guest.its.devices) == [0]


def test_a_shrunk_collection_table_drops_its_collections(guest):
    """kernel selftests, vgic_its_save (a): more collections than the shrunk table has room for, V kept at 1."""
    guest.collection_baser = guest.collection_baser - COLLECTIONS + LEVEL2 + 1
    guest.restart_its()
    guest.enable_its()
    guest.commands(encode_many("MAPC", "3", ICID=np.arange(8193), RDbase=np.arange(8193) % 4, V=1))
    assert len(guest.its.collections) == 8193
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    guest.its.write(offset_of("GITS_BASER1"), guest.collection_baser - 1)
    assert not guest.its.collections
    guest.memory.write(LEVEL2, b"\x55" * 2 * PAGE)
    guest.its.save_tables()
    assert guest.memory.read_u64(LEVEL2) == 0
    assert guest.memory.read(LEVEL2 + 8, 2 * PAGE - 8) == b"\x55" * (2 * PAGE - 8)


def test_a_full_collection_table_has_no_terminator(guest):
    guest.memory.write_u64(COLLECTIONS + PAGE, 0x5555)
    guest.commands(encode_many("MAPC", "3", ICID=np.arange(8192), V=1))
    guest.its.save_tables()
    assert guest.memory.read_u64(COLLECTIONS + PAGE - 8) == KVM_CTE.pack(V=1, RDBase=0, ICID=8191)
    assert guest.memory.read_u64(COLLECTIONS + PAGE) == 0x5555
    saved = guest.mappings()
    guest.restart_its()
    guest.its.restore_tables()
    assert guest.mappings() == saved


def test_save_restore_save_is_the_same_image(setup1):
    setup1.its.save_tables()
    image = setup1.memory.read(RAM_BASE, RAM_END - RAM_BASE)
    saved = setup1.mappings()
    setup1.restart_its()
    setup1.its.restore_tables()
    assert setup1.mappings() == saved
    setup1.its.save_tables()
    assert setup1.memory.read(RAM_BASE, RAM_END - RAM_BASE) == image


def test_saved_pages_are_dirty_and_no_others(setup1):
    setup1.memory.clear_dirty()
    setup1.its.save_tables()
    assert setup1.memory.dirty_pages().tolist() == [DEVICES, COLLECTIONS, ITTS]


def test_save_is_refused_while_a_vcpu_runs(setup1):
    setup1.vgic.running.add(0)
    for operation in (setup1.its.save_tables, setup1.its.restore_tables, setup1.its.reset):
        with pytest.raises(KvmError, match="EBUSY"):
            operation()


def test_tables_that_are_not_valid_are_neither_written_nor_read(setup1):
    setup1.its.save_tables()
    setup1.its.reset()
    setup1.memory.clear_dirty()
    setup1.its.save_tables()
    setup1.its.restore_tables()
    assert not len(setup1.memory.dirty_pages())
    assert setup1.mappings() == ({}, {})


def test_save_beyond_ram_writes_what_comes_before(guest):
    """MAPTI refuses an event whose ITE is outside RAM (Linux cafe7e544d49); only the collection table can still be."""
    guest.collection_baser = guest.collection_baser - COLLECTIONS + RAM_END - PAGE + 1
    guest.restart_its()
    guest.enable_its()
    guest.commands(encode_many("MAPC", "3", ICID=np.arange(8192), V=1))
    assert len(guest.its.collections) == 8192
    with pytest.raises(KvmError, match="EFAULT"):
        guest.its.save_tables()
    assert guest.memory.read_u64(RAM_END - 8) == KVM_CTE.pack(V=1, ICID=8191)


# --- restoring -------------------------------------------------------------------------------------------------------


def test_restored_state(fresh):
    put_device(fresh, 3)
    put_event(fresh, 1, 8200, distance=6)
    put_event(fresh, 7, 8300)
    fresh.configure(8300, 0x40)
    fresh.set_pending_bit(1, 8300)
    fresh.its.restore_tables()
    assert fresh.mappings() == ({(3, 1): (8200, 5), (3, 7): (8300, 5)}, {5: 1})
    assert fresh.its.devices[3].itt_addr == ITTS
    assert fresh.its.devices[3].num_eventid_bits == 4
    assert fresh.vgic.lpis[8200] == (8200, 1, 1, 0xA0, True, False, False)
    assert fresh.vgic.lpis[8300] == (8300, 1, 1, 0x40, False, True, False)
    assert not fresh.pending_bit(1, 8300)


def test_an_unmapped_collection_comes_back_unmapped_and_loads_nothing(fresh):
    """Linux 8c58be34494b. The pending bit of an LPI without a target stays where it is."""
    fresh.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=COLLECTION_NOT_MAPPED, ICID=5))
    put_device(fresh)
    put_event(fresh)
    for vcpu in range(4):
        fresh.set_pending_bit(vcpu, 8192)
    fresh.its.restore_tables()
    assert fresh.vgic.lpis[8192].target_vcpu == -1
    assert not fresh.vgic.lpis[8192].pending_latch
    assert [fresh.pending_bit(vcpu, 8192) for vcpu in range(4)] == [1] * 4
    fresh.enable_its()
    fresh.mapc(5, 0)
    assert fresh.vgic.lpis[8192].target_vcpu == 0
    assert not fresh.vgic.lpis[8192].pending_latch


def test_rdbase_is_32_bits_wide(fresh):
    fresh.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=0xF_0000_0002, ICID=5))
    fresh.its.restore_tables()
    assert fresh.mappings()[1] == {5: 2}


def test_a_second_event_of_an_lpi_reads_nothing_again(fresh):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=2, ICID=6))
    put_device(fresh)
    put_event(fresh, 0, 8192, icid=5, distance=1)
    put_event(fresh, 1, 8192, icid=6)
    fresh.set_pending_bit(2, 8192)
    fresh.its.restore_tables()
    assert fresh.vgic.lpis[8192].references == 2
    assert fresh.vgic.lpis[8192].target_vcpu == 1
    assert fresh.pending_bit(2, 8192)


def test_stale_events_after_the_end_and_between_are_not_seen(fresh):
    put_device(fresh)
    put_event(fresh, 1, 8200, distance=4)
    put_event(fresh, 3, 8201)
    put_event(fresh, 5, 8202)
    put_event(fresh, 9, 8203)
    fresh.its.restore_tables()
    assert list(fresh.its.devices[0].ites) == [1, 5]


def test_a_stale_event_before_the_first_is_seen(fresh):
    put_device(fresh)
    put_event(fresh, 0, 8199, distance=2)
    put_event(fresh, 1, 8200)
    put_event(fresh, 2, 8201)
    fresh.its.restore_tables()
    assert list(fresh.its.devices[0].ites) == [0, 2]


def test_an_itt_of_invalid_entries_is_an_empty_device(fresh):
    put_device(fresh)
    fresh.its.restore_tables()
    assert fresh.its.devices[0].ites == {}


def test_dte_next_out_of_the_table_ends_the_walk(fresh):
    put_device(fresh, 8190, distance=0x3FFF)
    fresh.its.restore_tables()
    assert list(fresh.its.devices) == [8190]


def test_a_chain_may_end_before_the_table_leaves_ram(fresh):
    put_device(fresh, itt_addr=RAM_END - 0x100, bits=16)
    put_event(fresh, 31, itt_addr=RAM_END - 0x100)
    fresh.its.restore_tables()
    assert fresh.mappings()[0] == {(0, 31): (8192, 5)}


def test_a_large_intid_is_an_lpi_as_any_other(fresh):
    """Nothing compares a restored INTID with GICR_PROPBASER.IDbits."""
    put_device(fresh)
    put_event(fresh, intid=0x1_0005)
    fresh.its.restore_tables()
    assert 0x1_0005 in fresh.vgic.lpis


def test_the_end_of_the_walk_of_one_level_2_page_is_the_end_of_all():
    guest = Guest(indirect=True)
    for index in (0, 1):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    dte = KVM_DTE.pack(V=1, next=0, ITT_addr=ITTS, Size=4)
    guest.memory.write_u64(LEVEL2 + 8 * 5, dte)
    guest.memory.write_u64(LEVEL2 + PAGE, dte)
    guest.restart_its()
    guest.its.restore_tables()
    assert list(guest.its.devices) == [5]


@pytest.mark.parametrize("rdbase", [4, 0xFFFF, 0xFFFF_FFFE])
def test_cte_of_a_missing_vcpu(fresh, rdbase):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=rdbase, ICID=6))
    assert f"RDBase {rdbase:#x}" in refused(fresh, "EINVAL")


def test_cte_of_a_collection_that_is_there(fresh):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=2, ICID=5))
    refused(fresh, "EEXIST")


def test_restore_without_reset_frees_the_collections_that_were_there(setup1):
    setup1.its.save_tables()
    with pytest.raises(KvmError, match="EEXIST"):
        setup1.its.restore_tables()
    assert not setup1.its.collections
    assert {ite.collection for device in setup1.its.devices.values() for ite in device.ites.values()} == {None}


def test_cte_whose_icid_has_no_entry(fresh):
    fresh.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=2, ICID=8192))
    refused(fresh, "EINVAL")


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


def test_a_failed_restore_has_taken_pending_bits_and_can_be_repeated(fresh):
    """Linux 8c5e74c90bb5: nothing is left to collide with. The first event's pending bit is gone all the same."""
    put_device(fresh)
    put_event(fresh, 0, 8192, distance=1)
    put_event(fresh, 1, 8193, icid=6)
    fresh.set_pending_bit(1, 8192)
    refused(fresh, "EINVAL")
    assert not fresh.pending_bit(1, 8192)
    put_event(fresh, 1, 8193)
    fresh.its.restore_tables()
    assert list(fresh.its.devices[0].ites) == [0, 1]
    assert not fresh.vgic.lpis[8192].pending_latch


def test_a_failure_frees_devices_restored_before(fresh):
    put_device(fresh, 0, distance=1)
    put_device(fresh, 1, itt_addr=ITTS + 0x1000)
    put_event(fresh)
    put_event(fresh, itt_addr=ITTS + 0x1000, intid=8193, icid=77)
    refused(fresh, "EINVAL")


def test_the_queue_survives_a_migration(setup1):
    """CREADR and CWRITER are restored; commands queued meanwhile run when the ITS is enabled, after the tables."""
    setup1.its.save_tables()
    writer = setup1.its.user_read(offset_of("GITS_CWRITER"))
    setup1.restart_its()
    setup1.its.user_write(offset_of("GITS_CREADR"), writer)
    setup1.its.user_write(offset_of("GITS_CWRITER"), writer)
    setup1.its.restore_tables()
    setup1.enable_its()
    setup1.command("INT", DeviceID=2, EventID=20)
    assert setup1.memory.read_u64(QUEUE + writer) & 0xFF == 3
    assert setup1.vgic.acknowledge(3) == 8195
