# SPDX-License-Identifier: Apache-2.0
"""A GIC on a bench: a lab whose tables are at round addresses, and what a test does with it by one call each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.hardware import Bus, Gic
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.lab import Lab
from gicmodel.lab.placement import Placement, TablePlace
from gicmodel.layouts.commands import COMMAND_BYTES, encode
from gicmodel.layouts.its_tables import CTE, DTE, ITE, VPE_CONFIGURATION, VTE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.its import GITS_CREADR
from gicmodel.memory import PAGE_BYTES, GuestMemory

RAM, RAM_BYTES = 0x8000_0000, 0x50_0000
OUTSIDE = 0x2_0000_0000
"""Aligned for any table, and no RAM."""

UNIT = 0x1_0000
QUEUES, DEVICE_TABLES, COLLECTION_TABLES, VPE_TABLES = (RAM + 4 * n * UNIT for n in range(4))
PROPERTIES = RAM + 0x14_0000
PENDING_TABLES = RAM + 0x15_0000
"""Room for 32 redistributors."""
ITTS, VPTS, VCONFS = RAM + 0x35_0000, RAM + 0x39_0000, RAM + 0x41_0000
SPARE = RAM + 0x48_0000
"""Nothing lies here and above."""

INTID_BITS = 14
ENABLED, DISABLED = LPI_CONFIGURATION.pack(Priority=0xA0, Enable=1), LPI_CONFIGURATION.pack(Priority=0xA0)
DOORBELL = FIRST_LPI + 100
QUEUE_SLOTS = PAGE_BYTES // COMMAND_BYTES
NO_DOORBELL = 1023


class Bare(Lab):
    """A lab that nobody has booted."""

    def boot(self) -> None:
        """Everything is off."""


class Bench:
    """`choices` are GicConfig's. Booted: tables, queues, LPIs and ITSs are on, every LPI enabled, nothing is mapped.

    Each ITS has one page of each table; in GICv4.1 the vPE table is one for all ITSs and redistributors unless
    `svpet` is 0, then each ITS has its own and the redistributors another. `indirect` tables have two pages behind the
    level 1 page. `gic` is one that goes on as it is.
    """

    def __init__(self, *, boot: bool = True, indirect: bool = False, gic: Gic | None = None, **choices: object) -> None:
        defaults = {"intid_bits": INTID_BITS, "vpt_cache_sets": 4, "table_cache_lines": 1024}
        self.config = gic.config if gic else GicConfig(**(defaults | choices))  # type: ignore[arg-type]
        self.memory = gic.memory if gic else GuestMemory(RAM, RAM_BYTES)
        self.gic = gic or Gic(self.config, self.memory)
        self.indirect = indirect
        booted = boot and gic is None
        for table in (PROPERTIES, *(self.vconf(n) for n in range(6))) if booted else ():
            self.memory.write(table, bytes([ENABLED]) * ((1 << INTID_BITS) - FIRST_LPI))
        lab = Lab if booted else Bare
        self.lab = lab(self.gic, Bus(self.gic), self._placement(), ptz=0)
        self.step()

    def _placement(self) -> Placement:
        def table(layout: Layout, address: int) -> TablePlace:
            found = TablePlace.of(Geometry(indirect=self.indirect), layout, address)
            if not self.indirect:
                return found
            return replace(found, entries=address + PAGE_BYTES, count=2 * PAGE_BYTES // layout.bytes)

        vpe = VPE_CONFIGURATION if self.config.v41 else VTE
        numbers = range(self.config.its)
        vpes = [table(vpe, self.vpe_table(its)) for its in numbers if self.config.virtual]
        tables = [
            (table(DTE, self.device_table(its)), table(CTE, self.collection_table(its)), *vpes[its : its + 1])
            for its in numbers
        ]
        return Placement(
            lpi_configuration=PROPERTIES,
            pending_tables=tuple(self.pending_table(rd) for rd in range(self.config.redistributors)),
            queues=tuple(self.queue(its) for its in numbers),
            queue_bytes=PAGE_BYTES,
            tables=tuple(tables),
            itts=tuple(self.itt(number) for number in range(4)),
            vpts=tuple(self.vpt(number) for number in range(8)),
            vconfs=tuple(self.vconf(number) for number in range(6)),
            vpe_configuration=table(vpe, self.vpe_table(self.config.its)) if self.config.v41 else None,
        )

    def enable_its(self, enabled: bool, its: int = 0) -> None:
        """GITS_CTLR.Enabled."""
        self.lab.enable_its(its, enabled)

    def enable_lpis(self, enabled: bool, rd: int = 0) -> None:
        """GICR_CTLR.EnableLPIs."""
        self.lab.redistributors[rd].set("GICR_CTLR", EnableLPIs=int(enabled))

    # Time and place.

    def step(self) -> None:
        """Let as much time pass as it takes."""
        while self.config.commands_per_step is not None and self.gic.step():
            pass

    def rdbase(self, rd: int) -> int:
        """What names a redistributor in a command."""
        return self.config.rdbase(rd)

    def queue(self, its: int = 0) -> int:
        return QUEUES + its * UNIT

    def device_table(self, its: int = 0) -> int:
        return DEVICE_TABLES + its * UNIT

    def collection_table(self, its: int = 0) -> int:
        return COLLECTION_TABLES + its * UNIT

    def vpe_table(self, its: int = 0) -> int:
        """In GICv4.1 with `svpet` that of ITS 0; number `config.its` is the redistributors'."""
        shared = self.config.v41 and self.config.svpet != 0
        return VPE_TABLES if shared else VPE_TABLES + its * UNIT

    def pending_table(self, rd: int = 0) -> int:
        return PENDING_TABLES + rd * UNIT

    def itt(self, number: int = 0) -> int:
        return ITTS + number * UNIT

    def vpt(self, vpe_id: int = 0) -> int:
        return VPTS + vpe_id * UNIT

    def vconf(self, number: int = 0) -> int:
        return VCONFS + number * UNIT

    # Registers.

    def read_its(self, name: str, its: int = 0) -> int:
        return self.lab.its[its].read("GITS_" + name)

    def write_its(self, name: str, value: int, its: int = 0) -> None:
        self.lab.its[its].write("GITS_" + name, value)

    def read_rd(self, name: str, rd: int = 0) -> int:
        return self.lab.redistributors[rd].read("GICR_" + name)

    def write_rd(self, name: str, value: int, rd: int = 0) -> None:
        self.lab.redistributors[rd].write("GICR_" + name, value)

    # Commands.

    def queue_command(self, mnemonic: str, its: int = 0, **fields: int) -> int:
        """Write a command into the next slot of the ring, not CWRITER; its offset."""
        return self.queue_words(encode(mnemonic, self.config.architecture, **fields), its)

    def queue_words(self, words: tuple[int, ...], its: int = 0) -> int:
        """The same for any four words."""
        offset = self.lab.cwriter(its)
        self.lab.queue(its, [words])
        return offset

    def ring(self, its: int = 0, retry: int = 0) -> None:
        """Write CWRITER: everything that was queued is published."""
        self.lab.ring(its, retry)

    def run(self, mnemonic: str, its: int = 0, **fields: int) -> None:
        """A command that must succeed."""
        self.queue_command(mnemonic, its, **fields)
        self.ring(its)
        self.step()
        assert self.gic.errors == [], [str(error) for error in self.gic.errors]
        assert self.creadr(its) == (self.lab.cwriter(its), 0)

    def refused(self, mnemonic: str, its: int = 0, **fields: int) -> int:
        """A command that must fail and change nothing but the queue's state; its error number.

        If the queue stalls, it is made to go on behind the command.
        """
        offset = self.queue_command(mnemonic, its, **fields)
        with self.unchanged():
            self.ring(its)
        (error,) = self.gic.errors
        assert (error.its, error.offset) == (its, offset)
        self.gic.clear_errors()
        if self.creadr(its) == (offset, 1):
            self.lab.retry(its, encode("SYNC", RDbase=self.rdbase(0)))
        assert self.creadr(its) == (self.lab.cwriter(its), 0)
        return error.number

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """No byte of RAM and no pending bit that a redistributor holds changes; it may take up another VPT."""
        ram, slots = self.memory.octets.tobytes(), self.gic.machine.slots.copy()
        yield
        assert self.memory.octets.tobytes() == ram
        held = slots.any(axis=1)
        assert np.array_equal(self.gic.machine.slots[held], slots[held])

    def creadr(self, its: int = 0) -> tuple[int, int]:
        """(Offset, Stalled)."""
        fields = GITS_CREADR.unpack(self.read_its("CREADR", its))
        return fields["Offset"], fields["Stalled"]

    # Mappings.

    def map_device(self, device_id: int = 1, its: int = 0) -> None:
        """MAPD: 32 events, in an ITT of the device's own."""
        self.run("MAPD", its, DeviceID=device_id, Size=4, ITT_addr=self.itt(device_id), V=1)

    def map_lpi(self, event_id: int, intid: int, icid: int = 0, device_id: int = 1, its: int = 0) -> None:
        """MAPTI."""
        self.run("MAPTI", its, DeviceID=device_id, EventID=event_id, pINTID=intid, ICID=icid)

    def map_vlpi(self, event_id: int, vintid: int, vpe_id: int = 0, its: int = 0, **fields: int) -> None:
        """VMAPTI of device 1 without a doorbell, unless `fields` say otherwise."""
        where = {"DeviceID": 1, "EventID": event_id, "vINTID": vintid, "vPEID": vpe_id, "Doorbell": NO_DOORBELL}
        self.run("VMAPTI", its, **(where | fields))

    def map_vpe(self, vpe_id: int = 0, rd: int = 0, its: int = 0, **fields: int) -> None:
        """VMAPP with a VPT, and in GICv4.1 a configuration table and default doorbell, of the vPE's own."""
        where = {"vPEID": vpe_id, "V": 1, "RDbase": self.rdbase(rd)}
        where |= {"VPT_addr": self.vpt(vpe_id), "VPT_size": INTID_BITS - 1}
        if self.config.v41:
            where |= {"Alloc": 1, "VCONF_addr": self.vconf(vpe_id), "Default_Doorbell": DOORBELL + vpe_id}
        self.run("VMAPP", its, **(where | fields))

    def unmap_vpe(self, vpe_id: int = 0, its: int = 0, **fields: int) -> None:
        """VMAPP V=0, in GICv4.1 the last."""
        self.run("VMAPP", its, **({"vPEID": vpe_id} | ({"Alloc": 1} if self.config.v41 else {}) | fields))

    # Residency.

    def schedule(self, vpe_id: int = 0, rd: int = 0, groups: int = 0b10) -> bool:
        """Make a vPE resident, group 1 enabled; Valid as it then reads. Bit n of `groups` enables virtual Group n."""
        if self.config.v41:
            return self.lab.schedule(rd, vpe_id, frozenset(group for group in (0, 1) if groups >> group & 1))
        self.lab.schedule_v40(rd, self.vpt(vpe_id), self.vconf(vpe_id), INTID_BITS)
        return self.lab.resident(rd)

    def deschedule(self, rd: int = 0, *, doorbell: int = 0, pending_last: int = 0) -> int:
        """Write Valid=0 and these bits, the rest as it is; PendingLast as it then reads."""
        return int(self.lab.deschedule(rd, bool(doorbell), bool(pending_last)))

    def vpendbaser(self, rd: int = 0) -> dict[str, int]:
        """GICR_VPENDBASER's fields."""
        return self.lab.redistributors[rd].fields("GICR_VPENDBASER")

    # Tables in RAM.

    def dte(self, device_id: int, its: int = 0) -> dict[str, int]:
        return DTE.unpack(self.memory.read_u64(self.device_table(its) + device_id * DTE.bytes))

    def cte(self, icid: int, its: int = 0) -> dict[str, int]:
        return CTE.unpack(self.memory.read_u64(self.collection_table(its) + icid * CTE.bytes))

    def ite(self, event_id: int, device_id: int = 1) -> dict[str, int]:
        words = ITE.words_of(self.memory.read(self.itt(device_id) + event_id * ITE.bytes, ITE.bytes))
        return ITE.unpack(words[0])

    def vpe(self, vpe_id: int = 0, its: int = 0) -> dict[str, int]:
        layout = VPE_CONFIGURATION if self.config.v41 else VTE
        words = layout.words_of(self.memory.read(self.vpe_table(its) + vpe_id * layout.bytes, layout.bytes))
        return layout.unpack(words[0])

    def set_bit(self, table: int, intid: int) -> None:
        """Software sets a bit of a pending table in RAM."""
        self.memory.write_u8(table + intid // 8, self.memory.read_u8(table + intid // 8) | 1 << intid % 8)

    def bit(self, table: int, intid: int) -> int:
        """A bit of a pending table in RAM."""
        return self.memory.read_u8(table + intid // 8) >> intid % 8 & 1

    def configure(self, table: int, intid: int, byte: int) -> None:
        """Software writes an LPI's configuration byte."""
        self.memory.write_u8(table + intid - FIRST_LPI, byte)


def furnish(bench: Bench) -> None:
    """On every ITS n device n + 1 is mapped, and collections 0 and 1 to redistributors 0 and 1."""
    for its in range(bench.config.its):
        bench.map_device(1 + its, its)
        for icid in (0, 1):
            bench.run("MAPC", its, ICID=icid, RDbase=bench.rdbase(icid), V=1)


def furnished(**choices: object) -> Bench:
    """A booted bench, furnished."""
    bench = Bench(**choices)
    furnish(bench)
    return bench
