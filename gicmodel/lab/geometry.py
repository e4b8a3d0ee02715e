# SPDX-License-Identifier: Apache-2.0
"""How software lays out an ITS table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """What GITS_BASER<n> says of a table: Page_Size (0: 4, 1: 16, 2: 64 KiB), Indirect, and the number of pages."""

    page_size: int = 0
    indirect: bool = False
    pages: int = 1

    @property
    def page_bytes(self) -> int:
        """Bytes of one page."""
        return 0x1000 << 2 * self.page_size

    def capacity(self, entry_bytes: int) -> int:
        """How many IDs the table has entries for; in two levels, if every level 2 page exists."""
        per_page = self.page_bytes // entry_bytes
        if self.indirect:
            return self.pages * self.page_bytes // 8 * per_page
        return self.pages * self.page_bytes // entry_bytes
