# SPDX-License-Identifier: Apache-2.0
"""One entry of a table in RAM: where it is, the walk to it, and the cache that may hold it.

Where an entry lives is architected (GITS_BASER<n>, DDI0601); what it holds is ours, see `layouts.its_tables`. A walk
returns a reason and the entry; the reason is OK or EXTERNAL_ABORT, and an entry under an invalid level 1 descriptor
reads as 0.

The cache is the one that `caching="retain"` uses: direct mapped, one entry a line, valid entries only. The architecture
describes no cache, it says when a cached entry must go. We model one so that software which forgets an invalidation, or
edits a live table, behaves differently with and without it. Entries that are not valid are never kept: software may
write a level 1 entry from 0 to 1 without telling the ITS (IHI0069, "The ITS tables").
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK
from gicmodel.hardware.kernels.ram import (
    covers_aligned,
    covers_entry,
    load64,
    load96,
    load256,
    store64,
    store96,
    store256,
)
from gicmodel.hardware.kernels.state import (
    CONFIG,
    TABLE_LINE_WORDS,
    TABLES_AT,
    Index,
    Machine,
    Packet,
    Word,
    retains,
)
from gicmodel.hardware.kernels.words import ALL_ONES, ONE, ZERO, get
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.its_tables import DTE, ITE, LEVEL1, VPE_CONFIGURATION

Place = tuple[np.uint64, np.uint64, np.uint64]
"""A table: its address, log2 of the entries of a level 2 page (FLAT: there is one level), the bytes of an entry."""

KIND_DTE, KIND_ITE, KIND_CTE, KIND_VPE, KIND_VPE_CONFIGURATION = (np.uint64(kind) for kind in range(5))

LEVEL1_VALID, LEVEL1_ADDRESS, LEVEL1_BYTES = LEVEL1["Valid"], LEVEL1["Physical_Address"], np.uint64(LEVEL1.bytes)
ITE_BYTES, VPE_BYTES = np.uint64(ITE.bytes), np.uint64(VPE_CONFIGURATION.bytes)
ENTRY_VALID = DTE["Valid"]
"""The same bit in every kind of entry, which the cache can so ask without knowing the kind."""
NOTHING: Packet = (ZERO, ZERO, ZERO, ZERO)
FLAT = ZERO
ABSENT = ALL_ONES
"""`entry_address` has found an invalid level 1 descriptor: there is no entry."""

TAG_VALID = np.uint64(1 << 63)
KIND_SHIFT = np.uint64(60)
OWNER_SHIFT = np.uint64(48)
EVENT_BITS = np.uint64(24)
FOLDS = (np.uint64(32), np.uint64(17), np.uint64(7), np.uint64(3))


@inlined
def read_entry(m: Machine, tag: Word, place: Place, identifier: Word) -> tuple[Word, Packet]:
    """(reason, words) of an entry that the table has room for; an error, or none, reads as NOTHING."""
    if unlikely(retains(m)):
        return read_retained(m, tag, place, identifier)
    return walk(m, place, identifier)


@inlined
def read_retained(m: Machine, tag: Word, place: Place, identifier: Word) -> tuple[Word, Packet]:
    """The entry from the cache; if it is not there, from RAM, and kept if it is valid."""
    line = cache_line(m, tag)
    if m.chip[line] == tag:
        return OK, (m.chip[line + 1], m.chip[line + 2], m.chip[line + 3], m.chip[line + 4])
    reason, entry = walk(m, place, identifier)
    if get(entry[0], ENTRY_VALID) == ONE:
        m.chip[line] = tag
        m.chip[line + 1], m.chip[line + 2], m.chip[line + 3], m.chip[line + 4] = entry
    return reason, entry


@inlined
def walk(m: Machine, place: Place, identifier: Word) -> tuple[Word, Packet]:
    """The entry in RAM."""
    reason, address = entry_address(m, place, identifier)
    if unlikely(reason != OK):
        return unless_absent(reason), NOTHING
    return OK, load_entry(m, address, place[2])


@inlined
def write_entry(m: Machine, tag: Word, place: Place, identifier: Word, entry: Packet) -> Word:
    """Store an entry, and forget it; under an invalid level 1 descriptor it is discarded, as in QEMU."""
    if unlikely(retains(m)):
        drop(m, tag)
    reason, address = entry_address(m, place, identifier)
    if reason == OK:
        store_entry(m, address, place[2], entry)
    return unless_absent(reason)


@inlined
def entry_address(m: Machine, place: Place, identifier: Word) -> tuple[Word, Word]:
    """(reason, address) of an entry."""
    base, page_shift, entry_bytes = place
    address = base + identifier * entry_bytes
    if page_shift != FLAT:
        descriptor = base + (identifier >> page_shift) * LEVEL1_BYTES
        if unlikely(not covers_aligned(m, descriptor)):
            return EXTERNAL_ABORT, ZERO
        level1 = load64(m, descriptor)
        if unlikely(get(level1, LEVEL1_VALID) != ONE):
            return ABSENT, ZERO
        page_mask, index_mask = (entry_bytes << page_shift) - ONE, (ONE << page_shift) - ONE
        address = (get(level1, LEVEL1_ADDRESS) & ~page_mask) + (identifier & index_mask) * entry_bytes
    if unlikely(not covers_entry(m, address, entry_bytes)):
        return EXTERNAL_ABORT, ZERO
    return OK, address


@kernel
def unless_absent(reason: Word) -> Word:
    """The reason as the walk returns it: an absent entry reads as zero, and ignores writes."""
    if reason == ABSENT:
        return OK
    return reason


@inlined
def load_entry(m: Machine, address: Word, entry_bytes: Word) -> Packet:
    """The words of an entry, ZERO where it has fewer than four."""
    if entry_bytes == VPE_BYTES:
        return load256(m, address)
    if entry_bytes == ITE_BYTES:
        low, high = load96(m, address)
        return low, high, ZERO, ZERO
    return load64(m, address), ZERO, ZERO, ZERO


@inlined
def store_entry(m: Machine, address: Word, entry_bytes: Word, entry: Packet) -> None:
    """Write the words that the entry has."""
    if entry_bytes == VPE_BYTES:
        store256(m, address, entry)
    elif entry_bytes == ITE_BYTES:
        store96(m, address, entry[0], entry[1])
    else:
        store64(m, address, entry[0])


@kernel
def cache_tag(kind: Word, owner: Index, identifier: Word) -> Word:
    """Names one entry; `owner` is the ITS, or the redistributor for its vPE configuration table."""
    return TAG_VALID | (kind << KIND_SHIFT) | (np.uint64(owner) << OWNER_SHIFT) | identifier


@kernel
def ite_identifier(device_id: Word, event_id: Word) -> Word:
    """The identifier part of an ITE's tag."""
    return (device_id << EVENT_BITS) | event_id


@kernel
def cache_line(m: Machine, tag: Word) -> Index:
    """Where in `chip` the only line lies that can hold the entry: its tag, then its words.

    Folding brings every bit of the tag down, and gives neighbours different lines.
    """
    folded = tag ^ (tag >> FOLDS[0])
    folded ^= folded >> FOLDS[1]
    folded ^= folded >> FOLDS[2]
    folded ^= folded >> FOLDS[3]
    return TABLES_AT + TABLE_LINE_WORDS * np.int64(folded & m.chip[CONFIG.line_mask])


@kernel
def drop(m: Machine, tag: Word) -> None:
    """Forget one entry."""
    line = cache_line(m, tag)
    if m.chip[line] == tag:
        m.chip[line] = ZERO


@kernel
def drop_device_events(m: Machine, its: Index, device_id: Word) -> None:
    """Forget every ITE of a device: MAPD may give it another ITT."""
    first = cache_tag(KIND_ITE, its, ite_identifier(device_id, ZERO)) >> EVENT_BITS
    for line in range(TABLES_AT, m.chip.shape[0], TABLE_LINE_WORDS):
        if m.chip[line] >> EVENT_BITS == first:
            m.chip[line] = ZERO


@kernel
def drop_vpe(m: Machine, vpe_id: Word) -> None:
    """Forget every cached copy of a vPE's entry: the hardware that writes one knows of all."""
    for its in range(np.int64(m.chip[CONFIG.its])):
        drop(m, cache_tag(KIND_VPE, its, vpe_id))
    for rd in range(np.int64(m.chip[CONFIG.redistributors])):
        drop(m, cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id))


@kernel
def drop_owner(m: Machine, kind: Word, owner: Index) -> None:
    """Forget every entry of one kind and owner."""
    owned = cache_tag(kind, owner, ZERO) >> OWNER_SHIFT
    for line in range(TABLES_AT, m.chip.shape[0], TABLE_LINE_WORDS):
        if m.chip[line] >> OWNER_SHIFT == owned:
            m.chip[line] = ZERO


@kernel
def drop_its(m: Machine, its: Index) -> None:
    """Forget every entry of one ITS: Enabled 1 to 0."""
    drop_owner(m, KIND_DTE, its)
    drop_owner(m, KIND_ITE, its)
    drop_owner(m, KIND_CTE, its)
    drop_owner(m, KIND_VPE, its)
