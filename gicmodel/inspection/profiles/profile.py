# SPDX-License-Identifier: Apache-2.0
"""What a profile says about an implementation's table entries, declared over their layouts.

IHI0069 fixes what the entries of ITS tables must hold and leaves their formats to the implementation. A profile names
the layouts and which of their fields are what; the decoder knows no other difference between implementations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts.layout import Layout
from gicmodel.layouts.vpt import VSGIS

_BATCH = 1 << 14
"""Entries decoded at once: what is made of them on the way stays in the processor's caches."""


class Decoded(NamedTuple):
    """Entries by column: which of all are in use and which have a RES0 bit set ([n]), and those in use ([m])."""

    used: NDArray[np.bool_]
    reserved: NDArray[np.bool_]
    columns: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Entry:
    """One kind of table entry: its layout, the field that is not zero in an entry in use, and names for its fields.

    `fields` maps the inspection's column names, which are those of `inspection.entries`, to the layout's fields.
    """

    layout: Layout
    used: str
    fields: Mapping[str, str]

    def words(self, octets: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Entries in memory, uint8 [n, bytes], as their words, uint64 [n, words]."""
        return self.layout.words_of(octets).reshape(-1, len(self.layout.word_bits))

    def column(self, words: NDArray[np.uint64], name: str, default: int = 0) -> NDArray[np.int64]:
        """A column (int64, [n]) of entries given as words [n, words]; `default` if the format has no such field."""
        known = self.fields.get(name)
        return np.full(len(words), default, np.int64) if known is None else self._field(words, known)

    def in_use(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which entries map something."""
        field = self.layout[self.used]
        return np.asarray(words[:, field.word] & field.mask << field.shift != 0)

    def reserved(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which entries have a RES0 bit set."""
        broken = np.zeros(len(words), np.bool_)
        for word, mask in self.layout.res0_masks:
            broken |= words[:, word] & mask != 0
        return broken

    def decode(self, octets: NDArray[np.uint8]) -> Decoded:
        """Entries in memory, uint8 [n, bytes]: which are in use, and every column of those."""
        count, kept = len(octets), 0
        used, reserved = np.empty(count, np.bool_), np.empty(count, np.bool_)
        columns = np.empty((len(self.fields), count), np.int64)
        for start in range(0, count, _BATCH):
            words = self.words(octets[start : start + _BATCH])
            mapped = used[start : start + _BATCH] = self.in_use(words)
            reserved[start : start + _BATCH] = self.reserved(words)
            if not mapped.all():
                words = words[mapped]
            for column, name in zip(columns, self.fields.values(), strict=True):
                self.layout.column(words, name, column[kept : kept + len(words)].view(np.uint64))
            kept += len(words)
        return Decoded(used, reserved, dict(zip(self.fields, columns[:, :kept], strict=True)))

    def _field(self, words: NDArray[np.uint64], name: str) -> NDArray[np.int64]:
        # No field has 64 bits, so that the sign is never reached.
        return self.layout.column(words, name).view(np.int64)


class VsgiStorage(NamedTuple):
    """Where a virtual pending table's first KiB has the vSGIs: a bit each, and a configuration byte each."""

    pending_byte: int
    configuration_byte: int
    configuration: Entry

    @property
    def octets(self) -> set[int]:
        """The bytes that it takes."""
        bits = range(self.pending_byte, self.pending_byte + VSGIS // 8)
        return {*bits, *range(self.configuration_byte, self.configuration_byte + VSGIS)}


@dataclass(frozen=True)
class Profile:
    """The formats of one implementation. A table whose entry is None has a format that nobody published."""

    name: str
    doc: str
    device: Entry | None = None
    event: Entry | None = None
    collection: Entry | None = None
    vpe: Entry | None = None
    collection_list: bool = False
    """The collection table is a list whose entries carry their ICID, and ends at the first entry not in use."""
    not_mapped: int | None = None
    """The RDbase of a collection that is listed without a redistributor."""
    next_bits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """The width of the distance to the next entry, for `device` and `event`, where entries are chained."""
    vsgi: VsgiStorage | None = None
    """Where the vSGIs are; nothing else of a virtual pending table's first KiB is in use."""

    @property
    def entries(self) -> dict[str, Entry | None]:
        """The kinds of entry by name."""
        return {"device": self.device, "event": self.event, "collection": self.collection, "vpe": self.vpe}
