# SPDX-License-Identifier: Apache-2.0
"""Random lives of virtual machines: guests, saved tables as a hostile userspace has them, pending tables, forwarding.

Numbers are few, so that commands meet each other's mappings; now and then one is wild. Nothing here looks at what the
machines do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import TypeVar

import numpy as np

from gicmodel.fuzzing.peers.linux.kvm.machine import HOST_IRQS, MOST_VCPUS, RAM_BASE, RAM_END, VirtualMachine
from gicmodel.fuzzing.programs.program import CommandStep, Event, Step
from gicmodel.layouts.commands import encode
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER

T = TypeVar("T")

# Where the guest keeps what. The last 64 KiB of RAM are nobody's: a table there ends with RAM.
_QUEUES = (0x1_0000, 0x8_0000)
_DEVICE_TABLES = (0x2_0000, 0x9_0000)
_COLLECTION_TABLES = (0x4_0000, 0xB_0000)
_CONFIGURATION = RAM_BASE + 0x5_0000
_LEVEL2 = (RAM_BASE + 0x6_0000, RAM_BASE + 0x7_0000)
_ITTS = [RAM_BASE + 0xC_0000 + 0x800 * n for n in range(128)]
_PENDING = [RAM_BASE + 0x10_0000 + 0x1_0000 * n for n in range(MOST_VCPUS)]
_OUTSIDE = 0x9000_0000
_CONFIGURED = 0xE000
"""Bytes of the LPI configuration table."""
_LPI_BYTE = FIRST_LPI // 8
"""Of a pending table, where LPIs begin."""

_CTLR, _CBASER, _CWRITER, _CREADR = (
    register(f"GITS_{name}", "3").offset for name in ("CTLR", "CBASER", "CWRITER", "CREADR")
)
_BASERS = [register(f"GITS_BASER{n}", "3").offset for n in range(8)]
_RD_CTLR, _RD_PROPBASER, _RD_PENDBASER, _RD_INVLPIR, _RD_INVALLR = (
    register(f"GICR_{name}", "3").offset for name in ("CTLR", "PROPBASER", "PENDBASER", "INVLPIR", "INVALLR")
)
_SGI_FRAME = 0x1_0000
_SGI_REGISTERS = (0x80, 0x100, 0x180, 0x200, 0x280, 0x400, 0x404, 0x408, 0x40C)
_SIZES = (1, 2, 4, 8)
_ATTRIBUTES = (
    *(
        0,
        4,
        8,
        0x20,
        0x80,
        0x84,
        0x88,
        0x90,
        0x100,
        0x108,
        0x110,
        0x104,
        0x138,
        0x140,
        3,
        0xFFD0,
        0xFFD4,
        0xFFE0,
        0xFFFC,
    ),
    *(0x1_0040, 1 << 32, 1 << 32 | 0x100),
)
"""Registers of an ITS that userspace asks for, and what is none."""
_LIFE = 90
"""Operations of a life, about."""

_WEIGHTS = {
    **{"MAPD": 4, "MAPC": 8, "MAPTI": 30, "MAPI": 3, "MOVI": 8, "MOVALL": 3, "DISCARD": 6, "INT": 16, "CLEAR": 4},
    **{"INV": 4, "INVALL": 6, "SYNC": 1, "": 1},
}
"""How often a command comes; "" is one of random words."""


def draw_machine(random: np.random.Generator, architecture: str) -> VirtualMachine:
    """A VM that lives on a host of `architecture`."""
    vcpus = int(random.choice(np.array([1, 2, 4, 4, 4, 12] if architecture == "3" else [1, 4, 4])))
    return VirtualMachine(
        architecture, vcpus, int(random.integers(1, 3)), architecture == "4.1" and bool(random.integers(2))
    )


def draw_steps(random: np.random.Generator, machine: VirtualMachine, count: int) -> list[Step]:
    """Lives one after the other, `count` operations in all."""
    source = Random(int(random.integers(1 << 62)))
    kinds: list[type[_Life]] = [_Guest, _Guest, _Tables, _Pending]
    if machine.architecture != "3":
        kinds = [*kinds, *[_Forwarding] * 6]

    def lives() -> Iterator[Step]:
        while True:
            yield Event("boot", ())
            yield from source.choice(kinds)(source, machine).steps()

    return list(islice(lives(), count))


class _Life(ABC):
    """What all lives are made of. `wild` is how often a number is one that the guest should not use."""

    wild = 0.0

    def __init__(self, random: Random, machine: VirtualMachine) -> None:
        self.random = random
        self.machine = machine

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
        return [Event("rd_write", (rd, _RD_PENDBASER, pendbaser, 8)), Event("rd_write", (rd, _RD_CTLR, 1, 4))]

    def configuration(self, bits: int = 15) -> list[Step]:
        """The configuration table, of `bits` + 1 bits of INTID, with bytes of all kinds."""
        steps: list[Step] = [
            Event("fill", (_CONFIGURATION, _CONFIGURED, self.random.choice((0xA3, 0xA1, 0xA2, 0xFF)))),
            Event("rd_write", (0, _RD_PROPBASER, _CONFIGURATION | bits, 8)),
        ]
        if self.chance(0.5):
            bytes_of_all_kinds = [self.random.choice((0xA1, 0xA0, 3, 0xFF, 0x41)) for _ in range(16)]
            steps += (Event("poke_byte", (_CONFIGURATION + n, byte)) for n, byte in enumerate(bytes_of_all_kinds))
        return steps

    def pending_bits(self, table: int, first: int = _LPI_BYTE, words: int = 1) -> list[Step]:
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


class _Guest(_Life):
    """A guest that maps, moves and unmaps what it has, and userspace that saves it in between."""

    def __init__(self, random: Random, machine: VirtualMachine) -> None:
        super().__init__(random, machine)
        self.indirect = self.chance(0.35)
        self.tame = random.choice((0.0, 0.02, 0.05, 0.15))
        self.wild = 0.0 if self.chance(0.8) else 0.15
        self.events: list[tuple[int, int]] = []
        self.devices: list[int] = []
        self.bits = random.choice((15, 15, 15, 13, 14, 31, 12))

    def steps(self) -> Iterator[Step]:
        """Set everything up, then anything."""
        yield from self.set_up()
        self.wild = self.tame
        choices: dict[Callable[[], list[Step]], float] = {
            **{self.one_command: 80, self.queue: 6, self.its_register: 2.5, self.user_register: 1, self.reads: 2},
            **{self.rd_register: 2, self.save: 3, self.message: 8, self.stores: 6, self.exits: 6, self.restored: 1.5},
            **{self.distributor: 1.5, self.sgis: 2, self.reconfigured: 2},
        }
        for _ in range(self.random.randrange(_LIFE)):
            yield from self.random.choices(list(choices), list(choices.values()))[0]()
        yield from self.stop()
        yield from (Event("save_tables", (its,)) for its in range(self.machine.its))
        yield Event("save_pending_tables", (0,))

    # Numbers.

    def device(self) -> int:
        """A DeviceID, most often one that is mapped."""
        if self.devices and self.chance(0.8):
            return self.random.choice(self.devices[-6:])
        wild = (0x1_0000, 0xFFFF_FFFF, 65535, 16384, 24576, 30000, 0x8000_0000)
        return self.pick((0, 1, 2, 3, 5, 9, 8191, 8192, 8193), wild)

    def event(self) -> int:
        """An EventID."""
        return self.pick((0, 1, 2, 3, 4, 7, 15), (16, 31, 255, 65535, 65536, 0xFFFF_FFFF, 0x8000_0000, 8192, 8193))

    def pair(self) -> tuple[int, int]:
        """A DeviceID and an EventID, most often of a MAPTI."""
        if self.events and self.chance(0.85):
            return self.random.choice(self.events[-12:])
        return self.device(), self.event()

    def intid(self) -> int:
        """An LPI."""
        wild = (0, 1023, 8191, 16383, 16384, 32767, 32768, 65535, 65536, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
        return self.pick((8192, 8193, 8194, 8195, 8199, 8200, 8201, 9000), wild)

    def icid(self) -> int:
        """A collection."""
        return self.pick((0, 1, 2, 3, 4), (7, 8190, 8191, 8192, 16383, 16384, 65535))

    def rdbase(self) -> int:
        """A vCPU, or none."""
        wild = (self.machine.vcpus, 511, 512, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_0000_0001, 0x7FFF_FFFF, 0x8000_0000)
        return self.pick(range(self.machine.vcpus), wild)

    def itt(self) -> int:
        """Where an ITT may be."""
        wild = (_OUTSIDE, RAM_END, RAM_BASE - 0x100, RAM_END - 0x100, 0xF_FFFF_FFFF_FF00 & 0xFFFF_FFFF_FF00, 0)
        return self.pick((*_ITTS[:24], RAM_END - 0x800), wild)

    # Commands.

    def any_command(self) -> CommandStep:
        """A command for any ITS."""
        mnemonic, its, random = self.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0], self.its(), self.random
        device, event = self.pair()
        valid = int(self.chance(0.8))
        if mnemonic == "MAPD":
            self.devices.append(device := self.device())
            size = self.pick((3, 4, 7, 0), (15, 16, 31, 13))
            return self.command(mnemonic, its, DeviceID=device, Size=size, ITT_addr=self.itt(), V=valid)
        if mnemonic == "MAPC":
            return self.command(mnemonic, its, ICID=self.icid(), RDbase=self.rdbase(), V=valid)
        if mnemonic == "MAPTI":
            self.events.append((device := self.device(), event := self.event()))
            return self.command(mnemonic, its, DeviceID=device, EventID=event, pINTID=self.intid(), ICID=self.icid())
        if mnemonic == "MAPI":
            event = random.choice((8192, 8193, self.event()))
            return self.command(mnemonic, its, DeviceID=self.device(), EventID=event, ICID=self.icid())
        if mnemonic == "MOVI":
            return self.command(mnemonic, its, DeviceID=device, EventID=event, ICID=self.icid())
        if mnemonic == "MOVALL":
            return self.command(mnemonic, its, RDbase=self.rdbase(), RDbase2=self.rdbase())
        if mnemonic == "INVALL":
            return self.command(mnemonic, its, ICID=self.icid())
        if mnemonic == "SYNC":
            return self.command(mnemonic, its)
        if mnemonic:
            return self.command(mnemonic, its, DeviceID=device, EventID=event)
        return CommandStep(
            its, (random.getrandbits(64), random.getrandbits(64), random.getrandbits(64), random.getrandbits(64))
        )

    def one_command(self) -> list[Step]:
        """A command by itself."""
        return [self.any_command()]

    def queue(self) -> list[Step]:
        """A few commands in the queue of an ITS."""
        its = self.its()
        queued = [Event("enqueue", (its, *self.any_command().words)) for _ in range(self.random.randrange(1, 6))]
        return [*queued, Event("ring", (its,))]

    # Registers.

    def baser(self, its: int, table: int) -> int:
        """GITS_BASER0 for the devices, 1 for the collections, as they should be but for what is wild."""
        random = self.random
        if self.chance(0.05):
            return random.getrandbits(64)
        place = RAM_BASE + (_COLLECTION_TABLES if table else _DEVICE_TABLES)[its]
        address = self.pick((place,), (_OUTSIDE, RAM_END - 0x1_0000, RAM_BASE))
        pages = self.pick((0, 1) if not table else (0,), (2, 7, 255))
        indirect = (self.indirect and not table) ^ self.chance(self.wild)
        value = GITS_BASER.pack(Valid=not self.chance(self.wild), Indirect=indirect, Size=pages) | address
        return value ^ (random.getrandbits(64) & random.getrandbits(64) if self.chance(self.wild) else 0)

    def cbaser(self, its: int) -> int:
        """GITS_CBASER."""
        address = self.pick((RAM_BASE + _QUEUES[its],), (_OUTSIDE, RAM_END - 0x1_0000, RAM_BASE - 0x1_0000))
        size = self.pick((0, 3, 15), (255,))
        value = GITS_CBASER.pack(Valid=not self.chance(self.wild), Size=size) | address
        return value ^ (self.random.getrandbits(64) & self.random.getrandbits(64) if self.chance(self.wild) else 0)

    def its_register(self) -> list[Step]:
        """A register that is to be written while the ITS is disabled, halves of it, and others."""
        its, random = self.its(), self.random
        steps: list[Step] = [Event("its_write", (its, _CTLR, 0, 4))] if self.chance(0.7) else []
        what = random.randrange(5)
        if what < 2:
            offset = random.choice((*_BASERS[:2] * 2, _BASERS[2], _BASERS[7]))
            steps += self.halves(its, offset, self.baser(its, int(offset != _BASERS[0])))
        elif what == 2:
            steps += self.halves(its, _CBASER, self.cbaser(its))
        elif what == 3:
            value = random.choice((0, 0x20, 0x40, 0x1FE0, 0xF_FFE0, random.getrandbits(20), random.getrandbits(64)))
            steps.append(Event("its_write", (its, random.choice((_CWRITER, _CREADR)), value, random.choice((4, 8)))))
        else:
            offset = random.choice(
                (0, 4, 8, 0x8C, 0x94, 0x88, 0xFFD0, 0xFFE8, 0x40, 0x82, 0x101, 0x140, 0x1_0000, 0x1_0040)
            )
            steps.append(Event("its_write", (its, offset, random.getrandbits(64), random.choice(_SIZES))))
        return [*steps, Event("its_write", (its, _CTLR, 1, 4))]

    def halves(self, its: int, offset: int, value: int) -> list[Step]:
        """A write of 64 bits, or of one of their halves."""
        half = self.random.choice((None, None, 0, 1))
        if half is None:
            return [Event("its_write", (its, offset, value, 8))]
        return [Event("its_write", (its, offset + 4 * half, value >> 32 * half & 0xFFFF_FFFF, 4))]

    def user_register(self) -> list[Step]:
        """Userspace reads or writes a register."""
        random, its = self.random, self.its()
        attribute = random.choice(_ATTRIBUTES)
        values = {_BASERS[0]: self.baser(its, 0), _BASERS[1]: self.baser(its, 1), _CBASER: self.cbaser(its)}
        values |= {_CTLR: random.getrandbits(1), 4: random.choice((0, 0x1000, 0xF000, 0x4B00_043B))}
        value = values.get(attribute, random.choice((0, 0x20, 0x40, 0x1000, 0xF_FFE0, random.getrandbits(64))))
        what = random.randrange(4)
        if what == 0:
            return [Event("its_user_read", (its, attribute))]
        if what == 1:
            return [Event("its_user_write", (its, attribute, value))]
        rd, offset = self.vcpu(), random.choice((0, 4, 8, 0xC, 0x70, 0x74, 0x78, 0x7C, 0xA0, 0xFFE8, 0x2))
        if self.chance(0.4):
            offset = _SGI_FRAME + random.choice(_SGI_REGISTERS)
        if what == 2:
            return [Event("rd_user_read", (rd, offset))]
        return [Event("rd_user_write", (rd, offset, random.getrandbits(32) & random.getrandbits(32)))]

    def reads(self) -> list[Step]:
        """The guest reads registers."""
        random = self.random
        if self.chance(0.5):
            offset = random.choice(
                (0, 4, 8, 0xC, 0x80, 0x84, 0x88, 0x8C, 0x90, 0x94, 0x100, 0x104, 0x108, 0x138, 0x140)
            )
            offset = random.choice((offset, offset, 0xFFD0, 0xFFD4, 0xFFE0, 0xFFE8, 0xFFFC, 0x20, 2, 0x81))
            return [Event("its_read", (self.its(), offset, random.choice(_SIZES)))]
        offset = random.choice((0, 4, 8, 0xC, 0x14, 0x70, 0x74, 0x78, 0x7C, 0xC0, 0xFFE8, 0xA0, 0xB0))
        return [Event("rd_read", (self.vcpu(), offset, random.choice((4, 8))))]

    def rd_register(self) -> list[Step]:
        """A redistributor's registers, most often while its LPIs are disabled."""
        random, rd = self.random, self.vcpu()
        disabled: list[Step] = [Event("rd_write", (rd, _RD_CTLR, 0, 4))] if self.chance(0.8) else []
        enabled: list[Step] = [Event("rd_write", (rd, _RD_CTLR, 1, 4))]
        what = random.randrange(6)
        if what == 0:
            mine = (_PENDING[rd], random.choice(_PENDING[: self.machine.vcpus]))
            table = self.pick(mine, (_OUTSIDE, RAM_END - 0x1_0000, RAM_BASE - 0x1_0000, 0))
            value = table | self.chance(0.3) << 62 | (random.getrandbits(64) if self.chance(0.1) else 0)
            return [*disabled, Event("rd_write", (rd, _RD_PENDBASER, value, 8)), *enabled]
        if what == 1:
            table = self.pick((_CONFIGURATION,), (_OUTSIDE, RAM_END - 0x1000, RAM_BASE))
            attributes = random.getrandbits(64) & (7 << 56 | 7 << 7 | 3 << 10) if self.chance(0.2) else 0
            value = table | self.pick((15, 13), (0, 12, 31)) | attributes
            return [*disabled, Event("rd_write", (rd, _RD_PROPBASER, value, 8)), *enabled]
        if what == 2:
            return [*disabled, *(enabled if self.chance(0.7) else [])]
        if what == 3:
            upper = random.getrandbits(32) << 32 if self.chance(0.2) else 0
            return [Event("rd_write", (rd, _RD_INVLPIR, self.intid() | upper, random.choice((4, 8))))]
        if what == 4:
            return [Event("rd_write", (rd, _RD_INVALLR, 0, random.choice((4, 8))))]
        offset = random.choice((_RD_PROPBASER, _RD_PENDBASER)) + 4 * random.randrange(2)
        return [*disabled, Event("rd_write", (rd, offset, random.getrandbits(32), 4))]

    def distributor(self) -> list[Step]:
        """GICD_CTLR: off, on, with SGIs in the GIC and without."""
        random = self.random
        what = random.randrange(5)
        value = GICD_CTLR.pack(EnableGrp1=random.randrange(2), nASSGIreq=random.randrange(2)) | random.choice((0, 1, 4))
        if what == 0:
            return [Event("dist_user_write", (0, value))]
        if what == 1:
            return [Event("dist_read", (random.choice((0, 4, 8, 0xC, 0xFFE8)), 4))]
        return [Event("dist_write", (0, value, 4)), Event("dist_write", (0, 2 | value & 0x100, 4))]

    def sgis(self) -> list[Step]:
        """SGIs come and are configured."""
        random, rd = self.random, self.vcpu()
        if self.chance(0.4):
            return [Event("send_sgi", (self.vcpu(), random.randrange(VSGIS)))]
        offset = _SGI_FRAME + random.choice(_SGI_REGISTERS)
        value = random.getrandbits(32) & random.getrandbits(32)
        if self.chance(0.2):
            return [Event("rd_read", (rd, offset, 4))]
        return [Event("rd_write", (rd, offset, value, 4))]

    # The rest.

    def message(self) -> list[Step]:
        """An MSI by KVM_SIGNAL_MSI."""
        return [Event("msi", (self.its(), *self.pair()))]

    def stores(self) -> list[Step]:
        """A byte of configuration or of a pending table changes, or a level 1 entry."""
        random = self.random
        what = random.randrange(3)
        if what == 0:
            return [
                Event("poke_byte", (_CONFIGURATION + random.randrange(12), random.choice((0xA1, 0xA0, 3, 0xFF, 0x41))))
            ]
        if what == 1:
            place = _PENDING[self.vcpu()] + _LPI_BYTE + random.randrange(3)
            return [Event("poke_byte", (place, random.getrandbits(8)))]
        return [self.level1(random.randrange(8))] if self.indirect else []

    def reconfigured(self) -> list[Step]:
        """Other bytes for all LPIs, and one of the ways to say so."""
        random = self.random
        stores: list[Step] = [
            Event("poke_byte", (_CONFIGURATION + n, random.choice((0xA1, 0xA0, 0x81, 0x41)))) for n in range(10)
        ]
        told = (
            self.command("INVALL", self.its(), ICID=self.icid()),
            Event("rd_write", (self.vcpu(), _RD_INVALLR, 0, 8)),
            Event("rd_write", (self.vcpu(), _RD_INVLPIR, self.intid(), 8)),
        )
        return [*stores, random.choice(told)]

    def level1(self, index: int) -> Step:
        """A level 1 entry of the device tables."""
        address = self.pick(_LEVEL2, (_OUTSIDE, RAM_END - 0x1_0000))
        entry = KVM_LEVEL1.pack(V=not self.chance(self.wild), Physical_Address=address)
        return Event("poke", (RAM_BASE + _DEVICE_TABLES[self.its()] + 8 * index, entry))

    def save(self) -> list[Step]:
        """SAVE_TABLES."""
        return [Event("save_tables", (self.its(),))]

    def registers(self, its: int) -> list[Step]:
        """What userspace writes before RESTORE_TABLES."""
        devices = GITS_BASER.pack(Valid=1, Indirect=self.indirect, Size=1) | RAM_BASE + _DEVICE_TABLES[its]
        collections = GITS_BASER.pack(Valid=1) | RAM_BASE + _COLLECTION_TABLES[its]
        queue = GITS_CBASER.pack(Valid=1, Size=15) | RAM_BASE + _QUEUES[its]
        written = ((_CBASER, queue), (_BASERS[0], devices), (_BASERS[1], collections))
        return [Event("its_user_write", (its, attribute, value)) for attribute, value in written]

    def restored(self) -> list[Step]:
        """A migration to the same host, or RESTORE_TABLES where it does not belong."""
        its = self.its()
        if self.chance(0.1):
            return [Event("restore_tables", (its,))]
        saved: list[Step] = (
            [Event("save_tables", (its,)), Event("save_pending_tables", (0,))] if self.chance(0.8) else []
        )
        enabled = Event("its_user_write", (its, _CTLR, 1))
        reset = Event("reset", (its,))
        return [*self.stop(), *saved, reset, *self.registers(its), Event("restore_tables", (its,)), enabled]

    def set_up(self) -> Iterator[Step]:
        """Tables, registers, and a few mappings."""
        yield from self.configuration(self.bits)
        for vcpu in range(self.machine.vcpus):
            steps = self.enable_lpis(vcpu, _PENDING[vcpu], self.chance(0.2))
            yield from steps[: 1 if self.chance(self.wild) else 2]
            if self.chance(0.5):
                yield from self.pending_bits(_PENDING[vcpu])
        for its in range(self.machine.its):
            if self.indirect:
                for index in range(8):
                    entry = KVM_LEVEL1.pack(V=1, Physical_Address=_LEVEL2[min(index, 1)])
                    yield (
                        self.level1(index)
                        if index > 1
                        else Event("poke", (RAM_BASE + _DEVICE_TABLES[its] + 8 * index, entry))
                    )
            yield Event("its_write", (its, _BASERS[0], self.baser(its, 0), 8))
            yield Event("its_write", (its, _BASERS[1], self.baser(its, 1), 8))
            yield Event("its_write", (its, _CBASER, self.cbaser(its), 8))
            yield Event("its_write", (its, _CTLR, 1, 4))
        yield from self.mappings()

    def mappings(self) -> Iterator[Step]:
        """Collections and devices."""
        for its in range(self.machine.its):
            for icid in range(4):
                if self.chance(0.8):
                    yield self.command("MAPC", its, ICID=icid, RDbase=self.vcpu(), V=1)
            for number in range(4):
                if self.chance(0.8):
                    self.devices.append(self.random.choice((0, 1, 2, 3, 8191, 8192, 8193)))
                    itt, size = _ITTS[number + 8 * its], self.random.choice((3, 4, 7))
                    yield self.command("MAPD", its, DeviceID=self.devices[-1], Size=size, ITT_addr=itt, V=1)


class _Forwarding(_Guest):
    """A guest whose devices belong to the host: interrupts are forwarded, moved, and come while nobody looks."""

    def __init__(self, random: Random, machine: VirtualMachine) -> None:
        super().__init__(random, machine)
        self.tame, self.wild, self.bits, self.indirect = 0.0, 0.0, 15, False

    def device(self) -> int:
        """One of two."""
        return self.random.randrange(2)

    def event(self) -> int:
        """One of eight."""
        return self.random.randrange(8)

    def intid(self) -> int:
        """One of sixteen."""
        return FIRST_LPI + self.random.randrange(16)

    def steps(self) -> Iterator[Step]:
        """Set up, then mostly forwarding."""
        yield from self.set_up()
        choices: dict[Callable[[], list[Step]], float] = {
            **{self.one_command: 45, self.forward: 20, self.unforward: 6, self.fires: 16, self.message: 8},
            **{self.exits: 8, self.save: 1.5, self.stores: 2, self.rd_register: 0.7, self.restored: 0.7},
            **{self.distributor: 1, self.sgis: 2},
        }
        for _ in range(self.random.randrange(_LIFE)):
            yield from self.random.choices(list(choices), list(choices.values()))[0]()
        yield from self.stop()
        yield Event("save_pending_tables", (0,))

    def forward(self) -> list[Step]:
        """A host interrupt becomes an event's."""
        return [Event("forward", (self.its(), *self.pair(), self.random.randrange(HOST_IRQS)))]

    def unforward(self) -> list[Step]:
        """It becomes the host's again."""
        return [Event("unforward", (self.random.randrange(HOST_IRQS),))]

    def fires(self) -> list[Step]:
        """A device raises it."""
        return [Event("device_event", (self.random.randrange(HOST_IRQS),))]

    def mappings(self) -> Iterator[Step]:
        """All collections and both devices, as a rule."""
        for its in range(self.machine.its):
            for icid in range(5):
                if self.chance(0.9):
                    yield self.command("MAPC", its, ICID=icid, RDbase=self.vcpu(), V=1)
            for device in range(2):
                yield self.command("MAPD", its, DeviceID=device, Size=3, ITT_addr=_ITTS[device + 8 * its], V=1)


class _Tables(_Guest):
    """Tables that nobody has saved, well-formed or not: restored, used, saved and restored again."""

    def steps(self) -> Iterator[Step]:
        """On ITS 0."""
        random = self.random
        self.bad, self.tidy = self.chance(0.4), self.chance(0.6)
        self.wild = 0.1 if self.bad else 0.0
        yield from self.configuration()
        for vcpu in range(self.machine.vcpus):
            table = self.pick((_PENDING[vcpu],), (_OUTSIDE, RAM_END - 0x1_0000, 0))
            yield from self.enable_lpis(vcpu, table)
            yield from self.pending_bits(_PENDING[vcpu], words=2)
        icids = random.sample((0, 1, 2, 3, 4, 8191), random.randrange(6))
        yield from self.collections(icids)
        yield from self.device_tables(icids)
        yield from self.registers(0)
        yield Event("restore_tables", (0,))
        if self.chance(0.1):
            yield from (Event("reset", (0,)), *self.registers(0), Event("restore_tables", (0,)))
        if self.chance(0.3):
            yield Event("its_user_write", (0, _CTLR, 1))
            yield from (self.any_command() for _ in range(random.randrange(5)))
        yield from (Event("save_tables", (0,)), Event("save_pending_tables", (random.randrange(2),)))
        yield from (Event("reset", (0,)), *self.registers(0), Event("restore_tables", (0,)))
        yield from (Event("save_tables", (0,)), Event("save_pending_tables", (0,)))

    def registers(self, its: int) -> list[Step]:
        """Tables of more or fewer pages, valid or not."""
        steps = super().registers(its)
        if self.bad:
            pages, valid = self.random.choice((0, 1, 255)), not self.chance(0.03)
            value = GITS_BASER.pack(Valid=valid, Indirect=self.indirect, Size=pages) | RAM_BASE + _DEVICE_TABLES[its]
            steps[1] = Event("its_user_write", (its, _BASERS[0], value))
        return steps

    def collections(self, icids: Sequence[int]) -> Iterator[Step]:
        """The collection table."""
        random, targets = self.random, (*range(self.machine.vcpus), 0xFFFF_FFFF)
        wild = (self.machine.vcpus, 0x1_0000_0000, 0xF_FFFF_FFFF, 0x1_FFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000)
        entries = [
            KVM_CTE.pack(V=1, RDBase=self.pick(targets, wild), ICID=self.pick((icid,), (*icids, 8192, 65535)))
            for icid in icids
        ]
        if self.chance(self.wild):
            entries = [random.getrandbits(64) for _ in range(8)]
        for index, entry in enumerate([*entries, 0]):
            yield Event("poke", (RAM_BASE + _COLLECTION_TABLES[0] + 8 * index, entry))

    def device_tables(self, icids: Sequence[int]) -> Iterator[Step]:
        """The device table, of one level or two, and the ITTs."""
        random, table = self.random, RAM_BASE + _DEVICE_TABLES[0]
        pages = [table] if not self.indirect else list(_LEVEL2)
        if self.indirect:
            for index in range(8):
                entry = KVM_LEVEL1.pack(
                    V=self.chance(0.5), Physical_Address=self.pick(pages, (_OUTSIDE, RAM_END - 0x1_0000))
                )
                yield Event("poke", (table + 8 * index, entry))
        itts = iter(_ITTS)
        for page in pages:
            ids = sorted(random.sample((0, 1, 2, 3, 5, 7, 9, 100, 8190, 8191), random.randrange(6)))
            proper = self.tidy or self.chance(0.6)
            for place, number in enumerate(ids):
                following = ids[place + 1] - number if place + 1 < len(ids) else random.choice((0, 0, 8192 - number, 1))
                if not proper:
                    following = random.choice((0, 1, 2, 3, 4, 5, 9, 0x3FFF, 8191, 8192))
                itt = self.pick((next(itts), _ITTS[0]), (_ITTS[0], RAM_END - 0x100, RAM_END - 0x200, _OUTSIDE))
                bits = (
                    random.choice((1, 2, 4, 5, 8)) if self.chance(0.95) else self.pick((16, 13), (17, 32, 28, 29, 30))
                )
                entry = KVM_DTE.pack(V=1, next=min(following, 0x3FFF), ITT_addr=itt, Size=bits - 1)
                yield Event(
                    "poke", (page + 8 * number, random.getrandbits(64) if self.chance(self.wild / 4) else entry)
                )
                yield from self.itt_entries(itt, bits, icids)
                self.devices.append(number + 8192 * pages.index(page))

    def itt_entries(self, itt: int, bits: int, icids: Sequence[int]) -> Iterator[Step]:
        """The entries of an ITT."""
        random = self.random
        many = min(1 << bits, 40)
        events = sorted(random.sample(range(many), min(random.randrange(6), many))) if icids or not self.tidy else []
        proper = self.tidy or self.chance(0.7)
        for place, event in enumerate(events):
            following = events[place + 1] - event if place + 1 < len(events) else 0
            if not proper:
                following = random.choice((0, 0, 1, 2, 3, 1 << bits, (1 << bits) - 1, (1 << bits) - event, 0xFFFF))
            wild = (1, 8191, 65536, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x1000_0000, 0x200_0000, 65535)
            intid = self.pick((8192, 8193, 8195, 8200, 8201, 8300, 9000), wild)
            icid = random.choice(icids) if icids and (self.tidy or self.chance(0.95)) else random.choice((0, 7, 65535))
            entry = KVM_ITE.pack(next=min(following, 0xFFFF), pINTID=intid, ICID=icid)
            yield Event("poke", (itt + 8 * event, random.getrandbits(64) if self.chance(self.wild / 8) else entry))


class _Pending(_Life):
    """Many LPIs, and bits in pending tables that may lie over each other or outside RAM."""

    def steps(self) -> Iterator[Step]:
        """LPIs come from restored tables, and are pending for any reason."""
        random, vcpus = self.random, self.machine.vcpus
        self.wide, self.late = self.chance(0.5), self.chance(0.4)
        tables = list(_PENDING[:vcpus])
        if vcpus > 1 and self.chance(0.2):
            tables[1] = tables[0]
        if self.chance(0.2):
            tables[random.randrange(vcpus)] = random.choice(
                (_OUTSIDE, RAM_BASE - 0x1_0000, RAM_END - 0x1_0000, 0, RAM_END)
            )
        yield from self.configuration()
        for vcpu, table in enumerate(tables):
            yield Event("rd_write", (vcpu, _RD_PENDBASER, table, 8))
            if not self.late:
                yield from self.enable_lpis(vcpu, table, self.chance(0.2))
            yield from self.pending_bits(table, words=5)
        devices = random.randrange(1, 4)
        yield from self.tables(devices)
        late = [vcpu for vcpu in range(vcpus) if self.late and self.chance(0.5)]
        for vcpu in late:
            yield from self.enable_lpis(vcpu, tables[vcpu], self.chance(0.2))
        for _ in range(random.randrange(4, 30)):
            yield from self.something(devices, tables)
        yield from (*self.stop(), Event("save_pending_tables", (0,)), Event("save_pending_tables", (1,)))

    def tables(self, devices: int) -> Iterator[Step]:
        """Collections for every vCPU, devices with events of many LPIs."""
        random, vcpus = self.random, self.machine.vcpus
        targets = [vcpu if self.chance(0.9) else 0xFFFF_FFFF for vcpu in range(vcpus)]
        for icid, target in enumerate(targets):
            entry = KVM_CTE.pack(V=1, RDBase=target, ICID=icid)
            yield Event("poke", (RAM_BASE + _COLLECTION_TABLES[0] + 8 * icid, entry))
        for device in range(devices):
            entry = KVM_DTE.pack(V=1, next=int(device < devices - 1), ITT_addr=_ITTS[2 * device], Size=6)
            yield Event("poke", (RAM_BASE + _DEVICE_TABLES[0] + 8 * device, entry))
            events = sorted(random.sample(range(128), random.randrange(1, 40)))
            for place, event in enumerate(events):
                following = events[place + 1] - event if place + 1 < len(events) else 0
                entry = KVM_ITE.pack(next=following, pINTID=self.intid(), ICID=random.randrange(vcpus))
                yield Event("poke", (_ITTS[2 * device] + 8 * event, entry))
        yield from _Guest(random, self.machine).registers(0)[:1]
        for number, places in enumerate((_DEVICE_TABLES, _COLLECTION_TABLES)):
            yield Event("its_user_write", (0, _BASERS[number], GITS_BASER.pack(Valid=1) | RAM_BASE + places[0]))
        yield Event("restore_tables", (0,))
        yield Event("its_user_write", (0, _CTLR, 1))

    def intid(self) -> int:
        """Near others, at the ends of what a table or a register holds, or far away."""
        random = self.random
        if not self.wide:
            return FIRST_LPI + random.randrange(300)
        ends = (65535 - random.randrange(4), 16384 * random.randrange(1, 4) - 1, 65536, 65537, 0x10_0000, 0xFFFF_FFFF)
        return random.choice(
            (random.randrange(FIRST_LPI, 65536), FIRST_LPI * random.randrange(1, 8), random.choice(ends))
        )

    def something(self, devices: int, tables: Sequence[int]) -> Iterator[Step]:
        """A message, a command, a bit, an exit, or LPIs that are disabled and enabled."""
        random, vcpus = self.random, self.machine.vcpus
        device, event, vcpu = random.randrange(devices), random.randrange(128), self.vcpu()
        what = random.randrange(10)
        if what < 3:
            yield Event("msi", (0, device, event))
        elif what == 3:
            yield self.command("MOVI", DeviceID=device, EventID=event, ICID=random.randrange(vcpus))
        elif what == 4:
            yield self.command("MOVALL", RDbase=vcpu, RDbase2=self.vcpu())
        elif what == 5:
            yield self.command(random.choice(("CLEAR", "DISCARD", "INV")), DeviceID=device, EventID=event)
        elif what == 6:
            yield from self.exits()
        elif what == 7:
            yield Event("poke_byte", (tables[0] + _LPI_BYTE + random.randrange(40), random.getrandbits(8)))
        elif what == 8:
            yield Event("rd_write", (vcpu, _RD_CTLR, 0, 4))
            yield from self.enable_lpis(vcpu, tables[vcpu], self.chance(0.2))
        else:
            yield self.command("MAPC", ICID=random.randrange(vcpus), RDbase=vcpu, V=1)
