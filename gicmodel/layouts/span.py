# SPDX-License-Identifier: Apache-2.0
"""The place of a field in a layout."""

from typing import NamedTuple


class Span(NamedTuple):
    """The bits [high:low] of one word that a field occupies; it holds the value's bits from `scale` up."""

    name: str
    word: int
    high: int
    low: int
    scale: int
    doc: str

    @property
    def bits(self) -> int:
        return self.high - self.low + 1

    @property
    def reserved(self) -> str:
        """`RES0`, `RES1` or `IMPDEF`; empty for a field that has a name."""
        return self.name[1:].split("_")[0].upper() if self.name.startswith("_") else ""
