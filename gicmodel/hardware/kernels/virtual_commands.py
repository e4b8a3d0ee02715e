# SPDX-License-Identifier: Apache-2.0
"""The GICv4.0 and GICv4.1 commands: one function each, named by its mnemonic, returning a reason."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import LPI_ID_BITS, forget_byte
from gicmodel.hardware.kernels.delivery import (
    clear_virtual,
    set_virtual,
    slot_of_vpe,
    vpe_redistributor,
)
from gicmodel.hardware.kernels.errors import (
    CMDVCPU_INVALID,
    EXTERNAL_ABORT,
    ID_IS_PHYSICAL,
    ID_OOR,
    ITEVCPU_INVALID,
    OK,
    PHYSICALID_OOR,
    PROCNUM_OOR,
    VCPU_INVALID,
    VCPU_MAPPED,
    VCPU_OOR,
    VCPU_RESIDENT,
    VIRTUALID_OOR,
    VPTSIZE_OOR,
)
from gicmodel.hardware.kernels.events import ITE_DOORBELL, reconsider
from gicmodel.hardware.kernels.highest import (
    BITS_SHIFT,
    BYTE_IN_WORD,
    BYTE_MASK,
    BYTES_IN_WORD_SHIFT,
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
    redistributor_of,
    vlpi_target,
)
from gicmodel.hardware.kernels.pending import (
    bit_reachable,
    clean,
    find_vpt,
    forget_configuration,
    pending_word,
    release,
    vpt_slot,
    write_pending_word,
)
from gicmodel.hardware.kernels.state import (
    CONFIG,
    DESCHEDULE,
    RD,
    UNMAP,
    Index,
    Machine,
    Packet,
    Truth,
    Word,
    rd_at,
    resident_on,
)
from gicmodel.hardware.kernels.tables import ITE_VALID, write_ite
from gicmodel.hardware.kernels.vpe_tables import (
    NO_DOORBELL_ID,
    NOTHING,
    VPE_DOORBELL,
    VPE_ITS_MAP,
    VPE_RDBASE,
    VPE_VALID,
    VPE_VCONF_ADDR,
    VPE_VPT_ADDR,
    VPE_VPT_SIZE,
    mapped_here,
    read_vpe,
    read_vpe_configuration,
    vpe_out_of_range,
    write_vpe,
    write_vpe_configuration,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, operand, put, replace
from gicmodel.jit import kernel
from gicmodel.layouts.commands import VMAPP, VMAPTI, VMOVI, VMOVP, VSGI
from gicmodel.layouts.itt import INTTYPE_VIRTUAL

DEVICE_ID, EVENT_ID, VINTID, DOORBELL = (VMAPTI[name] for name in ("DeviceID", "EventID", "vINTID", "Doorbell"))
VPE_ID, RDBASE, VALID, ALLOC, PTZ = (VMAPP[name] for name in ("vPEID", "RDbase", "V", "Alloc", "PTZ"))
VCONF_ADDR, VPT_ADDR, VPT_SIZE = (VMAPP[name] for name in ("VCONF_addr", "VPT_addr", "VPT_size"))
DEFAULT_DOORBELL = VMAPP["Default_Doorbell"]
MOVI_DOORBELL, MOVI_REPLACE = VMOVI["Doorbell"], VMOVI["D"]
MOVP_DOORBELL, MOVP_REPLACE = VMOVP["Default_Doorbell"], VMOVP["DB"]
SGI_ENABLE, SGI_CLEAR, SGI_GROUP = VSGI["Enable"], VSGI["Clear"], VSGI["Group"]
SGI_PRIORITY, SGI_INTID = VSGI["Priority"], VSGI["vINTID"]
VIRTUAL = np.uint64(INTTYPE_VIRTUAL)
SGI_PRIORITY_SHIFT = np.uint64(4)


@kernel
def map_vlpi(m: Machine, its: Index, packet: Packet, vintid: Word) -> Word:
    """VMAPTI and VMAPI. The vPE need not be mapped yet."""
    device_id, event_id = operand(packet, DEVICE_ID), operand(packet, EVENT_ID)
    vpe_id, doorbell = operand(packet, VPE_ID), operand(packet, DOORBELL)
    reason, dte = find_device(m, its, device_id)
    if reason != OK:
        return reason
    if event_out_of_range(dte, event_id):
        return ID_OOR
    if not is_lpi(m, vintid):
        return VIRTUALID_OOR
    if not allowed_doorbell(m, doorbell):
        return PHYSICALID_OOR
    if vpe_out_of_range(m, its, vpe_id):
        return VCPU_OOR
    low = put(ONE, ITE_VALID) | put(VIRTUAL, ITE_TYPE) | put(vintid, ITE_INTID) | put(vpe_id, ITE_VPE_ID)
    return write_ite(m, its, device_id, dte, event_id, low, put(doorbell, ITE_DOORBELL))


@kernel
def allowed_doorbell(m: Machine, doorbell: Word) -> Truth:
    """An individual doorbell: none, or an LPI unless GITS_TYPER.nID says there are none."""
    if m.chip[CONFIG.v41] == ONE and m.chip[CONFIG.nid] == ONE:
        return doorbell == NO_DOORBELL_ID
    return is_doorbell(m, doorbell)


@kernel
def vmapti(m: Machine, its: Index, packet: Packet) -> Word:
    """Map an event to a vLPI of a vPE."""
    return map_vlpi(m, its, packet, operand(packet, VINTID))


@kernel
def vmapi(m: Machine, its: Index, packet: Packet) -> Word:
    """Map an event to the vLPI with the EventID's number."""
    return map_vlpi(m, its, packet, operand(packet, EVENT_ID))


@kernel
def vmovi(m: Machine, its: Index, packet: Packet) -> Word:
    """Give a vLPI to another vPE, its pending state to that vPE's VPT."""
    device_id, event_id, vpe_id = operand(packet, DEVICE_ID), operand(packet, EVENT_ID), operand(packet, VPE_ID)
    reason, dte, low, high = find_event(m, its, device_id, event_id)
    if reason != OK:
        return reason
    if is_physical(low):
        return ID_IS_PHYSICAL
    reason, old = vlpi_target(m, its, low)
    if reason != OK:
        return named_vcpu(reason, ITEVCPU_INVALID)
    reason, new = find_vpe(m, its, vpe_id)
    if reason != OK:
        return named_vcpu(reason, CMDVCPU_INVALID)
    if not fits_vpt(new, get(low, ITE_INTID)):
        return VIRTUALID_OOR
    if operand(packet, MOVI_REPLACE) == ONE:
        if not allowed_doorbell(m, operand(packet, MOVI_DOORBELL)):
            return PHYSICALID_OOR
        high = put(operand(packet, MOVI_DOORBELL), ITE_DOORBELL)
    reason = write_ite(m, its, device_id, dte, event_id, replace(low, ITE_VPE_ID, vpe_id), high)
    if reason != OK or get(old[0], VPE_VPT_ADDR) == get(new[0], VPE_VPT_ADDR):
        return reason
    return move_vlpi(m, old, new, vpe_id, get(low, ITE_INTID), get(high, ITE_DOORBELL))


@kernel
def named_vcpu(reason: Word, invalid: Word) -> Word:
    """VMOVI tells the ITE's vPE from the command's by number."""
    if reason == EXTERNAL_ABORT or reason == VCPU_OOR:
        return reason
    return invalid


@kernel
def move_vlpi(m: Machine, old: Packet, new: Packet, vpe_id: Word, vintid: Word, doorbell: Word) -> Word:
    """Move one vLPI's pending state between VPTs."""
    reason, was = clear_virtual(m, old, vintid)
    if was:
        reason = set_virtual(m, new, vpe_id, vintid, doorbell)
    return reason


@kernel
def vmapp(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.1: bind a vPEID to its VPT, configuration table, doorbell and redistributor, or unbind it."""
    vpe_id, bits = operand(packet, VPE_ID), operand(packet, VPT_SIZE) + ONE
    if operand(packet, VALID) != ONE:
        return unmap_vpe(m, its, vpe_id, operand(packet, ALLOC) == ONE)
    if bits < LPI_ID_BITS or bits > m.chip[CONFIG.intid_bits]:
        return VPTSIZE_OOR
    rd = redistributor_of(m, operand(packet, RDBASE))
    if rd < 0:
        return PROCNUM_OOR
    if vpe_out_of_range(m, its, vpe_id):
        return VCPU_OOR
    if not is_doorbell(m, operand(packet, DEFAULT_DOORBELL)):
        return PHYSICALID_OOR
    reason, entry = read_vpe(m, its, vpe_id)
    if reason != OK:
        return reason
    if mapped_here(entry, its):
        return VCPU_MAPPED
    if operand(packet, ALLOC) == ONE:
        return first_map(m, its, vpe_id, rd, packet)
    return further_map(m, its, vpe_id, rd)


@kernel
def first_map(m: Machine, its: Index, vpe_id: Word, rd: Index, packet: Packet) -> Word:
    """VMAPP {V,Alloc} = {1,1}: allocate the vPE configuration entry; take the VPT as pending state unless PTZ."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK:
        return reason
    if get(entry[0], VPE_VALID) == ONE:
        return VCPU_MAPPED
    base, size = operand(packet, VPT_ADDR), operand(packet, VPT_SIZE)
    stale = find_vpt(m, base)
    if stale >= 0 and operand(packet, PTZ) == ONE:
        release(m, stale, True)
    reason, _ = vpt_slot(m, base, size + ONE, operand(packet, PTZ) == ONE)
    if reason != OK:
        return reason
    word0 = put(base, VPE_VPT_ADDR) | put(size, VPE_VPT_SIZE) | put(ONE, VPE_VALID)
    word1 = put(operand(packet, VCONF_ADDR), VPE_VCONF_ADDR) | put(np.uint64(rd), VPE_RDBASE)
    word2 = put(operand(packet, DEFAULT_DOORBELL), VPE_DOORBELL)
    return write_both(m, its, rd, vpe_id, (word0, word1, word2, put(ONE << np.uint64(its), VPE_ITS_MAP)))


@kernel
def further_map(m: Machine, its: Index, vpe_id: Word, rd: Index) -> Word:
    """VMAPP {V,Alloc} = {1,0}: one more ITS for a vPE that another ITS has allocated."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK:
        return reason
    if get(entry[0], VPE_VALID) != ONE:
        return VCPU_INVALID
    word3 = entry[3] | put(ONE << np.uint64(its), VPE_ITS_MAP)
    return write_both(m, its, rd, vpe_id, (entry[0], entry[1], entry[2], word3))


@kernel
def write_both(m: Machine, its: Index, rd: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the ITS's entry and the redistributors'; the latter is the last word where they are the same bytes."""
    reason = write_vpe(m, its, vpe_id, entry)
    if reason == OK:
        reason = write_vpe_configuration(m, rd, vpe_id, entry)
    return reason


@kernel
def unmap_vpe(m: Machine, its: Index, vpe_id: Word, last: Truth) -> Word:
    """VMAPP V=0; with Alloc=1 the VPT in RAM is current when the command is complete (IHI0069 5.3.19)."""
    reason, entry = find_vpe(m, its, vpe_id)
    if reason == VCPU_INVALID:
        return OK
    if reason != OK:
        return reason
    if resident_on(m, vpe_id) >= 0:
        return VCPU_RESIDENT
    rd = vpe_redistributor(entry)
    reason, shared = read_vpe_configuration(m, rd, vpe_id)
    if reason == OK:
        reason = write_vpe(m, its, vpe_id, NOTHING)
    if reason != OK:
        return reason
    if not last:
        word3 = shared[3] & ~put(ONE << np.uint64(its), VPE_ITS_MAP)
        return write_vpe_configuration(m, rd, vpe_id, (shared[0], shared[1], shared[2], word3))
    slot = find_vpt(m, get(entry[0], VPE_VPT_ADDR))
    if slot >= 0:
        release(m, slot, True)
    return write_vpe_configuration(m, rd, vpe_id, NOTHING)


@kernel
def vmapp_v40(m: Machine, its: Index, packet: Packet) -> Word:
    """GICv4.0: bind a vPEID to its VPT and redistributor, or unbind it. Binding it anew replaces the old binding."""
    vpe_id, size = operand(packet, VPE_ID), operand(packet, VPT_SIZE)
    valid = operand(packet, VALID) == ONE
    rd = redistributor_of(m, operand(packet, RDBASE))
    if valid and size >= m.chip[CONFIG.intid_bits]:
        return VPTSIZE_OOR
    if valid and rd < 0:
        return PROCNUM_OOR
    if vpe_out_of_range(m, its, vpe_id):
        return VCPU_OOR
    reason, old = read_vpe(m, its, vpe_id)
    if reason != OK:
        return reason
    if not valid:
        return unmap_vpe_v40(m, its, vpe_id, old)
    word0 = put(operand(packet, VPT_ADDR), VPE_VPT_ADDR) | put(size, VPE_VPT_SIZE) | put(ONE, VPE_VALID)
    return write_vpe(m, its, vpe_id, (word0, put(np.uint64(rd), VPE_RDBASE), ZERO, ZERO))


@kernel
def unmap_vpe_v40(m: Machine, its: Index, vpe_id: Word, old: Packet) -> Word:
    """VMAPP V=0 in GICv4.0, which promises nothing about the VPT in RAM."""
    slot = find_vpt(m, get(old[0], VPE_VPT_ADDR))
    if get(old[0], VPE_VALID) == ONE and slot >= 0:
        release(m, slot, m.chip[CONFIG.vpt_writeback] != UNMAP)
    return write_vpe(m, its, vpe_id, NOTHING)


@kernel
def vmovp(m: Machine, its: Index, packet: Packet) -> Word:
    """Give a vPE to another redistributor; with GITS_TYPER.VMOVP = 1 for every ITS that has it mapped."""
    vpe_id = operand(packet, VPE_ID)
    reason, entry = find_vpe(m, its, vpe_id)
    if reason != OK:
        return reason
    rd = redistributor_of(m, operand(packet, RDBASE))
    if rd < 0:
        return PROCNUM_OOR
    word2 = entry[2]
    if m.chip[CONFIG.v41] == ONE and operand(packet, MOVP_REPLACE) == ONE:
        if not is_doorbell(m, operand(packet, MOVP_DOORBELL)):
            return PHYSICALID_OOR
        word2 = replace(word2, VPE_DOORBELL, operand(packet, MOVP_DOORBELL))
    moved = (entry[0], replace(entry[1], VPE_RDBASE, np.uint64(rd)), word2, entry[3])
    for other in range(np.int64(m.chip[CONFIG.its])):
        if reason == OK and (other == its or m.chip[CONFIG.vmovp] == ONE):
            reason = move_vpe(m, other, vpe_id, moved)
    if reason == OK and m.chip[CONFIG.v41] == ONE:
        reason = move_configuration(m, vpe_redistributor(entry), rd, vpe_id, moved)
    return reason


@kernel
def move_vpe(m: Machine, its: Index, vpe_id: Word, moved: Packet) -> Word:
    """Point one ITS's entry at the vPE's new redistributor, if that ITS has the vPE."""
    if vpe_out_of_range(m, its, vpe_id):
        return OK
    reason, entry = read_vpe(m, its, vpe_id)
    if reason == OK and mapped_here(entry, its):
        reason = write_vpe(m, its, vpe_id, (entry[0], moved[1], moved[2], entry[3]))
    return reason


@kernel
def move_configuration(m: Machine, old: Index, new: Index, vpe_id: Word, moved: Packet) -> Word:
    """Carry the vPE configuration entry along, into another table if the redistributors do not share one."""
    reason, entry = read_vpe_configuration(m, old, vpe_id)
    if reason != OK:
        return reason
    word2 = replace(entry[2], VPE_DOORBELL, get(moved[2], VPE_DOORBELL))
    if m.chip[rd_at(old) + RD.group] != m.chip[rd_at(new) + RD.group]:
        reason = write_vpe_configuration(m, old, vpe_id, NOTHING)
    if reason == OK:
        reason = write_vpe_configuration(m, new, vpe_id, (entry[0], moved[1], word2, entry[3]))
    return reason


@kernel
def vsync(m: Machine, its: Index, packet: Packet) -> Word:
    """VSYNC: everything before is complete for the vPE, which must be mapped."""
    return find_vpe(m, its, operand(packet, VPE_ID))[0]


@kernel
def vinvall(m: Machine, its: Index, packet: Packet) -> Word:
    """VINVALL: the configuration of all vLPIs of a vPE is read anew."""
    reason, entry = find_vpe(m, its, operand(packet, VPE_ID))
    if reason == OK:
        reason = invalidate_vpe(m, entry, operand(packet, VPE_ID))
    return reason


@kernel
def invalidate_vpe(m: Machine, entry: Packet, vpe_id: Word) -> Word:
    """Drop every retained configuration byte of a vPE."""
    slot = find_vpt(m, get(entry[0], VPE_VPT_ADDR))
    if slot >= 0:
        forget_configuration(m, slot)
    return reconsider(m, entry, vpe_id)


@kernel
def invdb(m: Machine, its: Index, packet: Packet) -> Word:
    """INVDB: the configuration of a vPE's default doorbell is read anew."""
    reason, entry = find_vpe(m, its, operand(packet, VPE_ID))
    doorbell = get(entry[2], VPE_DOORBELL)
    if reason == OK and is_lpi(m, doorbell):
        forget_byte(m, vpe_redistributor(entry), doorbell)
    return reason


@kernel
def vsgi(m: Machine, its: Index, packet: Packet) -> Word:
    """VSGI: configure a vSGI, or make it not pending; never both."""
    reason, entry = find_vpe(m, its, operand(packet, VPE_ID))
    if reason != OK:
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
    if reason == OK:
        reason = bit_reachable(m, slot, base, ZERO)
    if reason != OK:
        return reason
    position = VSGI_FIRST_BYTE + vsgi_id
    index = np.int64(position >> BYTES_IN_WORD_SHIFT)
    shift = (position & BYTE_IN_WORD) << BITS_SHIFT
    word = pending_word(m, slot, base, index) & ~(BYTE_MASK << shift)
    write_pending_word(m, slot, base, index, word | (byte << shift))
    if m.chip[CONFIG.vpt_writeback] == DESCHEDULE:
        clean(m, slot)
    return OK
