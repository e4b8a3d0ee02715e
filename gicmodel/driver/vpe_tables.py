# SPDX-License-Identifier: Apache-2.0
"""The GICv4.1 vPE configuration table of a redistributor, shared within an affinity group (DDI0601 GICR_VPROPBASER)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.its import ItsNode
from gicmodel.driver.redistributor import Redistributor
from gicmodel.driver.tables import PAGE_CODES, Table
from gicmodel.layouts.level1 import LEVEL1
from gicmodel.layouts.registers import INNER_SHAREABLE, PAGE_SIZES, RAWB, TableType

_VPROPBASER = "GICR_VPROPBASER"
_DOUBLEWORD = 8
_MOST_PAGES = 128
"""What GICR_VPROPBASER.Size can say."""


def join_vpe_table(
    rd: Redistributor,
    earlier: Sequence[Redistributor],
    nodes: Sequence[ItsNode],
    allocator: PageAllocator,
    vpe_bits: int,
) -> None:
    """Give the redistributor its group's table: another redistributor's, else an ITS', else a new one.

    Linux' allocate_vpe_l1_table.
    """
    group = rd.affinity_group()
    for other in earlier:
        if other.affinity_group() == group:
            # Z reads as 0: the table is live, and the redistributor loads it.
            rd.frame.write(_VPROPBASER, other.frame.read(_VPROPBASER))
            rd.vpe_table = other.vpe_table
            return
    for its in nodes:
        if its.svpet and TableType.VPES in its.tables and its.affinity_group() == group:
            _inherit(rd, its)
            return
    _allocate(rd, allocator, 1 << vpe_bits)


def _inherit(rd: Redistributor, its: ItsNode) -> None:
    """The ITS' GITS_BASER2, written in the format of GICR_VPROPBASER, whose Size is a bit narrower.

    Of a larger table the redistributor knows only a part, as in Linux.
    """
    baser = its.frame.fields("GITS_BASER2")
    table = its.tables[TableType.VPES]
    rd.frame.write(
        _VPROPBASER,
        rd.frame.layout(_VPROPBASER).pack(
            Valid=1,
            Indirect=baser["Indirect"],
            Page_Size=baser["Page_Size"],
            Physical_Address=table.base,
            Shareability=baser["Shareability"],
            InnerCache=baser["InnerCache"],
            Size=baser["Size"] % _MOST_PAGES,
        ),
    )
    pages = baser["Size"] % _MOST_PAGES + 1
    rd.vpe_table = table if pages > baser["Size"] else replace(table, size=pages * table.page_bytes)


def _allocate(rd: Redistributor, allocator: PageAllocator, entries: int) -> None:
    layout = rd.frame.layout(_VPROPBASER)
    rd.frame.write(_VPROPBASER, layout.pack(Indirect=1, Page_Size=PAGE_CODES[0x1_0000]))
    probed = rd.frame.fields(_VPROPBASER)
    page_bytes = PAGE_SIZES[probed["Page_Size"]]
    entry_bytes = (probed["Entry_Size"] + 1) * _DOUBLEWORD
    level2_entries = page_bytes // entry_bytes
    indirect = bool(probed["Indirect"]) and level2_entries < entries
    size = -(-entries // level2_entries) * LEVEL1.bytes if indirect else entries * entry_bytes
    pages = min(-(-size // page_bytes), _MOST_PAGES)
    base = allocator.alloc(pages * page_bytes, page_bytes)
    rd.frame.write(
        _VPROPBASER,
        layout.pack(
            Valid=1,
            Indirect=indirect,
            Entry_Size=probed["Entry_Size"],
            Page_Size=probed["Page_Size"],
            Z=1,
            Physical_Address=base,
            Shareability=INNER_SHAREABLE,
            InnerCache=RAWB,
            Size=pages - 1,
        ),
    )
    rd.vpe_table = Table(allocator, base, pages * page_bytes, page_bytes, entry_bytes, indirect)
