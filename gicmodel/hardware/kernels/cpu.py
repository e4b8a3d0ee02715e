# SPDX-License-Identifier: Apache-2.0
"""What a redistributor forwards to its PE: the most urgent LPI, or vSGI or vLPI; and how it is taken.

An LPI has no active state: acknowledging it clears its pending bit, and that is all.
"""

from __future__ import annotations

from gicmodel.hardware.kernels.configuration import id_bits_of
from gicmodel.hardware.kernels.delivery import (
    ENABLE_LPIS,
    VPENDBASER_V40_ADDRESS,
    clear_lpi,
    clear_virtual,
    lpi_table,
    slot_of_vpe,
    vpe_id_bits,
)
from gicmodel.hardware.kernels.entries import NOTHING
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.highest import (
    NO_INTERRUPT,
    NO_PRIORITY,
    SPURIOUS,
    VSGI_COUNT,
    best_lpi,
    best_vsgi,
    table_readable,
)
from gicmodel.hardware.kernels.inputs import PROCESSOR_SLEEP
from gicmodel.hardware.kernels.pending import FIRST_LPI_ID, clear_pending, vpt_slot
from gicmodel.hardware.kernels.redistributor import GROUP0, GROUP1, V40_TABLE, VALID, VPE_ID
from gicmodel.hardware.kernels.state import CONFIG, RD, Index, Machine, Packet, Truth, Word, rd_at
from gicmodel.hardware.kernels.tables import VPE_VALID, VPE_VCONF_ADDR, VPE_VPT_ADDR, read_vpe_configuration
from gicmodel.hardware.kernels.words import ONE, ZERO, get
from gicmodel.jit import kernel
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER

PROPBASER_ADDRESS = GICR_PROPBASER["Physical_Address"]


@kernel
def forwarded_lpi(m: Machine, rd: Index) -> tuple[Word, Word]:
    """(INTID, priority) of the LPI that a redistributor forwards, or (1023, 0x100); none while its PE sleeps."""
    r = rd_at(rd)
    if get(m.chip[r + RD.ctlr], ENABLE_LPIS) != ONE or get(m.chip[r + RD.waker], PROCESSOR_SLEEP) == ONE:
        return SPURIOUS, NO_PRIORITY
    base, bits = lpi_table(m, rd), id_bits_of(m, m.chip[r + RD.propbaser])
    if not table_readable(m, rd, base, bits):
        return SPURIOUS, NO_PRIORITY
    return best_lpi(m, rd, base, get(m.chip[r + RD.propbaser], PROPBASER_ADDRESS), bits)


@kernel
def highest_lpi(m: Machine, rd: Index) -> Word:
    """Its INTID."""
    return forwarded_lpi(m, rd)[0]


@kernel
def acknowledge(m: Machine, rd: Index) -> Word:
    """Take the most urgent LPI, or 1023."""
    intid = highest_lpi(m, rd)
    if intid != SPURIOUS:
        clear_lpi(m, rd, intid)
    return intid


@kernel
def resident_entry(m: Machine, rd: Index) -> Packet:
    """The configuration entry of the vPE resident on this redistributor (GICv4.1); one that is not valid for none."""
    vpendbaser = m.chip[rd_at(rd) + RD.vpendbaser]
    if get(vpendbaser, VALID) != ONE:
        return NOTHING
    return read_vpe_configuration(m, rd, get(vpendbaser, VPE_ID))[1]


@kernel
def best_virtual_v41(m: Machine, rd: Index, enable0: Word, enable1: Word) -> tuple[Word, Word, Word]:
    """As `best_virtual`. Group 1 interrupts need VGrp1En, Group 0 ones VGrp0En."""
    entry = resident_entry(m, rd)
    if get(entry[0], VPE_VALID) != ONE:
        return NO_INTERRUPT
    reason, slot = slot_of_vpe(m, entry)
    if reason != OK:
        return NO_INTERRUPT
    vpendbaser = m.chip[rd_at(rd) + RD.vpendbaser]
    base, group1 = get(entry[0], VPE_VPT_ADDR), get(vpendbaser, GROUP1) & enable1
    best, priority, group = best_vsgi(m, slot, base, get(vpendbaser, GROUP0) & enable0, group1)
    if group1 == ONE:
        vlpi, vlpi_priority = best_lpi(m, slot, base, get(entry[1], VPE_VCONF_ADDR), vpe_id_bits(m, entry))
        if vlpi_priority < priority:
            best, priority, group = vlpi, vlpi_priority, ONE
    return best, priority, group


@kernel
def best_virtual_v40(m: Machine, rd: Index, enable1: Word) -> tuple[Word, Word, Word]:
    """The same in GICv4.0, from the VPT and configuration table of the two registers."""
    r = rd_at(rd)
    bits = id_bits_of(m, m.chip[r + RD.vpropbaser])
    if get(m.chip[r + RD.vpendbaser], VALID) != ONE or bits == ZERO or enable1 != ONE:
        return NO_INTERRUPT
    base = get(m.chip[r + RD.vpendbaser], VPENDBASER_V40_ADDRESS)
    reason, slot = vpt_slot(m, base, bits, False)
    if reason != OK:
        return NO_INTERRUPT
    best, priority = best_lpi(m, slot, base, get(m.chip[r + RD.vpropbaser], V40_TABLE), bits)
    if best == SPURIOUS:
        return NO_INTERRUPT
    return best, priority, ONE


@kernel
def best_virtual(m: Machine, rd: Index, enable0: Word, enable1: Word) -> tuple[Word, Word, Word]:
    """(INTID, priority, group) of the resident vPE's most urgent vSGI or vLPI of the enabled groups, or
    (1023, 0x100, 2)."""
    if m.chip[CONFIG.v41] == ONE:
        return best_virtual_v41(m, rd, enable0, enable1)
    return best_virtual_v40(m, rd, enable1)


@kernel
def highest_virtual(m: Machine, rd: Index) -> Word:
    """The interrupt that the resident vPE would acknowledge next if it enabled both groups, or 1023."""
    return best_virtual(m, rd, ONE, ONE)[0]


@kernel
def take_virtual(m: Machine, rd: Index, vintid: Word) -> Truth:
    """Make a vSGI or vLPI of the resident vPE not pending; whether it was pending."""
    v41 = m.chip[CONFIG.v41] == ONE
    if vintid < FIRST_LPI_ID and not (v41 and vintid < VSGI_COUNT):
        return False
    if v41:
        entry = resident_entry(m, rd)
        if get(entry[0], VPE_VALID) != ONE or vintid >= ONE << vpe_id_bits(m, entry):
            return False
        return clear_virtual(m, entry, vintid)[1]
    r = rd_at(rd)
    bits = id_bits_of(m, m.chip[r + RD.vpropbaser])
    if get(m.chip[r + RD.vpendbaser], VALID) != ONE or bits == ZERO or vintid >= ONE << bits:
        return False
    base = get(m.chip[r + RD.vpendbaser], VPENDBASER_V40_ADDRESS)
    reason, slot = vpt_slot(m, base, bits, False)
    return reason == OK and clear_pending(m, slot, base, vintid)


@kernel
def acknowledge_virtual(m: Machine, rd: Index) -> Word:
    """Take the resident vPE's most urgent interrupt, or 1023."""
    vintid = highest_virtual(m, rd)
    if vintid != SPURIOUS:
        take_virtual(m, rd, vintid)
    return vintid
