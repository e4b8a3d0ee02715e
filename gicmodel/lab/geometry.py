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
