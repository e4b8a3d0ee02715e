# SPDX-License-Identifier: Apache-2.0
"""Walks of the device, collection and interrupt translation tables in RAM.

Where an entry lives is architected (GITS_BASER<n>, DDI0601); what it holds is ours, see `layouts`. A walk returns a
reason and the entry; the reason is OK or EXTERNAL_ABORT, and an entry under an invalid level 1 descriptor reads as 0.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.ram import covers_aligned, covers_entry, load64, load96, store64, store96
from gicmodel.hardware.kernels.state import CONFIG, TABLE, Index, Machine, Truth, Word, collection_at, retains, table_at
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
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.its_tables import CTE, DTE, ITE, LEVEL1
from gicmodel.layouts.registers.its import GITS_BASER

DEVICE_TABLE, COLLECTION_TABLE, VPE_TABLE = 0, 1, 2
"""GITS_BASER<n> by table, the allocation that GICv4.1 mandates."""

ABSENT = ALL_ONES
"""`entry_address` has found an invalid level 1 descriptor: there is no entry."""

BASER_VALID = GITS_BASER["Valid"]
LEVEL1_VALID, LEVEL1_ADDRESS = LEVEL1["Valid"], LEVEL1["Physical_Address"]
DTE_VALID, DTE_ITT_ADDR = DTE["Valid"], DTE["ITT_addr"]
CTE_VALID = CTE["Valid"]
ITE_VALID = ITE["Valid"]

ITE_BYTES = np.uint64(ITE.bytes)
LEVEL1_SHIFT, DTE_SHIFT, CTE_SHIFT = (np.uint64(layout.bytes.bit_length() - 1) for layout in (LEVEL1, DTE, CTE))
FLAT = ZERO
"""`TABLE.page_shift` of a table without level 1."""


@kernel
def entry_address(m: Machine, table: Index, identifier: Word, entry_shift: Word) -> tuple[Word, Word]:
    """(reason, address) of an entry that is within the table's `entries` and has 2^`entry_shift` bytes."""
    base, page_shift = m.chip[table + TABLE.base], m.chip[table + TABLE.page_shift]
    address = base + (identifier << entry_shift)
    if page_shift != FLAT:
        descriptor = base + ((identifier >> page_shift) << LEVEL1_SHIFT)
        if unlikely(not covers_aligned(m, descriptor)):
            return EXTERNAL_ABORT, ZERO
        level1 = load64(m, descriptor)
        if unlikely(get(level1, LEVEL1_VALID) != ONE):
            return ABSENT, ZERO
        page_mask, index_mask = (ONE << (page_shift + entry_shift)) - ONE, (ONE << page_shift) - ONE
        address = (get(level1, LEVEL1_ADDRESS) & ~page_mask) + ((identifier & index_mask) << entry_shift)
    if unlikely(not covers_aligned(m, address)):
        return EXTERNAL_ABORT, ZERO
    return OK, address


@kernel
def unless_absent(reason: Word) -> Word:
    """The reason as the walk returns it: an absent entry reads as zero, and ignores writes."""
    if reason == ABSENT:
        return OK
    return reason


@kernel
def device_out_of_range(m: Machine, its: Index, device_id: Word) -> Truth:
    """DeviceID beyond the device table or GITS_TYPER.Devbits."""
    return device_id >= m.chip[table_at(its, DEVICE_TABLE) + TABLE.entries]


@inlined
def read_dte(m: Machine, its: Index, device_id: Word) -> tuple[Word, Word]:
    """The DTE of a DeviceID in range."""
    if unlikely(retains(m)):
        return read_dte_retained(m, its, device_id)
    return walk_to_dte(m, its, device_id)


@inlined
def read_dte_retained(m: Machine, its: Index, device_id: Word) -> tuple[Word, Word]:
    """The same from the cache, or kept there if it is valid."""
    tag = cache_tag(KIND_DTE, its, device_id)
    if cached(m, tag):
        return OK, m.chip[cache_line(m, tag) + 1]
    reason, dte = walk_to_dte(m, its, device_id)
    if get(dte, DTE_VALID) == ONE:
        keep(m, tag, dte, ZERO, ZERO, ZERO)
    return reason, dte


@inlined
def walk_to_dte(m: Machine, its: Index, device_id: Word) -> tuple[Word, Word]:
    """The DTE in RAM; an error, or none, reads as zero."""
    reason, address = entry_address(m, table_at(its, DEVICE_TABLE), device_id, DTE_SHIFT)
    if unlikely(reason != OK):
        return unless_absent(reason), ZERO
    return OK, load64(m, address)


@kernel
def write_dte(m: Machine, its: Index, device_id: Word, dte: Word) -> Word:
    """Store a DTE; under an invalid level 1 descriptor it is discarded, as in QEMU."""
    if unlikely(retains(m)):
        drop(m, cache_tag(KIND_DTE, its, device_id))
        drop_device_events(m, its, device_id)
    reason, address = entry_address(m, table_at(its, DEVICE_TABLE), device_id, DTE_SHIFT)
    if reason == OK:
        store64(m, address, dte)
    return unless_absent(reason)


@kernel
def collection_out_of_range(m: Machine, its: Index, icid: Word) -> Truth:
    """ICID beyond HCC plus the collection table (GITS_TYPER.CCT = 1), or GITS_TYPER.CIDbits."""
    return icid >= m.chip[CONFIG.hcc] + m.chip[table_at(its, COLLECTION_TABLE) + TABLE.entries]


@inlined
def read_cte(m: Machine, its: Index, icid: Word) -> tuple[Word, Word]:
    """The CTE of an ICID in range; those below HCC are in the ITS."""
    if icid < m.chip[CONFIG.hcc]:
        return OK, m.chip[collection_at(its, icid)]
    if unlikely(retains(m)):
        return read_cte_retained(m, its, icid)
    return walk_to_cte(m, its, icid)


@inlined
def read_cte_retained(m: Machine, its: Index, icid: Word) -> tuple[Word, Word]:
    """The same from the cache, or kept there if it is valid."""
    tag = cache_tag(KIND_CTE, its, icid)
    if cached(m, tag):
        return OK, m.chip[cache_line(m, tag) + 1]
    reason, cte = walk_to_cte(m, its, icid)
    if get(cte, CTE_VALID) == ONE:
        keep(m, tag, cte, ZERO, ZERO, ZERO)
    return reason, cte


@inlined
def walk_to_cte(m: Machine, its: Index, icid: Word) -> tuple[Word, Word]:
    """The CTE in RAM; an error, or none, reads as zero."""
    reason, address = entry_address(m, table_at(its, COLLECTION_TABLE), icid - m.chip[CONFIG.hcc], CTE_SHIFT)
    if unlikely(reason != OK):
        return unless_absent(reason), ZERO
    return OK, load64(m, address)


@kernel
def write_cte(m: Machine, its: Index, icid: Word, cte: Word) -> Word:
    """Store a CTE."""
    if icid < m.chip[CONFIG.hcc]:
        m.chip[collection_at(its, icid)] = cte
        return OK
    if unlikely(retains(m)):
        drop(m, cache_tag(KIND_CTE, its, icid))
    reason, address = entry_address(m, table_at(its, COLLECTION_TABLE), icid - m.chip[CONFIG.hcc], CTE_SHIFT)
    if reason == OK:
        store64(m, address, cte)
    return unless_absent(reason)


@kernel
def ite_address(dte: Word, event_id: Word) -> Word:
    """Address of an ITE: the ITT is a linear array indexed by EventID."""
    return get(dte, DTE_ITT_ADDR) + event_id * ITE_BYTES


@inlined
def read_ite(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word) -> tuple[Word, Word, Word]:
    """(reason, low 64 bits, high 32 bits) of an ITE; 12-byte entries are only 4-byte aligned."""
    if unlikely(retains(m)):
        return read_ite_retained(m, its, device_id, dte, event_id)
    return walk_to_ite(m, dte, event_id)


@inlined
def read_ite_retained(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word) -> tuple[Word, Word, Word]:
    """The same from the cache, or kept there if it is valid."""
    tag = cache_tag(KIND_ITE, its, ite_identifier(device_id, event_id))
    if cached(m, tag):
        line = cache_line(m, tag)
        return OK, m.chip[line + 1], m.chip[line + 2]
    reason, low, high = walk_to_ite(m, dte, event_id)
    if get(low, ITE_VALID) == ONE:
        keep(m, tag, low, high, ZERO, ZERO)
    return reason, low, high


@inlined
def walk_to_ite(m: Machine, dte: Word, event_id: Word) -> tuple[Word, Word, Word]:
    """The ITE in RAM; an error reads as zero."""
    address = ite_address(dte, event_id)
    if unlikely(not covers_entry(m, address, ITE_BYTES)):
        return EXTERNAL_ABORT, ZERO, ZERO
    low, high = load96(m, address)
    return OK, low, high


@inlined
def write_ite(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word, low: Word, high: Word) -> Word:
    """Store an ITE."""
    if unlikely(retains(m)):
        drop(m, cache_tag(KIND_ITE, its, ite_identifier(device_id, event_id)))
    address = ite_address(dte, event_id)
    if unlikely(not covers_entry(m, address, ITE_BYTES)):
        return EXTERNAL_ABORT
    store96(m, address, low, high)
    return OK
