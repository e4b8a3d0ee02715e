# SPDX-License-Identifier: Apache-2.0
"""What a profile says about an implementation's table entries, declared over their layouts.

IHI0069 fixes what the entries of ITS tables must hold and leaves their formats to the implementation. A profile names
the layouts and which of their fields are what; the decoder knows no other difference between implementations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts.layout import Layout

_NO_STORAGE: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Entry:
    """One kind of table entry: its layout, the field that is not zero in an entry in use, and names for its fields.

    `fields` maps the inspection's column names, which are those of `inspection.entries`, to the layout's fields.
    """

    layout: Layout
    used: str
    fields: Mapping[str, str]

    def column(self, rows: NDArray[np.void], name: str, default: int = 0) -> NDArray[np.int64]:
        """A column (int64, [n]) of decoded rows, or `default` throughout if the format has no such field."""
        known = self.fields.get(name)
        if known is None:
            return np.full(len(rows), default, np.int64)
        column: NDArray[np.int64] = rows[known].astype(np.int64)
        return column

    def in_use(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which of the decoded rows map something."""
        used: NDArray[np.bool_] = rows[self.used] != 0
        return used

    def reserved(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the entries, uint64 [n] or [n, words], have a RES0 bit set."""
        matrix = words.reshape(-1, len(self.layout.word_bits))
        broken = np.zeros(len(matrix), np.bool_)
        for name, span in self.layout.spans.items():
            if span.reserved == "RES0":
                bits = self.layout[name]
                broken |= (matrix[:, bits.word] >> bits.shift) & bits.mask != 0
        return broken


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
    vpt_storage: frozenset[int] = _NO_STORAGE
    """Bytes of a virtual pending table's first KiB in which this implementation keeps state of its own."""

    @property
    def entries(self) -> dict[str, Entry | None]:
        """The kinds of entry by name."""
        return {"device": self.device, "event": self.event, "collection": self.collection, "vpe": self.vpe}
