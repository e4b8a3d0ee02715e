# SPDX-License-Identifier: Apache-2.0
"""How much of a dump is read: hostile entries may name the same memory, or each other's, any number of times."""

from __future__ import annotations

ENTRIES = 1 << 22
"""How many table entries, and how many pending bits, are kept if not told otherwise."""
OCTETS = 1 << 31
"""How many bytes of tables are read, each time that an entry names them."""


class Budget:
    """What may still be read and kept. Where it ends, `ended` says what was not read to its end."""

    def __init__(self, entries: int = ENTRIES, octets: int = OCTETS) -> None:
        self._entries = entries
        self._octets = octets
        self.ended: list[str] = []

    def read(self, octets: int, what: str) -> bool:
        """Whether another `octets` bytes may be read; if not, `what` is noted."""
        if octets > self._octets:
            self._note(what)
            return False
        self._octets -= octets
        return True

    def keep(self, count: int, what: str) -> int:
        """How many of `count` more entries may be kept; if not all, `what` is noted."""
        kept = min(count, self._entries)
        self._entries -= kept
        if kept < count:
            self._note(what)
        return kept

    @property
    def entries(self) -> int:
        """How many entries may still be kept."""
        return self._entries

    def _note(self, what: str) -> None:
        if what not in self.ended:
            self.ended.append(what)
