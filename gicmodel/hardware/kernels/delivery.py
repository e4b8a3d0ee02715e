# SPDX-License-Identifier: Apache-2.0
"""An interrupt becomes pending, or stops being so: LPIs at a redistributor, vLPIs and vSGIs at a vPE, doorbells.

Functions return OK or EXTERNAL_ABORT, those of an event (below, from its ITE) whatever keeps it from its target too. An
LPI for a redistributor that does not take it (EnableLPIs = 0, INTID beyond GICR_PROPBASER.IDbits) is dropped without an
error, as the architecture has it (DDI0601 GICR_CTLR, GICR_PROPBASER).
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import configuration_byte, forget_byte, id_bits_of, is_enabled
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.highest import (
    SPURIOUS,
    any_enabled_lpi,
    best_vsgi,
    vsgi_configuration,
    vsgi_forwardable,
)
from gicmodel.hardware.kernels.lookup import ITE_INTID, ITE_VPE_ID, is_physical, lpi_target, vlpi_target
from gicmodel.hardware.kernels.pending import (
    FIRST_LPI_ID,
    bit_reachable,
    clean,
    clear_pending,
    find_vpt,
    forget_configuration,
    is_pending,
    set_pending,
    vpt_bits,
    vpt_slot,
)
from gicmodel.hardware.kernels.state import (
    CONFIG,
    DESCHEDULE,
    RD,
    Index,
    Machine,
    Packet,
    Truth,
    Word,
    rd_at,
    resident_on,
    retains,
    stir,
)
from gicmodel.hardware.kernels.tables import (
    NO_DOORBELL_ID,
    VPE_ARMED,
    VPE_DOORBELL,
    VPE_GROUP0,
    VPE_GROUP1,
    VPE_RDBASE,
    VPE_VALID,
    VPE_VCONF_ADDR,
    VPE_VPT_ADDR,
    VPE_VPT_SIZE,
    read_vpe_configuration,
    write_vpe_configuration,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, replace
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.its_tables import ITE
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_VPENDBASER_V40

ENABLE_LPIS = GICR_CTLR["EnableLPIs"]
PENDBASER_ADDRESS = GICR_PENDBASER["Physical_Address"]
VPENDBASER_V40_VALID = GICR_VPENDBASER_V40["Valid"]
VPENDBASER_V40_ADDRESS = GICR_VPENDBASER_V40["Physical_Address"]


@kernel
def takes_lpi(m: Machine, rd: Index, intid: Word) -> Truth:
    """Whether the redistributor's LPIs are on and include this INTID."""
    return intid >= FIRST_LPI_ID and intid < m.chip[rd_at(rd) + RD.lpi_limit]


@kernel
def lpi_table(m: Machine, rd: Index) -> Word:
    """Address of the redistributor's LPI pending table."""
    return get(m.chip[rd_at(rd) + RD.pendbaser], PENDBASER_ADDRESS)


@kernel
def lpi_reachable(m: Machine, rd: Index, intid: Word) -> Word:
    """OK, or EXTERNAL_ABORT when the redistributor takes the LPI but its pending table is outside RAM."""
    if not takes_lpi(m, rd, intid):
        return OK
    return bit_reachable(m, rd, lpi_table(m, rd), intid)


@inlined
def set_lpi(m: Machine, rd: Index, intid: Word) -> Word:
    """Make a physical LPI pending."""
    if not takes_lpi(m, rd, intid):
        return OK
    reason = bit_reachable(m, rd, lpi_table(m, rd), intid)
    if reason == OK and set_pending(m, rd, lpi_table(m, rd), intid):
        stir(m, rd)
    return reason


@inlined
def lpi_pending(m: Machine, rd: Index, intid: Word) -> tuple[Word, Truth]:
    """(reason, is it pending) of a physical LPI."""
    if not takes_lpi(m, rd, intid):
        return OK, False
    reason = bit_reachable(m, rd, lpi_table(m, rd), intid)
    if unlikely(reason != OK):
        return reason, False
    return OK, is_pending(m, rd, lpi_table(m, rd), intid)


@inlined
def clear_lpi(m: Machine, rd: Index, intid: Word) -> tuple[Word, Truth]:
    """(reason, was it pending) after making a physical LPI not pending."""
    reason, was = lpi_pending(m, rd, intid)
    if was:
        clear_pending(m, rd, lpi_table(m, rd), intid)
        stir(m, rd)
    return reason, was


@kernel
def vpe_id_bits(m: Machine, entry: Packet) -> Word:
    """vINTID bits of the vPE."""
    return vpt_bits(m, get(entry[0], VPE_VPT_SIZE) + ONE)


@kernel
def vpe_redistributor(entry: Packet) -> Index:
    """Index of the redistributor that the vPE is mapped to."""
    return np.int64(get(entry[1], VPE_RDBASE))


@inlined
def slot_of_vpe(m: Machine, entry: Packet) -> tuple[Word, Index]:
    """(reason, slot) of the vPE's VPT; OK means that all of it is in RAM."""
    return vpt_slot(m, get(entry[0], VPE_VPT_ADDR), get(entry[0], VPE_VPT_SIZE) + ONE, False)


@kernel
def pe_of_vpe(m: Machine, entry: Packet, vpe_id: Word) -> Index:
    """Where the vPE is scheduled, or -1: by vPEID in GICv4.1, in GICv4.0 by its VPT's address where it is mapped."""
    if m.chip[CONFIG.v41] == ONE:
        return resident_on(m, vpe_id)
    rd = vpe_redistributor(entry)
    vpendbaser = m.chip[rd_at(rd) + RD.vpendbaser]
    scheduled = get(vpendbaser, VPENDBASER_V40_VALID) == ONE
    if scheduled and get(vpendbaser, VPENDBASER_V40_ADDRESS) == get(entry[0], VPE_VPT_ADDR):
        return rd
    return np.int64(-1)


@kernel
def resident_takes(m: Machine, entry: Packet, vintid: Word) -> Truth:
    """GICv4.0: a resident vPE's vLPIs are limited by GICR_VPROPBASER.IDbits of the redistributor it runs on."""
    vpropbaser = m.chip[rd_at(vpe_redistributor(entry)) + RD.vpropbaser]
    return m.chip[CONFIG.v41] == ONE or vintid < ONE << id_bits_of(m, vpropbaser)


@inlined
def set_virtual(m: Machine, entry: Packet, vpe_id: Word, vintid: Word, doorbell: Word) -> Word:
    """Make a vLPI or vSGI pending; ring a doorbell if the vPE is not resident."""
    rd = pe_of_vpe(m, entry, vpe_id)
    if rd >= 0 and not resident_takes(m, entry, vintid):
        return OK
    reason, slot = slot_of_vpe(m, entry)
    if unlikely(reason != OK):
        return reason
    newly = set_pending(m, slot, get(entry[0], VPE_VPT_ADDR), vintid)
    if rd >= 0:
        if newly:
            stir(m, rd)
        return OK
    if m.chip[CONFIG.vpt_writeback] == DESCHEDULE:
        clean(m, slot)
    return ring(m, entry, vpe_id, vintid, doorbell, newly)


@inlined
def withdraw_virtual(m: Machine, entry: Packet, vpe_id: Word, vintid: Word) -> Word:
    """CLEAR or DISCARD of a vLPI: a resident vPE drops what it does not take, as it does when one is made pending."""
    if pe_of_vpe(m, entry, vpe_id) >= 0 and not resident_takes(m, entry, vintid):
        return OK
    return clear_virtual(m, entry, vintid)[0]


@inlined
def vlpi_pending(m: Machine, entry: Packet, vintid: Word) -> tuple[Word, Truth]:
    """(reason, is it pending) of a vLPI."""
    reason, slot = slot_of_vpe(m, entry)
    if unlikely(reason != OK):
        return reason, False
    return OK, is_pending(m, slot, get(entry[0], VPE_VPT_ADDR), vintid)


@inlined
def clear_virtual(m: Machine, entry: Packet, vintid: Word) -> tuple[Word, Truth]:
    """(reason, was it pending) after making a vLPI or vSGI not pending."""
    reason, slot = slot_of_vpe(m, entry)
    if unlikely(reason != OK):
        return reason, False
    was = clear_pending(m, slot, get(entry[0], VPE_VPT_ADDR), vintid)
    if m.chip[CONFIG.vpt_writeback] == DESCHEDULE:
        clean(m, slot)
    return OK, was


@inlined
def ring(m: Machine, entry: Packet, vpe_id: Word, vintid: Word, doorbell: Word, newly: Truth) -> Word:
    """The doorbells of an interrupt of a vPE that is not resident."""
    reason = OK
    if doorbell != NO_DOORBELL_ID and (newly or m.chip[CONFIG.doorbell_every] == ONE):
        reason = set_lpi(m, vpe_redistributor(entry), doorbell)
    if newly and reason == OK and m.chip[CONFIG.v41] == ONE:
        reason = ring_default_doorbell(m, vpe_redistributor(entry), vpe_id, vintid)
    return reason


@kernel
def forwardable(m: Machine, slot: Index, entry: Packet, vintid: Word) -> Truth:
    """Whether a vPE's interrupt is enabled, and its group was at the last residency."""
    group0, group1 = get(entry[2], VPE_GROUP0), get(entry[2], VPE_GROUP1)
    if vintid < FIRST_LPI_ID:
        byte = vsgi_configuration(m, slot, get(entry[0], VPE_VPT_ADDR), vintid)
        return vsgi_forwardable(byte, group0, group1)
    return group1 == ONE and is_enabled(configuration_byte(m, slot, get(entry[1], VPE_VCONF_ADDR), vintid))


@kernel
def ring_default_doorbell(m: Machine, rd: Index, vpe_id: Word, vintid: Word) -> Word:
    """Ring an armed default doorbell, once, if the interrupt may wake the vPE (GICR_VPENDBASER.Doorbell, DDI0601)."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK or get(entry[0], VPE_VALID) != ONE or get(entry[2], VPE_ARMED) != ONE:
        return reason
    reason, slot = slot_of_vpe(m, entry)
    if reason != OK or not forwardable(m, slot, entry, vintid):
        return reason
    return fire_default_doorbell(m, rd, vpe_id, entry)


@kernel
def fire_default_doorbell(m: Machine, rd: Index, vpe_id: Word, entry: Packet) -> Word:
    """Disarm the default doorbell and make its LPI pending: one for each time the vPE is not resident."""
    reason = write_vpe_configuration(m, rd, vpe_id, with_armed(entry, ZERO))
    if reason == OK:
        reason = set_lpi(m, rd, get(entry[2], VPE_DOORBELL))
    return reason


@kernel
def with_armed(entry: Packet, armed: Word) -> Packet:
    """The entry with its default doorbell armed or not."""
    return entry[0], entry[1], replace(entry[2], VPE_ARMED, armed), entry[3]


@kernel
def anything_forwardable(m: Machine, slot: Index, entry: Packet) -> Truth:
    """Whether the vPE has an enabled pending interrupt: GICR_VPENDBASER.PendingLast of GICv4.1."""
    base, group1 = get(entry[0], VPE_VPT_ADDR), get(entry[2], VPE_GROUP1)
    if best_vsgi(m, slot, base, get(entry[2], VPE_GROUP0), group1)[0] != SPURIOUS:
        return True
    return group1 == ONE and any_enabled_lpi(m, slot, base, get(entry[1], VPE_VCONF_ADDR), vpe_id_bits(m, entry))


@kernel
def reconsider_doorbell(m: Machine, rd: Index, vpe_id: Word) -> Word:
    """After a configuration change: an interrupt that was pending may only now be enabled."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK or get(entry[0], VPE_VALID) != ONE or get(entry[2], VPE_ARMED) != ONE:
        return reason
    reason, slot = slot_of_vpe(m, entry)
    if reason != OK or not anything_forwardable(m, slot, entry):
        return reason
    return fire_default_doorbell(m, rd, vpe_id, entry)


ITE_DOORBELL = ITE["Doorbell"]


@inlined
def raise_event(m: Machine, its: Index, low: Word, high: Word) -> Word:
    """Make the event's interrupt pending."""
    intid = get(low, ITE_INTID)
    if is_physical(low):
        reason, rd = lpi_target(m, its, low)
        if reason == OK:
            reason = set_lpi(m, rd, intid)
        return reason
    reason, entry = vlpi_target(m, its, low)
    if reason == OK:
        reason = set_virtual(m, entry, get(low, ITE_VPE_ID), intid, get(high, ITE_DOORBELL))
    return reason


@inlined
def withdraw_event(m: Machine, its: Index, low: Word) -> Word:
    """Make the event's interrupt not pending."""
    intid = get(low, ITE_INTID)
    if is_physical(low):
        reason, rd = lpi_target(m, its, low)
        if reason == OK:
            reason = clear_lpi(m, rd, intid)[0]
        return reason
    reason, entry = vlpi_target(m, its, low)
    if reason == OK:
        reason = withdraw_virtual(m, entry, get(low, ITE_VPE_ID), intid)
    return reason


@inlined
def invalidate_event(m: Machine, its: Index, low: Word) -> Word:
    """Read the configuration of the event's interrupt anew; a vLPI now enabled may ring the default doorbell."""
    if is_physical(low):
        return forget_event(m, its, low)
    reason, entry = vlpi_target(m, its, low)
    if reason == OK:
        forget_vlpi(m, entry, get(low, ITE_INTID))
        reason = reconsider(m, entry, get(low, ITE_VPE_ID))
    return reason


@inlined
def forget_event(m: Machine, its: Index, low: Word) -> Word:
    """Drop the retained configuration byte of the event's interrupt."""
    intid = get(low, ITE_INTID)
    if is_physical(low):
        reason, rd = lpi_target(m, its, low)
        if reason == OK:
            forget_byte(m, rd, intid)
        return reason
    reason, entry = vlpi_target(m, its, low)
    if reason == OK:
        forget_vlpi(m, entry, intid)
    return reason


@kernel
def forget_vlpi(m: Machine, entry: Packet, vintid: Word) -> None:
    """Drop a vLPI's retained configuration byte."""
    if retains(m):
        slot = find_vpt(m, get(entry[0], VPE_VPT_ADDR))
        if slot >= 0:
            forget_byte(m, slot, vintid)


@kernel
def forget_vlpis(m: Machine, entry: Packet) -> None:
    """Drop all retained configuration bytes of a vPE."""
    slot = find_vpt(m, get(entry[0], VPE_VPT_ADDR))
    if slot >= 0:
        forget_configuration(m, slot)


@kernel
def reconsider(m: Machine, entry: Packet, vpe_id: Word) -> Word:
    """Ring the default doorbell if the vPE waits for it and something is pending and enabled now (GICv4.1)."""
    if m.chip[CONFIG.v41] == ONE:
        return reconsider_doorbell(m, vpe_redistributor(entry), vpe_id)
    return OK
