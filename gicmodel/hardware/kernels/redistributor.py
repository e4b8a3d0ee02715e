# SPDX-License-Identifier: Apache-2.0
"""What writes of a redistributor's registers do: EnableLPIs, residency, invalidation, the vSGI query.

GICR_VPENDBASER says which vPE runs on the redistributor, in GICv4.1 by vPEID and in GICv4.0 by the address of its VPT.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import forget_byte, id_bits_of
from gicmodel.hardware.kernels.delivery import (
    ENABLE_LPIS,
    VPENDBASER_V40_ADDRESS,
    anything_forwardable,
    clear_lpi,
    forget_vlpi,
    forget_vlpis,
    lpi_table,
    reconsider_doorbell,
    slot_of_vpe,
    vpe_redistributor,
    with_armed,
)
from gicmodel.hardware.kernels.entries import KIND_VPE_CONFIGURATION, drop_owner
from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.highest import VSGI_MASK, any_enabled_lpi
from gicmodel.hardware.kernels.lookup import is_lpi
from gicmodel.hardware.kernels.pending import (
    clean,
    fill,
    forget_bits,
    pending_word,
    release,
    vpt_slot,
)
from gicmodel.hardware.kernels.state import (
    CONFIG,
    DESCHEDULE,
    RD,
    SLOT,
    Index,
    Machine,
    Truth,
    Word,
    rd_at,
    resident_on,
    set_resident,
    stir,
)
from gicmodel.hardware.kernels.tables import (
    VPE_DOORBELL,
    VPE_GROUP0,
    VPE_GROUP1,
    VPE_VALID,
    VPE_VPT_ADDR,
    read_vpe_configuration,
    write_vpe_configuration,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put, replace
from gicmodel.jit import kernel
from gicmodel.layouts.registers.redistributor import (
    GICR_PENDBASER,
    GICR_VPENDBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER_V40,
)

VALID, DOORBELL, PENDING_LAST = (GICR_VPENDBASER[name] for name in ("Valid", "Doorbell", "PendingLast"))
GROUP0, GROUP1, VPE_ID = (GICR_VPENDBASER[name] for name in ("VGrp0En", "VGrp1En", "vPEID"))
DIRTY = GICR_VPENDBASER["Dirty"]
V40_PENDING_LAST = GICR_VPENDBASER_V40["PendingLast"]
V40_TABLE = GICR_VPROPBASER_V40["Physical_Address"]


@kernel
def write_vpendbaser(m: Machine, rd: Index, value: Word) -> None:
    """A write of GICR_VPENDBASER. With Valid = 1 all but a deschedule is ignored, with Dirty = 1 all but Valid 0 to 0.

    DDI0601 allows the former (CONSTRAINED UNPREDICTABLE) and calls the latter UNPREDICTABLE.
    """
    r = rd_at(rd)
    value = replace(value, DIRTY, ZERO)
    was, now = get(m.chip[r + RD.vpendbaser], VALID) == ONE, get(value, VALID) == ONE
    if (was and now) or ((was or now) and m.chip[r + RD.dirty] == ONE):
        return
    v41 = m.chip[CONFIG.v41] == ONE
    if now and v41:
        value = schedule(m, rd, value)
    elif now:
        value = replace(value, V40_PENDING_LAST, ONE)
    elif was and v41:
        value = deschedule(m, rd, value)
    elif was:
        value = deschedule_v40(m, rd, value)
    if was != (get(value, VALID) == ONE):
        m.chip[r + RD.dirty] = m.chip[CONFIG.stepping]
    m.chip[r + RD.vpendbaser] = value


@kernel
def schedule(m: Machine, rd: Index, value: Word) -> Word:
    """Valid 0 to 1: the vPE becomes resident, its default doorbell is withdrawn; the register's new value.

    Where the architecture says UNPREDICTABLE (no vPE configuration table; the vPE not mapped, mapped to another
    CommonLPIAff group, or resident elsewhere) the write has no effect; a vPEID too wide makes Valid be treated as 0.
    """
    vpe_id = get(value, VPE_ID)
    idle = m.chip[rd_at(rd) + RD.vpendbaser]
    if vpe_id >= ONE << m.chip[CONFIG.vpe_id_bits] or resident_on(m, vpe_id) >= 0:
        return idle
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK or get(entry[0], VPE_VALID) != ONE or not same_group(m, rd, vpe_redistributor(entry)):
        return idle
    word2 = replace(replace(entry[2], VPE_GROUP0, get(value, GROUP0)), VPE_GROUP1, get(value, GROUP1))
    write_vpe_configuration(m, rd, vpe_id, with_armed((entry[0], entry[1], word2, entry[3]), ZERO))
    clear_lpi(m, vpe_redistributor(entry), get(entry[2], VPE_DOORBELL))
    set_resident(m, vpe_id, rd)
    return replace(value, PENDING_LAST, ONE)


@kernel
def same_group(m: Machine, rd: Index, other: Index) -> Truth:
    """Whether two redistributors share tables (GICR_TYPER.CommonLPIAff); `other` comes from RAM and need not exist."""
    exists = other < np.int64(m.chip[CONFIG.redistributors])
    return exists and m.chip[rd_at(rd) + RD.group] == m.chip[rd_at(other) + RD.group]


@kernel
def deschedule(m: Machine, rd: Index, value: Word) -> Word:
    """Valid 1 to 0: PendingLast, and whether a default doorbell is armed; the register's new value.

    Doorbell and PendingLast follow the truth table of DDI0601: PendingLast written 1 asks not to compute it (we then
    report 1), and Doorbell counts only if nothing enabled is pending.
    """
    vpe_id = get(m.chip[rd_at(rd) + RD.vpendbaser], VPE_ID)
    set_resident(m, vpe_id, -1)
    value = replace(value, VPE_ID, vpe_id)
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason != OK or get(entry[0], VPE_VALID) != ONE:
        return replace(value, PENDING_LAST, ONE)
    slot_reason, slot = slot_of_vpe(m, entry)
    if slot_reason != OK:
        return replace(value, PENDING_LAST, ONE)
    if m.chip[CONFIG.vpt_writeback] == DESCHEDULE:
        clean(m, slot)
    if get(value, PENDING_LAST) == ONE:
        return value
    if anything_forwardable(m, slot, entry):
        return replace(value, PENDING_LAST, ONE)
    if get(value, DOORBELL) == ONE:
        write_vpe_configuration(m, rd, vpe_id, with_armed(entry, ONE))
    return value


@kernel
def deschedule_v40(m: Machine, rd: Index, value: Word) -> Word:
    """Valid 1 to 0 in GICv4.0: PendingLast is 1 if an enabled vLPI is pending in the VPT that was resident."""
    vpropbaser = m.chip[rd_at(rd) + RD.vpropbaser]
    bits = id_bits_of(m, vpropbaser)
    base = get(m.chip[rd_at(rd) + RD.vpendbaser], VPENDBASER_V40_ADDRESS)
    pending = ZERO
    if bits != ZERO:
        reason, slot = vpt_slot(m, base, bits, False)
        if reason == OK and any_enabled_lpi(m, slot, base, get(vpropbaser, V40_TABLE), bits):
            pending = ONE
        if reason == OK and m.chip[CONFIG.vpt_writeback] == DESCHEDULE:
            clean(m, slot)
    return replace(value, V40_PENDING_LAST, pending)


PTZ = GICR_PENDBASER["PTZ"]
LPIS_PENDING, ENABLES_PENDING = np.uint64(1), np.uint64(2)
"""Bits of `RD.rwp`: what GICR_CTLR.RWP stands for, a change of EnableLPIs or GICR_VPROPBASER, or GICR_ICENABLER0."""


@kernel
def write_enable(m: Machine, rd: Index, enable: Truth) -> None:
    """A write of GICR_CTLR.EnableLPIs; 0 to 1 while RWP = 1 is UNPREDICTABLE, and ignored.

    1 to 0 writes the pending table back, and keeps nothing.
    """
    r = rd_at(rd)
    was = get(m.chip[r + RD.ctlr], ENABLE_LPIS) == ONE
    if enable and not was and m.chip[r + RD.rwp] & LPIS_PENDING == ZERO:
        m.chip[r + RD.ctlr] = put(ONE, ENABLE_LPIS)
        enable_lpis(m, rd)
    elif was and not enable:
        m.chip[r + RD.ctlr] = ZERO
        m.chip[r + RD.lpi_limit] = ZERO
        release(m, rd, True)
        if m.chip[CONFIG.stepping] == ONE:
            m.chip[r + RD.rwp] |= LPIS_PENDING


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
def invalidate_lpi(m: Machine, rd: Index, intid: Word) -> None:
    """GICR_INVLPIR with V = 0."""
    if is_lpi(m, intid):
        forget_byte(m, rd, intid)


@kernel
def invalidate_vlpi(m: Machine, rd: Index, vpe_id: Word, vintid: Word) -> None:
    """GICR_INVLPIR with V = 1; no effect for a vPE that the redistributor does not know."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason == OK and get(entry[0], VPE_VALID) == ONE and is_lpi(m, vintid):
        forget_vlpi(m, entry, vintid)
        reconsider_vpe(m, rd, vpe_id)


@kernel
def invalidate_all_vlpis(m: Machine, rd: Index, vpe_id: Word) -> None:
    """GICR_INVALLR with V = 1."""
    reason, entry = read_vpe_configuration(m, rd, vpe_id)
    if reason == OK and get(entry[0], VPE_VALID) == ONE:
        forget_vlpis(m, entry)
        reconsider_vpe(m, rd, vpe_id)


@kernel
def reconsider_vpe(m: Machine, rd: Index, vpe_id: Word) -> None:
    """After a configuration change: the PE that the vPE is on may see another interrupt, or its doorbell rings."""
    resident = resident_on(m, vpe_id)
    if resident >= 0:
        stir(m, resident)
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
