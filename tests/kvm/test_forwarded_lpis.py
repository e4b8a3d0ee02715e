# SPDX-License-Identifier: Apache-2.0
"""Forwarded LPIs in the life of a guest: its commands, its masks, its vCPUs' moves, a migration, its end."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.layouts.kvm_abi import KVM_ITE
from tests.kvm.forwarded import DEVICE, EVENTS, SPURIOUS, ForwardedGuest, refusal
from tests.kvm.guest import DEFAULT_BYTE, ITTS, Guest, offset_of
from tests.kvm.host import Host


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
    forwarded.command("CLEAR", DeviceID=DEVICE, EventID=3)
    assert forwarded.vlpis(3) == [8193]
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
    assert destination.vgic.set_forwarding_many(0, DEVICE, range(EVENTS), device, range(EVENTS)) == 8
    taken = []
    for vcpu in range(4):
        destination.vgic.load(vcpu, 0)
        taken += [host.gic.redistributors[0].cpu.acknowledge_virtual() for _ in range(4)]
        destination.vgic.put(vcpu)
    assert [intid for intid in taken if intid != SPURIOUS] == [8192, 8193, 8197, 8199]
    assert host.gic.errors == []


def test_a_vm_that_ends_gives_everything_back(forwarded):
    free = forwarded.host.driver.gic.allocator.free_bytes
    guest = Guest(driver=forwarded.host.driver)
    guest.vgic.destroy()
    assert forwarded.host.driver.gic.allocator.free_bytes == free
    forwarded.forward()
    forwarded.vgic.destroy()
    assert not forwarded.host_device.forwarded.any()
    assert not forwarded.host.driver.vpes.by_id
    assert forwarded.host.driver.gic.allocator.free_bytes > free


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
