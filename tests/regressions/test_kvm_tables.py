# SPDX-License-Identifier: Apache-2.0
"""Bugs that Linux had in SAVE_TABLES, RESTORE_TABLES and the guest's commands.

Each runs on the newest KVM and on one without the fix, and tells them apart; `test_kvm_catalogue` says which are not
here, and why.
"""

import pytest

from gicmodel.kvm import NEWEST, HostOops, KvmError, restore_tables
from gicmodel.kvm.pending_tables import take_pending_bit
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED as NOT_MAPPED
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.memory import GuestMemory
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, RAM_BASE, RAM_END, Guest, offset_of, without
from tests.kvm.tables import put_device, put_event, words


def errno(operation):
    """The name of the error of an operation; None if it succeeds."""
    try:
        operation()
    except KvmError as error:
        return error.errno
    return None


def mapped(behaviour=NEWEST, **choices):
    """A guest with events 3 and 9 of device 2, LPIs 8195 and 8196, on vCPUs 3 and 2."""
    guest = Guest(behaviour=behaviour, **choices)
    for icid in (3, 2):
        guest.mapc(icid, icid)
    guest.mapd(2, bits=5)
    guest.mapti(2, 3, 8195, 3)
    guest.mapti(2, 9, 8196, 2)
    return guest


def events(guest):
    """The events that are mapped."""
    return sorted(guest.mappings()[0])


@pytest.mark.parametrize(("behaviour", "error"), [(NEWEST, None), (without("restores_unmapped_collections"), "EINVAL")])
def test_an_unmapped_collection_is_restored(behaviour, error):
    """Linux 8c58be34494b, "Fix restoration of unmapped collections"."""
    guest = mapped(behaviour)
    guest.mapti(2, 4, 8200, 9)
    guest.its.save_tables()
    guest.restart_its()
    assert errno(guest.its.restore_tables) == error


@pytest.mark.parametrize(
    ("behaviour", "discarded"), [(NEWEST, False), (without("discard_needs_mapped_collection"), True)]
)
def test_discard_of_an_unmapped_collection(behaviour, discarded):
    """Linux, "Properly check the unmapped coll in DISCARD handler"."""
    guest = mapped(behaviour)
    guest.mapti(2, 4, 8200, 9)
    guest.command("DISCARD", DeviceID=2, EventID=4)
    assert ((2, 4) not in events(guest)) == discarded


@pytest.mark.parametrize(("behaviour", "error"), [(NEWEST, None), (without("stops_at_table_end"), "EFAULT")])
def test_a_next_out_of_the_level_2_page(behaviour, error):
    """Linux c000a2607145, "Fix exit condition in scan_its_table()": `next` covers 59176 bytes, 48936 are left."""
    guest = Guest(behaviour=behaviour, indirect=True)
    for index, page in enumerate((LEVEL2 + 4 * PAGE, LEVEL2)):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=page))
    guest.mapc(0, 0)
    for number, device_id in enumerate((2075, 9472)):
        guest.mapd(device_id, ITTS + 0x1000 * number, bits=5)
    guest.its.save_tables()
    guest.restart_its()
    assert errno(guest.its.restore_tables) == error
    assert sorted(guest.its.devices) == ([] if error else [2075, 9472])


def test_a_walk_without_end_takes_what_lies_behind_the_table():
    """The same bug: what it comes to may look like a device."""
    guest = Guest(behaviour=without("stops_at_table_end", "checks_restored_ids"))
    guest.memory.write_u64(DEVICES + PAGE - 8, KVM_DTE.pack(V=1, next=3, ITT_addr=ITTS, Size=4))
    guest.memory.write_u64(DEVICES + PAGE + 16, KVM_DTE.pack(V=1, ITT_addr=ITTS, Size=4))
    guest.restart_its()
    guest.its.restore_tables()
    assert sorted(guest.its.devices) == [8191, 8194]


@pytest.mark.parametrize(("behaviour", "error"), [(NEWEST, None), (without("mapti_checks_itt"), "EFAULT")])
def test_an_event_that_cannot_be_saved_is_not_mapped(behaviour, error):
    """Linux cafe7e544d49, "Check that new ITEs could be saved in guest memory"."""
    guest = mapped(behaviour)
    guest.mapd(4, RAM_END - 0x100, bits=8)
    guest.mapti(4, 200, 8300, 3)
    assert ((4, 200) in events(guest)) == (error is not None)
    assert errno(guest.its.save_tables) == error


@pytest.mark.parametrize("entry", ["CTE", "DTE"])
def test_an_entry_that_could_not_be_saved_again_is_not_restored(entry):
    """Linux 243b1f6c8f07, "Add more checks when restoring ITS tables"."""

    def restored(behaviour):
        guest = Guest(behaviour=behaviour)
        table = RAM_BASE + 0x40_0000
        # Nine pages of DTEs: DeviceIDs of 17 bits.
        guest.device_baser = guest.device_baser - DEVICES + table + 8
        guest.restart_its()
        if entry == "CTE":
            guest.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=1, ICID=8192))
        else:
            guest.memory.write_u64(table + 8 * 0x1_0000, KVM_DTE.pack(V=1, ITT_addr=ITTS, Size=4))
        return errno(guest.its.restore_tables), list(guest.its.collections), list(guest.its.devices)

    accepted = ([8192], []) if entry == "CTE" else ([], [0x1_0000])
    assert restored(NEWEST) == ("EINVAL", [], [])
    assert restored(without("checks_restored_ids")) == (None, *accepted)


def test_what_was_accepted_in_spite_of_its_place_fails_the_next_save():
    """The same bug, as users of Linux 5.18 saw it."""
    guest = Guest(behaviour=without("checks_restored_ids", "skips_unreachable_devices"))
    table = RAM_BASE + 0x40_0000
    guest.device_baser = guest.device_baser - DEVICES + table + 8
    guest.restart_its()
    guest.memory.write_u64(table + 8 * 0x1_0000, KVM_DTE.pack(V=1, ITT_addr=ITTS, Size=4))
    guest.its.restore_tables()
    assert errno(guest.its.save_tables) == "EINVAL"


@pytest.mark.parametrize(
    ("behaviour", "error", "collections"),
    [(NEWEST, "EINVAL", []), (without("reports_cte_errors", "frees_collections_of_failed_restore"), None, [3])],
)
def test_a_bad_cte_in_the_middle(behaviour, error, collections):
    """Linux a1ccfd6f6e06, "Do not ignore vgic_its_restore_cte failures": success, with half the collections."""
    guest = mapped(behaviour)
    guest.mapd(2, valid=0)
    guest.its.save_tables()
    guest.memory.write_u64(COLLECTIONS + 8, KVM_CTE.pack(V=1, RDBase=77, ICID=2))
    guest.restart_its()
    assert errno(guest.its.restore_tables) == error
    assert list(guest.its.collections) == collections


@pytest.mark.parametrize(
    ("behaviour", "error"), [(NEWEST, None), (without("frees_collections_of_failed_restore"), "EEXIST")]
)
def test_a_failed_restore_can_be_repeated(behaviour, error):
    """Linux 8c5e74c90bb5, "Undo work in failed ITS restores"."""
    guest = mapped(behaviour)
    guest.its.save_tables()
    good = guest.memory.read_u64(ITTS + 8 * 9)
    guest.restart_its()
    guest.memory.write_u64(ITTS + 8 * 9, KVM_ITE.pack(pINTID=5, ICID=2))
    assert errno(guest.its.restore_tables) == "EINVAL"
    guest.memory.write_u64(ITTS + 8 * 9, good)
    assert errno(guest.its.restore_tables) == error


@pytest.mark.parametrize(("behaviour", "devices"), [(NEWEST, [7]), (without("clears_unmapped_entries"), [2, 7])])
def test_an_unmapped_device_stays_away(behaviour, devices):
    """Linux e9649129d33d, "Clear DTE when MAPD unmaps a device": a stale entry comes before the first."""
    guest = mapped(behaviour)
    guest.mapd(7, ITTS + 0x1000, bits=5)
    guest.its.save_tables()
    guest.mapd(2, valid=0)
    guest.migrate_in_place()
    assert sorted(guest.its.devices) == devices


@pytest.mark.parametrize(
    ("behaviour", "restored"), [(NEWEST, [(2, 9)]), (without("clears_unmapped_entries"), [(2, 3), (2, 9)])]
)
def test_a_discarded_event_stays_away(behaviour, restored):
    """Linux 7602ffd1d5e8, "Clear ITE when DISCARD frees an ITE"."""
    guest = mapped(behaviour)
    guest.its.save_tables()
    guest.command("DISCARD", DeviceID=2, EventID=3)
    guest.migrate_in_place()
    assert events(guest) == restored


UNCHECKED = without("checks_restored_event_bits")
ENDLESS = without("checks_restored_event_bits", "stops_at_table_end")


@pytest.mark.parametrize(
    ("behaviour", "bits", "error", "events"),
    [
        (NEWEST, 17, "EINVAL", []),
        (UNCHECKED, 17, None, [0, 1]),
        (UNCHECKED, 27, None, [0, 1]),
        (UNCHECKED, 28, None, [0, 1]),
        (UNCHECKED, 29, None, [0]),
        (UNCHECKED, 32, None, [0]),
        (ENDLESS, 28, None, [0, 1]),
        (ENDLESS, 29, None, []),
    ],
)
def test_a_dte_of_more_event_bits_than_the_its_has(behaviour, bits, error, events):
    """Linux 9ce754ed8e7a, "Reject restored DTE with out-of-range num_eventid_bits": an ITT's size in bytes was an int.

    From 29 bits on that is 0. Before c000a2607145 such a table was not read at all, after it only its first entry was.
    """
    guest = Guest(behaviour=behaviour)
    guest.restart_its()
    guest.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=1, ICID=5))
    put_device(guest, bits=bits)
    put_event(guest, 0, 8192, distance=1)
    put_event(guest, 1, 8193)
    assert errno(guest.its.restore_tables) == error
    assert [event for device in guest.its.devices.values() for event in device.ites] == events


@pytest.mark.parametrize(("bits", "error"), [(20, "EFAULT"), (28, "EFAULT"), (29, None)])
def test_the_walk_of_an_itt_without_events_ends_where_ram_does(bits, error):
    guest = Guest(behaviour=UNCHECKED)
    guest.restart_its()
    put_device(guest, bits=bits, itt_addr=RAM_END - PAGE)
    assert errno(guest.its.restore_tables) == error


def test_an_event_that_has_lost_its_collection():
    """Linux c6c156d931c3, "Don't dereference a NULL collection on ITT save"."""
    for behaviour, survives in ((NEWEST, True), (without("saves_events_without_collection"), False)):
        guest = mapped(behaviour)
        guest.mapc(3, 3, valid=0)
        if survives:
            guest.its.save_tables()
            assert guest.memory.read_u64(ITTS + 8 * 3) == 0
            assert KVM_ITE.unpack(guest.memory.read_u64(ITTS + 8 * 9))["next"] == 0
        else:
            with pytest.raises(HostOops, match="device 0x2"):
                guest.its.save_tables()


@pytest.mark.parametrize(("behaviour", "distance"), [(NEWEST, 0), (without("next_skips_zero_entries"), 6)])
def test_the_event_before_one_that_has_lost_its_collection(behaviour, distance):
    """7.2.13, 6.12.117 and 6.1.192 write the zero entry of c6c156d931c3, and still lead the chain to it."""
    guest = mapped(behaviour)
    guest.mapc(2, 2, valid=0)
    guest.its.save_tables()
    assert guest.memory.read_u64(ITTS + 8 * 3) == KVM_ITE.pack(next=distance, pINTID=8195, ICID=3)
    assert guest.memory.read_u64(ITTS + 8 * 9) == 0
    guest.restart_its()
    guest.its.restore_tables()
    assert events(guest) == [(2, 3)]


@pytest.mark.parametrize(("behaviour", "error"), [(NEWEST, None), (without("skips_unreachable_devices"), "EINVAL")])
def test_a_device_whose_level_1_entry_is_gone(behaviour, error):
    """Linux cc5d96036e01, "Skip unreachable devices instead of failing the save"."""
    guest = Guest(behaviour=behaviour, indirect=True)
    for index in (0, 1):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    guest.mapd(0, ITTS, bits=5)
    guest.mapd(8192, ITTS + 0x1000, bits=5)
    guest.memory.write_u64(DEVICES + 8, 0)
    assert errno(guest.its.save_tables) == error
    chained = KVM_DTE.unpack(guest.memory.read_u64(LEVEL2))
    assert (chained["V"], chained["next"]) == ((1, 0) if error is None else (1, 0x2000))


@pytest.mark.parametrize(("behaviour", "overrun"), [(NEWEST, False), (without("baser_change_frees"), True)])
def test_more_collections_than_the_table_has_room_for(behaviour, overrun):
    """Linux 8cd92f77ae4f, "Free the caches when GITS_BASER changes": CTEs were written behind a table that shrank."""
    guest = Guest(behaviour=behaviour)
    guest.collection_baser = guest.collection_baser - COLLECTIONS + LEVEL2 + 1
    guest.restart_its()
    guest.enable_its()
    guest.mapc(8192, 1)
    for icid in range(8192):
        guest.its.add_collection(icid)
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    guest.its.write(offset_of("GITS_BASER1"), guest.collection_baser - 1)
    guest.memory.write(LEVEL2 + PAGE, b"\x55" * 24)
    guest.its.save_tables()
    kept = 0x5555_5555_5555_5555
    after = [KVM_CTE.pack(V=1, RDBase=NOT_MAPPED, ICID=8191), 0] if overrun else [kept, kept]
    assert words(guest, LEVEL2 + PAGE, 3) == [*after, kept]


@pytest.mark.parametrize(("behaviour", "targets"), [(NEWEST, (2, 2, 1)), (without("movall_filters_source"), (2, 2, 2))])
def test_movall_leaves_the_other_vcpus_alone(behaviour, targets):
    """Linux 751f4641560b, "Fix MOVALL handling of source redistributor"."""
    guest = mapped(behaviour)
    guest.mapc(1, 1)
    guest.mapti(2, 4, 8200, 1)
    guest.command("MOVALL", RDbase=3, RDbase2=2)
    assert tuple(guest.vgic.lpis[intid].target_vcpu for intid in (8195, 8196, 8200)) == targets


def test_what_restore_takes_out_of_ram_is_dirty(monkeypatch):
    """Linux 2f8b1ad2228a, "Allow no running vcpu on restoring vgic3 LPI pending status"."""

    def dirtied():
        guest = mapped()
        guest.its.save_tables()
        guest.restart_its()
        guest.set_pending_bit(3, 8195)
        guest.memory.clear_dirty()
        guest.its.restore_tables()
        return guest.memory.dirty_pages().tolist() == [guest.vgic.dist.pending_tables[3]]

    def unmarked(memory, address, value):
        memory.octets[address - memory.base] = value

    assert dirtied()
    monkeypatch.setattr(restore_tables._Itts, "_restore_plain", lambda self, device, itt: 0)
    assert dirtied(), "one by one, too"
    monkeypatch.setattr(GuestMemory, "write_u8", unmarked)
    assert not dirtied()


def leaking_add_lpi(dist, intid, target_vcpu):
    """The LPI is there before its bytes are read."""
    slot = dist.lpis.allocate(intid, target_vcpu, 0, True, False)
    take_pending_bit(dist, target_vcpu, intid)
    return slot


def test_an_lpi_whose_pending_byte_cannot_be_read_leaves_no_reference(monkeypatch):
    """Linux, "Fix memory leak on the error path of vgic_add_lpi()"."""

    def left_over():
        guest = mapped()
        guest.vgic.dist.set_pendbaser(3, RAM_END)
        guest.mapti(2, 4, 8200, 3)
        assert (2, 4) not in events(guest)
        return 8200 in guest.vgic.lpis

    assert not left_over()
    monkeypatch.setattr("gicmodel.kvm.its.add_lpi", leaking_add_lpi)
    assert left_over()
