# SPDX-License-Identifier: Apache-2.0
"""How much of a dump is read: hostile entries may name the same memory, or each other's, any number of times."""

from __future__ import annotations

from dataclasses import dataclass, field

ENTRIES = 1 << 22
"""How many table entries, and how many pending bits, are kept if not told otherwise."""
OCTETS = 1 << 31
"""How many bytes of tables are read, each time that an entry names them."""


@dataclass
class Budget:
    """What may still be read and kept: so many entries, so many bytes. `ended` says what was not read to its end."""

    entries: int = ENTRIES
    octets: int = OCTETS
    ended: list[str] = field(default_factory=list)

    def read(self, octets: int, what: str) -> bool:
        """Whether another `octets` bytes may be read; if not, `what` is noted."""
        if octets > self.octets:
            self._note(what)
            return False
        self.octets -= octets
        return True

    def keep(self, count: int, what: str) -> int:
        """How many of `count` more entries may be kept; if not all, `what` is noted."""
        kept = min(count, self.entries)
        self.entries -= kept
        if kept < count:
            self._note(what)
        return kept

    def _note(self, what: str) -> None:
        if what not in self.ended:
            self.ended.append(what)
