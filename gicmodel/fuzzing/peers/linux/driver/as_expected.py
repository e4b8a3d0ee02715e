# SPDX-License-Identifier: Apache-2.0
"""Hosts through a program, and what is expected of them."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gicmodel.fuzzing.peers.linux.driver.expected import Expected
from gicmodel.fuzzing.peers.linux.driver.host import Host
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.sense import Sense
from gicmodel.fuzzing.peers.peer import Comparison, Divergence
from gicmodel.fuzzing.programs.program import Event, Step

INTERRUPTS = Event("interrupts", ())


class AsExpected(Comparison):
    """Hosts that do the same, as it is `expected`. Steps that make no sense where they stand are left out."""

    def __init__(self, machine: HostMachine, hosts: Sequence[Host], maps_anew: bool = False) -> None:
        self.hosts = hosts
        self.expected = Expected(machine.config)
        self.sense = Sense(self.expected, maps_anew)
        self.outcomes = Counter()

    def run(self, steps: Sequence[Step]) -> None:
        """What comes of each step."""
        for step in steps:
            if isinstance(step, Event) and self._makes_sense(step):
                self._with_what_comes_before(step)

    def check(self) -> None:
        """What is pending for every vPE."""
        for vpe in self.expected.vpes:
            for host in self.hosts:
                if (pending := host.pending(*vpe.key)) != sorted(vpe.pending):
                    sides = f"is {pending}", f"should be {sorted(vpe.pending)}"
                    raise Divergence(f"pending for vCPU {vpe.key[1]}", *sides)

    @abstractmethod
    def _all(self, verb: str, *values: int) -> Any:
        """Let every host do an operation: what comes of it, which is the same."""

    def _makes_sense(self, step: Event) -> bool:
        return self.sense.makes_sense(step)

    def _with_what_comes_before(self, step: Event) -> None:
        self._step(step)

    def _step(self, step: Event) -> None:
        self.outcomes[step.verb, "OK"] += 1
        if self.sense.takes_interrupts_before(step.verb):
            self._first_interrupts()
        do: Callable[[Event], None] = getattr(self, f"_{step.verb}", self._plain)
        do(step)

    def _first_interrupts(self) -> None:
        self._interrupts(INTERRUPTS)

    def _plain(self, step: Event) -> None:
        self.expected.follow(step, self._all(step.verb, *step.values))

    def _interrupts(self, step: Event) -> None:
        for vpe in self.expected.follow(step, self._all(step.verb)):
            self._all("take_doorbell", *vpe.key)

    def _take(self, step: Event) -> None:
        vpe = self.expected.vpe(*step.values)
        assert vpe is not None
        assert vpe.cpu is not None
        self.expected.follow(step, self._all(step.verb, *step.values, vpe.cpu))

    def _save(self, step: Event) -> None:
        vm = self.expected.vms[step.values[0]]
        self._all("unmap_vpes", vm.number)
        tables = [self.hosts[0].pending_in_ram(*vpe.key) for vpe in vm.vpes]
        self._all("map_vpes", vm.number)
        self.expected.follow(step, tables)

    def _end_vm(self, step: Event) -> None:
        """KVM ends forwarding, and the vSGIs, first."""
        vm = self.expected.vms[step.values[0]]
        for event in self.expected.forwarded_to(vm):
            self._plain(Event("unforward", event.key))
        for vpe in vm.vpes:
            for sgi in (sgi for sgi, vsgi in enumerate(vpe.vsgis) if vsgi.began):
                self._plain(Event("end_vsgi", (*vpe.key, sgi)))
        self._plain(step)
