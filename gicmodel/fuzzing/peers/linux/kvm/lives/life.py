# SPDX-License-Identifier: Apache-2.0
"""What all lives are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from gicmodel.fuzzing.peers.linux.kvm.lives.places import (
    CONFIGURATION,
    CONFIGURED,
    IIDR,
    LPI_BYTE,
    RD_CTLR,
    RD_PENDBASER,
    RD_PROPBASER,
    TYPER2,
)
from gicmodel.fuzzing.peers.linux.kvm.machine import VirtualMachine
from gicmodel.fuzzing.programs.program import CommandStep, Event, Step
from gicmodel.layouts.commands import encode
from gicmodel.layouts.registers.distributor import GICD_CTLR, GICD_IIDR, GICD_TYPER2
from gicmodel.layouts.registers.identification import KVM

T = TypeVar("T")


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
        return CommandStep(its, (words[0], words[1], words[2], words[3]))

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
