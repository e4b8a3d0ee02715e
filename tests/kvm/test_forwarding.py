# SPDX-License-Identifier: Apache-2.0
"""Forwarded LPIs on real hardware models: what moves to the VPT, what can be read back, what is lost."""

import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.kvm_abi import KVM_ITE
from tests.kvm.forwarded import DEVICE, EVENTS, SPURIOUS, ForwardedGuest, refusal
from tests.kvm.guest import ITTS, RAM_END, offset_of
from tests.kvm.host import Host
from tests.kvm.test_pending_tables import save_lpi_by_lpi


def test_a_forwarded_event_reaches_the_guest_without_software(forwarded):
    assert forwarded.forward() == EVENTS
    forwarded.fire(1, 4)
    assert forwarded.vlpis(3) == [8193]
    assert forwarded.vlpis(2, cpu=1) == [8196]
    assert forwarded.vlpis(2, cpu=1) == []


def test_the_vpt_in_ram_is_stale_until_the_vpes_are_unmapped(forwarded):
    forwarded.forward()
    forwarded.fire(1)
    assert not forwarded.vpt_bit(8193)
    assert refusal(forwarded.vgic.get_vlpi_state, 8193) == "EACCES"
    forwarded.vgic.unmap_all_vpes()
    assert forwarded.vpt_bit(8193)
    assert forwarded.vgic.get_vlpi_state(8193)
    assert not forwarded.vgic.get_vlpi_state(8192)
    forwarded.vgic.map_all_vpes()
    assert refusal(forwarded.vgic.get_vlpi_state, 8193) == "EACCES"
    assert forwarded.vlpis(3) == [8193]


def test_get_vlpi_state_of_what_is_no_vlpi(forwarded):
    assert refusal(forwarded.vgic.get_vlpi_state, 8192) == "EINVAL"
    assert refusal(forwarded.vgic.get_vlpi_state, 9000) == "EINVAL"


def test_pending_state_moves_to_the_vpt_and_is_delivered_once(forwarded):
    for event_id in (2, 3):
        forwarded.command("INT", DeviceID=DEVICE, EventID=event_id)
    assert forwarded.vgic.lpis[8194].pending_latch
    forwarded.forward()
    assert not forwarded.vgic.lpis.rows["pending_latch"].any()
    assert forwarded.host.issued("INT") == 2
    assert [forwarded.vgic.acknowledge(vcpu) for vcpu in range(4)] == [SPURIOUS] * 4
    assert (forwarded.vlpis(2), forwarded.vlpis(3)) == ([8194], [8195])


def test_nothing_pending_needs_no_int(forwarded):
    forwarded.forward()
    assert forwarded.host.issued("INT") == 0


@pytest.mark.parametrize("writeback", ["unmap", "deschedule", "immediate"])
@pytest.mark.parametrize("caching", ["none", "retain"])
def test_saved_pending_tables_hold_what_the_gic_holds(writeback, caching):
    guest = ForwardedGuest(Host(vpt_writeback=writeback, caching=caching))
    guest.command("INT", DeviceID=DEVICE, EventID=7)
    guest.forward(0, 1, 2, 3, 4)
    guest.fire(1, 4)
    guest.vgic.save_pending_tables()
    assert guest.saved_bits() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert all(vpe.vmapp_count == 1 for vpe in guest.vgic.its_vm.vpes)
    assert guest.host.gic.errors == []


def test_the_source_goes_on_after_a_save(forwarded):
    """Linux c21bc068cdbe: a map that called the VPT empty lost everything that was pending."""
    forwarded.forward()
    forwarded.fire(1, 3, 4)
    forwarded.vgic.save_pending_tables()
    assert forwarded.vlpis(3) == [8193, 8195]
    forwarded.fire(5)
    forwarded.vgic.save_pending_tables()
    assert forwarded.saved_bits() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert (forwarded.vlpis(2), forwarded.vlpis(3)) == ([8196], [8197])


def test_same_bytes_as_lpi_by_lpi(forwarded):
    forwarded.forward(0, 1, 2, 3)
    forwarded.fire(0, 3)
    forwarded.command("INT", DeviceID=DEVICE, EventID=6)
    forwarded.vgic.save_pending_tables()
    saved = forwarded.memory.octets.copy()
    forwarded.memory.write(saved_table := forwarded.vgic.dist.pending_tables[2], b"\xff" * 0x2_0000)
    forwarded.vgic.save_pending_tables()
    batch = forwarded.memory.read(saved_table, 0x2_0000)
    forwarded.memory.write(saved_table, b"\xff" * 0x2_0000)
    forwarded.vgic.unmap_all_vpes()
    save_lpi_by_lpi(forwarded, lambda slot: forwarded.vpt_bit(int(forwarded.vgic.lpis.rows["intid"][slot])))
    forwarded.vgic.map_all_vpes()
    assert forwarded.memory.read(saved_table, 0x2_0000) == batch
    assert batch != bytes(saved[saved_table - forwarded.memory.base :][:0x2_0000])


def test_vpes_are_mapped_again_after_a_failed_save(forwarded):
    forwarded.forward()
    forwarded.fire(1)
    forwarded.vgic.dist.set_pendbaser(3, RAM_END)
    assert refusal(forwarded.vgic.save_pending_tables) == "EFAULT"
    assert all(vpe.vmapp_count == 1 for vpe in forwarded.vgic.its_vm.vpes)
    assert forwarded.vlpis(3) == [8193]


def test_the_vpt_has_the_last_word_on_a_forwarded_lpi(forwarded):
    forwarded.forward()
    forwarded.vgic.lpis.rows["pending_latch"] = True
    forwarded.vgic.save_pending_tables()
    assert forwarded.saved_bits() == [0] * EVENTS


def test_a_vm_without_lpis_can_be_saved(forwarded):
    forwarded.its.reset()
    forwarded.vgic.save_pending_tables()
    assert forwarded.host.issued("VMAPP") == 3 * len(forwarded.vgic.its_vm.vpes)


def test_what_arrives_while_the_vpes_are_unmapped_is_lost(forwarded):
    """Devices must be quiet before the pending tables are saved."""
    forwarded.forward()
    forwarded.vgic.unmap_all_vpes()
    forwarded.fire(1)
    forwarded.vgic.map_all_vpes()
    assert forwarded.vlpis(3) == []
    forwarded.host.gic.clear_errors()


def test_no_vmovp_while_the_vpes_are_unmapped(forwarded):
    """Linux 1442ee001198."""
    forwarded.vgic.unmap_all_vpes()
    assert refusal(forwarded.vgic.load, 3, 1) == "EINVAL"
    assert not forwarded.vgic.running
    assert forwarded.host.issued("VMOVP") == 0
    forwarded.vgic.map_all_vpes()


def test_gicv4_0_cannot_save_a_forwarded_lpi():
    guest = ForwardedGuest(Host("4.0"))
    guest.memory.write(ITTS, b"\x55" * 64)
    guest.forward(4)
    assert refusal(guest.its.save_tables) == "EACCES"
    assert guest.memory.read_u64(ITTS + 8 * 3) == KVM_ITE.pack(next=1, pINTID=8195, ICID=3)
    assert guest.memory.read(ITTS + 8 * 4, 32) == b"\x55" * 32
    assert refusal(guest.vgic.get_vlpi_state, 8196) == "EACCES"
    guest.fire(4)
    guest.vgic.save_pending_tables()
    assert guest.saved_bits() == [0] * 8
    assert guest.vlpis(2) == [8196]


def test_on_gicv4_0_an_unmapped_vpe_says_nothing_about_its_vpt():
    guest = ForwardedGuest(Host("4.0"))
    guest.forward(4)
    guest.vgic.its_vm.vpes[2].vmapp_count = 0
    with pytest.raises(KvmError, match=r"only be read on GICv4\.1"):
        guest.vgic.get_vlpi_state(8196)


def test_gicv4_0_without_a_forwarded_lpi_can_be_saved():
    guest = ForwardedGuest(Host("4.0"))
    guest.its.save_tables()
    assert guest.memory.read_u64(ITTS) == KVM_ITE.pack(next=1, pINTID=8192, ICID=2)


def test_gicv3_forwards_nothing():
    guest = ForwardedGuest(Host("3"))
    assert guest.vgic.its_vm is None
    assert guest.forward() == 0
    assert not guest.vgic.unset_forwarding((guest.host_device, 0))
    assert refusal(guest.vgic.unmap_all_vpes) == "ENODEV"
    assert guest.vgic.inject_msi(DEVICE, 1) == 1
    guest.vgic.load(3, 0)
    assert guest.vgic.acknowledge(3) == 8193
    guest.vgic.put(3)
    guest.vgic.save_pending_tables()


def test_pending_state_is_lost_when_forwarding_ends(forwarded):
    """The cover letter's open problem: DISCARD takes the pending vLPI with it, and nothing has read it before."""
    forwarded.command("INT", DeviceID=DEVICE, EventID=1)
    forwarded.forward(1)
    assert forwarded.vgic.unset_forwarding((forwarded.host_device, 1))
    forwarded.forward(1)
    assert forwarded.vlpis(3) == []
    assert forwarded.vgic.acknowledge(3) == SPURIOUS


def test_after_unset_software_injects(forwarded):
    forwarded.forward()
    assert forwarded.vgic.unset_forwarding((forwarded.host_device, 1))
    assert not forwarded.vgic.unset_forwarding((forwarded.host_device, 1))
    assert not forwarded.vgic.lpis[8193].hw
    assert not forwarded.host_device.forwarded[1]
    assert forwarded.vgic.inject_msi(DEVICE, 1) == 1
    assert forwarded.vgic.acknowledge(3) == 8193


def test_unset_needs_no_translation(forwarded):
    """Linux 05b9405f2fa1: found by host interrupt, also when the guest has disabled its ITS."""
    forwarded.forward()
    forwarded.its.write(offset_of("GITS_CTLR"), 0, 4)
    assert forwarded.vgic.unset_forwarding((forwarded.host_device, 5))
    assert not forwarded.host_device.forwarded[5]


def test_what_does_not_resolve_is_quietly_left_to_software(forwarded):
    host = forwarded.host_device
    assert not forwarded.vgic.set_forwarding(0, DEVICE + 1, 0, (host, 0))
    forwarded.mapti(DEVICE, 7, 8199, 3)
    forwarded.mapc(3, 3, valid=0)
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 7, (host, 7))
    forwarded.vgic.redistributors[2].write(offset_of("GICR_CTLR"), 0, 4)
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 0, (host, 0))
    forwarded.vgic.redistributors[2].write(offset_of("GICR_CTLR"), 1, 4)
    assert forwarded.vgic.set_forwarding(0, DEVICE, 0, (host, 0))
    forwarded.its.write(offset_of("GITS_CTLR"), 0, 4)
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 2, (host, 2))
    assert not host.forwarded[1:].any()


def test_forwarding_twice_changes_nothing(forwarded):
    forwarded.forward(1)
    forwarded.fire(1)
    issued = forwarded.host.driver.gic.commands_issued
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 1, (forwarded.host_device, 1))
    assert forwarded.host.driver.gic.commands_issued == issued
    assert forwarded.vlpis(3) == [8193]


def test_two_events_of_one_lpi_have_one_host_interrupt(forwarded):
    forwarded.mapd(7, ITTS + 0x1000, bits=3)
    forwarded.mapti(7, 0, 8193, 3)
    assert forwarded.vgic.set_forwarding_many(0, 7, [0, 0], forwarded.host_device, [0, 1]) == 1
    assert forwarded.host_device.forwarded.tolist() == [True] + [False] * 7
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 1, (forwarded.host_device, 1))


def test_a_host_event_that_is_not_mapped_is_refused_as_a_whole(forwarded):
    forwarded.host.driver.lpis.deactivate(forwarded.host_device, 3)
    assert refusal(forwarded.forward, 2, 3) == "EINVAL"
    assert not forwarded.vgic.lpis.rows["hw"].any()
