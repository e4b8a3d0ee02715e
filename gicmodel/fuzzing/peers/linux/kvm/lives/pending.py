# SPDX-License-Identifier: Apache-2.0
"""Many LPIs, and pending tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gicmodel.fuzzing.peers.linux.kvm.lives.guest import Guest
from gicmodel.fuzzing.peers.linux.kvm.lives.life import (
    BASERS,
    COLLECTION_TABLES,
    CTLR,
    DEVICE_TABLES,
    ITTS,
    LPI_BYTE,
    OUTSIDE,
    PENDING,
    RD_CTLR,
    RD_PENDBASER,
    Life,
)
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_END
from gicmodel.fuzzing.programs.program import Event, Step
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_BASER


class Pending(Life):
    """Many LPIs, and bits in pending tables that may lie over each other or outside RAM."""

    def steps(self) -> Iterator[Step]:
        """LPIs come from restored tables, and are pending for any reason."""
        random, vcpus = self.random, self.machine.vcpus
        self.wide, self.late = self.chance(0.5), self.chance(0.4)
        tables = list(PENDING[:vcpus])
        if vcpus > 1 and self.chance(0.2):
            tables[1] = tables[0]
        if self.chance(0.2):
            tables[random.randrange(vcpus)] = random.choice(
                (OUTSIDE, RAM_BASE - 0x1_0000, RAM_END - 0x1_0000, 0, RAM_END)
            )
        yield from self.configuration()
        for vcpu, table in enumerate(tables):
            yield Event("rd_write", (vcpu, RD_PENDBASER, table, 8))
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
        if self.chance(0.5):
            yield from self.enabled_anew(self.vcpu(), OUTSIDE)
        yield from (*self.stop(), Event("save_pending_tables", (0,)), Event("save_pending_tables", (1,)))

    def enabled_anew(self, vcpu: int, table: int) -> list[Step]:
        """LPIs are disabled, and enabled with a table that may be another one."""
        return [Event("rd_write", (vcpu, RD_CTLR, 0, 4)), *self.enable_lpis(vcpu, table, self.chance(0.2))]

    def tables(self, devices: int) -> Iterator[Step]:
        """Collections for every vCPU, devices with events of many LPIs."""
        random, vcpus = self.random, self.machine.vcpus
        targets = [vcpu if self.chance(0.9) else 0xFFFF_FFFF for vcpu in range(vcpus)]
        for icid, target in enumerate(targets):
            entry = KVM_CTE.pack(V=1, RDBase=target, ICID=icid)
            yield Event("poke", (RAM_BASE + COLLECTION_TABLES[0] + 8 * icid, entry))
        for device in range(devices):
            entry = KVM_DTE.pack(V=1, next=int(device < devices - 1), ITT_addr=ITTS[2 * device], Size=6)
            yield Event("poke", (RAM_BASE + DEVICE_TABLES[0] + 8 * device, entry))
            events = sorted(random.sample(range(128), random.randrange(1, 40)))
            for place, event in enumerate(events):
                following = events[place + 1] - event if place + 1 < len(events) else 0
                entry = KVM_ITE.pack(next=following, pINTID=self.intid(), ICID=random.randrange(vcpus))
                yield Event("poke", (ITTS[2 * device] + 8 * event, entry))
        yield from Guest(random, self.machine).registers(0)[:1]
        for number, places in enumerate((DEVICE_TABLES, COLLECTION_TABLES)):
            yield Event("its_user_write", (0, BASERS[number], GITS_BASER.pack(Valid=1) | RAM_BASE + places[0]))
        yield Event("restore_tables", (0,))
        yield Event("its_user_write", (0, CTLR, 1))

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
            yield Event("poke_byte", (tables[0] + LPI_BYTE + random.randrange(40), random.getrandbits(8)))
        elif what == 8:
            yield from self.enabled_anew(vcpu, tables[vcpu])
        else:
            yield self.command("MAPC", ICID=random.randrange(vcpus), RDbase=vcpu, V=1)
