# SPDX-License-Identifier: Apache-2.0
"""What an event does once its ITE is known: become pending, stop being pending, have its configuration read anew."""

from __future__ import annotations

from gicmodel.hardware.kernels.configuration import forget_byte
from gicmodel.hardware.kernels.delivery import (
    clear_lpi,
    reconsider_doorbell,
    set_lpi,
    set_virtual,
    vpe_redistributor,
    withdraw_virtual,
)
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.lookup import ITE_INTID, ITE_VPE_ID, is_physical, lpi_target, vlpi_target
from gicmodel.hardware.kernels.state import CONFIG, Index, Machine, Packet, Word, retains
from gicmodel.hardware.kernels.tables import VPE_VPT_ADDR
from gicmodel.hardware.kernels.vpt_cache import find_vpt
from gicmodel.hardware.kernels.words import ONE, get
from gicmodel.jit import inlined, kernel
from gicmodel.layouts.its_tables import ITE

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
def reconsider(m: Machine, entry: Packet, vpe_id: Word) -> Word:
    """Ring the default doorbell if the vPE waits for it and something is pending and enabled now (GICv4.1)."""
    if m.chip[CONFIG.v41] == ONE:
        return reconsider_doorbell(m, vpe_redistributor(entry), vpe_id)
    return OK
