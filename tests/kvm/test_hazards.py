# SPDX-License-Identifier: Apache-2.0
"""Ways to lose an interrupt, or to get one that nobody raised, without a bug in KVM: what follows from its rules.

The order of a monitor's steps, stale entries in RAM, and mappings that a guest may make although none does.
"""

import pytest

from gicmodel.kvm import KvmError
from gicmodel.kvm.ites import NO_COLLECTION
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER
from tests.kvm.forwarded import DEVICE, ForwardedGuest
from tests.kvm.guest import COLLECTIONS, DEFAULT_BYTE, DEVICES, ITTS, PAGE, RAM_BASE, Guest, offset_of, pending_table
from tests.kvm.host import Host
from tests.kvm.tables import put_device, put_event

CTLR, PENDBASER = offset_of("GICR_CTLR"), offset_of("GICR_PENDBASER")


def enable_lpis(guest, vcpu, on=1, ptz=0):
    redistributor = guest.vgic.redistributors[vcpu]
    redistributor.write(PENDBASER, GICR_PENDBASER.pack(PTZ=ptz, Physical_Address=pending_table(vcpu)))
    redistributor.write(CTLR, GICR_CTLR.pack(EnableLPIs=on), 4)


def migrated(source):
    """The guest of `source`, saved and restored in another VM, that has the same RAM."""
    source.its.save_tables()
    source.vgic.save_pending_tables()
    destination = Guest()
    destination.memory.octets[:] = source.memory.octets
    destination.restart_its()
    destination.its.restore_tables()
    destination.enable_its()
    return destination


@pytest.mark.parametrize(("redistributors_first", "arrives"), [(True, [8195]), (False, [])])
def test_enable_lpis_after_the_tables_loses_what_is_pending(setup1, redistributors_first, arrives):
    """RESTORE_TABLES takes the bits out of RAM; EnableLPIs then overwrites the latches with RAM."""
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.its.save_tables()
    setup1.vgic.save_pending_tables()
    enable_lpis(setup1, 3, on=0)
    setup1.restart_its()
    if redistributors_first:
        enable_lpis(setup1, 3)
    setup1.its.restore_tables()
    if not redistributors_first:
        enable_lpis(setup1, 3)
    assert setup1.vgic.acknowledge_all(3) == arrives


def test_what_is_pending_for_an_unmapped_collection_stays_behind(setup1):
    """It has no vCPU, hence no table: neither saved nor loaded, and MAPC does not load it later."""
    setup1.mapti(2, 21, 8300, 9)
    setup1.mapc(9, 1)
    setup1.command("INT", DeviceID=2, EventID=21)
    setup1.mapc(9, 1, valid=0)
    setup1.mapti(2, 22, 8301, 9)
    for vcpu in range(4):
        setup1.set_pending_bit(vcpu, 8301)
    destination = migrated(setup1)
    assert 8300 not in destination.vgic.lpis
    destination.mapc(9, 1)
    assert destination.vgic.acknowledge_all(1) == []
    assert destination.pending_bit(1, 8301)


@pytest.mark.parametrize(("octet", "arrives"), [(DEFAULT_BYTE, [8192]), (DEFAULT_BYTE & ~1, [])])
def test_a_failed_restore_has_consumed_pending_bits(fresh, octet, arrives):
    """What was queued lives on; what was disabled did not, and is lost."""
    fresh.configure(8192, octet)
    put_device(fresh)
    put_event(fresh, 0, 8192, distance=1)
    put_event(fresh, 1, 8193, icid=77)
    fresh.set_pending_bit(1, 8192)
    with pytest.raises(KvmError, match="EINVAL"):
        fresh.its.restore_tables()
    put_event(fresh, 1, 8193)
    fresh.its.restore_tables()
    assert not fresh.pending_bit(1, 8192)
    fresh.configure(8192, DEFAULT_BYTE)
    fresh.enable_its()
    fresh.command("INV", DeviceID=2, EventID=0)
    assert fresh.vgic.acknowledge_all(1) == arrives


def test_a_restore_without_reset_frees_what_was_there(setup1):
    setup1.its.save_tables()
    with pytest.raises(KvmError, match="EEXIST"):
        setup1.its.restore_tables()
    assert setup1.its.collections == {}
    assert {ite.icid for device in setup1.its.devices.values() for ite in device.ites.values()} == {NO_COLLECTION}
    assert setup1.vgic.inject_msi(2, 20) == 0


def test_a_device_that_is_mapped_again_finds_the_old_events_of_its_itt(setup1):
    """MAPD V=1 clears nothing: a guest that does not zero its ITT has them back after a restore."""
    setup1.its.save_tables()
    setup1.mapd(2, ITTS)
    assert (2, 20) not in setup1.mappings()[0]
    setup1.mapti(2, 30, 8300, 3)
    setup1.migrate_in_place()
    assert sorted(event for device, event in setup1.mappings()[0] if device == 2) == [20]


def test_a_saturated_next_finds_stale_events_in_the_gap(guest):
    """DeviceIDs further apart than 14 bits: from where `next` lands on, every entry is looked at."""
    guest.mapc(0, 0)
    guest.device_baser += RAM_BASE + 0x40_0000 - DEVICES + 7
    guest.restart_its()
    guest.enable_its()
    guest.mapd(1, ITTS, bits=5)
    guest.mapd(0xC000, ITTS + 0x1000, bits=5)
    stale = RAM_BASE + 0x40_0000 + 8 * 0x5000
    guest.memory.write_u64(stale, KVM_DTE.pack(V=1, next=0x10, ITT_addr=ITTS + 0x2000, Size=4))
    guest.migrate_in_place()
    assert sorted(guest.its.devices) == [1, 0x5000, 0xC000]


def test_an_lpi_of_two_events_keeps_the_first_ones_vcpu(setup1):
    """After a restore the first is that of the lowest DeviceID and EventID, not the guest's first."""
    setup1.mapti(7, 3, 8300, 2)
    setup1.mapti(2, 3, 8300, 3)
    setup1.vgic.inject_msi(2, 3)
    assert (setup1.vgic.acknowledge_all(2), setup1.vgic.acknowledge_all(3)) == ([8300], [])
    setup1.migrate_in_place()
    setup1.vgic.inject_msi(7, 3)
    assert (setup1.vgic.acknowledge_all(2), setup1.vgic.acknowledge_all(3)) == ([], [8300])


@pytest.mark.parametrize(("ptz", "arrives"), [(None, [8300]), (0, []), (1, [])])
def test_a_stale_pending_bit_waits_for_its_lpi(setup1, ptz, arrives):
    """Unless the redistributor starts anew before the LPI is mapped, with a table that the guest has zeroed."""
    setup1.set_pending_bit(3, 8300)
    if ptz is not None:
        enable_lpis(setup1, 3, on=0)
        setup1.memory.zero(pending_table(3), PAGE)
        enable_lpis(setup1, 3, ptz=ptz)
    setup1.mapti(2, 21, 8300, 3)
    assert setup1.vgic.acknowledge_all(3) == arrives


@pytest.mark.parametrize("tables_first", [True, False])
def test_the_two_saves_are_independent(tables_first):
    guest = ForwardedGuest(Host())
    guest.forward(0, 1, 2, 3)
    guest.fire(0, 3)
    guest.command("INT", DeviceID=DEVICE, EventID=5)
    saves = [guest.its.save_tables, guest.vgic.save_pending_tables]
    for save in saves if tables_first else reversed(saves):
        save()
    assert guest.saved_bits() == [1, 0, 0, 1, 0, 1, 0, 0]
    assert guest.memory.read_u64(COLLECTIONS) == KVM_CTE.pack(V=1, RDBase=2, ICID=2)
    assert KVM_ITE.unpack(guest.memory.read_u64(ITTS))["pINTID"] == 8192


@pytest.mark.parametrize("step", ["tables", "pending tables", "device"])
def test_devices_must_be_quiet_before_the_pending_tables(step):
    """What a device raises after its state was saved does not travel."""
    guest = ForwardedGuest(Host())
    guest.forward()
    if step == "device":
        guest.fire(1)
    guest.its.save_tables()
    if step == "tables":
        guest.fire(1)
    guest.vgic.save_pending_tables()
    if step == "pending tables":
        guest.fire(1)
    assert guest.saved_bits()[1] == (step != "pending tables")
    assert guest.vlpis(3) == [8193]


def test_a_resumed_source_leaves_bits_that_come_back_as_spurious_interrupts(setup1):
    """The save sets the bit, the source resumes and takes the interrupt; nothing clears the bit until the next save."""
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.vgic.save_pending_tables()
    assert setup1.vgic.acknowledge_all(3) == [8195]
    setup1.command("DISCARD", DeviceID=2, EventID=20)
    setup1.mapti(2, 20, 8195, 3)
    assert setup1.vgic.acknowledge_all(3) == [8195]


def test_the_next_save_heals_them(setup1):
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.vgic.save_pending_tables()
    setup1.vgic.acknowledge_all(3)
    setup1.migrate_in_place()
    assert setup1.vgic.acknowledge_all(3) == []


def test_a_disabled_vlpi_that_is_pending_arrives_when_it_is_enabled_on_the_destination():
    source = ForwardedGuest(Host())
    source.configure(8193, DEFAULT_BYTE & ~1)
    source.command("INV", DeviceID=DEVICE, EventID=1)
    source.forward()
    source.fire(1)
    source.its.save_tables()
    source.vgic.save_pending_tables()
    host = Host()
    destination = Guest(driver=host.driver)
    destination.memory.octets[:] = source.memory.octets
    destination.restart_its()
    destination.its.restore_tables()
    destination.enable_its()
    device = host.device(0x7, 8)
    assert destination.vgic.set_forwarding(0, DEVICE, 1, (device, 1))
    destination.vgic.load(3, 0)
    interface = host.gic.redistributors[0].cpu
    assert interface.pending_virtual() == 1023
    destination.configure(8193, DEFAULT_BYTE)
    destination.command("INV", DeviceID=DEVICE, EventID=1)
    assert [interface.acknowledge_virtual(), interface.acknowledge_virtual()] == [8193, 1023]
