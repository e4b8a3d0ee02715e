# SPDX-License-Identifier: Apache-2.0
"""The real hardware with its tables laid out in RAM, to be driven beside an oracle.

A rig does what a minimal host would: it allocates tables of a drawn geometry, programs the registers, writes commands
into the queues, and reads back what the hardware shows. It decides nothing and keeps no copy of the hardware's state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from gicmodel.driver.allocator import PageAllocator
from gicmodel.fuzzing.geometry import Geometry
from gicmodel.fuzzing.strategies import Words
from gicmodel.fuzzing.universe import Universe
from gicmodel.hardware import CommandError, Gic, GicConfig
from gicmodel.layouts.collection import CTE
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.device import DTE
from gicmodel.layouts.itt import ITE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.level1 import LEVEL1
from gicmodel.layouts.registers import (
    GICR_CTLR,
    GICR_INVALLR,
    GICR_INVLPIR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_VPENDBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER,
    GICR_VPROPBASER_V40,
    GICR_VSGIPENDR,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    GITS_SGIR,
    GITS_STATUSR,
    register,
)
from gicmodel.layouts.vpe import VPE_CONFIGURATION, VTE
from gicmodel.layouts.vpt import FIRST_LPI, table_bytes
from gicmodel.memory import GuestMemory

RAM_BASE, RAM_BYTES = 0x8000_0000, 64 << 20
ALIGNMENT = 0x1_0000
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


class Rig:
    """A `Gic`, booted: tables, queues, LPIs and ITSs are enabled, and nothing is mapped."""

    def __init__(self, config: GicConfig, geometry: Geometry) -> None:
        self.config = config
        self.geometry = geometry
        self.memory = GuestMemory(RAM_BASE, RAM_BYTES)
        self.gic = Gic(config, self.memory)
        self._pages = PageAllocator(self.memory, RAM_BASE, self.memory.end)
        self._written = [0] * config.its
        self._allocate()
        self.universe = Universe(
            config,
            devices=self.device_tables[0].count,
            collections=config.hcc + self.collection_tables[0].count,
            vpes=self.vpe_tables[0].count if config.virtual else 0,
            itts=self.itts,
            vpts=self.vpts,
            vconfs=self.vconfs,
            shared_itts=config.caching == "none",
        )
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
        return self._pages.alloc(size, ALIGNMENT)

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
        offset, size = _place(name, self.config.architecture)
        self.gic.its[number].write(offset, value, size)

    def read_its(self, number: int, name: str) -> int:
        """Read a GITS_* register at its full width."""
        offset, size = _place(name, self.config.architecture)
        return self.gic.its[number].read(offset, size)

    def write_redistributor(self, number: int, name: str, value: int) -> None:
        """Write a GICR_* register at its full width."""
        offset, size = _place(name, self.config.architecture)
        self.gic.redistributors[number].write(offset, value, size)

    def read_redistributor(self, number: int, name: str) -> int:
        """Read a GICR_* register at its full width."""
        offset, size = _place(name, self.config.architecture)
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

    # Commands.

    def push(self, its: int, commands: Sequence[Words]) -> None:
        """Write commands, fewer than QUEUE_SLOTS, into the next slots of an ITS's queue, and CWRITER once."""
        octets = np.array(commands, "<u8").tobytes()
        first = self._written[its] % QUEUE_SLOTS
        room = (QUEUE_SLOTS - first) * COMMAND_BYTES
        self.memory.write(self.queues[its] + self._offset(first), octets[:room])
        self.memory.write(self.queues[its], octets[room:])
        self._written[its] += len(commands)
        self.write_its(its, "GITS_CWRITER", GITS_CWRITER.pack(Offset=self._offset(self._written[its])))

    def retry(self, its: int, replacement: Words | None = None) -> None:
        """Write CWRITER.Retry, after overwriting the command that stalled if there is a `replacement`."""
        if replacement is not None:
            self._store(its, self.creadr(its) // COMMAND_BYTES, replacement)
        self.write_its(its, "GITS_CWRITER", GITS_CWRITER.pack(Offset=self._offset(self._written[its]), Retry=1))

    def creadr(self, its: int) -> int:
        """GITS_CREADR.Offset."""
        return GITS_CREADR.unpack(self.read_its(its, "GITS_CREADR"))["Offset"]

    def stalled(self, its: int) -> bool:
        """GITS_CREADR.Stalled."""
        return bool(GITS_CREADR.unpack(self.read_its(its, "GITS_CREADR"))["Stalled"])

    def take_errors(self) -> list[CommandError]:
        """The command errors since the last call."""
        errors = self.gic.errors
        self.gic.clear_errors()
        return errors

    def _offset(self, slot: int) -> int:
        return slot % QUEUE_SLOTS * COMMAND_BYTES

    def _store(self, its: int, slot: int, command: Words) -> None:
        for index, word in enumerate(command):
            self.memory.write_u64(self.queues[its] + self._offset(slot) + 8 * index, word)

    # Interrupts.

    def translate(self, its: int, device_id: int, event_id: int) -> int | None:
        """A device writes GITS_TRANSLATER. Returns GITS_STATUSR.Syndrome of an unmapped MSI, None for a mapped one."""
        offset, size = _place("GITS_TRANSLATER", self.config.architecture)
        self.gic.its[its].write(offset, event_id, size, device_id=device_id)
        status = GITS_STATUSR.unpack(self.read_its(its, "GITS_STATUSR"))
        self.write_its(its, "GITS_STATUSR", GITS_STATUSR.pack(UMSI=1, Overflow=1))
        return status["Syndrome"] if status["UMSI"] else None

    def write_sgir(self, its: int, vpeid: int, vintid: int) -> None:
        """Software makes a vSGI pending."""
        self.write_its(its, "GITS_SGIR", GITS_SGIR.pack(vPEID=vpeid, vINTID=vintid))

    def pending_vsgis(self, rd: int, vpeid: int) -> set[int]:
        """GICR_VSGIPENDR of a redistributor after a query of `vpeid`."""
        self.write_redistributor(rd, "GICR_VSGIR", vpeid)
        pending = GICR_VSGIPENDR.unpack(self.read_redistributor(rd, "GICR_VSGIPENDR"))["Pending"]
        return {number for number in range(16) if pending >> number & 1}

    def set_configuration(self, intid: int, byte: int) -> None:
        """Write an LPI's configuration byte and invalidate it everywhere."""
        self.memory.write_u8(self.lpi_configuration + intid - FIRST_LPI, byte)
        for number in range(self.config.redistributors):
            self.write_redistributor(number, "GICR_INVLPIR", GICR_INVLPIR.pack(INTID=intid))

    def set_virtual_configuration(self, vconf: int, vintid: int, byte: int) -> None:
        """Write a vLPI's configuration byte; software still has to invalidate it."""
        self.memory.write_u8(vconf + vintid - FIRST_LPI, byte)

    def invalidate_virtual(self, rd: int, vpeid: int, vintid: int | None) -> None:
        """Write GICR_INVLPIR, or without `vintid` GICR_INVALLR, with V=1."""
        if vintid is None:
            self.write_redistributor(rd, "GICR_INVALLR", GICR_INVALLR.pack(V=1, vPEID=vpeid))
        else:
            self.write_redistributor(rd, "GICR_INVLPIR", GICR_INVLPIR.pack(V=1, vPEID=vpeid, INTID=vintid))

    def zero_itt(self, itt: int) -> None:
        """Zero an ITT, as software must before it hands one over."""
        self.memory.zero(itt, ITE.bytes << self.config.event_id_bits)

    def zero_vpt(self, vpt: int) -> None:
        """Zero a VPT, as software must before a VMAPP with PTZ=1."""
        self.memory.zero(vpt, table_bytes(self.config.intid_bits))

    # Residency.

    def schedule(self, rd: int, vpeid: int, groups: frozenset[int]) -> bool:
        """GICv4.1: write VPENDBASER with Valid=1. Returns Valid as it then reads."""
        enables = {"VGrp0En": 0 in groups, "VGrp1En": 1 in groups}
        self.write_redistributor(rd, "GICR_VPENDBASER", GICR_VPENDBASER.pack(Valid=1, vPEID=vpeid, **enables))
        return self.resident(rd)

    def schedule_v40(self, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
        """GICv4.0: write VPROPBASER, then VPENDBASER with Valid=1."""
        propbaser = GICR_VPROPBASER_V40.pack(Physical_Address=vconf, IDbits=vintid_bits - 1)
        self.write_redistributor(rd, "GICR_VPROPBASER", propbaser)
        pendbaser = GICR_VPENDBASER_V40.pack(Valid=1, PendingLast=1, Physical_Address=vpt)
        self.write_redistributor(rd, "GICR_VPENDBASER", pendbaser)

    def deschedule(self, rd: int, doorbell: bool, pending_last: bool) -> bool:
        """Write VPENDBASER with Valid=0 and the rest unchanged. Returns PendingLast as it then reads."""
        layout = GICR_VPENDBASER if self.config.v41 else GICR_VPENDBASER_V40
        request = {"Valid": 0, "PendingLast": pending_last} | ({"Doorbell": doorbell} if self.config.v41 else {})
        now = layout.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))
        self.write_redistributor(rd, "GICR_VPENDBASER", layout.pack(**(now | request)))
        return bool(layout.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))["PendingLast"])

    def resident(self, rd: int) -> bool:
        """GICR_VPENDBASER.Valid."""
        return bool(GICR_VPENDBASER.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))["Valid"])


@cache
def _place(name: str, architecture: str) -> tuple[int, int]:
    """Offset and bytes of a register."""
    found = register(name, architecture)
    return found.offset, found.bits // 8
