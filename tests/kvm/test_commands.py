# SPDX-License-Identifier: Apache-2.0
"""The guest's commands: what KVM does with each, and what it drops."""

import numpy as np
import pytest

from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.commands import encode, encode_many
from tests.kvm.guest import DEFAULT_BYTE, DEVICES, ITTS, QUEUE, RAM_END, Guest, offset_of

SPURIOUS = 1023


def acked(guest):
    """Everything that software delivers now, by vCPU."""
    return {vcpu: intids for vcpu in range(4) if (intids := guest.vgic.acknowledge_all(vcpu))}


def interrupt(guest, device_id, event_id):
    guest.command("INT", DeviceID=device_id, EventID=event_id)
    return acked(guest)


def test_its_trigger(setup1):
    """kvm-unit-tests arm/gic.c, its-trigger."""
    assert interrupt(setup1, 2, 20) == {3: [8195]}
    assert interrupt(setup1, 7, 255) == {2: [8196]}
    setup1.configure(8195, DEFAULT_BYTE & ~1)
    setup1.command("INV", DeviceID=2, EventID=20)
    assert interrupt(setup1, 2, 20) == {}
    setup1.configure(8195, DEFAULT_BYTE)
    assert interrupt(setup1, 2, 20) == {}
    setup1.command("INVALL", ICID=3)
    assert acked(setup1) == {3: [8195]}
    assert interrupt(setup1, 2, 20) == {3: [8195]}
    setup1.mapd(2, valid=0)
    assert interrupt(setup1, 2, 20) == {}


def test_highest_priority_first(setup1):
    setup1.mapti(2, 21, 8300, 3)
    setup1.mapti(2, 22, 8200, 3)
    setup1.configure(8300, 0x41)
    setup1.command("INV", DeviceID=2, EventID=21)
    for event_id in (20, 21, 22):
        setup1.command("INT", DeviceID=2, EventID=event_id)
    assert [setup1.vgic.acknowledge(3) for _ in range(4)] == [8300, 8195, 8200, SPURIOUS]


def test_invall_reads_every_lpi_of_the_vcpu_and_no_other(setup1):
    setup1.mapc(9, 3)
    setup1.mapti(2, 21, 8300, 9)
    for intid in (8195, 8196, 8300):
        setup1.configure(intid, 0x10)
    setup1.command("INVALL", ICID=9)
    assert [setup1.vgic.lpis[intid].priority for intid in (8195, 8196, 8300)] == [0x10, 0xA0, 0x10]


def test_clear(setup1):
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.command("CLEAR", DeviceID=2, EventID=20)
    assert acked(setup1) == {}


def test_mapc_again_takes_the_lpis_along(setup1):
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.mapc(3, 1)
    assert acked(setup1) == {1: [8195]}


def test_mapc_v0_leaves_events_without_a_collection(setup1):
    setup1.mapc(3, 3, valid=0)
    assert setup1.mappings() == ({(2, 20): (8195, None), (7, 255): (8196, 2)}, {2: 2})
    assert interrupt(setup1, 2, 20) == {}
    setup1.mapc(3, 3)
    assert interrupt(setup1, 2, 20) == {}


@pytest.mark.parametrize("vcpu", [4, 0xFFFF_FFFF])
def test_mapc_to_a_vcpu_that_does_not_exist(guest, vcpu):
    guest.mapc(0, vcpu)
    assert not guest.its.collections


def test_mapc_of_an_icid_that_cannot_be_saved(guest):
    guest.mapc(8192, 0)
    assert not guest.its.collections


def test_movi(setup1):
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.command("MOVI", DeviceID=2, EventID=20, ICID=2)
    assert acked(setup1) == {2: [8195]}
    assert setup1.mappings()[0][2, 20] == (8195, 2)


def test_movi_between_collections_that_are_not_mapped(setup1):
    setup1.mapti(2, 21, 8300, 8)
    setup1.command("MOVI", DeviceID=2, EventID=20, ICID=8)
    setup1.command("MOVI", DeviceID=2, EventID=21, ICID=3)
    assert setup1.mappings()[0][2, 20] == (8195, 3)
    assert setup1.mappings()[0][2, 21] == (8300, 8)


def test_movall_moves_one_vcpu_only(setup1):
    """Linux 751f4641560b: from 6.10 on the LPIs of every vCPU were moved."""
    setup1.mapc(1, 1)
    setup1.mapti(2, 21, 8300, 1)
    setup1.command("MOVALL", RDbase=3, RDbase2=0)
    targets = {intid: setup1.vgic.lpis[intid].target_vcpu for intid in (8195, 8196, 8300)}
    assert targets == {8195: 0, 8196: 2, 8300: 1}
    setup1.command("MOVALL", RDbase=0, RDbase2=4)
    setup1.command("MOVALL", RDbase=4, RDbase2=0)
    assert setup1.vgic.lpis[8195].target_vcpu == 0


def test_discard_clears_the_ite_in_ram(setup1):
    """Linux 7602ffd1d5e8: an entry saved earlier would come back with the next restore."""
    setup1.its.save_tables()
    setup1.command("DISCARD", DeviceID=2, EventID=20)
    assert setup1.memory.read_u64(ITTS + 8 * 20) == 0
    assert 8195 not in setup1.vgic.lpis
    assert interrupt(setup1, 2, 20) == {}


@pytest.mark.parametrize(("octet", "arrives"), [(DEFAULT_BYTE, {3: [8195]}), (DEFAULT_BYTE & ~1, {})])
def test_discard_takes_the_pending_state_of_what_is_not_queued(setup1, octet, arrives):
    """The architecture wants it gone in any case: see `ap_list`."""
    setup1.configure(8195, octet)
    setup1.command("INV", DeviceID=2, EventID=20)
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.command("DISCARD", DeviceID=2, EventID=20)
    assert acked(setup1) == arrives
    setup1.configure(8195, DEFAULT_BYTE)
    setup1.mapti(2, 20, 8195, 3)
    assert acked(setup1) == {}


@pytest.mark.parametrize("exists", [True, False])
def test_discard_of_an_unmapped_collection_is_dropped(guest, exists):
    """That the collection exists is not enough: it must be mapped to a vCPU."""
    guest.mapd(2)
    guest.mapti(2, 20, 8195, 5)
    if not exists:
        guest.mapc(5, 1, valid=0)
    assert (5 in guest.its.collections) == exists
    guest.command("DISCARD", DeviceID=2, EventID=20)
    assert (2, 20) in guest.mappings()[0]


def test_mapd_v0_clears_the_dte_in_ram(setup1):
    """Linux e9649129d33d."""
    setup1.its.save_tables()
    setup1.mapd(2, valid=0)
    assert setup1.memory.read_u64(DEVICES + 8 * 2) == 0
    assert setup1.memory.read_u64(ITTS + 8 * 20) != 0


def test_mapd_again_unmaps_the_events(setup1):
    setup1.mapd(2, ITTS)
    assert list(setup1.mappings()[0]) == [(7, 255)]
    assert 8195 not in setup1.vgic.lpis


@pytest.mark.parametrize("bits", [17, 32])
def test_mapd_of_too_many_events(guest, bits):
    guest.mapd(2, bits=bits)
    assert not guest.its.devices


@pytest.mark.parametrize("device_id", [8192, 0x1_0000, 0xFFFF_FFFF])
def test_mapd_of_a_device_that_cannot_be_saved(guest, device_id):
    guest.mapd(device_id)
    assert not guest.its.devices


def test_mapd_without_a_level_2_page():
    guest = Guest(indirect=True)
    guest.mapd(0)
    assert not guest.its.devices


def test_mapti_needs_a_device_an_event_and_an_lpi(guest):
    guest.mapc(0, 0)
    guest.mapd(2, bits=5)
    guest.mapti(3, 0, 8192, 0)
    guest.mapti(2, 32, 8192, 0)
    guest.mapti(2, 0, 8191, 0)
    guest.mapti(2, 0, 0x1_0000, 0)
    assert guest.mappings()[0] == {}


def test_mapti_beyond_the_guests_intid_bits(guest):
    guest.mapc(0, 0)
    guest.mapd(2)
    guest.vgic.dist.propbaser -= 2
    guest.mapti(2, 0, 16383, 0)
    guest.mapti(2, 1, 16384, 0)
    assert guest.mappings()[0] == {(2, 0): (16383, 0)}


def test_mapti_of_an_event_whose_ite_is_outside_ram(guest):
    """Linux cafe7e544d49."""
    guest.mapc(0, 0)
    guest.mapd(2, RAM_END - 0x100)
    guest.mapti(2, 31, 8192, 0)
    guest.mapti(2, 32, 8193, 0)
    assert guest.mappings()[0] == {(2, 31): (8192, 0)}


def test_mapti_of_a_mapped_event_changes_nothing(setup1):
    setup1.mapti(2, 20, 8400, 2)
    assert setup1.mappings()[0][2, 20] == (8195, 3)


def test_mapti_to_an_unknown_collection_creates_it_unmapped(guest):
    guest.mapd(2)
    guest.mapti(2, 20, 8195, 5)
    assert guest.mappings() == ({(2, 20): (8195, 5)}, {5: NO_VCPU})
    guest.mapc(5, 1)
    assert guest.vgic.lpis[8195].target_vcpu == 1


def test_a_failing_mapti_takes_its_new_collection_back(guest):
    guest.mapd(2)
    guest.vgic.dist.propbaser += RAM_END - 0x4004_0000
    guest.mapti(2, 20, 8195, 5)
    assert guest.mappings() == ({}, {})


def test_mapi_is_mapti_with_intid_equal_to_event(guest):
    guest.mapc(0, 1)
    guest.mapd(2, bits=14)
    guest.command("MAPI", DeviceID=2, EventID=8200, ICID=0)
    assert guest.mappings()[0] == {(2, 8200): (8200, 0)}
    assert interrupt(guest, 2, 8200) == {1: [8200]}


def test_an_lpi_of_two_events_lives_until_both_are_gone(setup1):
    setup1.mapti(7, 1, 8195, 2)
    assert setup1.vgic.lpis[8195].references == 2
    setup1.command("DISCARD", DeviceID=2, EventID=20)
    assert interrupt(setup1, 7, 1) == {3: [8195]}
    setup1.command("DISCARD", DeviceID=7, EventID=1)
    assert 8195 not in setup1.vgic.lpis


def test_two_events_of_one_device_may_share_an_lpi(setup1):
    setup1.mapti(2, 21, 8195, 3)
    setup1.mapd(2, valid=0)
    assert 8195 not in setup1.vgic.lpis
    assert len(setup1.vgic.lpis) == 1


def test_mapti_takes_the_pending_bit_out_of_ram(guest):
    guest.mapd(2)
    guest.mapc(1, 1)
    guest.set_pending_bit(1, 8195)
    guest.set_pending_bit(1, 8196)
    guest.mapti(2, 20, 8195, 1)
    assert (guest.pending_bit(1, 8195), guest.pending_bit(1, 8196)) == (0, 1)
    assert acked(guest) == {1: [8195]}


def test_commands_without_their_event_are_dropped(setup1):
    for mnemonic in ("INT", "CLEAR", "INV", "DISCARD"):
        setup1.command(mnemonic, DeviceID=2, EventID=21)
        setup1.command(mnemonic, DeviceID=3, EventID=20)
    setup1.command("MOVI", DeviceID=2, EventID=21, ICID=2)
    setup1.command("INVALL", ICID=9)
    setup1.command("SYNC", RDbase=9)
    assert len(setup1.mappings()[0]) == 2
    assert acked(setup1) == {}


def test_a_queue_of_many_commands_that_wraps(guest):
    """Unknown opcodes and bad commands in between are passed over; CREADR ends at CWRITER."""
    queue_bytes = 0x1_0000
    start = queue_bytes - 32 * 100
    guest.its.write(offset_of("GITS_CWRITER"), start)
    words = np.zeros((300, 4), np.uint64)
    words[0] = encode("MAPC", "3", ICID=0, RDbase=1, V=1)
    words[1] = encode("MAPD", "3", DeviceID=0, ITT_addr=ITTS, Size=9, V=1)
    words[2:] = encode_many("MAPTI", "3", DeviceID=0, EventID=np.arange(298), pINTID=8192 + np.arange(298), ICID=0)
    words[50] = 0xFF
    words[60] = encode("MAPTI", "3", DeviceID=1, EventID=0, pINTID=8192, ICID=0)
    guest.memory.write(QUEUE + start, words[:100].tobytes())
    guest.memory.write(QUEUE, words[100:].tobytes())
    guest.its.write(offset_of("GITS_CWRITER"), 32 * 200)
    assert guest.its.read(offset_of("GITS_CREADR")) == 32 * 200
    assert sorted(guest.its.devices[0].ites) == [event for event in range(298) if event not in (48, 58)]


def test_a_queue_outside_ram_is_passed_over(guest):
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    cbaser = guest.its.read(offset_of("GITS_CBASER")) - QUEUE + RAM_END
    guest.its.write(offset_of("GITS_CBASER"), cbaser)
    guest.its.write(offset_of("GITS_CTLR"), 1, 4)
    guest.its.write(offset_of("GITS_CWRITER"), 64)
    assert guest.its.read(offset_of("GITS_CREADR")) == 64
