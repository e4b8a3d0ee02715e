# SPDX-License-Identifier: Apache-2.0
"""What all lives are made of: where a guest keeps what, the registers that it knows, and what any of them does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from gicmodel.fuzzing.peers.linux.kvm.machine import MOST_VCPUS, RAM_BASE, VirtualMachine
from gicmodel.fuzzing.programs.program import CommandStep, Event, Step
from gicmodel.layouts.commands import encode
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR, GICD_IIDR, GICD_TYPER2
from gicmodel.layouts.registers.identification import KVM

T = TypeVar("T")

# Where the guest keeps what. The last 64 KiB of RAM are nobody's: a table there ends with RAM.
QUEUES = (0x1_0000, 0x8_0000)
DEVICE_TABLES = (0x2_0000, 0x9_0000)
COLLECTION_TABLES = (0x4_0000, 0xB_0000)
CONFIGURATION = RAM_BASE + 0x5_0000
LEVEL2 = (RAM_BASE + 0x6_0000, RAM_BASE + 0x7_0000)
ITTS = [RAM_BASE + 0xC_0000 + 0x800 * n for n in range(128)]
PENDING = [RAM_BASE + 0x10_0000 + 0x1_0000 * n for n in range(MOST_VCPUS)]
OUTSIDE = 0x9000_0000
CONFIGURED = 0xE000
"""Bytes of the LPI configuration table."""
LPI_BYTE = FIRST_LPI // 8
"""Of a pending table, where LPIs begin."""

CTLR, CBASER, CWRITER, CREADR = (
    register(f"GITS_{name}", "3").offset for name in ("CTLR", "CBASER", "CWRITER", "CREADR")
)
BASERS = [register(f"GITS_BASER{n}", "3").offset for n in range(8)]
RD_CTLR, RD_PROPBASER, RD_PENDBASER, RD_INVLPIR, RD_INVALLR = (
    register(f"GICR_{name}", "3").offset for name in ("CTLR", "PROPBASER", "PENDBASER", "INVLPIR", "INVALLR")
)
IIDR, TYPER2 = (register(f"GICD_{name}").offset for name in ("IIDR", "TYPER2"))
SGI_FRAME = 0x1_0000
ISPENDR0 = 0x200
SGI_REGISTERS = (0x80, 0x100, 0x180, ISPENDR0, 0x280, 0x400, 0x404, 0x408, 0x40C)
SIZES = (1, 2, 4, 8)
ATTRIBUTES = (
    *(0, 4, 8, 0x20, 0x80, 0x84, 0x88, 0x90, 0x100, 0x108, 0x110, 0x104, 0x138, 0x140),
    *(3, 0xFFD0, 0xFFD4, 0xFFE0, 0xFFFC, 0x1_0040, 1 << 32, 1 << 32 | 0x100),
)
"""Registers of an ITS that userspace asks for, and what is none."""
LIFE = 90
"""Operations of a life, about."""

WEIGHTS = {
    **{"MAPD": 4, "MAPC": 8, "MAPTI": 30, "MAPI": 3, "MOVI": 8, "MOVALL": 3, "DISCARD": 6, "INT": 16, "CLEAR": 4},
    **{"INV": 4, "INVALL": 6, "SYNC": 1, "": 1},
}
"""How often a command comes; "" is one of random words."""


class Life(ABC):
    """What all lives are made of. `wild` is how often a number is one that the guest should not use."""

    wild = 0.0

    def __init__(self, random: Random, machine: VirtualMachine) -> None:
        self.random = random
        self.machine = machine

    def beginning(self) -> Iterator[Step]:
        """A VM; of one in eight userspace chooses what its GIC has before that is initialised."""
        if not self.chance(0.125):
            yield Event("boot", ())
            return
        yield Event("create", ())
        yield from (self.size() for _ in range(self.random.randrange(6)))
        yield Event("initialise", ())

    def size(self) -> Step:
        """Userspace reads or writes GICD_IIDR or GICD_TYPER2, or what it may not before the GIC is initialised."""
        random = self.random
        values = {
            IIDR: GICD_IIDR.pack(Revision=random.randrange(1, 5), **KVM) ^ (self.chance(0.1) << random.randrange(32)),
            TYPER2: GICD_TYPER2.pack(nASSGIcap=random.randrange(2)) ^ (self.chance(0.1) << random.randrange(32)),
            0: GICD_CTLR.pack(EnableGrp1=random.randrange(2)),
        }
        offset = random.choice((IIDR, TYPER2, TYPER2, 0))
        if self.chance(0.2):
            return random.choice((Event("dist_user_read", (offset,)), Event("rd_user_read", (self.vcpu(), offset))))
        return Event("dist_user_write", (offset, values[offset]))

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """The life, from the first operation after the boot."""

    def chance(self, share: float) -> bool:
        """True so often."""
        return self.random.random() < share

    def pick(self, good: Sequence[T], bad: Sequence[T]) -> T:
        """One of the good, and if it is wild one of the bad."""
        return self.random.choice(bad if self.chance(self.wild) else good)

    def vcpu(self) -> int:
        """A vCPU."""
        return self.random.randrange(self.machine.vcpus)

    def its(self) -> int:
        """An ITS."""
        return self.random.randrange(self.machine.its)

    def command(self, mnemonic: str, its: int = 0, **fields: int) -> CommandStep:
        """A command, now and then with a bit that is wrong."""
        words = list(encode(mnemonic, "3", **fields))
        if self.chance(0.02):
            words[self.random.randrange(4)] ^= 1 << self.random.randrange(64)
        return CommandStep(its, tuple(words))

    def enable_lpis(self, rd: int, table: int, ptz: bool = False) -> list[Step]:
        """GICR_PENDBASER and EnableLPIs."""
        pendbaser = table & ~0xFFFF | ptz << 62
        return [Event("rd_write", (rd, RD_PENDBASER, pendbaser, 8)), Event("rd_write", (rd, RD_CTLR, 1, 4))]

    def configuration(self, bits: int = 15) -> list[Step]:
        """The configuration table, of `bits` + 1 bits of INTID, with bytes of all kinds."""
        steps: list[Step] = [
            Event("fill", (CONFIGURATION, CONFIGURED, self.random.choice((0xA3, 0xA1, 0xA2, 0xFF)))),
            Event("rd_write", (0, RD_PROPBASER, CONFIGURATION | bits, 8)),
        ]
        if self.chance(0.5):
            bytes_of_all_kinds = [self.random.choice((0xA1, 0xA0, 3, 0xFF, 0x41)) for _ in range(16)]
            steps += (Event("poke_byte", (CONFIGURATION + n, byte)) for n, byte in enumerate(bytes_of_all_kinds))
        return steps

    def pending_bits(self, table: int, first: int = LPI_BYTE, words: int = 1) -> list[Step]:
        """Random bits of a pending table; a quarter of them is 1."""
        random = self.random
        return [
            Event("poke", (table + first + 8 * n, random.getrandbits(64) & random.getrandbits(64)))
            for n in range(words)
        ]

    def exits(self) -> list[Step]:
        """What vCPUs and userspace do to interrupts that wait."""
        vcpu, random = self.vcpu(), self.random
        what = random.choice(("sync", "take", "take", "run", "pending"))
        if what == "run":
            load: list[Step] = [Event("load", (vcpu,))]
            return load if self.chance(0.15) else [*load, Event("put", (vcpu, random.randrange(2)))]
        if what == "pending":
            return [Event("save_pending_tables", (random.randrange(2),))]
        return [Event(what, (vcpu,))]

    def stop(self) -> list[Step]:
        """Every vCPU stops."""
        return [Event("put", (vcpu, 0)) for vcpu in range(self.machine.vcpus)]
