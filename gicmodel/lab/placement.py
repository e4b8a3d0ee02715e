# SPDX-License-Identifier: Apache-2.0
"""Where the software of an experiment has its tables in RAM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from gicmodel.config import GicConfig
from gicmodel.driver.allocator import FreeRanges
from gicmodel.driver.errors import DriverError
from gicmodel.lab.geometry import Geometry
from gicmodel.layouts.its_tables import CTE, DTE, ITE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import PENDING_ALIGNMENT, table_bytes
from gicmodel.layouts.table import PAGE_SIZES, Table
from gicmodel.memory import PAGE_BYTES

RAM_BASE, RAM_BYTES = 0x8000_0000, 64 << 20
ITTS, VPTS, VCONFS = 3, 3, 2


@dataclass(frozen=True)
class TablePlace(Table):
    """A table that software has set aside for `count` entries, the first of which is at `entries`.

    Of two levels, every page that an ID needs exists, one after the other.
    """

    entries: int = 0
    count: int = 0

    @classmethod
    def of(cls, geometry: Geometry, layout: Layout, address: int) -> Self:
        """A table at an address; of two levels, without a page yet."""
        page = PAGE_SIZES[geometry.page_size]
        table = cls(address, geometry.pages * page, layout.bytes, page, geometry.indirect)
        return table if table.indirect else replace(table, entries=address, count=table.capacity)

    @property
    def register_fields(self) -> dict[str, int]:
        """What GITS_BASER<n>, or GICR_VPROPBASER, says of it."""
        size = {"Page_Size": PAGE_SIZES.index(self.page_bytes), "Size": self.size // self.page_bytes - 1}
        return {"Valid": 1, "Physical_Address": self.address, "Indirect": int(self.indirect), **size}

    def level1(self) -> list[tuple[int, int]]:
        """(address, value) of the level 1 entries; none of a flat table."""
        pages = -(-self.count // self.per_page) if self.indirect else 0
        addresses = (self.entries + index * self.page_bytes for index in range(pages))
        return [
            (self.address + index * LEVEL1.bytes, LEVEL1.pack(Valid=1, Physical_Address=address))
            for index, address in enumerate(addresses)
        ]


@dataclass(frozen=True)
class Placement:
    """Addresses of everything that software hands to the hardware, or keeps for it.

    `tables[its]` are the tables of GITS_BASER0 and on: devices, collections and, if there are vLPIs, vPEs; in GICv4.1
    `vpe_configuration` is the redistributors'. `itts`, `vpts` and `vconfs` belong to nobody yet.
    """

    lpi_configuration: int
    pending_tables: tuple[int, ...]
    queues: tuple[int, ...]
    queue_bytes: int
    tables: tuple[tuple[TablePlace, ...], ...]
    itts: tuple[int, ...]
    vpts: tuple[int, ...]
    vconfs: tuple[int, ...]
    vpe_configuration: TablePlace | None = None


class Allocation:
    """Aligned pieces of RAM, one after the other."""

    def __init__(self) -> None:
        self._free = FreeRanges(RAM_BASE, RAM_BASE + RAM_BYTES)

    def take(self, size: int) -> int:
        """The address of `size` bytes. DriverError ENOMEM if there are none."""
        size = -(-size // PAGE_BYTES) * PAGE_BYTES
        address = self._free.take(size, PENDING_ALIGNMENT)
        if address is None:
            raise DriverError("ENOMEM", f"no {size:#x} bytes of RAM aligned to {PENDING_ALIGNMENT:#x} are free")
        return address

    def take_many(self, count: int, size: int) -> tuple[int, ...]:
        """That many of them."""
        return tuple(self.take(size) for _ in range(count))

    def table(self, layout: Layout, geometry: Geometry, id_bits: int) -> TablePlace:
        """A table; of two levels, with every page that an ID within `id_bits` needs."""
        table = TablePlace.of(geometry, layout, self.take(geometry.pages * PAGE_SIZES[geometry.page_size]))
        if not table.indirect:
            return table
        pages = -(-min(table.capacity, 1 << id_bits) // table.per_page)
        return replace(table, entries=self.take(pages * table.page_bytes), count=pages * table.per_page)


def place(config: GicConfig, geometry: Geometry, allocation: Allocation) -> Placement:
    """Tables of a geometry for a machine; a queue is one page, so that it wraps."""
    intid_bytes = table_bytes(config.intid_bits)
    lpi_configuration = allocation.take(1 << config.intid_bits)
    pending_tables = allocation.take_many(config.redistributors, intid_bytes)
    itts = allocation.take_many(ITTS, ITE.bytes << config.event_id_bits)
    vpts = allocation.take_many(VPTS, intid_bytes)
    vconfs = allocation.take_many(VCONFS, 1 << config.intid_bits)
    queues = allocation.take_many(config.its, PAGE_BYTES)
    devices = [allocation.table(DTE, geometry, config.device_id_bits) for _ in range(config.its)]
    collections = [allocation.table(CTE, geometry, config.collection_id_bits) for _ in range(config.its)]
    vpes = _vpe_tables(config, geometry, allocation)
    tables = tuple(zip(devices, collections, *([vpes] if vpes else []), strict=True))
    shared = vpes[0] if config.v41 else None
    return Placement(lpi_configuration, pending_tables, queues, PAGE_BYTES, tables, itts, vpts, vconfs, shared)


def _vpe_tables(config: GicConfig, geometry: Geometry, allocation: Allocation) -> list[TablePlace]:
    """One for each ITS; in GICv4.1 all are one table, which is the redistributors' too (GITS_TYPER.SVPET)."""
    if not config.virtual:
        return []
    if config.v41:
        return [allocation.table(VPE_CONFIGURATION, geometry, config.vpe_id_bits)] * config.its
    return [allocation.table(VTE, geometry, config.vpe_id_bits) for _ in range(config.its)]
