# SPDX-License-Identifier: Apache-2.0
"""The cache of table entries that `caching="retain"` uses: direct mapped, one entry a line, valid entries only.

The architecture describes no cache, it says when a cached entry must go. We model one so that software which forgets an
invalidation, or edits a live table, behaves differently with and without it. Entries that are not valid are never
kept: software may write a level 1 entry from 0 to 1 without telling the ITS (IHI0069, "The ITS tables").
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.state import CONFIG, TABLE_LINE_WORDS, TABLES_AT, Index, Machine, Truth, Word
from gicmodel.hardware.kernels.words import ZERO
from gicmodel.jit import kernel

KIND_DTE, KIND_ITE, KIND_CTE, KIND_VPE, KIND_VPE_CONFIGURATION = (np.uint64(kind) for kind in range(5))

TAG_VALID = np.uint64(1 << 63)
KIND_SHIFT = np.uint64(60)
OWNER_SHIFT = np.uint64(48)
EVENT_BITS = np.uint64(24)
FOLDS = (np.uint64(32), np.uint64(17), np.uint64(7), np.uint64(3))


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
def cached(m: Machine, tag: Word) -> Truth:
    """Whether the entry is held; its words then stand at `m.chip[cache_line(m, tag) + 1:]`."""
    return m.chip[cache_line(m, tag)] == tag


@kernel
def keep(m: Machine, tag: Word, word0: Word, word1: Word, word2: Word, word3: Word) -> None:
    """Hold an entry."""
    line = cache_line(m, tag)
    m.chip[line] = tag
    m.chip[line + 1] = word0
    m.chip[line + 2] = word1
    m.chip[line + 3] = word2
    m.chip[line + 4] = word3


@kernel
def drop(m: Machine, tag: Word) -> None:
    """Forget one entry."""
    if cached(m, tag):
        m.chip[cache_line(m, tag)] = ZERO


@kernel
def drop_device_events(m: Machine, its: Index, device_id: Word) -> None:
    """Forget every ITE of a device: MAPD may give it another ITT."""
    first = cache_tag(KIND_ITE, its, ite_identifier(device_id, ZERO)) >> EVENT_BITS
    for line in range(TABLES_AT, m.chip.shape[0], TABLE_LINE_WORDS):
        if m.chip[line] >> EVENT_BITS == first:
            m.chip[line] = ZERO


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
