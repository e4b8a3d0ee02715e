# SPDX-License-Identifier: Apache-2.0
"""Every save that is refused, with the error: what was written before stays, no mapping changes, it can be repeated."""

import pytest

from gicmodel.kvm import NEWEST, HostOops, KvmError, Vgic
from gicmodel.layouts.kvm_abi import KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.lpi_tables import byte_of
from gicmodel.memory import GuestMemory
from tests.kvm.forwarded import ForwardedGuest
from tests.kvm.guest import DEVICES, ITTS, LEVEL2, PAGE, RAM_BASE, RAM_BYTES, RAM_END, Guest, pending_table, without
from tests.kvm.host import Host


def refused(guest, save, errno):
    """The save fails, and changes nothing that KVM knows."""
    before = guest.mappings(), guest.vgic.lpis.rows.tolist()
    with pytest.raises(KvmError) as caught:
        save()
    assert caught.value.errno == errno
    assert (guest.mappings(), guest.vgic.lpis.rows.tolist()) == before


def test_while_a_vcpu_runs(setup1):
    image = setup1.memory.octets.copy()
    setup1.vgic.running.add(2)
    for save in (setup1.its.save_tables, setup1.vgic.save_pending_tables):
        refused(setup1, save, "EBUSY")
    assert (setup1.memory.octets == image).all()
    setup1.vgic.running.clear()
    setup1.its.save_tables()
    setup1.vgic.save_pending_tables()


def test_pending_tables_before_init():
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, initialise=False)
    with pytest.raises(KvmError, match="ENXIO"):
        vgic.save_pending_tables()
    assert not len(vgic.memory.written_pages())


def test_a_forwarded_lpi_on_gicv4_0():
    """The devices before it are written, its own DTE is not, and it goes on being forwarded."""
    guest = ForwardedGuest(Host("4.0"))
    guest.mapd(1, ITTS + 0x4000)
    guest.mapti(1, 0, 8300, 2)
    guest.forward(4)
    refused(guest, guest.its.save_tables, "EACCES")
    assert guest.memory.read_u64(ITTS + 0x4000) == KVM_ITE.pack(pINTID=8300, ICID=2)
    assert KVM_DTE.unpack(guest.memory.read_u64(DEVICES + 8))["next"] == 1
    assert guest.memory.read_u64(DEVICES + 16) == 0
    guest.fire(4)
    assert guest.vlpis(2) == [8196]
    guest.vgic.unset_forwarding((guest.host_device, 4))
    guest.its.save_tables()


@pytest.mark.parametrize("behaviour", [NEWEST, without("skips_unreachable_devices")], ids=["newest", "before 7.3"])
def test_a_device_that_cannot_be_stored(behaviour):
    guest = Guest(indirect=True, behaviour=behaviour)
    for index in (0, 1):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    for number, device_id in enumerate((0, 8192, 8193)):
        guest.mapd(device_id, ITTS + 0x1000 * number, bits=5)
    level1 = guest.memory.read_u64(DEVICES + 8)
    guest.memory.write_u64(DEVICES + 8, 0)
    if behaviour is NEWEST:
        guest.its.save_tables()
    else:
        refused(guest, guest.its.save_tables, "EINVAL")
    assert KVM_DTE.unpack(guest.memory.read_u64(LEVEL2))["V"]
    assert not guest.memory.read(LEVEL2 + PAGE, 16).strip(b"\0")
    guest.memory.write_u64(DEVICES + 8, level1)
    guest.its.save_tables()
    saved = guest.mappings()
    guest.restart_its()
    guest.its.restore_tables()
    assert guest.mappings() == saved
    assert sorted(guest.its.devices) == [0, 8192, 8193]


def test_an_itt_that_leaves_ram():
    """Before 5.19 MAPTI let it happen. The ITE before the missing one is written, the DTE is not."""
    guest = Guest(behaviour=without("mapti_checks_itt"))
    guest.mapc(0, 0)
    guest.mapd(4, RAM_END - 0x100, bits=8)
    guest.mapti(4, 3, 8200, 0)
    guest.mapti(4, 200, 8201, 0)
    refused(guest, guest.its.save_tables, "EFAULT")
    assert KVM_ITE.unpack(guest.memory.read_u64(RAM_END - 0x100 + 24))["pINTID"] == 8200
    assert guest.memory.read_u64(DEVICES + 32) == 0
    guest.command("DISCARD", DeviceID=4, EventID=200)
    guest.its.save_tables()


def test_an_event_without_collection_before_7_3():
    """The host's kernel is gone, and no errno says so."""
    guest = Guest(behaviour=without("saves_events_without_collection"))
    guest.mapc(0, 0)
    guest.mapd(2, ITTS)
    guest.mapti(2, 0, 8200, 0)
    guest.mapc(0, 0, valid=0)
    with pytest.raises(HostOops):
        guest.its.save_tables()


def test_a_pending_table_outside_ram():
    """LPIs of lower INTID are saved, every vPE is mapped again, and nothing is lost."""
    guest = ForwardedGuest(Host())
    guest.forward()
    guest.fire(0, 1, 2)
    guest.vgic.dist.set_pendbaser(3, RAM_END)
    refused(guest, guest.vgic.save_pending_tables, "EFAULT")
    assert guest.memory.read_u8(pending_table(2) + byte_of(8192)) == 1
    assert all(vpe.vmapp_count for vpe in guest.vgic.its_vm.vpes)
    guest.vgic.dist.set_pendbaser(3, pending_table(3))
    guest.vgic.save_pending_tables()
    assert guest.saved_bits() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert (guest.vlpis(2), guest.vlpis(3)) == ([8192, 8194], [8193])
