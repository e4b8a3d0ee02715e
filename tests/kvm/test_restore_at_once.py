# SPDX-License-Identifier: Apache-2.0
"""RESTORE_TABLES maps the events of an ITT at once where it can: what comes of it is what Linux, one by one, makes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gicmodel.kvm import KvmError, restore_tables
from gicmodel.kvm.lpi import LPI
from gicmodel.layouts.kvm_abi import KVM_CTE
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER
from tests.kvm.guest import COLLECTIONS, CONFIGURATION, DEFAULT_BYTE, ITTS, PENDING, RAM_END, Guest
from tests.kvm.tables import put_device, put_event

ICIDS, BITS = 4, 6
OTHER = 1
INTIDS = st.integers(8192, 8192 + 600) | st.integers(9216, 9216 + 75)
ITT_PAGE = ITTS
ITT = ITTS + 0x400
"""Where, if a pending table is there, the bits of LPIs from 8192 on are."""


defects = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["excess", "intid", "icid"]),
    st.sampled_from([-1, 1, ICIDS, 8191, 0xFFFF, 0x1_0000, 0xFFFF_FFFF]),
)
images = st.fixed_dictionaries(
    {
        "events": st.lists(
            st.fixed_dictionaries({"gap": st.integers(1, 4), "intid": INTIDS, "icid": st.integers(0, ICIDS - 1)}),
            min_size=4,
            max_size=12,
            unique_by=lambda event: event["intid"],
        ),
        "defect": st.none() | st.none() | defects,
        "twice": st.sampled_from([False, False, True]),
        "pending": st.lists(st.integers(0, 255), min_size=6, max_size=6),
        "pending_tables": st.sampled_from([PENDING, PENDING, ITT_PAGE, CONFIGURATION - 0x1_0000, RAM_END]),
        "configuration": st.sampled_from([CONFIGURATION, CONFIGURATION, PENDING, RAM_END - 0x1000, ITTS - 0x1000]),
        "unmapped": st.sampled_from([None, None, None, 0]),
        "present": st.sampled_from([None, None, 8194]),
    }
)


def guest_of(image):
    """A guest after RESET, with a device's ITT, the pending bits and configuration bytes of its LPIs in RAM."""
    guest = Guest()
    for vcpu, redistributor in enumerate(guest.vgic.redistributors):
        guest.vgic.dist.lpis_enabled[vcpu] = False
        table = image["pending_tables"] + vcpu // 2 * 0x1_0000
        redistributor.write(0x78, GICR_PENDBASER.pack(Physical_Address=table))
    guest.vgic.redistributors[0].write(0x70, GICR_PROPBASER.pack(Physical_Address=image["configuration"], IDbits=15))
    if image["present"]:
        guest.mapd(OTHER, ITTS + 0x8000, bits=2)
        guest.mapc(0, 0)
        guest.mapti(OTHER, 0, image["present"], 0)
    for icid in range(ICIDS):
        target = 0xFFFF_FFFF if icid == image["unmapped"] else icid
        guest.memory.write_u64(COLLECTIONS + 8 * icid, KVM_CTE.pack(V=1, RDBase=target, ICID=icid))
    if not image["present"]:
        guest.restart_its()
    else:
        guest.its.collections.clear()
    put_device(guest, bits=BITS, itt_addr=ITT)
    fill(guest, image)
    guest.memory.clear_dirty()
    return guest


def fill(guest, image):
    for table in {PENDING, *guest.vgic.dist.pending_tables}:
        if guest.memory.covers(table + 1024, len(image["pending"])):
            guest.memory.write(table + 1024, bytes(image["pending"]))
    if guest.memory.covers(image["configuration"], 64):
        guest.memory.write(image["configuration"], bytes([DEFAULT_BYTE, 0xA2, 0x43]) * 21)
    events = [{"excess": 0} | event for event in image["events"]]
    if image["defect"] is not None:
        place, name, value = image["defect"]
        events[place][name] = value % (1 << 16) if name == "icid" else value
    if image["twice"]:
        events[2]["intid"] = events[0]["intid"]
    event_id = 0
    for event, following in pairwise([*events, None]):
        distance = 0 if following is None else max(following["gap"] + event["excess"], 0)
        put_event(guest, event_id, event["intid"] % (1 << 32), event["icid"], distance % (1 << 16), ITT)
        event_id += 0 if following is None else following["gap"]


def restored(image):
    guest = guest_of(image)
    try:
        guest.its.restore_tables()
        errno = None
    except KvmError as error:
        errno = error.errno
    lpis = guest.vgic.lpis
    slots = lpis.slots()
    state = [lpis.rows[name][slots].tolist() for name in LPI.names], lpis.queued[slots].tolist(), slots.tolist()
    return errno, state, guest.mappings(), guest.memory.dirty_pages().tolist(), guest.memory


def one_by_one(image):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore_tables._Itts, "_restore_plain", lambda self, device, itt: 0)
        return restored(image)


@settings(max_examples=200, deadline=None)
@given(images)
def test_the_same_as_one_by_one(image):
    at_once, expected = restored(image), one_by_one(image)
    assert at_once[:-1] == expected[:-1]
    assert np.array_equal(at_once[-1].octets, expected[-1].octets)


FAR = 8192 + (0x1_0000 << 3)


@pytest.mark.parametrize(
    ("lpis", "choices"),
    [
        pytest.param([(FAR, 0), (8192, 2), (8193, 2)], {}, id="one pending bit: a byte far on is in the next table"),
        pytest.param([(8192, 0), (9216, 0)], {"configuration": PENDING}, id="a pending byte is a configuration byte"),
        pytest.param([(8192 + 64, 0), (8192, 1)], {"pending_tables": ITTS}, id="a pending byte is in the ITT"),
    ],
)
def test_a_pending_bit_that_is_taken_changes_what_is_read_later(lpis, choices):
    events = [{"gap": 1, "intid": intid, "icid": icid} for intid, icid in lpis]
    plain = {"defect": None, "twice": False, "pending": [0xFF] * 6, "pending_tables": PENDING, "unmapped": None}
    image = {"events": events, "configuration": CONFIGURATION, "present": None} | plain | choices
    assert restored(image)[:-1] == one_by_one(image)[:-1]


def test_what_kvm_has_saved_is_mapped_at_once(monkeypatch):
    guest = Guest()
    guest.mapd(0)
    for icid in range(ICIDS):
        guest.mapc(icid, icid)
    for event_id in range(0, 100, 3):
        guest.mapti(0, event_id, 8192 + event_id, event_id % ICIDS)
    before = guest.mappings()
    guest.its.save_tables()
    guest.restart_its()
    for event_id in range(0, 100, 3):
        guest.set_pending_bit(event_id % ICIDS, 8192 + event_id)
    monkeypatch.setattr(restore_tables, "_restore_ite", None)
    guest.its.restore_tables()
    assert guest.mappings() == before
    assert guest.vgic.acknowledge_all(0) == [8192 + event_id for event_id in range(0, 100, 12)]
