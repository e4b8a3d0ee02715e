# SPDX-License-Identifier: Apache-2.0
"""The memory of a table, as the register that points at it tells: the one place that derives it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from gicmodel.layouts.its_tables import CTE, DTE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER

PAGE_SIZES = (0x1000, 0x4000, 0x1_0000, 0x1_0000)
"""Bytes of a page, by Page_Size; 3 is reserved and treated as 2."""

_HIGH_BITS, _LOW_BITS = 48, 12
_DOUBLEWORD = 8
"""The unit of GICR_VPROPBASER.Entry_Size."""


class TableType(IntEnum):
    """GITS_BASER<n>.Type."""

    DEVICES = 1
    VPES = 2
    COLLECTIONS = 4

    def entry(self, v41: bool) -> Layout:
        """An entry of such a table; that of vPEs is another one in GICv4.1."""
        if self is TableType.VPES:
            return VPE_CONFIGURATION if v41 else VTE
        return DTE if self is TableType.DEVICES else CTE


@dataclass(frozen=True)
class Table:
    """`size` bytes at `address`: entries of `entry_bytes` or, `indirect`, level 1 entries of pages of entries.

    A table that is not `valid` has no memory; `address` and `size` are then what its register would mean.
    """

    address: int
    size: int
    entry_bytes: int
    page_bytes: int
    indirect: bool
    valid: bool = True

    @classmethod
    def of_baser(cls, baser: int, **more: Any) -> Self:
        """The table of a GITS_BASER<n>; with 64 KiB pages the register's bits [15:12] are PA[51:48] (DDI0601).

        A subclass has its own fields in `more`.
        """
        fields = GITS_BASER.unpack(baser)
        address = baser_address(fields["Physical_Address"], PAGE_SIZES[fields["Page_Size"]])
        return cls._of(fields, address, fields["Entry_Size"] + 1, more)

    @classmethod
    def of_vpropbaser(cls, vpropbaser: int, **more: Any) -> Self:
        """The vPE configuration table of a GICv4.1 GICR_VPROPBASER."""
        fields = GICR_VPROPBASER.unpack(vpropbaser)
        return cls._of(fields, fields["Physical_Address"], (fields["Entry_Size"] + 1) * _DOUBLEWORD, more)

    @classmethod
    def _of(cls, fields: dict[str, int], address: int, entry_bytes: int, more: dict[str, Any]) -> Self:
        page = PAGE_SIZES[fields["Page_Size"]]
        size = (fields["Size"] + 1) * page
        return cls(address & -page, size, entry_bytes, page, bool(fields["Indirect"]), bool(fields["Valid"]), **more)

    @property
    def per_page(self) -> int:
        """Entries of a level 2 page."""
        return self.page_bytes // self.entry_bytes

    @property
    def capacity(self) -> int:
        """How many identifiers the table has room for; in two levels, if every level 2 page exists."""
        if self.indirect:
            return self.size // LEVEL1.bytes * self.per_page
        return self.size // self.entry_bytes


def baser_address(field: int, page_bytes: int) -> int:
    """The address that GITS_BASER<n>.Physical_Address means: with 64 KiB pages its bits [15:12] are PA[51:48]."""
    if page_bytes < PAGE_SIZES[2]:
        return field
    low = field & PAGE_SIZES[2] - 1
    return field - low | low >> _LOW_BITS << _HIGH_BITS


def baser_field(address: int, page_bytes: int) -> int:
    """GITS_BASER<n>.Physical_Address for a table at a page-aligned address; the reverse of `baser_address`."""
    if page_bytes < PAGE_SIZES[2]:
        return address
    return address & (1 << _HIGH_BITS) - 1 | address >> _HIGH_BITS << _LOW_BITS
