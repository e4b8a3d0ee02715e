# SPDX-License-Identifier: Apache-2.0
"""Walks of the device, collection and interrupt translation tables in RAM.

Where an entry lives is architected (GITS_BASER<n>, DDI0601); what it holds is ours, see `layouts`. A walk returns a
reason and the entry; the reason is OK or EXTERNAL_ABORT, and an entry under an invalid level 1 descriptor reads as 0.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.ram import covers, load64, load96, store64, store96
from gicmodel.hardware.kernels.state import CONFIG, ITS, Index, Machine, Truth, Word, collection_at, its_at
from gicmodel.hardware.kernels.table_cache import (
    KIND_CTE,
    KIND_DTE,
    KIND_ITE,
    cache_line,
    cache_tag,
    cached,
    drop,
    drop_device_events,
    ite_identifier,
    keep,
)
from gicmodel.hardware.kernels.words import ALL_ONES, ONE, ZERO, get
from gicmodel.jit import inlined, kernel
from gicmodel.layouts.collection import CTE
from gicmodel.layouts.device import DTE
from gicmodel.layouts.itt import ITE
from gicmodel.layouts.level1 import LEVEL1
from gicmodel.layouts.registers import GICR_VPROPBASER, GITS_BASER

DEVICE_TABLE, COLLECTION_TABLE, VPE_TABLE = 0, 1, 2
"""GITS_BASER<n> by table, the allocation that GICv4.1 mandates."""

ABSENT = ALL_ONES
"""Address of an entry whose level 1 descriptor is invalid."""

BASER_VALID, BASER_INDIRECT = GITS_BASER["Valid"], GITS_BASER["Indirect"]
BASER_ADDRESS, BASER_PAGE_SIZE, BASER_SIZE = GITS_BASER["Physical_Address"], GITS_BASER["Page_Size"], GITS_BASER["Size"]
VPROPBASER_VALID, VPROPBASER_INDIRECT = GICR_VPROPBASER["Valid"], GICR_VPROPBASER["Indirect"]
VPROPBASER_ADDRESS, VPROPBASER_PAGE_SIZE = GICR_VPROPBASER["Physical_Address"], GICR_VPROPBASER["Page_Size"]
VPROPBASER_SIZE = GICR_VPROPBASER["Size"]
LEVEL1_VALID, LEVEL1_ADDRESS = LEVEL1["Valid"], LEVEL1["Physical_Address"]
DTE_VALID, DTE_ITT_ADDR = DTE["Valid"], DTE["ITT_addr"]
CTE_VALID = CTE["Valid"]
ITE_VALID = ITE["Valid"]

LEVEL1_BYTES = np.uint64(LEVEL1.bytes)
DTE_BYTES, CTE_BYTES, ITE_BYTES = np.uint64(DTE.bytes), np.uint64(CTE.bytes), np.uint64(ITE.bytes)
SMALLEST_PAGE_SHIFT, PAGE_SHIFT_STEP, LARGEST_PAGE_CODE = np.uint64(12), np.uint64(1), np.uint64(2)
PAGE_64K = np.uint64(0x1_0000)
HIGH_PA_IN_64K = np.uint64(0xF000)
HIGH_PA_SHIFT = np.uint64(36)


@kernel
def page_bytes(code: Word) -> Word:
    """Page_Size: 4 KiB, 16 KiB, 64 KiB; 0b11 is treated as 0b10."""
    if code > LARGEST_PAGE_CODE:
        code = LARGEST_PAGE_CODE
    return ONE << (SMALLEST_PAGE_SHIFT + (code << PAGE_SHIFT_STEP))


@kernel
def table_of_baser(baser: Word) -> tuple[Word, Word, Word, Word]:
    """(base, page bytes, indirect, total bytes) of a GITS_BASER<n>; an invalid one has no bytes.

    With 64 KiB pages the register's bits [15:12] are PA[51:48] (DDI0601).
    """
    page = page_bytes(get(baser, BASER_PAGE_SIZE))
    address = get(baser, BASER_ADDRESS)
    base = address & ~(page - ONE)
    if page == PAGE_64K:
        base |= (address & HIGH_PA_IN_64K) << HIGH_PA_SHIFT
    total = ZERO
    if get(baser, BASER_VALID) == ONE:
        total = (get(baser, BASER_SIZE) + ONE) * page
    return base, page, get(baser, BASER_INDIRECT), total


@kernel
def table_of_vpropbaser(vpropbaser: Word) -> tuple[Word, Word, Word, Word]:
    """The same for the vPE configuration table of a GICv4.1 GICR_VPROPBASER."""
    page = page_bytes(get(vpropbaser, VPROPBASER_PAGE_SIZE))
    total = ZERO
    if get(vpropbaser, VPROPBASER_VALID) == ONE:
        total = (get(vpropbaser, VPROPBASER_SIZE) + ONE) * page
    return get(vpropbaser, VPROPBASER_ADDRESS) & ~(page - ONE), page, get(vpropbaser, VPROPBASER_INDIRECT), total


@kernel
def entries_in(table: tuple[Word, Word, Word, Word], entry_bytes: Word, id_bits: Word) -> Word:
    """How many identifiers the table serves: what its pages hold, at most 2^id_bits."""
    page, indirect, total = table[1], table[2], table[3]
    entries = total // entry_bytes
    if indirect == ONE:
        entries = (total // LEVEL1_BYTES) * (page // entry_bytes)
    if entries > ONE << id_bits:
        entries = ONE << id_bits
    return entries


@kernel
def entry_address(
    m: Machine, table: tuple[Word, Word, Word, Word], identifier: Word, entry_bytes: Word
) -> tuple[Word, Word]:
    """Address of an entry that is within `entries_in`, or ABSENT."""
    base, page, indirect = table[0], table[1], table[2]
    address = base + identifier * entry_bytes
    if indirect == ONE:
        per_page = page // entry_bytes
        descriptor = base + (identifier // per_page) * LEVEL1_BYTES
        if not covers(m, descriptor, LEVEL1_BYTES):
            return EXTERNAL_ABORT, ABSENT
        level1 = load64(m, descriptor)
        if get(level1, LEVEL1_VALID) != ONE:
            return OK, ABSENT
        address = (get(level1, LEVEL1_ADDRESS) & ~(page - ONE)) + (identifier % per_page) * entry_bytes
    if not covers(m, address, entry_bytes):
        return EXTERNAL_ABORT, ABSENT
    return OK, address


@kernel
def device_out_of_range(m: Machine, its: Index, device_id: Word) -> Truth:
    """DeviceID beyond the device table or GITS_TYPER.Devbits."""
    table = table_of_baser(m.chip[its_at(its) + ITS.baser + DEVICE_TABLE])
    return device_id >= entries_in(table, DTE_BYTES, m.chip[CONFIG.device_id_bits])


@inlined
def read_dte(m: Machine, its: Index, device_id: Word) -> tuple[Word, Word]:
    """The DTE of a DeviceID in range."""
    tag = cache_tag(KIND_DTE, its, device_id)
    if cached(m, tag):
        return OK, m.chip[cache_line(m, tag) + 1]
    table = table_of_baser(m.chip[its_at(its) + ITS.baser + DEVICE_TABLE])
    reason, address = entry_address(m, table, device_id, DTE_BYTES)
    if reason != OK or address == ABSENT:
        return reason, ZERO
    dte = load64(m, address)
    if get(dte, DTE_VALID) == ONE:
        keep(m, tag, dte, ZERO, ZERO, ZERO)
    return OK, dte


@kernel
def write_dte(m: Machine, its: Index, device_id: Word, dte: Word) -> Word:
    """Store a DTE; under an invalid level 1 descriptor it is discarded, as in QEMU."""
    drop(m, cache_tag(KIND_DTE, its, device_id))
    if m.chip[CONFIG.retain] == ONE:
        drop_device_events(m, its, device_id)
    table = table_of_baser(m.chip[its_at(its) + ITS.baser + DEVICE_TABLE])
    reason, address = entry_address(m, table, device_id, DTE_BYTES)
    if reason == OK and address != ABSENT:
        store64(m, address, dte)
    return reason


@kernel
def collection_out_of_range(m: Machine, its: Index, icid: Word) -> Truth:
    """ICID beyond HCC plus the collection table (GITS_TYPER.CCT = 1), or GITS_TYPER.CIDbits."""
    table = table_of_baser(m.chip[its_at(its) + ITS.baser + COLLECTION_TABLE])
    bits = m.chip[CONFIG.collection_id_bits]
    return icid >= m.chip[CONFIG.hcc] + entries_in(table, CTE_BYTES, bits) or icid >= ONE << bits


@inlined
def read_cte(m: Machine, its: Index, icid: Word) -> tuple[Word, Word]:
    """The CTE of an ICID in range; those below HCC are in the ITS."""
    if icid < m.chip[CONFIG.hcc]:
        return OK, m.chip[collection_at(its, icid)]
    tag = cache_tag(KIND_CTE, its, icid)
    if cached(m, tag):
        return OK, m.chip[cache_line(m, tag) + 1]
    table = table_of_baser(m.chip[its_at(its) + ITS.baser + COLLECTION_TABLE])
    reason, address = entry_address(m, table, icid - m.chip[CONFIG.hcc], CTE_BYTES)
    if reason != OK or address == ABSENT:
        return reason, ZERO
    cte = load64(m, address)
    if get(cte, CTE_VALID) == ONE:
        keep(m, tag, cte, ZERO, ZERO, ZERO)
    return OK, cte


@kernel
def write_cte(m: Machine, its: Index, icid: Word, cte: Word) -> Word:
    """Store a CTE."""
    if icid < m.chip[CONFIG.hcc]:
        m.chip[collection_at(its, icid)] = cte
        return OK
    drop(m, cache_tag(KIND_CTE, its, icid))
    table = table_of_baser(m.chip[its_at(its) + ITS.baser + COLLECTION_TABLE])
    reason, address = entry_address(m, table, icid - m.chip[CONFIG.hcc], CTE_BYTES)
    if reason == OK and address != ABSENT:
        store64(m, address, cte)
    return reason


@kernel
def ite_address(dte: Word, event_id: Word) -> Word:
    """Address of an ITE: the ITT is a linear array indexed by EventID."""
    return get(dte, DTE_ITT_ADDR) + event_id * ITE_BYTES


@inlined
def read_ite(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word) -> tuple[Word, Word, Word]:
    """(reason, low 64 bits, high 32 bits) of an ITE; 12-byte entries are only 4-byte aligned."""
    tag = cache_tag(KIND_ITE, its, ite_identifier(device_id, event_id))
    if cached(m, tag):
        line = cache_line(m, tag)
        return OK, m.chip[line + 1], m.chip[line + 2]
    address = ite_address(dte, event_id)
    if not covers(m, address, ITE_BYTES):
        return EXTERNAL_ABORT, ZERO, ZERO
    low, high = load96(m, address)
    if get(low, ITE_VALID) == ONE:
        keep(m, tag, low, high, ZERO, ZERO)
    return OK, low, high


@inlined
def write_ite(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word, low: Word, high: Word) -> Word:
    """Store an ITE."""
    drop(m, cache_tag(KIND_ITE, its, ite_identifier(device_id, event_id)))
    address = ite_address(dte, event_id)
    if not covers(m, address, ITE_BYTES):
        return EXTERNAL_ABORT
    store96(m, address, low, high)
    return OK
