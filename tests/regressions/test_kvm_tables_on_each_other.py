# SPDX-License-Identifier: Apache-2.0
"""A guest's tables over each other: KVM reads each entry when its turn comes, after what it wrote for the others."""

import pytest

from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.lpi_tables import byte_of
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, Guest
from tests.kvm.tables import put_device, put_event


@pytest.mark.parametrize(("intid", "left"), [(8256, 4), (8258, 1), (8257, 5)])
def test_a_pending_bit_is_taken_out_of_an_entry_that_follows(intid, left):
    """The byte of INTIDs 8256 to 8263 in vCPU 1's pending table is the low one of the ICID, 5, of event 1."""
    guest = Guest()
    guest.restart_its()
    guest.vgic.dist.set_pendbaser(1, ITTS)
    itt = ITTS + byte_of(8192)
    for number, icid in enumerate((0, 1, 4, 5)):
        guest.memory.write_u64(COLLECTIONS + 8 * number, KVM_CTE.pack(V=1, RDBase=icid % 4, ICID=icid))
    put_device(guest, itt_addr=itt)
    put_event(guest, 0, intid, icid=1, distance=1, itt_addr=itt)
    put_event(guest, 1, 8300, icid=5, itt_addr=itt)
    guest.its.restore_tables()
    assert guest.its.devices[0].ites[1].icid == left
    assert guest.vgic.lpis[8300].target_vcpu == left % 4


def two_levels(pages=2):
    """A guest whose level 1 table has valid entries for `pages` level 2 pages."""
    guest = Guest(indirect=True)
    for index in range(pages):
        guest.memory.write_u64(DEVICES + 8 * index, KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2 + PAGE * index))
    guest.mapc(0, 0)
    return guest


def test_an_itt_over_the_level_1_table_hides_the_next_device():
    """Its ITE 1 is level 1 entry 1, and has no V bit: device 8192 has no place any more, device 0 is the last."""
    guest = two_levels()
    guest.mapd(0, DEVICES, bits=4)
    guest.mapd(8192, ITTS, bits=4)
    guest.mapti(0, 1, 8200, 0)
    guest.its.save_tables()
    assert guest.memory.read_u64(DEVICES + 8) == KVM_ITE.pack(pINTID=8200, ICID=0)
    assert guest.memory.read_u64(LEVEL2) == KVM_DTE.pack(V=1, ITT_addr=DEVICES, Size=3)
    assert not guest.memory.read(LEVEL2 + PAGE, PAGE).strip(b"\0")


def test_a_pending_bit_that_is_the_valid_bit_of_a_device():
    """Bit 7 of byte 0x40f of the pending table is INTID 8319, and V of DTE 129: the walk steps over what is left."""
    guest = two_levels()
    guest.restart_its()
    guest.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=1, ICID=5))
    guest.vgic.dist.set_pendbaser(1, LEVEL2)
    at = 8 * (byte_of(8192) // 8)
    guest.memory.write_u64(LEVEL2 + at, KVM_DTE.pack(V=1, next=1, ITT_addr=ITTS, Size=3))
    guest.memory.write_u64(LEVEL2 + at + 8, KVM_DTE.pack(V=1, next=1, ITT_addr=ITTS + 0x100, Size=3))
    guest.memory.write_u64(LEVEL2 + at + 16, KVM_DTE.pack(V=1, ITT_addr=ITTS + 0x200, Size=3))
    put_event(guest, 0, 8319)
    guest.its.restore_tables()
    assert sorted(guest.its.devices) == [at // 8, at // 8 + 2]
