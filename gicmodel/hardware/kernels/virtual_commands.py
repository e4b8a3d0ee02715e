# SPDX-License-Identifier: Apache-2.0
"""The GICv4 commands about events and vSGIs: one function each, named by its mnemonic, returning a reason."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.delivery import (
    ITE_DOORBELL,
    clear_virtual,
    forget_vlpi,
    reconsider,
    set_virtual,
    slot_of_vpe,
    vlpi_pending,
)
from gicmodel.hardware.kernels.errors import (
    CMDVCPU_INVALID,
    EXTERNAL_ABORT,
    ID_IS_PHYSICAL,
    ID_OOR,
    ITEVCPU_INVALID,
    OK,
    PHYSICALID_OOR,
    VCPU_OOR,
    VIRTUALID_OOR,
)
from gicmodel.hardware.kernels.highest import (
    VSGI_ENABLE,
    VSGI_FIRST_BYTE,
    VSGI_GROUP,
    VSGI_PRIORITY,
)
from gicmodel.hardware.kernels.lookup import (
    ITE_INTID,
    ITE_TYPE,
    ITE_VPE_ID,
    event_out_of_range,
    find_device,
    find_event,
    find_vpe,
    fits_vpt,
    is_doorbell,
    is_lpi,
    is_physical,
    vlpi_target,
)
from gicmodel.hardware.kernels.pending import clean, pending_word, write_pending_word
from gicmodel.hardware.kernels.state import CONFIG, DESCHEDULE, Index, Machine, Packet, Truth, Word
from gicmodel.hardware.kernels.tables import ITE_VALID, NO_DOORBELL_ID, VPE_VPT_ADDR, vpe_out_of_range, write_ite
from gicmodel.hardware.kernels.words import (
    BITS_SHIFT,
    BYTE_IN_WORD,
    BYTE_MASK,
    BYTES_SHIFT,
    ONE,
    get,
    operand,
    put,
    replace,
)
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.commands import VMAPTI, VMOVI, VSGI
from gicmodel.layouts.its_tables import INTTYPE_VIRTUAL

DEVICE_ID, EVENT_ID, VPE_ID = VMAPTI["DeviceID"], VMAPTI["EventID"], VMAPTI["vPEID"]
VINTID, DOORBELL = VMAPTI["vINTID"], VMAPTI["Doorbell"]
MOVI_DOORBELL, MOVI_REPLACE = VMOVI["Doorbell"], VMOVI["D"]
SGI_ENABLE, SGI_CLEAR, SGI_GROUP = VSGI["Enable"], VSGI["Clear"], VSGI["Group"]
SGI_PRIORITY, SGI_INTID = VSGI["Priority"], VSGI["vINTID"]
VIRTUAL = np.uint64(INTTYPE_VIRTUAL)
SGI_PRIORITY_SHIFT = np.uint64(4)


@inlined
def map_vlpi(m: Machine, its: Index, packet: Packet, vintid: Word) -> Word:
    """VMAPTI and VMAPI. The vPE need not be mapped yet."""
    device_id, event_id = operand(packet, DEVICE_ID), operand(packet, EVENT_ID)
    vpe_id, doorbell = operand(packet, VPE_ID), operand(packet, DOORBELL)
    reason, dte = find_device(m, its, device_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(event_out_of_range(m, dte, event_id)):
        return ID_OOR
    if unlikely(not is_lpi(m, vintid)):
        return VIRTUALID_OOR
    if unlikely(not allowed_doorbell(m, doorbell)):
        return PHYSICALID_OOR
    if unlikely(vpe_out_of_range(m, its, vpe_id)):
        return VCPU_OOR
    low = put(ONE, ITE_VALID) | put(VIRTUAL, ITE_TYPE) | put(vintid, ITE_INTID) | put(vpe_id, ITE_VPE_ID)
    return write_ite(m, its, device_id, dte, event_id, low, put(doorbell, ITE_DOORBELL))


@kernel
def allowed_doorbell(m: Machine, doorbell: Word) -> Truth:
    """An individual doorbell: none, or an LPI unless GITS_TYPER.nID says there are none."""
    if m.chip[CONFIG.v41] == ONE and m.chip[CONFIG.nid] == ONE:
        return doorbell == NO_DOORBELL_ID
    return is_doorbell(m, doorbell)


@inlined
def vmapti(m: Machine, its: Index, packet: Packet) -> Word:
    """Map an event to a vLPI of a vPE."""
    return map_vlpi(m, its, packet, operand(packet, VINTID))


@inlined
def vmapi(m: Machine, its: Index, packet: Packet) -> Word:
    """Map an event to the vLPI with the EventID's number."""
    return map_vlpi(m, its, packet, operand(packet, EVENT_ID))


@inlined
def vmovi(m: Machine, its: Index, packet: Packet) -> Word:
    """Give a vLPI to another vPE, its pending state to that vPE's VPT."""
    device_id, event_id, vpe_id = operand(packet, DEVICE_ID), operand(packet, EVENT_ID), operand(packet, VPE_ID)
    reason, dte, low, high = find_event(m, its, device_id, event_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(is_physical(low)):
        return ID_IS_PHYSICAL
    reason, old = vlpi_target(m, its, low)
    if unlikely(reason != OK):
        return named_vcpu(reason, ITEVCPU_INVALID)
    reason, new = find_vpe(m, its, vpe_id)
    if unlikely(reason != OK):
        return named_vcpu(reason, CMDVCPU_INVALID)
    if unlikely(not fits_vpt(new, get(low, ITE_INTID))):
        return VIRTUALID_OOR
    if operand(packet, MOVI_REPLACE) == ONE:
        if unlikely(not allowed_doorbell(m, operand(packet, MOVI_DOORBELL))):
            return PHYSICALID_OOR
        high = put(operand(packet, MOVI_DOORBELL), ITE_DOORBELL)
    if get(old[0], VPE_VPT_ADDR) != get(new[0], VPE_VPT_ADDR):
        reason = move_vlpi(m, old, new, vpe_id, get(low, ITE_INTID), get(high, ITE_DOORBELL))
    if reason == OK:
        reason = write_ite(m, its, device_id, dte, event_id, replace(low, ITE_VPE_ID, vpe_id), high)
    return reason


@kernel
def named_vcpu(reason: Word, invalid: Word) -> Word:
    """VMOVI tells the ITE's vPE from the command's by number."""
    if reason == EXTERNAL_ABORT or reason == VCPU_OOR:
        return reason
    return invalid


@inlined
def move_vlpi(m: Machine, old: Packet, new: Packet, vpe_id: Word, vintid: Word, doorbell: Word) -> Word:
    """Move one vLPI's pending state between VPTs; a VPT outside RAM matters if there is something to move."""
    # INV reaches the new vPE only: what is retained for the old one would be stale on the vLPI's return.
    forget_vlpi(m, old, vintid)
    reason, was = vlpi_pending(m, old, vintid)
    if unlikely(was):
        reason = carry_over(m, old, new, vpe_id, vintid, doorbell)
    return reason


@kernel
def carry_over(m: Machine, old: Packet, new: Packet, vpe_id: Word, vintid: Word, doorbell: Word) -> Word:
    """Make a vLPI not pending here and pending there."""
    reason = slot_of_vpe(m, new)[0]
    if reason == OK:
        reason = clear_virtual(m, old, vintid)[0]
    if reason == OK:
        reason = set_virtual(m, new, vpe_id, vintid, doorbell)
    return reason


@inlined
def vsgi(m: Machine, its: Index, packet: Packet) -> Word:
    """VSGI: configure a vSGI, or make it not pending; never both."""
    reason, entry = find_vpe(m, its, operand(packet, VPE_ID))
    if unlikely(reason != OK):
        return reason
    if operand(packet, SGI_CLEAR) == ONE:
        return clear_virtual(m, entry, operand(packet, SGI_INTID))[0]
    byte = put(operand(packet, SGI_ENABLE), VSGI_ENABLE) | put(operand(packet, SGI_GROUP), VSGI_GROUP)
    byte |= put(operand(packet, SGI_PRIORITY) << SGI_PRIORITY_SHIFT, VSGI_PRIORITY)
    reason = store_vsgi_configuration(m, entry, operand(packet, SGI_INTID), byte)
    if reason == OK:
        reason = reconsider(m, entry, operand(packet, VPE_ID))
    return reason


@kernel
def store_vsgi_configuration(m: Machine, entry: Packet, vsgi_id: Word, byte: Word) -> Word:
    """Put a vSGI's configuration byte into the first KiB of the VPT."""
    base = get(entry[0], VPE_VPT_ADDR)
    reason, slot = slot_of_vpe(m, entry)
    if unlikely(reason != OK):
        return reason
    position = VSGI_FIRST_BYTE + vsgi_id
    index = np.int64(position >> BYTES_SHIFT)
    shift = (position & BYTE_IN_WORD) << BITS_SHIFT
    word = pending_word(m, slot, base, index) & ~(BYTE_MASK << shift)
    write_pending_word(m, slot, base, index, word | (byte << shift))
    if m.chip[CONFIG.vpt_writeback] == DESCHEDULE:
        clean(m, slot)
    return OK
