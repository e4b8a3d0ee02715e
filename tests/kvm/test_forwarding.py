# SPDX-License-Identifier: Apache-2.0
"""Forwarded LPIs on real hardware models: what moves to the VPT, what can be read back, what is lost."""

import pytest

from gicmodel.hardware import GicConfig
from gicmodel.kvm import KvmError
from gicmodel.layouts.kvm_abi import KVM_ITE
from tests.kvm.forwarded import DEVICE, EVENTS, SPURIOUS, ForwardedGuest
from tests.kvm.guest import DEFAULT_BYTE, ITTS, RAM_END, Guest, offset_of
from tests.kvm.host import Host
from tests.kvm.test_pending_tables import save_lpi_by_lpi


@pytest.fixture
def forwarded():
    guest = ForwardedGuest(Host())
    yield guest
    assert guest.host.gic.errors == []


def refusal(operation, *arguments):
    with pytest.raises(KvmError) as caught:
        operation(*arguments)
    return caught.value.errno


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
    issued = forwarded.host.driver.commands_issued
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 1, (forwarded.host_device, 1))
    assert forwarded.host.driver.commands_issued == issued
    assert forwarded.vlpis(3) == [8193]


def test_two_events_of_one_lpi_have_one_host_interrupt(forwarded):
    forwarded.mapd(7, ITTS + 0x1000, bits=3)
    forwarded.mapti(7, 0, 8193, 3)
    vectors = [(0, (forwarded.host_device, 0)), (0, (forwarded.host_device, 1))]
    assert forwarded.vgic.set_forwarding_many(0, 7, vectors) == 1
    assert forwarded.host_device.forwarded.tolist() == [True] + [False] * 7
    assert not forwarded.vgic.set_forwarding(0, DEVICE, 1, (forwarded.host_device, 1))


def test_a_host_event_that_is_not_mapped_is_refused_as_a_whole(forwarded):
    forwarded.host.driver.irq_deactivate(forwarded.host_device, 3)
    assert refusal(forwarded.forward, 2, 3) == "EINVAL"
    assert not forwarded.vgic.lpis.rows["hw"].any()


def test_movi_takes_the_pending_vlpi_along(forwarded):
    forwarded.forward()
    forwarded.fire(1)
    forwarded.command("MOVI", DeviceID=DEVICE, EventID=1, ICID=2)
    assert forwarded.host.issued("VMOVI") == 1
    assert (forwarded.vlpis(3), forwarded.vlpis(2)) == ([], [8193])


def test_mapc_and_movall_take_vlpis_along(forwarded):
    forwarded.forward()
    forwarded.fire(1, 4)
    forwarded.mapc(3, 0)
    assert forwarded.vlpis(0) == [8193]
    forwarded.command("MOVALL", RDbase=2, RDbase2=1)
    assert forwarded.vlpis(1) == [8196]
    assert forwarded.host.issued("VMOVI") == EVENTS


def test_int_and_clear_reach_the_gic(forwarded):
    forwarded.forward()
    for event_id in (1, 3):
        forwarded.command("INT", DeviceID=DEVICE, EventID=event_id)
    assert forwarded.vgic.inject_msi(DEVICE, 5) == 1
    forwarded.command("CLEAR", DeviceID=DEVICE, EventID=3)
    assert forwarded.vlpis(3) == [8193, 8197]
    assert not forwarded.vgic.lpis.rows["pending_latch"].any()


@pytest.mark.parametrize("caching", ["none", "retain"])
@pytest.mark.parametrize("operands", [{"DeviceID": DEVICE, "EventID": 1}, {"ICID": 3}], ids=["INV", "INVALL"])
def test_a_disabled_vlpi_keeps_its_pending_state_through_a_save(operands, caching):
    guest = ForwardedGuest(Host(caching=caching))
    invalidate = "INVALL" if "ICID" in operands else "INV"
    guest.forward()
    guest.configure(8193, DEFAULT_BYTE & ~1)
    guest.command(invalidate, **operands)
    guest.fire(1)
    assert guest.vlpis(3) == []
    guest.vgic.save_pending_tables()
    assert guest.saved_bits()[1] == 1
    assert guest.vlpis(3) == []
    guest.configure(8193, DEFAULT_BYTE)
    guest.command(invalidate, **operands)
    assert guest.vlpis(3) == [8193]


def test_a_disabled_lpi_is_forwarded_disabled(forwarded):
    forwarded.configure(8193, DEFAULT_BYTE & ~1)
    forwarded.command("INV", DeviceID=DEVICE, EventID=1)
    forwarded.command("INT", DeviceID=DEVICE, EventID=1)
    forwarded.forward()
    assert forwarded.vlpis(3) == []
    forwarded.configure(8193, DEFAULT_BYTE)
    forwarded.command("INV", DeviceID=DEVICE, EventID=1)
    assert forwarded.vlpis(3) == [8193]


def test_a_vcpu_takes_its_vpe_to_its_cpu(forwarded):
    for cpu in (1, 1, 2):
        forwarded.vgic.load(3, cpu)
        assert forwarded.vgic.its_vm.vpes[3].resident_cpu == forwarded.vgic.its_vm.vpes[3].col_idx == cpu
        forwarded.vgic.put(3)
    assert forwarded.vgic.its_vm.vpes[3].resident_cpu is None
    assert forwarded.host.issued("VMOVP") == 2


def test_priorities_go_along(forwarded):
    forwarded.configure(8197, 0x11)
    forwarded.command("INV", DeviceID=DEVICE, EventID=5)
    forwarded.forward()
    forwarded.fire(1, 3, 5)
    assert forwarded.vlpis(3) == [8197, 8193, 8195]


@pytest.mark.parametrize("unmap", ["DISCARD", "MAPD", "RESET", "BASER"])
def test_unmapping_ends_forwarding(forwarded, unmap):
    forwarded.forward()
    if unmap == "DISCARD":
        for event_id in range(EVENTS):
            forwarded.command("DISCARD", DeviceID=DEVICE, EventID=event_id)
    elif unmap == "MAPD":
        forwarded.mapd(DEVICE, valid=0)
    elif unmap == "RESET":
        forwarded.its.reset()
    else:
        forwarded.its.write(offset_of("GITS_CTLR"), 0, 4)
        forwarded.its.write(offset_of("GITS_BASER0"), 0)
    assert not forwarded.host_device.forwarded.any()
    assert not len(forwarded.vgic.lpis)
    assert not forwarded.vgic.unset_forwarding((forwarded.host_device, 0))


def test_a_failed_restore_ends_forwarding_too(forwarded):
    forwarded.its.save_tables()
    forwarded.forward()
    forwarded.memory.write_u64(ITTS, KVM_ITE.pack(pINTID=5, ICID=2))
    for icid in (2, 3):
        forwarded.mapc(icid, icid, valid=0)
    assert refusal(forwarded.its.restore_tables) == "EINVAL"
    assert not forwarded.host_device.forwarded.any()
    assert forwarded.mappings() == ({}, {})


def test_devices_on_either_of_two_itss():
    host = Host(its=2)
    guest = ForwardedGuest(host)
    other = host.device(0x99, 2, its=1)
    guest.mapd(7, ITTS + 0x1000, bits=3)
    guest.mapti(7, 0, 9000, 3)
    guest.forward()
    assert guest.vgic.set_forwarding(0, 7, 0, (other, 0))
    host.gic.its[1].translate(0x99, 0)
    guest.fire(1)
    guest.vgic.save_pending_tables()
    assert (guest.saved_bits()[1], guest.pending_bit(3, 9000)) == (1, 1)
    assert all(vpe.vmapp_count == 2 for vpe in guest.vgic.its_vm.vpes)
    assert guest.vlpis(3) == [8193, 9000]
    assert host.gic.errors == []


def test_from_host_to_host(forwarded):
    """The cover letter's save and resume paths: what was pending on the source arrives on the destination, once."""
    forwarded.command("INT", DeviceID=DEVICE, EventID=7)
    forwarded.forward(*range(7))
    forwarded.fire(0, 1, 5)
    forwarded.its.save_tables()
    forwarded.vgic.save_pending_tables()
    destination = Guest(driver=(host := Host()).driver)
    destination.memory.octets[:] = forwarded.memory.octets
    destination.restart_its()
    destination.its.restore_tables()
    destination.enable_its()
    assert destination.mappings() == forwarded.mappings()
    device = host.device(0x7, EVENTS)
    assert destination.vgic.set_forwarding_many(0, DEVICE, [(event, (device, event)) for event in range(EVENTS)]) == 8
    taken = []
    for vcpu in range(4):
        destination.vgic.load(vcpu, 0)
        taken += [host.gic.redistributors[0].cpu.acknowledge_virtual() for _ in range(4)]
        destination.vgic.put(vcpu)
    assert [intid for intid in taken if intid != SPURIOUS] == [8192, 8193, 8197, 8199]
    assert host.gic.errors == []


def test_a_vm_that_ends_gives_everything_back(forwarded):
    free = forwarded.host.driver.allocator.free_bytes
    guest = Guest(driver=forwarded.host.driver)
    guest.vgic.destroy()
    assert forwarded.host.driver.allocator.free_bytes == free
    forwarded.forward()
    forwarded.vgic.destroy()
    assert not forwarded.host_device.forwarded.any()
    assert not forwarded.host.driver.vpes
    assert forwarded.host.driver.allocator.free_bytes > free


def test_a_running_vm_does_not_end(forwarded):
    forwarded.vgic.load(2, 0)
    assert refusal(forwarded.vgic.destroy) == "EBUSY"
    forwarded.vgic.put(2)


def test_forwarding_of_many_ends_at_once(forwarded):
    forwarded.forward()
    hosts = [(forwarded.host_device, event_id) for event_id in (0, 1, 1, 5)]
    assert forwarded.vgic.unset_forwarding_many(hosts) == 3
    assert forwarded.host_device.forwarded.tolist() == [False, False, True, True, True, False, True, True]


def test_qemus_choices_serve_kvm_as_well():
    config = GicConfig.qemu(architecture="4.0", redistributors=4)
    guest = ForwardedGuest(Host("4.0", command_errors=config.command_errors, vpt_writeback=config.vpt_writeback))
    guest.forward()
    guest.fire(0, 1)
    assert (guest.vlpis(2), guest.vlpis(3)) == ([8192], [8193])
