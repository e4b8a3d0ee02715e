# SPDX-License-Identifier: Apache-2.0
"""SAVE_TABLES and RESTORE_TABLES of several devices at once: what comes of it is what device by device makes."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gicmodel.errors import LinuxError
from gicmodel.kvm import HostOops, KvmBehaviour, restore_tables, save_tables
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_LEVEL1
from gicmodel.memory import PAGE_BYTES
from tests.kvm.guest import COLLECTIONS, CONFIGURATION, DEVICES, ITTS, LEVEL2, PAGE, PENDING, RAM_END, Guest

BITS = 6
FAR = 8192
"""The first DeviceID of the second page of a two-level table."""
save_devices = save_tables._save_devices

itts = st.sampled_from(
    [
        ITTS,
        ITTS + 0x100,
        ITTS + 0x200,
        DEVICES,
        DEVICES + 0x100,
        LEVEL2,
        LEVEL2 + PAGE,
        RAM_END - 0x100,
        PENDING + 0x400,
    ]
)
honest = st.integers(1, 60).map(lambda number: ITTS + 0x100 * number)
devices = st.dictionaries(
    st.sampled_from([0, 1, 2, 33, FAR, FAR + 1, 3 * FAR]),
    st.tuples(itts | honest | honest, st.sets(st.integers(0, 63), max_size=4)),
    max_size=4,
)
guests = st.fixed_dictionaries(
    {
        "devices": devices,
        "level2": st.sampled_from([None, [LEVEL2, LEVEL2 + PAGE]]),
        "release": st.sampled_from(["7.3", "7.3", "6.1", "5.18"]),
        "unmapped": st.sampled_from([None, None, 1]),
        "same_intid": st.sampled_from([False, False, True]),
    }
)


def image_of(devices, level2=None, release="7.3"):
    plain = {"unmapped": None, "same_intid": False}
    return {"devices": devices, "level2": level2, "release": release} | plain


def guest_of(image):
    """A guest of vCPU n's collection n, whose devices' events have INTIDs of their own."""
    pages = image["level2"]
    guest = Guest(indirect=pages is not None, behaviour=KvmBehaviour.release(image["release"]))
    for index, page in enumerate(pages or ()):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=page))
    for icid in range(4):
        guest.mapc(icid, icid)
    intid = 8192
    for device_id, (itt, events) in image["devices"].items():
        guest.mapd(device_id, itt, BITS)
        for event_id in events:
            guest.mapti(device_id, event_id, 8192 if image["same_intid"] else intid, event_id % 4)
            intid += 9
    if image["unmapped"] is not None:
        guest.mapc(image["unmapped"], 0, valid=0)
    guest.memory.clear_dirty()
    return guest


def outcome(guest, operation):
    try:
        operation()
        refused = None
    except (LinuxError, HostOops) as error:
        refused = str(error)
    lpis = guest.vgic.lpis
    rows = lpis.rows[lpis.slots()].tolist()
    pages = {page: guest.memory.read(page, PAGE_BYTES) for page in guest.memory.written_pages().tolist()}
    return refused, guest.mappings(), rows, guest.memory.dirty_pages().tolist(), pages


def one_by_one(patch):
    patch.setattr(save_tables, "_save_devices", lambda *of, at_once: not at_once and save_devices(*of, at_once))
    patch.setattr(restore_tables._Itts, "_restore_plain", lambda self, device, itt: 0)


@settings(max_examples=100, deadline=None)
@given(guests)
@example(image_of({0: (ITTS, {1}), 1: (DEVICES, {0})}))
@example(image_of({0: (DEVICES, {1}), FAR: (ITTS, {2})}, [LEVEL2, LEVEL2 + PAGE]))
@example(image_of({FAR + n: (ITTS + 0x1_0000 * n, {2}) for n in range(3)}, [LEVEL2, DEVICES]))
@example(image_of({0: (ITTS, {1}), 1: (RAM_END - 0x100, {1, 40})}, release="5.18"))
def test_saved_at_once(image):
    at_once, single = guest_of(image), guest_of(image)
    found = outcome(at_once, at_once.its.save_tables)
    with pytest.MonkeyPatch.context() as patch:
        one_by_one(patch)
        assert found == outcome(single, single.its.save_tables)


def saved(image, pending):
    """A guest whose tables are saved, some pending bits set, the ITS reset."""
    guest = guest_of(image)
    outcome(guest, guest.its.save_tables)
    for icid in range(4):
        guest.memory.write_u64(COLLECTIONS + 8 * icid, KVM_CTE.pack(V=1, RDBase=icid, ICID=icid))
    for vcpu, octets in enumerate(pending):
        guest.memory.write(guest.vgic.dist.pending_tables[vcpu] + 1024, octets)
    guest.restart_its()
    guest.memory.clear_dirty()
    return guest


@settings(max_examples=100, deadline=None)
@given(guests, st.lists(st.binary(min_size=20, max_size=20), min_size=4, max_size=4))
def test_restored_at_once(image, pending):
    at_once, single = saved(image, pending), saved(image, pending)
    found = outcome(at_once, at_once.its.restore_tables)
    with pytest.MonkeyPatch.context() as patch:
        one_by_one(patch)
        assert found == outcome(single, single.its.restore_tables)


@pytest.mark.parametrize("level2", [None, [LEVEL2]])
def test_honest_tables_are_not_taken_one_by_one(level2, monkeypatch):
    """Of two devices one has no event yet."""
    guest = guest_of(image_of({1: (ITTS, {3, 4, 31}), FAR - 1: (ITTS + 0x200, set())}, level2))
    before = guest.mappings()
    calls = []

    def save(its, devices, following, at_once):
        calls.append(len(devices))
        return save_devices(its, devices, following, at_once)

    monkeypatch.setattr(save_tables, "_save_devices", save)
    monkeypatch.setattr(restore_tables, "_restore_ite", None)
    guest.its.save_tables()
    guest.restart_its()
    guest.its.restore_tables()
    assert calls == [2]
    assert guest.mappings() == before
    guest.enable_its()
    guest.mapti(FAR - 1, 7, 8300, 2)
    guest.mapti(1, 0, 8301, 2)
    events, _ = guest.mappings()
    assert {event: events[event] for event in events.keys() - before[0]} == {(FAR - 1, 7): (8300, 2), (1, 0): (8301, 2)}


def test_a_pending_table_over_the_configuration_table_is_taken_one_by_one(monkeypatch):
    """The bit that is taken for the first LPI is in the configuration byte of another."""
    guest = saved(image_of({0: (ITTS, {1, 5})}), [])
    guest.vgic.dist.set_pendbaser(1, CONFIGURATION)
    guest.configure(8192 + 1024, 1)
    guest.its.restore_tables()
    assert guest.vgic.lpis[8192].pending_latch
    assert guest.memory.read_u8(CONFIGURATION + 1024) == 0
