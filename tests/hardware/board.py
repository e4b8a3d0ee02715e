# SPDX-License-Identifier: Apache-2.0
"""A GIC and its RAM: where tables lie, registers by name, and what it takes to switch everything on."""

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.hardware.register_face import RegisterFace
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER, GICR_VPROPBASER
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


class Board:
    """`choices` are GicConfig's. Booted: tables, queues, LPIs and ITSs are on, every LPI enabled, nothing is mapped.

    Each ITS has one page of each table; in GICv4.1 the vPE table is one for all ITSs and redistributors unless
    `svpet` is 0, then each ITS has its own and the redistributors another. `indirect` tables have two pages behind the
    level 1 page.
    """

    def __init__(self, *, boot: bool = True, indirect: bool = False, **choices: object) -> None:
        defaults = {"intid_bits": INTID_BITS, "vpt_cache_sets": 4, "table_cache_lines": 1024}
        self.config = GicConfig(**(defaults | choices))  # type: ignore[arg-type]
        self.memory = GuestMemory(RAM, RAM_BYTES)
        self.gic = Gic(self.config, self.memory)
        self.indirect = indirect
        if boot:
            self.boot()

    # Boot.

    def boot(self) -> None:
        """Give every redistributor and ITS its tables and switch it on."""
        for table in (PROPERTIES, *(self.vconf(n) for n in range(6))):
            self.memory.write(table, bytes([ENABLED]) * ((1 << INTID_BITS) - FIRST_LPI))
        for rd in range(self.config.redistributors):
            self.boot_redistributor(rd)
        for its in range(self.config.its):
            self.boot_its(its)
        self.step()

    def boot_redistributor(self, rd: int = 0) -> None:
        """Switch on the LPIs, and in GICv4.1 the vPE configuration table, of a redistributor."""
        self.write_rd("WAKER", 0, rd)
        self.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=PROPERTIES, IDbits=INTID_BITS - 1), rd)
        self.write_rd("PENDBASER", GICR_PENDBASER.pack(Physical_Address=self.pending_table(rd)), rd)
        self.enable_lpis(True, rd)
        if self.config.v41:
            table = self.vpe_table(self.config.its if self.config.svpet == 0 else 0)
            self._link(table)
            where = {"Physical_Address": table, "Indirect": self.indirect}
            self.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Valid=1, **where), rd)

    def boot_its(self, its: int = 0) -> None:
        """Give an ITS its tables and an empty queue, and enable it."""
        for index, address in enumerate((self.device_table(its), self.collection_table(its), self.vpe_table(its))):
            self._link(address)
            where = {"Physical_Address": address, "Indirect": self.indirect}
            self.write_its(f"BASER{index}", GITS_BASER.pack(Valid=1, **where), its)
        self.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=self.queue(its)), its)
        self.write_its("CWRITER", 0, its)
        self.enable_its(True, its)

    def _link(self, table: int) -> None:
        """Write the level 1 entries of a table's two pages."""
        for page in range(2 * self.indirect):
            descriptor = LEVEL1.pack(Valid=1, Physical_Address=table + (1 + page) * PAGE_BYTES)
            self.memory.write_u64(table + page * LEVEL1.bytes, descriptor)

    def enable_its(self, enabled: bool, its: int = 0) -> None:
        """GITS_CTLR.Enabled."""
        self.write_its("CTLR", GITS_CTLR.pack(Enabled=enabled), its)

    def enable_lpis(self, enabled: bool, rd: int = 0) -> None:
        """GICR_CTLR.EnableLPIs."""
        self.write_rd("CTLR", GICR_CTLR.pack(EnableLPIs=enabled), rd)

    # Time and place.

    def step(self) -> None:
        """Let as much time pass as it takes."""
        while self.config.commands_per_step is not None and self.gic.step():
            pass

    def rdbase(self, rd: int) -> int:
        """What names a redistributor in a command."""
        if not self.config.pta:
            return rd
        return (self.config.redistributor_base + rd * self.config.redistributor_stride) >> 16

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
        return self._read(self.gic.its[its], "GITS_" + name)

    def write_its(self, name: str, value: int, its: int = 0) -> None:
        self._write(self.gic.its[its], "GITS_" + name, value)

    def read_rd(self, name: str, rd: int = 0) -> int:
        return self._read(self.gic.redistributors[rd], "GICR_" + name)

    def write_rd(self, name: str, value: int, rd: int = 0) -> None:
        self._write(self.gic.redistributors[rd], "GICR_" + name, value)

    def _read(self, face: RegisterFace, name: str) -> int:
        entry = register(name, self.config.architecture)
        return face.read(entry.offset, entry.bits // 8)

    def _write(self, face: RegisterFace, name: str, value: int) -> None:
        entry = register(name, self.config.architecture)
        face.write(entry.offset, value, entry.bits // 8)
