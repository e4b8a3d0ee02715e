# SPDX-License-Identifier: Apache-2.0
"""The LPI pending tables in guest RAM: loaded where Linux loads them, saved by SAVE_PENDING_TABLES.

Linux arch/arm64/kvm/vgic/vgic-v3.c and vgic-its.c. KVM reads and writes single bytes and leaves the bits of INTIDs that
no ITE maps, and the first KiB of the table, as they are.
"""

import numpy as np
from numpy.typing import NDArray

from gicmodel.jit import kernel
from gicmodel.kvm.ap_list import queue_all
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.guest_ram import inside_before_fault, outside, read_u8
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.kvm.save_plan import SavePlan
from gicmodel.kvm.vlpi import Vlpis
from gicmodel.layouts.lpi_tables import bit_of, byte_of
from gicmodel.memory import PAGE_BYTES, STORED

NO_FAULT = -1

_WHAT = "LPI pending table byte"
CLEAR = np.uint8(0)
BYTE_OF, BIT_OF = kernel(byte_of), kernel(bit_of)
BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)


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

    The byte of every LPI of the VM is read, whatever its target, and what waits for an ap_list comes onto one.

    KvmError EFAULT at the first byte outside RAM; the LPIs before it are loaded.
    """
    slots = dist.lpis.slots() if dist.behaviour.walks_every_lpi else dist.lpis.targeting(vcpu)
    addresses = dist.pending_tables[vcpu] + byte_of(dist.lpis.rows["intid"][slots])
    count = inside_before_fault(dist.memory, addresses)
    slots = slots[:count]
    rows = dist.lpis.rows[slots]
    bits = dist.memory.octets[addresses[:count] - dist.memory.base] >> bit_of(rows["intid"]).astype(np.uint8) & 1
    own = rows["target_vcpu"] == vcpu
    dist.lpis.rows["pending_latch"][slots[own]] = bits[own]
    queue_all(dist, slots)
    if count < len(addresses):
        raise outside(int(addresses[count]), _WHAT)


def save_pending_tables(dist: VgicDist, lpi_by_lpi: bool = False) -> None:
    """Write the pending bit of every LPI that has a target to guest RAM (Linux `vgic_v3_save_pending_tables`).

    On GICv4.1 every vPE is unmapped first, so that the VPTs in host RAM hold the state of the forwarded LPIs, and
    mapped again afterwards, also when the save fails. Nothing else changes: a second save writes nothing.

    Linux goes `lpi_by_lpi`. Without it the same bytes are written 64 LPIs at a time, where that can be.

    KvmError EBUSY while a vCPU runs; ENXIO if the GIC is not initialised; EFAULT at the first byte outside guest RAM,
    with the LPIs of lower INTID saved.
    """
    dist.lock_all_vcpus()
    dist.require_initialised("ENXIO")
    if not (dist.has_gicv4_1 and dist.behaviour.moves_pending_state):
        write_pending_tables(dist, None, lpi_by_lpi)
        return
    with dist.vlpis.unmapped(dist.vlpis.vm.vpes):
        write_pending_tables(dist, dist.vlpis, lpi_by_lpi)


def write_pending_tables(dist: VgicDist, vlpis: Vlpis | None, lpi_by_lpi: bool) -> None:
    """The part of a save between unmap and map; errors as `save_pending_tables`.

    The state of forwarded LPIs comes from the VPTs, or without `vlpis` from the latch as that of all others.
    """
    if not lpi_by_lpi and dist.behaviour.pending_byte_per_vcpu and dist.behaviour.walks_every_lpi:
        plan = _save_plan(dist, vlpis)
        if plan.possible:
            plan.save()
            return
    _save_lpi_by_lpi(dist, vlpis)


def _save_plan(dist: VgicDist, vlpis: Vlpis | None) -> SavePlan:
    """The one of the save before, if it fits."""
    if dist.save_plan is None or not dist.save_plan.fits(dist.pending_tables, vlpis):
        dist.save_plan = SavePlan(dist.memory, dist.lpis, dist.pending_tables, vlpis)
    return dist.save_plan


def _save_lpi_by_lpi(dist: VgicDist, vlpis: Vlpis | None) -> None:
    memory, tables = dist.memory, np.array(dist.pending_tables, np.int64) - dist.memory.base
    fault = save_lpi_by_lpi(
        memory.octets,
        memory.page_state,
        tables,
        (vlpis.driver.gic.memory if vlpis else memory).octets,
        vlpis.vpts(vlpis.vm.vpes) if vlpis else tables,
        dist.lpis.rows,
        dist.lpis.slots(),
        vlpis is not None,
        dist.behaviour.pending_byte_per_vcpu,
    )
    if fault != NO_FAULT:
        raise outside(memory.base + fault, _WHAT)


@kernel
def save_lpi_by_lpi(
    octets: NDArray[np.uint8],
    page_state: NDArray[np.uint8],
    tables: NDArray[np.int64],
    vpt_octets: NDArray[np.uint8],
    vpts: NDArray[np.int64],
    rows: NDArray[np.void],
    slots: NDArray[np.int64],
    reads_vpts: bool,
    by_address: bool,
) -> int:
    """Linux `vgic_v3_save_pending_tables`: each LPI's byte is read, unless the last one was in it, and written if it
    changes; only then its page is marked.

    Places are bytes from the start of a window, guest's or host's. `slots` are those of the LPIs in `rows`, in
    ascending INTID order. A forwarded LPI is pending if its VPT says so, if `reads_vpts`, and else if its latch does,
    as every other's. `by_address` is False before Linux ca185b260951. Returns the offset of the first byte that is
    outside the window, or NO_FAULT.
    """
    last, value = -1, CLEAR
    for slot in slots:
        vcpu = np.int64(rows[slot]["target_vcpu"])
        if vcpu == NO_VCPU:
            continue
        intid = rows[slot]["intid"]
        within, bit = BYTE_OF(intid), BITS[BIT_OF(intid)]
        place = tables[vcpu] + within
        if place < 0 or place >= len(octets):
            return int(place)
        key = within
        if by_address:
            key = place
        if key != last:
            value, last = octets[place], key
        pending = rows[slot]["pending_latch"]
        if reads_vpts and rows[slot]["hw"]:
            pending = vpt_octets[vpts[vcpu] + within] & bit != CLEAR
        if (value & bit != CLEAR) != pending:
            value ^= bit
            octets[place] = value
            page_state[place // PAGE_BYTES] |= STORED
    return NO_FAULT
