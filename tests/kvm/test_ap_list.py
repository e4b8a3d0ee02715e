# SPDX-License-Identifier: Apache-2.0
"""What is queued for a vCPU: what comes onto its list, what leaves it, and what lives by it.

Each outcome is that of Linux 7.3-rc7's vgic.c and vgic-its.c, run on the same steps.
"""

import numpy as np
import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.registers.distributor import GICD_CTLR
from tests.kvm.guest import COLLECTIONS, DEFAULT_BYTE, ITTS, RAM_BASE, Guest, offset_of
from tests.kvm.tables import put_device, put_event

DEVICE = 5
LPI = 8200


def unmap_by_discard(guest):
    guest.command("DISCARD", DeviceID=DEVICE, EventID=3)


def unmap_by_mapd(guest):
    guest.mapd(DEVICE, valid=0)


def unmap_by_mapd_anew(guest):
    guest.mapd(DEVICE)


def unmap_by_reset(guest):
    guest.restart_its()
    guest.enable_its()
    guest.mapc(1, 2)


def unmap_by_baser(guest):
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    guest.its.write(offset_of("GITS_BASER0"), 0)
    guest.its.write(offset_of("GITS_BASER0"), guest.device_baser)
    guest.enable_its()


def unmap_by_failed_restore(guest):
    """The device that was not reset is what the failure frees."""
    guest.its.save_tables()
    guest.memory.write_u64(COLLECTIONS, 0)
    guest.memory.write_u64(ITTS + 8 * 3, 5 << 16)
    with pytest.raises(KvmError, match="EINVAL"):
        guest.its.restore_tables()
    guest.mapc(1, 2)


UNMAPS = [
    unmap_by_discard,
    unmap_by_mapd,
    unmap_by_mapd_anew,
    unmap_by_reset,
    unmap_by_baser,
    unmap_by_failed_restore,
]


@pytest.fixture
def queued(guest):
    """LPI 8200, of vCPU 2 through event 3 of device 5, is pending and on the list of vCPU 2."""
    guest.mapd(DEVICE)
    guest.mapc(1, 2)
    guest.mapc(0, 0)
    guest.mapti(DEVICE, 3, LPI, 1)
    guest.command("INT", DeviceID=DEVICE, EventID=3)
    return guest


def enable_lpis(guest, vcpu, on):
    guest.vgic.redistributors[vcpu].write(offset_of("GICR_CTLR"), on, 4)


def enable_distributor(guest, on):
    guest.vgic.distributor.write(0, GICD_CTLR.pack(EnableGrp1=on), 4)


@pytest.mark.parametrize("unmap", UNMAPS)
def test_a_queued_lpi_outlives_its_event(queued, unmap):
    unmap(queued)
    assert queued.mappings()[0] == {}
    queued.vgic.save_pending_tables()
    assert queued.pending_bit(2, LPI)
    assert queued.vgic.acknowledge_all(2) == [LPI]
    assert LPI not in queued.vgic.lpis


@pytest.mark.parametrize("unmap", UNMAPS)
def test_mapti_finds_a_queued_lpi_as_it_was(queued, unmap):
    """Target, priority and pending state; neither the configuration byte nor the pending table is read."""
    unmap(queued)
    queued.mapd(DEVICE)
    queued.mapc(0, 0)
    queued.configure(LPI, 0x41)
    queued.mapti(DEVICE, 7, LPI, 0)
    assert queued.vgic.lpis[LPI][:7] == (LPI, 2, 2, 0xA0, True, True, False)
    assert (queued.vgic.acknowledge_all(0), queued.vgic.acknowledge_all(2)) == ([], [LPI])
    assert queued.vgic.lpis[LPI].references == 1


def test_a_restore_in_the_same_vm_leaves_the_bit_of_a_queued_lpi_in_ram(queued):
    queued.migrate_in_place()
    assert queued.pending_bit(2, LPI)
    assert queued.vgic.lpis[LPI].pending_latch


def test_a_list_holds_one_reference(queued):
    for _ in range(3):
        queued.command("INT", DeviceID=DEVICE, EventID=3)
        queued.command("INV", DeviceID=DEVICE, EventID=3)
        queued.command("INVALL", ICID=1)
    assert len(queued.its.translation_cache) == 1
    assert queued.vgic.lpis[LPI].references == 3
    unmap_by_discard(queued)
    assert queued.vgic.lpis[LPI].references == 1
    queued.vgic.destroy()
    assert not len(queued.vgic.lpis)


@pytest.mark.parametrize("runs", [False, True])
def test_what_is_not_pending_any_more_stays_until_its_vcpu_leaves_its_guest(queued, runs):
    queued.command("CLEAR", DeviceID=DEVICE, EventID=3)
    if runs:
        queued.vgic.sync_hwstate(2)
    unmap_by_discard(queued)
    assert (LPI in queued.vgic.lpis) != runs
    assert queued.vgic.acknowledge_all(2) == []
    assert LPI not in queued.vgic.lpis


def test_a_vcpu_that_is_put_has_left_its_guest(queued):
    queued.command("CLEAR", DeviceID=DEVICE, EventID=3)
    queued.vgic.load(2, 0)
    unmap_by_discard(queued)
    assert LPI in queued.vgic.lpis
    queued.vgic.put(2)
    assert LPI not in queued.vgic.lpis


@pytest.mark.parametrize(("old", "new", "pending"), [(True, False, False), (False, True, True)])
def test_disabling_lpis_empties_the_list_and_asks_for_no_target(queued, old, new, pending):
    """A moved LPI is on the list of its old vCPU until that leaves its guest."""
    queued.command("MOVI", DeviceID=DEVICE, EventID=3, ICID=0)
    enable_lpis(queued, 2, not old)
    enable_lpis(queued, 0, not new)
    assert queued.vgic.lpis[LPI].pending_latch == pending
    assert (queued.vgic.acknowledge_all(0) == [LPI]) == pending


def test_disabling_lpis_drops_what_was_masked_on_the_list(queued):
    queued.configure(LPI, DEFAULT_BYTE & ~1)
    queued.command("INV", DeviceID=DEVICE, EventID=3)
    enable_lpis(queued, 2, 0)
    assert not queued.vgic.lpis[LPI].pending_latch


def test_a_disabled_distributor_queues_nothing_and_enabling_it_neither(queued):
    assert queued.vgic.acknowledge_all(2) == [LPI]
    enable_distributor(queued, 0)
    queued.command("INT", DeviceID=DEVICE, EventID=3)
    enable_distributor(queued, 1)
    assert queued.vgic.acknowledge_all(2) == []
    assert queued.vgic.lpis[LPI].pending_latch
    queued.command("INV", DeviceID=DEVICE, EventID=3)
    assert queued.vgic.acknowledge_all(2) == [LPI]


def test_disabling_lpis_keeps_what_was_never_queued(queued):
    assert queued.vgic.acknowledge_all(2) == [LPI]
    enable_distributor(queued, 0)
    queued.command("INT", DeviceID=DEVICE, EventID=3)
    enable_lpis(queued, 2, 0)
    assert queued.vgic.lpis[LPI].pending_latch


def test_a_new_target_queues_nothing(guest):
    """Of two events of an LPI the first has no vCPU: made pending by the second it waits, whatever MAPC says."""
    guest.mapd(DEVICE)
    guest.mapc(1, 2)
    guest.mapti(DEVICE, 0, LPI, 9)
    guest.mapti(DEVICE, 1, LPI, 1)
    guest.command("INT", DeviceID=DEVICE, EventID=1)
    guest.mapc(9, 3)
    assert guest.vgic.lpis[LPI].target_vcpu == 3
    assert guest.vgic.acknowledge_all(3) == []
    guest.command("INVALL", ICID=9)
    assert guest.vgic.acknowledge_all(3) == [LPI]


def test_enabling_lpis_queues_what_waits_for_any_vcpu(queued):
    assert queued.vgic.acknowledge_all(2) == [LPI]
    enable_distributor(queued, 0)
    queued.command("INT", DeviceID=DEVICE, EventID=3)
    enable_distributor(queued, 1)
    enable_lpis(queued, 1, 0)
    enable_lpis(queued, 1, 1)
    assert queued.vgic.acknowledge_all(2) == [LPI]


def test_a_pending_bit_that_is_loaded_is_queued(fresh):
    put_device(fresh)
    put_event(fresh, 0, 8192)
    fresh.set_pending_bit(1, 8192)
    fresh.its.restore_tables()
    fresh.its.reset()
    assert fresh.vgic.acknowledge_all(1) == [8192]


def test_a_thousand_queued_lpis_outlive_their_device():
    """More than the rows that there are at first."""
    guest = Guest()
    guest.mapc(0, 0)
    guest.mapd(DEVICE, RAM_BASE + 0x80_0000, bits=10)
    for event_id in range(1000):
        guest.mapti(DEVICE, event_id, 8192 + event_id, 0)
        assert guest.vgic.inject_msi(DEVICE, event_id) == 1
    guest.mapd(DEVICE, valid=0)
    assert guest.vgic.acknowledge_all(0) == list(range(8192, 9192))
    assert not len(guest.vgic.lpis)
    assert (guest.vgic.lpis.queued == np.int32(-1)).all()
