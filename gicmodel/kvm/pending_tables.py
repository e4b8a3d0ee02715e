# SPDX-License-Identifier: Apache-2.0
"""The LPI pending tables in guest RAM: loaded where Linux loads them, saved by SAVE_PENDING_TABLES.

Linux arch/arm64/kvm/vgic/vgic-v3.c and vgic-its.c. KVM reads and writes single bytes and leaves the bits of INTIDs that
no ITE maps, and the first KiB of the table, as they are.
"""

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.guest_ram import mark_written, outside, read_u8
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.vpt import bit_of, byte_of

_WHAT = "LPI pending table byte"


def take_pending_bit(dist: VgicDist, vcpu: int, intid: int) -> bool:
    """Read the pending bit of an LPI that is being created, and clear it in RAM: it has been consumed.

    Linux `vgic_v3_lpi_sync_pending_status`. An LPI without a target has no table to look at. KvmError EFAULT.
    """
    if vcpu == NO_VCPU:
        return False
    address = dist.pending_tables[vcpu] + byte_of(intid)
    octet, mask = read_u8(dist.memory, address, _WHAT), 1 << bit_of(intid)
    if octet & mask:
        dist.memory.write_u8(address, octet & ~mask)
    return bool(octet & mask)


def sync_pending_table(dist: VgicDist, vcpu: int) -> None:
    """Overwrite the latch of each LPI of `vcpu` with its bit in RAM, which stays (Linux `its_sync_lpi_pending_table`).

    KvmError EFAULT at the first byte outside RAM; the LPIs before it are loaded.
    """
    slots = dist.lpis.targeting(vcpu)
    intids = dist.lpis.rows["intid"][slots]
    addresses, fault = _within_ram(dist, dist.pending_tables[vcpu] + byte_of(intids))
    octets = dist.memory.octets[addresses - dist.memory.base]
    bits = octets >> bit_of(intids[: len(addresses)]).astype(np.uint8) & 1
    dist.lpis.rows["pending_latch"][slots[: len(addresses)]] = bits
    if fault is not None:
        raise outside(fault, _WHAT)


def flush_pending_lpis(dist: VgicDist, vcpu: int) -> None:
    """Drop the LPIs queued for `vcpu`, pending state and all (Linux `vgic_flush_pending_lpis`)."""
    dist.lpis.rows["pending_latch"][dist.lpis.deliverable(vcpu)] = False


def save_pending_tables(dist: VgicDist) -> None:
    """Write the pending bit of every LPI that has a target to guest RAM (Linux `vgic_v3_save_pending_tables`).

    On GICv4.1 every vPE is unmapped first, so that the VPTs in host RAM hold the state of the forwarded LPIs, and
    mapped again afterwards, also when the save fails. Nothing else changes: a second save writes nothing.

    KvmError EBUSY while a vCPU runs; ENXIO if the GIC is not initialised; EFAULT at the first byte outside guest RAM,
    with the LPIs of lower INTID saved.
    """
    dist.lock_all_vcpus()
    dist.require_initialised("ENXIO")
    if not dist.has_gicv4_1:
        _save(dist)
        return
    dist.vlpis.unmap_all_vpes()
    try:
        _save(dist)
    finally:
        dist.vlpis.map_all_vpes()


def _save(dist: VgicDist) -> None:
    rows = dist.lpis.rows
    slots = dist.lpis.slots()
    slots = slots[rows["target_vcpu"][slots] != NO_VCPU]
    tables = np.array(dist.pending_tables, np.int64)
    addresses, fault = _within_ram(dist, tables[rows["target_vcpu"][slots]] + byte_of(rows["intid"][slots]))
    slots = slots[: len(addresses)]
    _write_bits(dist, addresses, bit_of(rows["intid"][slots]), _pending(dist, slots))
    if fault is not None:
        raise outside(fault, _WHAT)


def _pending(dist: VgicDist, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The latch of each LPI, or the VPT's bit where the physical GIC has the state and GICv4.1 lets it be read."""
    pending = dist.lpis.rows["pending_latch"][slots]
    hw = dist.lpis.rows["hw"][slots]
    if dist.has_gicv4_1:
        pending[hw] = dist.vlpis.pending(slots[hw])
    return pending


def _within_ram(dist: VgicDist, addresses: NDArray[np.integer]) -> tuple[NDArray[np.integer], int | None]:
    """The byte addresses before the first one outside guest RAM, and that one."""
    outside_ram = np.flatnonzero((addresses < dist.memory.base) | (addresses >= dist.memory.end))
    if not len(outside_ram):
        return addresses, None
    return addresses[: outside_ram[0]], int(addresses[outside_ram[0]])


def _write_bits(
    dist: VgicDist, addresses: NDArray[np.integer], numbers: NDArray[np.integer], pending: NDArray[np.bool_]
) -> None:
    """Store bit `numbers[n]` of the byte at `addresses[n]`; touch only bytes that change, as Linux does."""
    places, at = np.unique(addresses, return_inverse=True)
    stored = dist.memory.octets[places - dist.memory.base]
    bits = np.unpackbits(stored, bitorder="little")
    # Where tables overlap, two LPIs share a bit: the one stored last, the higher INTID, decides.
    bits[at * 8 + numbers] = pending
    updated = np.packbits(bits, bitorder="little")
    changed = updated != stored
    dist.memory.octets[places[changed] - dist.memory.base] = updated[changed]
    mark_written(dist.memory, places[changed])
