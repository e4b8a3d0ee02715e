# SPDX-License-Identifier: Apache-2.0
"""GICR_VPENDBASER: which vPE runs on a redistributor, in GICv4.1 by vPEID and in GICv4.0 by the address of its VPT."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import id_bits_of
from gicmodel.hardware.kernels.delivery import (
    VPENDBASER_V40_ADDRESS,
    anything_forwardable,
    clear_lpi,
    slot_of_vpe,
    vpe_redistributor,
    with_armed,
)
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.highest import any_enabled_lpi
from gicmodel.hardware.kernels.pending import clean, vpt_slot
from gicmodel.hardware.kernels.state import (
    CONFIG,
    DESCHEDULE,
    RD,
    Index,
    Machine,
    Truth,
    Word,
    rd_at,
    resident_on,
    set_resident,
)
from gicmodel.hardware.kernels.tables import (
    VPE_DOORBELL,
    VPE_GROUP0,
    VPE_GROUP1,
    VPE_VALID,
    read_vpe_configuration,
    write_vpe_configuration,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, replace
from gicmodel.jit import kernel
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER, GICR_VPENDBASER_V40, GICR_VPROPBASER_V40

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
        value = schedule_v40(m, rd, value)
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
def schedule_v40(m: Machine, rd: Index, value: Word) -> Word:
    """Valid 0 to 1 in GICv4.0: the VPT and the configuration table are those of the two registers."""
    return replace(value, V40_PENDING_LAST, ONE)


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
