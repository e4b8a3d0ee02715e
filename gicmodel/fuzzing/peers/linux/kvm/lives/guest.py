# SPDX-License-Identifier: Apache-2.0
"""A guest that maps, moves and unmaps what it has, and userspace that saves it in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from gicmodel.fuzzing.peers.linux.kvm.lives.life import (
    ATTRIBUTES,
    BASERS,
    CBASER,
    COLLECTION_TABLES,
    CONFIGURATION,
    CREADR,
    CTLR,
    CWRITER,
    DEVICE_TABLES,
    ISPENDR0,
    ITTS,
    LEVEL2,
    LIFE,
    LPI_BYTE,
    OUTSIDE,
    PENDING,
    QUEUES,
    RD_CTLR,
    RD_INVALLR,
    RD_INVLPIR,
    RD_PENDBASER,
    RD_PROPBASER,
    SGI_FRAME,
    SGI_REGISTERS,
    SIZES,
    WEIGHTS,
    Life,
)
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_END, VirtualMachine
from gicmodel.fuzzing.programs.program import CommandStep, Event, Step
from gicmodel.layouts.kvm_abi import KVM_LEVEL1
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER


class Guest(Life):
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
            **{self.distributor: 1.5, self.sgis: 4, self.reconfigured: 2},
        }
        for _ in range(self.random.randrange(LIFE)):
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
        wild = (OUTSIDE, RAM_END, RAM_BASE - 0x100, RAM_END - 0x100, 0xF_FFFF_FFFF_FF00 & 0xFFFF_FFFF_FF00, 0)
        return self.pick((*ITTS[:24], RAM_END - 0x800), wild)

    # Commands.

    def any_command(self) -> CommandStep:
        """A command for any ITS."""
        mnemonic, its, random = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0], self.its(), self.random
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
        return CommandStep(its, tuple(random.getrandbits(64) for _ in range(4)))

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
        place = RAM_BASE + (COLLECTION_TABLES if table else DEVICE_TABLES)[its]
        address = self.pick((place,), (OUTSIDE, RAM_END - 0x1_0000, RAM_BASE))
        pages = self.pick((0, 1) if not table else (0,), (2, 7, 255))
        indirect = (self.indirect and not table) ^ self.chance(self.wild)
        value = GITS_BASER.pack(Valid=not self.chance(self.wild), Indirect=indirect, Size=pages) | address
        return value ^ (random.getrandbits(64) & random.getrandbits(64) if self.chance(self.wild) else 0)

    def cbaser(self, its: int) -> int:
        """GITS_CBASER."""
        address = self.pick((RAM_BASE + QUEUES[its],), (OUTSIDE, RAM_END - 0x1_0000, RAM_BASE - 0x1_0000))
        size = self.pick((0, 3, 15), (255,))
        value = GITS_CBASER.pack(Valid=not self.chance(self.wild), Size=size) | address
        return value ^ (self.random.getrandbits(64) & self.random.getrandbits(64) if self.chance(self.wild) else 0)

    def its_register(self) -> list[Step]:
        """A register that is to be written while the ITS is disabled, halves of it, and others."""
        its, random = self.its(), self.random
        steps: list[Step] = [Event("its_write", (its, CTLR, 0, 4))] if self.chance(0.7) else []
        what = random.randrange(5)
        if what < 2:
            offset = random.choice((*BASERS[:2] * 2, BASERS[2], BASERS[7]))
            steps += self.halves(its, offset, self.baser(its, int(offset != BASERS[0])))
        elif what == 2:
            steps += self.halves(its, CBASER, self.cbaser(its))
        elif what == 3:
            value = random.choice((0, 0x20, 0x40, 0x1FE0, 0xF_FFE0, random.getrandbits(20), random.getrandbits(64)))
            steps.append(Event("its_write", (its, random.choice((CWRITER, CREADR)), value, random.choice((4, 8)))))
        else:
            offset = random.choice(
                (0, 4, 8, 0x8C, 0x94, 0x88, 0xFFD0, 0xFFE8, 0x40, 0x82, 0x101, 0x140, 0x1_0000, 0x1_0040)
            )
            steps.append(Event("its_write", (its, offset, random.getrandbits(64), random.choice(SIZES))))
        return [*steps, Event("its_write", (its, CTLR, 1, 4))]

    def halves(self, its: int, offset: int, value: int) -> list[Step]:
        """A write of 64 bits, or of one of their halves."""
        half = self.random.choice((None, None, 0, 1))
        if half is None:
            return [Event("its_write", (its, offset, value, 8))]
        return [Event("its_write", (its, offset + 4 * half, value >> 32 * half & 0xFFFF_FFFF, 4))]

    def user_register(self) -> list[Step]:
        """Userspace reads or writes a register."""
        random, its = self.random, self.its()
        attribute = random.choice(ATTRIBUTES)
        values = {BASERS[0]: self.baser(its, 0), BASERS[1]: self.baser(its, 1), CBASER: self.cbaser(its)}
        values |= {CTLR: random.getrandbits(1), 4: random.choice((0, 0x1000, 0xF000, 0x4B00_043B))}
        value = values.get(attribute, random.choice((0, 0x20, 0x40, 0x1000, 0xF_FFE0, random.getrandbits(64))))
        what = random.randrange(4)
        if what == 0:
            return [Event("its_user_read", (its, attribute))]
        if what == 1:
            return [Event("its_user_write", (its, attribute, value))]
        rd, offset = self.vcpu(), random.choice((0, 4, 8, 0xC, 0x70, 0x74, 0x78, 0x7C, 0xA0, 0xFFE8, 0x2))
        if self.chance(0.4):
            offset = SGI_FRAME + random.choice(SGI_REGISTERS)
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
            return [Event("its_read", (self.its(), offset, random.choice(SIZES)))]
        offset = random.choice((0, 4, 8, 0xC, 0x14, 0x70, 0x74, 0x78, 0x7C, 0xC0, 0xFFE8, 0xA0, 0xB0))
        return [Event("rd_read", (self.vcpu(), offset, random.choice((4, 8))))]

    def rd_register(self) -> list[Step]:
        """A redistributor's registers, most often while its LPIs are disabled."""
        random, rd = self.random, self.vcpu()
        disabled: list[Step] = [Event("rd_write", (rd, RD_CTLR, 0, 4))] if self.chance(0.8) else []
        enabled: list[Step] = [Event("rd_write", (rd, RD_CTLR, 1, 4))]
        what = random.randrange(6)
        if what == 0:
            mine = (PENDING[rd], random.choice(PENDING[: self.machine.vcpus]))
            table = self.pick(mine, (OUTSIDE, RAM_END - 0x1_0000, RAM_BASE - 0x1_0000, 0))
            value = table | self.chance(0.3) << 62 | (random.getrandbits(64) if self.chance(0.1) else 0)
            return [*disabled, Event("rd_write", (rd, RD_PENDBASER, value, 8)), *enabled]
        if what == 1:
            table = self.pick((CONFIGURATION,), (OUTSIDE, RAM_END - 0x1000, RAM_BASE))
            attributes = random.getrandbits(64) & (7 << 56 | 7 << 7 | 3 << 10) if self.chance(0.2) else 0
            value = table | self.pick((15, 13), (0, 12, 31)) | attributes
            return [*disabled, Event("rd_write", (rd, RD_PROPBASER, value, 8)), *enabled]
        if what == 2:
            return [*disabled, *(enabled if self.chance(0.7) else [])]
        if what == 3:
            upper = random.getrandbits(32) << 32 if self.chance(0.2) else 0
            return [Event("rd_write", (rd, RD_INVLPIR, self.intid() | upper, random.choice((4, 8))))]
        if what == 4:
            return [Event("rd_write", (rd, RD_INVALLR, 0, random.choice((4, 8))))]
        offset = random.choice((RD_PROPBASER, RD_PENDBASER)) + 4 * random.randrange(2)
        return [*disabled, Event("rd_write", (rd, offset, random.getrandbits(32), 4))]

    def distributor(self) -> list[Step]:
        """GICD_CTLR: off, on, with SGIs in the GIC and without; and what is fixed by now."""
        random = self.random
        if self.chance(0.1):
            return [self.size()]
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
        offset = SGI_FRAME + random.choice(SGI_REGISTERS)
        value = random.getrandbits(32) & random.getrandbits(32)
        if self.chance(0.2):
            return [Event("rd_read", (rd, offset, 4))]
        if self.chance(0.3):
            return [Event("rd_user_write", (rd, random.choice((offset, SGI_FRAME + ISPENDR0)), value))]
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
                Event("poke_byte", (CONFIGURATION + random.randrange(12), random.choice((0xA1, 0xA0, 3, 0xFF, 0x41))))
            ]
        if what == 1:
            place = PENDING[self.vcpu()] + LPI_BYTE + random.randrange(3)
            return [Event("poke_byte", (place, random.getrandbits(8)))]
        return [self.level1(random.randrange(8), self.its())] if self.indirect else []

    def reconfigured(self) -> list[Step]:
        """Other bytes for all LPIs, and one of the ways to say so."""
        random = self.random
        stores: list[Step] = [
            Event("poke_byte", (CONFIGURATION + n, random.choice((0xA1, 0xA0, 0x81, 0x41)))) for n in range(10)
        ]
        told = (
            self.command("INVALL", self.its(), ICID=self.icid()),
            Event("rd_write", (self.vcpu(), RD_INVALLR, 0, 8)),
            Event("rd_write", (self.vcpu(), RD_INVLPIR, self.intid(), 8)),
        )
        return [*stores, random.choice(told)]

    def level1(self, index: int, its: int, gone: bool = False) -> Step:
        """A level 1 entry of the device tables; `gone`: of devices that may be mapped there is none any more."""
        address = self.pick(LEVEL2, (OUTSIDE, RAM_END - 0x1_0000))
        entry = KVM_LEVEL1.pack(V=not (gone or self.chance(self.wild)), Physical_Address=address)
        return Event("poke", (RAM_BASE + DEVICE_TABLES[its] + 8 * index, entry))

    def save(self) -> list[Step]:
        """SAVE_TABLES; now and then of events whose collection is unmapped, or of devices whose DTE has no place."""
        its = self.its()
        before: list[Step] = [self.command("MAPC", its, ICID=self.icid(), V=0)] if self.chance(0.2) else []
        if self.indirect and self.chance(0.3):
            before.append(self.level1(self.random.randrange(2), its, gone=True))
        return [*before, Event("save_tables", (its,))]

    def registers(self, its: int) -> list[Step]:
        """What userspace writes before RESTORE_TABLES."""
        devices = GITS_BASER.pack(Valid=1, Indirect=self.indirect, Size=1) | RAM_BASE + DEVICE_TABLES[its]
        collections = GITS_BASER.pack(Valid=1) | RAM_BASE + COLLECTION_TABLES[its]
        queue = GITS_CBASER.pack(Valid=1, Size=15) | RAM_BASE + QUEUES[its]
        written = ((CBASER, queue), (BASERS[0], devices), (BASERS[1], collections))
        return [Event("its_user_write", (its, attribute, value)) for attribute, value in written]

    def restored(self) -> list[Step]:
        """A migration to the same host, or RESTORE_TABLES where it does not belong."""
        its = self.its()
        if self.chance(0.1):
            return [Event("restore_tables", (its,))]
        saved: list[Step] = (
            [Event("save_tables", (its,)), Event("save_pending_tables", (0,))] if self.chance(0.8) else []
        )
        enabled = Event("its_user_write", (its, CTLR, 1))
        reset = Event("reset", (its,))
        return [*self.stop(), *saved, reset, *self.registers(its), Event("restore_tables", (its,)), enabled]

    def set_up(self) -> Iterator[Step]:
        """Tables, registers, and a few mappings."""
        if self.machine.vsgis and self.chance(0.6):
            yield from (
                Event("dist_write", (0, GICD_CTLR.pack(**on), 4)) for on in ({}, {"EnableGrp1": 1, "nASSGIreq": 1})
            )
        yield from self.configuration(self.bits)
        for vcpu in range(self.machine.vcpus):
            steps = self.enable_lpis(vcpu, PENDING[vcpu], self.chance(0.2))
            yield from steps[: 1 if self.chance(self.wild) else 2]
            if self.chance(0.5):
                yield from self.pending_bits(PENDING[vcpu])
        for its in range(self.machine.its):
            if self.indirect:
                for index in range(8):
                    entry = KVM_LEVEL1.pack(V=1, Physical_Address=LEVEL2[min(index, 1)])
                    yield (
                        self.level1(index, its)
                        if index > 1
                        else Event("poke", (RAM_BASE + DEVICE_TABLES[its] + 8 * index, entry))
                    )
            yield Event("its_write", (its, BASERS[0], self.baser(its, 0), 8))
            yield Event("its_write", (its, BASERS[1], self.baser(its, 1), 8))
            yield Event("its_write", (its, CBASER, self.cbaser(its), 8))
            yield Event("its_write", (its, CTLR, 1, 4))
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
                    itt, size = ITTS[number + 8 * its], self.random.choice((3, 4, 7))
                    yield self.command("MAPD", its, DeviceID=self.devices[-1], Size=size, ITT_addr=itt, V=1)
