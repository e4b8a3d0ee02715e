# SPDX-License-Identifier: Apache-2.0
"""RESTORE_TABLES: what a walk of the tables finds, and what becomes of it."""

import pytest

from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_LEVEL1
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, QUEUE, RAM_END, Guest, offset_of
from tests.kvm.tables import put_device, put_event


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
    assert fresh.vgic.lpis[8200][:7] == (8200, 1, 1, 0xA0, True, False, False)
    assert fresh.vgic.lpis[8300][:7] == (8300, 1, 1, 0x40, False, True, False)
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


def test_a_cte_that_is_not_valid_ends_the_collection_table(fresh):
    fresh.memory.write_u64(COLLECTIONS + 16, KVM_CTE.pack(V=1, RDBase=77, ICID=6))
    fresh.its.restore_tables()
    assert fresh.mappings()[1] == {5: 1}


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


def test_each_of_two_itss_has_tables_of_its_own():
    """The events of one are not those of the other, but an LPI that both map is one LPI."""
    guest = Guest(nr_its=2)
    first, second = guest.vgic.its
    guest.mapc(1, 1)
    guest.mapd(4)
    guest.mapti(4, 0, 8200, 1)
    guest.mapti(4, 1, 8201, 1)
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    # The queue is free again, and the second ITS has its tables further up.
    guest.its, distance = second, LEVEL2 - DEVICES
    guest.device_baser += distance
    guest.collection_baser += distance
    guest.set_up_its()
    guest.mapc(6, 3)
    guest.mapd(4, ITTS + 0x1000)
    guest.mapti(4, 0, 8201, 6)
    guest.mapti(4, 9, 8300, 6)
    guest.command("INT", DeviceID=4, EventID=9)
    for its in (first, second):
        its.save_tables()
    guest.vgic.save_pending_tables()
    saved = [its.devices[4].ites.keys() for its in (first, second)]
    for its in (first, second):
        its.reset()
    assert guest.vgic.lpis[8300].references == 1, "its vCPU's list keeps it"
    assert len(guest.vgic.lpis) == 1
    for its, offset in ((second, distance), (first, 0)):
        its.user_write(offset_of("GITS_BASER0"), guest.device_baser - distance + offset)
        its.user_write(offset_of("GITS_BASER1"), guest.collection_baser - distance + offset)
        its.restore_tables()
    assert [its.devices[4].ites.keys() for its in (first, second)] == saved
    assert guest.vgic.lpis[8201].references == 2
    assert guest.vgic.lpis[8201].target_vcpu == 3, "that of the ITS which was restored first"
    assert guest.vgic.acknowledge_all(3) == [8300]


@pytest.mark.parametrize("missing", ["devices", "collections"])
def test_a_table_that_is_not_valid_is_skipped_and_the_other_read(setup1, missing):
    if missing == "collections":
        setup1.mapd(2, valid=0)
        setup1.mapd(7, valid=0)
        setup1.mapd(9, ITTS)
    setup1.its.save_tables()
    events, collections = setup1.mappings()
    assert bool(events) is (missing == "devices")
    if missing == "devices":
        setup1.device_baser &= ~(1 << 63)
    else:
        setup1.collection_baser &= ~(1 << 63)
    setup1.restart_its()
    setup1.its.restore_tables()
    assert list(setup1.its.devices) == ([] if missing == "devices" else [9])
    assert setup1.mappings()[1] == (collections if missing == "devices" else {})
