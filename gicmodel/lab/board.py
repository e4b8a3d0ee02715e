# SPDX-License-Identifier: Apache-2.0
"""The real hardware, booted: its tables laid out in RAM, its registers programmed, and nothing mapped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from gicmodel.config import GicConfig
from gicmodel.driver.allocator import PageAllocator
from gicmodel.hardware import Gic
from gicmodel.lab.geometry import Geometry
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.its_tables import CTE, DTE, ITE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import PENDING_ALIGNMENT, table_bytes
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER, GICR_VPROPBASER
from gicmodel.memory import GuestMemory

RAM_BASE, RAM_BYTES = 0x8000_0000, 64 << 20
QUEUE_BYTES = 0x1000
"""One page, so that queues wrap."""
QUEUE_SLOTS = QUEUE_BYTES // COMMAND_BYTES
ITTS, VPTS, VCONFS = 3, 3, 2


@dataclass(frozen=True)
class Table:
    """An ITS table: its layout, the address for the register, the address of entry 0, and the number of entries."""

    layout: Layout
    address: int
    entries: int
    count: int


class Board:
    """A `Gic` over RAM in which a minimal host has allocated tables of a drawn geometry; its registers by name."""

    def __init__(self, config: GicConfig, geometry: Geometry) -> None:
        self.config = config
        self.geometry = geometry
        self.memory = GuestMemory(RAM_BASE, RAM_BYTES)
        self.gic = Gic(config, self.memory)
        self._pages = PageAllocator(self.memory, RAM_BASE, self.memory.end)
        self._allocate()
        self._boot()

    # Boot.

    def _allocate(self) -> None:
        config, intid_bytes = self.config, table_bytes(self.config.intid_bits)
        self.lpi_configuration = self._alloc(1 << config.intid_bits)
        self.pending_tables = [self._alloc(intid_bytes) for _ in range(config.redistributors)]
        self.itts = self._alloc_many(ITTS, ITE.bytes << config.event_id_bits)
        self.vpts = self._alloc_many(VPTS, intid_bytes)
        self.vconfs = self._alloc_many(VCONFS, 1 << config.intid_bits)
        self.queues = self._alloc_many(config.its, QUEUE_BYTES)
        self.device_tables = [self._table(DTE, config.device_id_bits) for _ in range(config.its)]
        self.collection_tables = [self._table(CTE, config.collection_id_bits) for _ in range(config.its)]
        self.vpe_tables = self._allocate_vpe_tables()

    def _allocate_vpe_tables(self) -> list[Table]:
        """One for each ITS; in GICv4.1 all are one table, which is the redistributors' too (GITS_TYPER.SVPET)."""
        config = self.config
        if not config.virtual:
            return []
        if config.v41:
            return [self._table(VPE_CONFIGURATION, config.vpe_id_bits)] * config.its
        return [self._table(VTE, config.vpe_id_bits) for _ in range(config.its)]

    def _alloc(self, size: int) -> int:
        return self._pages.alloc(size, PENDING_ALIGNMENT)

    def _alloc_many(self, count: int, size: int) -> tuple[int, ...]:
        return tuple(self._alloc(size) for _ in range(count))

    def _table(self, layout: Layout, id_bits: int) -> Table:
        """A table of the drawn geometry; of two levels, every page that an ID within `id_bits` needs exists."""
        page, capacity = self.geometry.page_bytes, self.geometry.capacity(layout.bytes)
        address = self._alloc(self.geometry.pages * page)
        if not self.geometry.indirect:
            return Table(layout, address, address, capacity)
        per_page = page // layout.bytes
        pages = -(-min(capacity, 1 << id_bits) // per_page)
        entries = self._alloc(pages * page)
        for index in range(pages):
            descriptor = LEVEL1.pack(Valid=1, Physical_Address=entries + index * page)
            self.memory.write_u64(address + index * LEVEL1.bytes, descriptor)
        return Table(layout, address, entries, pages * per_page)

    def _boot(self) -> None:
        for number in range(self.config.redistributors):
            self._boot_redistributor(number)
        for number in range(self.config.its):
            self._boot_its(number)

    def _boot_redistributor(self, number: int) -> None:
        self.write_redistributor(number, "GICR_WAKER", 0)
        bits = self.config.intid_bits - 1
        propbaser = GICR_PROPBASER.pack(Physical_Address=self.lpi_configuration, IDbits=bits)
        self.write_redistributor(number, "GICR_PROPBASER", propbaser)
        self.enable_lpis(number, True, ptz=True)
        if self.config.v41:
            where = {"Physical_Address": self.vpe_tables[0].address, "Indirect": self.geometry.indirect}
            size = {"Page_Size": self.geometry.page_size, "Size": self.geometry.pages - 1}
            self.write_redistributor(number, "GICR_VPROPBASER", GICR_VPROPBASER.pack(Valid=1, Z=1, **where, **size))

    def _boot_its(self, number: int) -> None:
        tables = [self.device_tables[number], self.collection_tables[number], *self.vpe_tables[number : number + 1]]
        for index, table in enumerate(tables):
            where = {"Physical_Address": table.address, "Indirect": self.geometry.indirect}
            size = {"Page_Size": self.geometry.page_size, "Size": self.geometry.pages - 1}
            self.write_its(number, f"GITS_BASER{index}", GITS_BASER.pack(Valid=1, **where, **size))
        cbaser = GITS_CBASER.pack(Valid=1, Physical_Address=self.queues[number], Size=QUEUE_BYTES // 0x1000 - 1)
        self.write_its(number, "GITS_CBASER", cbaser)
        self.write_its(number, "GITS_CWRITER", 0)
        self.enable_its(number, True)

    # Registers.

    def write_its(self, number: int, name: str, value: int) -> None:
        """Write a GITS_* register at its full width."""
        offset, size = place(name, self.config.architecture)
        self.gic.its[number].write(offset, value, size)

    def read_its(self, number: int, name: str) -> int:
        """Read a GITS_* register at its full width."""
        offset, size = place(name, self.config.architecture)
        return self.gic.its[number].read(offset, size)

    def write_redistributor(self, number: int, name: str, value: int) -> None:
        """Write a GICR_* register at its full width."""
        offset, size = place(name, self.config.architecture)
        self.gic.redistributors[number].write(offset, value, size)

    def read_redistributor(self, number: int, name: str) -> int:
        """Read a GICR_* register at its full width."""
        offset, size = place(name, self.config.architecture)
        return self.gic.redistributors[number].read(offset, size)

    def enable_its(self, number: int, enable: bool) -> None:
        """Write GITS_CTLR.Enabled."""
        self.write_its(number, "GITS_CTLR", GITS_CTLR.pack(Enabled=enable))

    def enable_lpis(self, number: int, enable: bool, ptz: bool = False) -> None:
        """Write GICR_CTLR.EnableLPIs; `ptz` zeroes the pending table first, as GICR_PENDBASER.PTZ promises."""
        if enable and ptz:
            self.memory.zero(self.pending_tables[number], table_bytes(self.config.intid_bits))
        pendbaser = GICR_PENDBASER.pack(Physical_Address=self.pending_tables[number], PTZ=ptz)
        self.write_redistributor(number, "GICR_PENDBASER", pendbaser)
        self.write_redistributor(number, "GICR_CTLR", GICR_CTLR.pack(EnableLPIs=enable))


@cache
def place(name: str, architecture: str) -> tuple[int, int]:
    """Offset and bytes of a register."""
    found = register(name, architecture)
    return found.offset, found.bits // 8
