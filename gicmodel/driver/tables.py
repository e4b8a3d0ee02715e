# SPDX-License-Identifier: Apache-2.0
"""Tables that an ITS or a redistributor reads: their set-up in GITS_BASER<n>, and level 2 pages on demand."""

from __future__ import annotations

from dataclasses import dataclass

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.errors import DriverError
from gicmodel.driver.port import Frame
from gicmodel.layouts.level1 import LEVEL1
from gicmodel.layouts.registers import INNER_SHAREABLE, PAGE_SIZES, RAWAWB, TableType, baser_field

PAGE_CODES = {PAGE_SIZES[code]: code for code in (2, 1, 0)}
"""Bytes of a page to the code in a Page_Size field, in the order that Linux tries them."""
_MOST_PAGES = 256


@dataclass(frozen=True)
class Table:
    """A table as software built it: flat, or level 1 entries that point to pages of entries."""

    allocator: PageAllocator
    base: int
    size: int
    page_bytes: int
    entry_bytes: int
    indirect: bool

    def require(self, number: int) -> bool:
        """Whether entry `number` has memory, which it is given if that takes only a level 2 page."""
        if not self.indirect:
            return number < self.size // self.entry_bytes
        index = number // (self.page_bytes // self.entry_bytes)
        if index >= self.size // LEVEL1.bytes:
            return False
        memory, address = self.allocator.memory, self.base + index * LEVEL1.bytes
        if not LEVEL1.unpack(memory.read_u64(address))["Valid"]:
            # The page is zero, and visible, before a command can make the ITS read the level 1 entry (IHI0069).
            page = self.allocator.alloc(self.page_bytes, self.page_bytes)
            memory.write_u64(address, LEVEL1.pack(Valid=1, Physical_Address=page))
        return True


def set_up_baser(frame: Frame, name: str, page_bytes: int, allocator: PageAllocator, entries: int) -> Table:
    """Give the ITS a table for `entries` IDs in the register `name`, as Linux' its_setup_baser does.

    Only device and vPE tables may have two levels, and only when a flat one needs more than two pages.

    Raises:
        DriverError: ENXIO, the register does not keep what was written; ENOMEM.
    """
    fields = frame.fields(name)
    entry_bytes = fields["Entry_Size"] + 1
    size = entries * entry_bytes
    large = fields["Type"] != TableType.COLLECTIONS and size > 2 * page_bytes
    indirect = large and _probe_indirect(frame, name)
    if indirect:
        size = -(-entries // (page_bytes // entry_bytes)) * LEVEL1.bytes
    pages = min(-(-size // page_bytes), _MOST_PAGES)
    base = allocator.alloc(pages * page_bytes, page_bytes)
    written = frame.program(
        name,
        Valid=1,
        Indirect=int(indirect),
        Type=fields["Type"],
        Entry_Size=fields["Entry_Size"],
        Physical_Address=baser_field(base, page_bytes),
        Page_Size=PAGE_CODES[page_bytes],
        Size=pages - 1,
    )
    if (kept := frame.read(name)) != written:
        raise DriverError("ENXIO", f"{name} reads {kept:#x} after {written:#x} was written")
    return Table(allocator, base, pages * page_bytes, page_bytes, entry_bytes, indirect)


def affinity_key(affinity: int, levels: int) -> int:
    """`affinity` (Aff3.Aff2.Aff1.Aff0, 32 bits) cut to its `levels` highest levels, which a group has in common."""
    return affinity & ~(0xFFFF_FFFF >> 8 * levels)


def probe_page_size(frame: Frame, name: str) -> int:
    """The largest page size that the register `name` keeps, in bytes. DriverError ENXIO if it keeps none."""
    for page_bytes, code in PAGE_CODES.items():
        frame.update(name, Page_Size=code)
        if frame.fields(name)["Page_Size"] == code:
            return page_bytes
    raise DriverError("ENXIO", f"{name} has none of the page sizes 4, 16 and 64 KiB")


def _probe_indirect(frame: Frame, name: str) -> bool:
    attributes = {"InnerCache": RAWAWB, "Shareability": INNER_SHAREABLE}
    frame.write(name, frame.layout(name).pack(Indirect=1, **attributes))
    return bool(frame.fields(name)["Indirect"])
