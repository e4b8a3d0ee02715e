# SPDX-License-Identifier: Apache-2.0
"""SAVE_TABLES against bytes worked out by hand from the ABI's bit layouts."""

import numpy as np
import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.commands import encode_many
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, RAM_BASE, RAM_END, Guest, offset_of
from tests.kvm.tables import words


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


def test_nothing_happens_while_a_vcpu_runs(setup1):
    mapped, image = setup1.mappings(), setup1.memory.octets.copy()
    setup1.vgic.running.add(0)
    for operation in (setup1.its.save_tables, setup1.its.restore_tables, setup1.its.reset):
        with pytest.raises(KvmError, match="EBUSY"):
            operation()
    assert setup1.mappings() == mapped
    assert (setup1.memory.octets == image).all()


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
