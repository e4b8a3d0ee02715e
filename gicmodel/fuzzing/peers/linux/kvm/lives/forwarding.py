# SPDX-License-Identifier: Apache-2.0
"""A guest whose devices belong to the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from gicmodel.fuzzing.peers.linux.kvm.lives.guest import Guest
from gicmodel.fuzzing.peers.linux.kvm.lives.life import ITTS, LIFE
from gicmodel.fuzzing.peers.linux.kvm.machine import HOST_IRQS, VirtualMachine
from gicmodel.fuzzing.programs.program import Event, Step
from gicmodel.layouts.lpi_tables import FIRST_LPI


class Forwarding(Guest):
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
            **{self.one_command: 45, self.forward: 20, self.unforward: 6, self.change_route: 3, self.fires: 16},
            **{
                self.message: 8,
                self.exits: 8,
                self.save: 1.5,
                self.stores: 2,
                self.rd_register: 0.7,
                self.restored: 0.7,
            },
            **{self.distributor: 1, self.sgis: 4},
        }
        for _ in range(self.random.randrange(LIFE)):
            yield from self.random.choices(list(choices), list(choices.values()))[0]()
        yield from self.stop()
        yield Event("save_pending_tables", (0,))

    def forward(self) -> list[Step]:
        """A host interrupt becomes an event's."""
        return [Event("forward", (self.its(), *self.pair(), self.random.randrange(HOST_IRQS)))]

    def unforward(self) -> list[Step]:
        """It becomes the host's again."""
        return [Event("unforward", (self.random.randrange(HOST_IRQS),))]

    def change_route(self) -> list[Step]:
        """Its vector has another message."""
        return [Event("change_route", (self.its(), *self.pair(), self.random.randrange(HOST_IRQS)))]

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
                yield self.command("MAPD", its, DeviceID=device, Size=3, ITT_addr=ITTS[device + 8 * its], V=1)
