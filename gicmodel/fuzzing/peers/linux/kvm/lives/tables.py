# SPDX-License-Identifier: Apache-2.0
"""Saved tables as a hostile userspace has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gicmodel.fuzzing.peers.linux.kvm.lives.guest import Guest
from gicmodel.fuzzing.peers.linux.kvm.lives.life import (
    BASERS,
    COLLECTION_TABLES,
    CTLR,
    DEVICE_TABLES,
    ITTS,
    LEVEL2,
    OUTSIDE,
    PENDING,
)
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_END
from gicmodel.fuzzing.programs.program import Event, Step
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.registers.its import GITS_BASER


class Tables(Guest):
    """Tables that nobody has saved, well-formed or not: restored, used, saved and restored again."""

    def steps(self) -> Iterator[Step]:
        """On ITS 0."""
        random = self.random
        self.bad, self.tidy = self.chance(0.4), self.chance(0.6)
        self.wild = 0.1 if self.bad else 0.0
        yield from self.configuration()
        for vcpu in range(self.machine.vcpus):
            table = self.pick((PENDING[vcpu],), (OUTSIDE, RAM_END - 0x1_0000, 0))
            yield from self.enable_lpis(vcpu, table)
            yield from self.pending_bits(PENDING[vcpu], words=2)
        icids = random.sample((0, 1, 2, 3, 4, 8191), random.randrange(6))
        yield from self.collections(icids)
        yield from self.device_tables(icids)
        yield from self.registers(0)
        yield Event("restore_tables", (0,))
        if self.chance(0.1):
            yield from (Event("reset", (0,)), *self.registers(0), Event("restore_tables", (0,)))
        if self.chance(0.3):
            yield Event("its_user_write", (0, CTLR, 1))
            yield from (self.any_command() for _ in range(random.randrange(5)))
        yield from (Event("save_tables", (0,)), Event("save_pending_tables", (random.randrange(2),)))
        yield from (Event("reset", (0,)), *self.registers(0), Event("restore_tables", (0,)))
        yield from (Event("save_tables", (0,)), Event("save_pending_tables", (0,)))

    def registers(self, its: int) -> list[Step]:
        """Tables of more or fewer pages, valid or not."""
        steps = super().registers(its)
        if self.bad:
            pages, valid = self.random.choice((0, 1, 255)), not self.chance(0.03)
            value = GITS_BASER.pack(Valid=valid, Indirect=self.indirect, Size=pages) | RAM_BASE + DEVICE_TABLES[its]
            steps[1] = Event("its_user_write", (its, BASERS[0], value))
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
            yield Event("poke", (RAM_BASE + COLLECTION_TABLES[0] + 8 * index, entry))

    def device_tables(self, icids: Sequence[int]) -> Iterator[Step]:
        """The device table, of one level or two, and the ITTs."""
        random, table = self.random, RAM_BASE + DEVICE_TABLES[0]
        pages = [table] if not self.indirect else list(LEVEL2)
        if self.indirect:
            for index in range(8):
                entry = KVM_LEVEL1.pack(
                    V=self.chance(0.5), Physical_Address=self.pick(pages, (OUTSIDE, RAM_END - 0x1_0000))
                )
                yield Event("poke", (table + 8 * index, entry))
        itts = iter(ITTS)
        for page in pages:
            ids = sorted(random.sample((0, 1, 2, 3, 5, 7, 9, 100, 8190, 8191), random.randrange(6)))
            proper = self.tidy or self.chance(0.6)
            for place, number in enumerate(ids):
                following = ids[place + 1] - number if place + 1 < len(ids) else random.choice((0, 0, 8192 - number, 1))
                if not proper:
                    following = random.choice((0, 1, 2, 3, 4, 5, 9, 0x3FFF, 8191, 8192))
                itt = self.pick((next(itts), ITTS[0]), (ITTS[0], RAM_END - 0x100, RAM_END - 0x200, OUTSIDE))
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
