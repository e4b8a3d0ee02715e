# SPDX-License-Identifier: Apache-2.0
"""From (DeviceID, EventID) to an interrupt and its target, with the checks in the order in which commands make them.

Each function returns a reason first. For a command that names only an event, a target that does not exist makes the ITE
invalid (INT_ITE_INVALID and its kin); a command that names the collection or vPE itself has a number of its own.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.entries import NOTHING
from gicmodel.hardware.kernels.errors import (
    COLLECTION_OOR,
    DEVICE_OOR,
    EXTERNAL_ABORT,
    ID_OOR,
    ITE_INVALID,
    OK,
    PROCNUM_OOR,
    UNMAPPED_COLLECTION,
    UNMAPPED_DEVICE,
    UNMAPPED_INTERRUPT,
    VCPU_INVALID,
    VCPU_OOR,
    VIRTUALID_OOR,
)
from gicmodel.hardware.kernels.pending import FIRST_LPI_ID
from gicmodel.hardware.kernels.state import CONFIG, Index, Machine, Packet, Truth, Word
from gicmodel.hardware.kernels.tables import (
    CTE_VALID,
    DTE_VALID,
    ITE_VALID,
    NO_DOORBELL_ID,
    VPE_RDBASE,
    VPE_VPT_SIZE,
    collection_out_of_range,
    device_out_of_range,
    mapped_here,
    read_cte,
    read_dte,
    read_ite,
    read_vpe,
    vpe_out_of_range,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.its_tables import CTE, DTE, INTTYPE_PHYSICAL, ITE

DTE_SIZE, CTE_RDBASE = DTE["Size"], CTE["RDbase"]
ITE_TYPE, ITE_INTID, ITE_ICID, ITE_VPE_ID = ITE["IntType"], ITE["IntID"], ITE["ICID"], ITE["vPEID"]
PHYSICAL = np.uint64(INTTYPE_PHYSICAL)
RDBASE_SHIFT = np.uint64(16)


@kernel
def redistributor_of(m: Machine, rdbase: Word) -> Index:
    """Index of the redistributor that an RDbase operand names, or -1 (GITS_TYPER.PTA)."""
    number = rdbase
    if m.chip[CONFIG.pta] == ONE:
        first, stride = m.chip[CONFIG.redistributor_base], m.chip[CONFIG.redistributor_stride]
        address = rdbase << RDBASE_SHIFT
        if address < first or (address - first) % stride != ZERO:
            return np.int64(-1)
        number = (address - first) // stride
    if number >= m.chip[CONFIG.redistributors]:
        return np.int64(-1)
    return np.int64(number)


@kernel
def is_lpi(m: Machine, intid: Word) -> Truth:
    """Whether an INTID, physical or virtual, is an LPI that the implementation has."""
    return intid >= FIRST_LPI_ID and intid < m.chip[CONFIG.intid_limit]


@kernel
def is_doorbell(m: Machine, intid: Word) -> Truth:
    """Whether an INTID may be a doorbell: an LPI, or 1023 for none."""
    return intid == NO_DOORBELL_ID or is_lpi(m, intid)


@inlined
def find_device(m: Machine, its: Index, device_id: Word) -> tuple[Word, Word]:
    """(reason, DTE) of a mapped device."""
    if unlikely(device_out_of_range(m, its, device_id)):
        return DEVICE_OOR, ZERO
    reason, dte = read_dte(m, its, device_id)
    if unlikely(reason == OK and get(dte, DTE_VALID) != ONE):
        reason = UNMAPPED_DEVICE
    return reason, dte


@kernel
def event_out_of_range(m: Machine, dte: Word, event_id: Word) -> Truth:
    """EventID beyond the 2^(Size + 1) of the device's MAPD, or GITS_TYPER.ID_bits: the DTE is in RAM."""
    return event_id >> (get(dte, DTE_SIZE) + ONE) != ZERO or event_id >= m.chip[CONFIG.event_id_limit]


@inlined
def find_event(m: Machine, its: Index, device_id: Word, event_id: Word) -> tuple[Word, Word, Word, Word]:
    """(reason, DTE, ITE low, ITE high) of a mapped event."""
    reason, dte = find_device(m, its, device_id)
    if unlikely(reason != OK):
        return reason, dte, ZERO, ZERO
    if unlikely(event_out_of_range(m, dte, event_id)):
        return ID_OOR, dte, ZERO, ZERO
    reason, low, high = read_ite(m, its, device_id, dte, event_id)
    if unlikely(reason == OK and get(low, ITE_VALID) != ONE):
        reason = UNMAPPED_INTERRUPT
    return reason, dte, low, high


@inlined
def find_collection(m: Machine, its: Index, icid: Word) -> tuple[Word, Index]:
    """(reason, redistributor) of a mapped collection."""
    if unlikely(collection_out_of_range(m, its, icid)):
        return COLLECTION_OOR, np.int64(-1)
    reason, cte = read_cte(m, its, icid)
    if unlikely(reason != OK):
        return reason, np.int64(-1)
    if unlikely(get(cte, CTE_VALID) != ONE):
        return UNMAPPED_COLLECTION, np.int64(-1)
    rd = np.int64(get(cte, CTE_RDBASE))
    if unlikely(rd >= np.int64(m.chip[CONFIG.redistributors])):
        return PROCNUM_OOR, np.int64(-1)
    return OK, rd


@inlined
def find_vpe(m: Machine, its: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """(reason, entry) of a vPE that is mapped on this ITS."""
    if unlikely(vpe_out_of_range(m, its, vpe_id)):
        return VCPU_OOR, NOTHING
    reason, entry = read_vpe(m, its, vpe_id)
    if unlikely(reason != OK):
        return reason, NOTHING
    if unlikely(not mapped_here(entry, its)):
        return VCPU_INVALID, NOTHING
    if unlikely(get(entry[1], VPE_RDBASE) >= m.chip[CONFIG.redistributors]):
        return PROCNUM_OOR, NOTHING
    return OK, entry


@kernel
def fits_vpt(entry: Packet, vintid: Word) -> Truth:
    """Whether the vPE's VPT has a bit for the vLPI."""
    return vintid >= FIRST_LPI_ID and vintid >> (get(entry[0], VPE_VPT_SIZE) + ONE) == ZERO


@kernel
def is_physical(low: Word) -> Truth:
    """Whether the ITE maps its event to a physical LPI."""
    return get(low, ITE_TYPE) == PHYSICAL


@kernel
def invalid_ite(reason: Word) -> Word:
    """The reason as a command sees it that named the event only."""
    if reason == OK or reason == EXTERNAL_ABORT:
        return reason
    return ITE_INVALID


@kernel
def is_unmapped(reason: Word) -> Truth:
    """Whether an ITE's target is in range but not there, so that nothing can be pending."""
    return reason == UNMAPPED_COLLECTION or reason == VCPU_INVALID or reason == VIRTUALID_OOR


@inlined
def lpi_target(m: Machine, its: Index, low: Word) -> tuple[Word, Index]:
    """(reason, redistributor) of a physical ITE; its INTID is checked because it comes from RAM."""
    reason, rd = find_collection(m, its, get(low, ITE_ICID))
    if unlikely(reason == OK and not is_lpi(m, get(low, ITE_INTID))):
        return ITE_INVALID, np.int64(-1)
    return reason, rd


@inlined
def vlpi_target(m: Machine, its: Index, low: Word) -> tuple[Word, Packet]:
    """(reason, vPE entry) of a virtual ITE."""
    reason, entry = find_vpe(m, its, get(low, ITE_VPE_ID))
    if unlikely(reason == OK and not (fits_vpt(entry, get(low, ITE_INTID)) and is_lpi(m, get(low, ITE_INTID)))):
        return VIRTUALID_OOR, NOTHING
    return reason, entry
