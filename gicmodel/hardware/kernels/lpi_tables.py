# SPDX-License-Identifier: Apache-2.0
"""What a redistributor does with its LPI tables: GICR_CTLR.EnableLPIs, the invalidation registers, the vSGI query."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import forget_byte, id_bits_of
from gicmodel.hardware.kernels.delivery import ENABLE_LPIS, forget_vlpi, lpi_table, reconsider_doorbell, slot_of_vpe
from gicmodel.hardware.kernels.entries import KIND_VPE_CONFIGURATION, drop_owner
from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.highest import VSGI_MASK
from gicmodel.hardware.kernels.lookup import is_lpi
from gicmodel.hardware.kernels.pending import fill, find_vpt, forget_bits, forget_configuration, pending_word, release
from gicmodel.hardware.kernels.state import CONFIG, RD, SLOT, Index, Machine, Truth, Word, rd_at
from gicmodel.hardware.kernels.tables import VPE_VALID, VPE_VPT_ADDR, read_vpe_configuration
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put, replace
from gicmodel.jit import kernel
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER

PTZ = GICR_PENDBASER["PTZ"]


@kernel
def write_enable(m: Machine, rd: Index, enable: Truth) -> None:
    """A write of GICR_CTLR.EnableLPIs; 0 to 1 while RWP = 1 is UNPREDICTABLE, and ignored."""
    r = rd_at(rd)
    was = get(m.chip[r + RD.ctlr], ENABLE_LPIS) == ONE
    if enable and not was and m.chip[r + RD.rwp] == ZERO:
        m.chip[r + RD.ctlr] = put(ONE, ENABLE_LPIS)
        enable_lpis(m, rd)
    elif was and not enable:
        m.chip[r + RD.ctlr] = ZERO
        disable_lpis(m, rd)
        m.chip[r + RD.rwp] = m.chip[CONFIG.stepping]


@kernel
def enable_lpis(m: Machine, rd: Index) -> None:
    """EnableLPIs 0 to 1: take the pending table from RAM, or trust PTZ that it is zero; PTZ is then used up."""
    r = rd_at(rd)
    bits = id_bits_of(m, m.chip[r + RD.propbaser])
    reason = EXTERNAL_ABORT
    if bits != ZERO and m.slots[rd, SLOT.held] == ONE:
        reason = fill(m, rd, lpi_table(m, rd), bits, get(m.chip[r + RD.pendbaser], PTZ) == ONE)
    if reason != OK:
        forget_bits(m, rd)
    m.chip[r + RD.pendbaser] = replace(m.chip[r + RD.pendbaser], PTZ, ZERO)
    limit_lpis(m, rd)


@kernel
def limit_lpis(m: Machine, rd: Index) -> None:
    """Work out which INTIDs the redistributor takes for LPIs from EnableLPIs and GICR_PROPBASER.IDbits."""
    r = rd_at(rd)
    bits = id_bits_of(m, m.chip[r + RD.propbaser])
    m.chip[r + RD.lpi_limit] = ZERO
    if bits != ZERO and get(m.chip[r + RD.ctlr], ENABLE_LPIS) == ONE:
        m.chip[r + RD.lpi_limit] = ONE << bits


@kernel
def disable_lpis(m: Machine, rd: Index) -> None:
    """EnableLPIs 1 to 0: write the pending table back and keep nothing."""
    m.chip[rd_at(rd) + RD.lpi_limit] = ZERO
    release(m, rd, True)


@kernel
def invalidate_lpi(m: Machine, rd: Index, intid: Word) -> None:
    """GICR_INVLPIR with V = 0."""
    if is_lpi(m, intid):
        forget_byte(m, rd, intid)


@kernel
def invalidate_all_lpis(m: Machine, rd: Index) -> None:
    """GICR_INVALLR with V = 0."""
    forget_configuration(m, rd)


@kernel
def invalidate_vlpi(m: Machine, rd: Index, vpe_id: Word, vintid: Word) -> None:
    """GICR_INVLPIR with V = 1; no effect for a vPE that the redistributor does not know."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason == OK and get(entry[0], VPE_VALID) == ONE and is_lpi(m, vintid):
        forget_vlpi(m, entry, vintid)
        reconsider_doorbell(m, rd, vpe_id)


@kernel
def invalidate_all_vlpis(m: Machine, rd: Index, vpe_id: Word) -> None:
    """GICR_INVALLR with V = 1."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason == OK and get(entry[0], VPE_VALID) == ONE:
        slot = find_vpt(m, get(entry[0], VPE_VPT_ADDR))
        if slot >= 0:
            forget_configuration(m, slot)
        reconsider_doorbell(m, rd, vpe_id)


@kernel
def pending_vsgis(m: Machine, rd: Index, vpe_id: Word) -> Word:
    """GICR_VSGIR: the pending bits of the vPE's vSGIs."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK or get(entry[0], VPE_VALID) != ONE:
        return ZERO
    reason, slot = slot_of_vpe(m, entry)
    if reason != OK:
        return ZERO
    return pending_word(m, slot, get(entry[0], VPE_VPT_ADDR), 0) & VSGI_MASK


@kernel
def drop_vpe_configurations(m: Machine, rd: Index) -> None:
    """GICR_VPROPBASER was Valid and is written: keep no entry of the vPE configuration table.

    The VPTs of its vPEs stay: a vPE that the next table still has goes on with what is pending.
    """
    drop_owner(m, KIND_VPE_CONFIGURATION, np.int64(rd))
    for slot in range(np.int64(m.chip[CONFIG.redistributors]), m.slots.shape[0]):
        if m.slots[slot, SLOT.tag] != ZERO:
            m.slots[slot, SLOT.stray] = ONE
