# SPDX-License-Identifier: Apache-2.0
"""Entries of a guest's ITS tables, written by hand."""

from gicmodel.layouts.kvm_abi import KVM_DTE, KVM_ITE
from tests.kvm.guest import DEVICES, ITTS


def words(guest, address, count):
    return [guest.memory.read_u64(address + 8 * n) for n in range(count)]


def put_device(guest, device_id=0, bits=4, itt_addr=ITTS, distance=0):
    guest.memory.write_u64(DEVICES + 8 * device_id, KVM_DTE.pack(V=1, next=distance, ITT_addr=itt_addr, Size=bits - 1))


def put_event(guest, event_id=0, intid=8192, icid=5, distance=0, itt_addr=ITTS):
    guest.memory.write_u64(itt_addr + 8 * event_id, KVM_ITE.pack(next=distance, pINTID=intid, ICID=icid))
