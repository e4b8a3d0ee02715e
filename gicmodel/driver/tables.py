# SPDX-License-Identifier: Apache-2.0
"""Tables in RAM: those of GITS_BASER<n>, with level 2 pages on demand, and of LPIs (IHI0069 5.1.1)."""

from __future__ import annotations

import numpy as np

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.commands import Operand
from gicmodel.driver.errors import DriverError
from gicmodel.driver.port import DriverRegisters
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION, PENDING_ALIGNMENT, table_bytes
from gicmodel.layouts.registers.register import INNER_SHAREABLE, RAWAWB
from gicmodel.layouts.table import PAGE_SIZES, Table, TableType, baser_field

PAGE_CODES = {PAGE_SIZES[code]: code for code in (2, 1, 0)}
"""Bytes of a page to the code in a Page_Size field, in the order that Linux tries them."""
_MOST_PAGES = 256

DISABLED = LPI_CONFIGURATION.pack(Priority=0xA0)
ENABLED = LPI_CONFIGURATION.pack(Priority=0xA0, Enable=1)
_GROUP1 = LPI_CONFIGURATION.pack()
"""The RES1 bit of every byte (Linux' LPI_PROP_GROUP1)."""
ENABLE = LPI_CONFIGURATION.pack(Enable=1) ^ _GROUP1


def its_alloc_table_entry(table: Table, number: int, allocator: PageAllocator) -> bool:
    """Whether entry `number` has memory, which it is given if that takes only a level 2 page."""
    if number >= table.capacity:
        return False
    if table.indirect:
        memory, address = allocator.memory, table.address + number // table.per_page * LEVEL1.bytes
        if not LEVEL1.unpack(memory.read_u64(address))["Valid"]:
            # The page is zero, and visible, before a command can make the ITS read the level 1 entry (IHI0069).
            page = allocator.alloc(table.page_bytes, table.page_bytes)
            memory.write_u64(address, LEVEL1.pack(Valid=1, Physical_Address=page))
    return True


def pages_for(entries: int, entry_bytes: int, page_bytes: int, indirect: bool, most: int) -> int:
    """The pages of a table for `entries` entries, of level 1 if it is indirect; `most` is what its register can say."""
    if indirect:
        entries, entry_bytes = -(-entries // (page_bytes // entry_bytes)), LEVEL1.bytes
    return min(-(-entries * entry_bytes // page_bytes), most)


def its_setup_baser(
    registers: DriverRegisters, name: str, page_bytes: int, allocator: PageAllocator, entries: int
) -> None:
    """Give the ITS a table for `entries` IDs in the register `name`.

    Only device and vPE tables may have two levels, and only when a flat one needs more than two pages.

    Raises:
        DriverError: ENXIO, the register does not keep what was written; ENOMEM.
    """
    fields = registers.fields(name)
    entry_bytes = fields["Entry_Size"] + 1
    large = fields["Type"] != TableType.COLLECTIONS and entries * entry_bytes > 2 * page_bytes
    indirect = large and _probe_indirect(registers, name)
    pages = pages_for(entries, entry_bytes, page_bytes, indirect, _MOST_PAGES)
    base = allocator.alloc(pages * page_bytes, page_bytes)
    written = registers.program(
        name,
        Valid=1,
        Indirect=int(indirect),
        Type=fields["Type"],
        Entry_Size=fields["Entry_Size"],
        Physical_Address=baser_field(base, page_bytes),
        Page_Size=PAGE_CODES[page_bytes],
        Size=pages - 1,
    )
    if (kept := registers.read(name)) != written:
        raise DriverError("ENXIO", f"{name} reads {kept:#x} after {written:#x} was written")


def affinity_key(affinity: int, levels: int) -> int:
    """`affinity` (Aff3.Aff2.Aff1.Aff0, 32 bits) cut to its `levels` highest levels, which a group has in common."""
    return affinity & ~(0xFFFF_FFFF >> 8 * levels)


def its_probe_baser_psz(registers: DriverRegisters, name: str) -> int:
    """The largest page size that the register `name` keeps, in bytes. DriverError ENXIO if it keeps none."""
    for page_bytes, code in PAGE_CODES.items():
        registers.update(name, Page_Size=code)
        if registers.fields(name)["Page_Size"] == code:
            return page_bytes
    raise DriverError("ENXIO", f"{name} has none of the page sizes 4, 16 and 64 KiB")


def _probe_indirect(registers: DriverRegisters, name: str) -> bool:
    registers.set(name, Indirect=1, InnerCache=RAWAWB, Shareability=INNER_SHAREABLE)
    return bool(registers.fields(name)["Indirect"])


class ConfigurationTable:
    """A byte for each of a machine's LPIs or of a VM's vLPIs, all disabled at first, of `id_bits` INTID bits."""

    def __init__(self, allocator: PageAllocator, id_bits: int) -> None:
        self.id_bits = id_bits
        self.address = _alloc(allocator, (1 << id_bits) - FIRST_LPI)
        self._memory = allocator.memory
        self._octets = self._memory.view(self.address, (1 << id_bits) - FIRST_LPI, np.uint8)
        self._octets[:] = DISABLED
        self._memory.mark(self.address, len(self._octets))

    def read(self, intid: int) -> int:
        """The byte of one LPI; errors as `write`."""
        self._check(intid, intid)
        return int(self._octets[intid - FIRST_LPI])

    def write(self, intids: Operand, octets: Operand) -> None:
        """Set the byte of one LPI or of an array of them, RES1 bit included (Linux' lpi_write_config).

        DriverError EINVAL for an INTID without a byte.
        """
        if isinstance(intids, np.ndarray):
            if not intids.size:
                return
            first, last = int(intids.min()), int(intids.max())
        else:
            first = last = int(intids)
        self._check(first, last)
        self._octets[intids - FIRST_LPI] = octets | _GROUP1
        self._memory.mark(self.address + first - FIRST_LPI, last + 1 - first)

    def _check(self, first: int, last: int) -> None:
        if first < FIRST_LPI or last >= FIRST_LPI + len(self._octets):
            raise DriverError("EINVAL", f"INTIDs {first}..{last} are not all LPIs of {self.id_bits} bits")


def its_allocate_pending_table(allocator: PageAllocator, id_bits: int) -> int:
    """The address of an LPI pending table, or of a VPT, for INTIDs of `id_bits` bits. DriverError ENOMEM."""
    return _alloc(allocator, table_bytes(id_bits))


def _alloc(allocator: PageAllocator, size: int) -> int:
    """Linux aligns and sizes LPI tables to 64 KiB, which GICR_PENDBASER, VPT_addr and VCONF_addr need."""
    return allocator.alloc(-(-size // PENDING_ALIGNMENT) * PENDING_ALIGNMENT, PENDING_ALIGNMENT)
