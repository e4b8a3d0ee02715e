# SPDX-License-Identifier: Apache-2.0
"""The GICv4.1 vPE configuration table of a redistributor, shared within an affinity group (DDI0601 GICR_VPROPBASER)."""

from __future__ import annotations

from collections.abc import Sequence

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.its import ItsNode
from gicmodel.driver.redistributor import Redistributor
from gicmodel.driver.tables import PAGE_CODES, pages_for
from gicmodel.layouts.registers import INNER_SHAREABLE, RAWB, TableType
from gicmodel.layouts.table import Table

_VPROPBASER = "GICR_VPROPBASER"
_MOST_PAGES = 128
"""What GICR_VPROPBASER.Size can say."""


def allocate_vpe_l1_table(
    rd: Redistributor,
    earlier: Sequence[Redistributor],
    nodes: Sequence[ItsNode],
    allocator: PageAllocator,
    vpe_bits: int,
) -> None:
    """Give the redistributor its group's table: another redistributor's, else an ITS', else a new one."""
    group = rd.affinity_group()
    other = next((other for other in earlier if other.affinity_group() == group), None)
    its = next((its for its in nodes if its.shares_vpe_table() and its.affinity_group() == group), None)
    if other is not None:
        # Z reads as 0: the table is live, and the redistributor loads it.
        rd.registers.write(_VPROPBASER, other.registers.read(_VPROPBASER))
    elif its is not None:
        _inherit_from_its(rd, its)
    else:
        _allocate(rd, allocator, 1 << vpe_bits)
    rd.vpe_table = Table.of_vpropbaser(rd.registers.read(_VPROPBASER))


def _inherit_from_its(rd: Redistributor, its: ItsNode) -> None:
    """The ITS' GITS_BASER2, written in the format of GICR_VPROPBASER, whose Size is a bit narrower.

    Of a larger table the redistributor knows only a part, as in Linux.
    """
    baser = its.registers.fields("GITS_BASER2")
    rd.registers.set(
        _VPROPBASER,
        Valid=1,
        Indirect=baser["Indirect"],
        Page_Size=baser["Page_Size"],
        Physical_Address=its.tables[TableType.VPES].address,
        Shareability=baser["Shareability"],
        InnerCache=baser["InnerCache"],
        Size=baser["Size"] % _MOST_PAGES,
    )


def _allocate(rd: Redistributor, allocator: PageAllocator, entries: int) -> None:
    rd.registers.set(_VPROPBASER, Indirect=1, Page_Size=PAGE_CODES[0x1_0000])
    probed = rd.registers.read(_VPROPBASER)
    table, fields = Table.of_vpropbaser(probed), rd.registers.layout(_VPROPBASER).unpack(probed)
    indirect = table.indirect and table.per_page < entries
    pages = pages_for(entries, table.entry_bytes, table.page_bytes, indirect, _MOST_PAGES)
    rd.registers.set(
        _VPROPBASER,
        Valid=1,
        Indirect=indirect,
        Entry_Size=fields["Entry_Size"],
        Page_Size=fields["Page_Size"],
        Z=1,
        Physical_Address=allocator.alloc(pages * table.page_bytes, table.page_bytes),
        Shareability=INNER_SHAREABLE,
        InnerCache=RAWB,
        Size=pages - 1,
    )
