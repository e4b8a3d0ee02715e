# SPDX-License-Identifier: Apache-2.0
"""What a register says about a table, worked out once when it is written and not for each entry that is looked up."""

from __future__ import annotations

from typing import NamedTuple

from gicmodel.layouts.level1 import LEVEL1
from gicmodel.layouts.registers import GICR_VPROPBASER, GITS_BASER
from gicmodel.layouts.registers.codes import PAGE_SIZES, baser_address


class Table(NamedTuple):
    """A table: the bytes at `base` are its entries or, `indirect`, its level 1 entries; one not valid has no bytes."""

    base: int
    page_bytes: int
    indirect: bool
    length: int

    def reach(self, entry_bytes: int, identifiers: int) -> Reach:
        """What a lookup needs of a table for that many identifiers at most."""
        per_page = self.page_bytes // entry_bytes
        entries = self.length // LEVEL1.bytes * per_page if self.indirect else self.length // entry_bytes
        return Reach(self.base, min(entries, identifiers), per_page.bit_length() - 1 if self.indirect else 0)


class Reach(NamedTuple):
    """A table's base, how many identifiers it serves, and log2 of the entries on a level 2 page; 0 for a flat one."""

    base: int
    entries: int
    page_shift: int


def table_of_baser(baser: int) -> Table:
    """The table of a GITS_BASER<n>. With 64 KiB pages the register's bits [15:12] are PA[51:48] (DDI0601)."""
    fields = GITS_BASER.unpack(baser)
    page = PAGE_SIZES[fields["Page_Size"]]
    base = baser_address(fields["Physical_Address"], page) & -page
    return Table(base, page, bool(fields["Indirect"]), (fields["Size"] + 1) * page if fields["Valid"] else 0)


def table_of_vpropbaser(vpropbaser: int) -> Table:
    """The vPE configuration table of a GICv4.1 GICR_VPROPBASER."""
    fields = GICR_VPROPBASER.unpack(vpropbaser)
    page = PAGE_SIZES[fields["Page_Size"]]
    base = fields["Physical_Address"] & -page
    return Table(base, page, bool(fields["Indirect"]), (fields["Size"] + 1) * page if fields["Valid"] else 0)
