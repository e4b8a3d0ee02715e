# SPDX-License-Identifier: Apache-2.0
"""Linux' own ITS driver on the hardware: each interrupt arrives where and when it must.

Linux' side is `irq-gic-v3-its.c` and `irq-gic-v4.c` as they are, and what finds redistributors of `irq-gic-v3.c`. The
hardware retains and puts off what it may; free memory is poisoned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gicmodel.fuzzing.peers.linux.build import Recipe
from gicmodel.fuzzing.peers.linux.driver.as_expected import INTERRUPTS, AsExpected
from gicmodel.fuzzing.peers.linux.driver.draw import draw_machine, draw_steps
from gicmodel.fuzzing.peers.linux.driver.host import HostFailure
from gicmodel.fuzzing.peers.linux.driver.linux_host import ITS, LinuxHost
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.peer import LinuxPeer
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.program import Event, Machine, Program, Step
from gicmodel.layouts.registers.by_name import register

_AFTER_KEXEC = ("Booted with LPIs enabled", "Expected reserved range")
"""redist_disable_lpis and gic_check_reserved_range: an earlier kernel has left the GIC on, with other tables."""
_STATUSR = register("GITS_STATUSR").offset
_STATUS = 0xF


class OnHardware(AsExpected):
    """Linux on the hardware, no command of which fails, and whose kernel does not complain."""

    def __init__(self, machine: HostMachine, source: KernelSource) -> None:
        self.linux = LinuxHost(machine, source)
        super().__init__(machine, [self.linux], maps_anew=source.is_before(6, 12))
        self._booted = False
        self._message: Event | None = None

    def run(self, steps: Sequence[Step]) -> None:
        """What comes of each step."""
        if not self._booted:
            self._step(Event("boot", ()))
            self._booted = True
        super().run(steps)

    def check(self) -> None:
        """What is pending anywhere, memory that is free, registers that note accesses."""
        super().check()
        self.linux.check_memory()
        self._complaints("memory")
        for number, its in enumerate(self.linux.bus.gic.its):
            if status := its.read(_STATUSR, 4) & _STATUS:
                raise Divergence(f"GITS_STATUSR of ITS {number}", hex(status))

    def close(self) -> None:
        """Unload the kernel."""
        self.linux.close()

    def _all(self, verb: str, *values: int) -> Any:
        return self.linux.do(verb, *values)

    def _with_what_comes_before(self, step: Event) -> None:
        """A step, and the message that comes meanwhile; before it, if it makes a difference when."""
        message, self._message = self._message, None
        if message is None:
            self._step(step)
            return
        its, device_id, event_id, polls = message.values
        raised = Event("raise", (its, device_id, event_id))
        if not self.sense.is_apart(step, (its, device_id, event_id)):
            self._step(raised)
            self._step(step)
            return
        accepted: list[bool] = []
        self.linux.bus.arrive_after(polls, lambda: accepted.append(self.linux.do(raised.verb, *raised.values)))
        self._step(step)
        self.linux.bus.arrive()
        self.expected.follow(raised, accepted[0])

    def _meanwhile(self, step: Event) -> None:
        self._message = step

    def _step(self, step: Event) -> None:
        try:
            super()._step(step)
        except HostFailure as failure:
            raise Divergence(f"the kernel's {step.verb}", str(failure)) from None
        self._complaints(step.verb)

    def _complaints(self, verb: str) -> None:
        complaint = self.linux.complaint
        known = verb == "kexec" and any(each in complaint for each in _AFTER_KEXEC)
        if complaint and not known:
            raise Divergence(f"the kernel's log at {verb}", complaint)
        gic, late = self.linux.bus.gic, self.linux.bus.late
        if errors := gic.errors:
            raise Divergence(f"a command of {verb}", str(errors[0]))
        if late is None:
            return
        if missing := late.owed if self.sense.leaves_doorbells else late.missing:
            raise Divergence(f"what {verb} leaves out", missing[0])

    def _unplug(self, step: Event) -> None:
        """A CPU goes down with nothing that waits for it."""
        (cpu,) = step.values
        self._interrupts(INTERRUPTS)
        self.linux.do("unplug", cpu, min(self.expected.online - {cpu}))
        leaving = [each for each in self.expected.events if each.is_physical and each.cpu == cpu]
        self.expected.follow(step, {each: self.linux.do("cpu_of", *each.key) for each in leaving})


class LinuxDriver(LinuxPeer):
    """The ITS driver of a kernel's source."""

    name: ClassVar[str] = "linux-driver"
    recipe: ClassVar[Recipe] = ITS
    machines: ClassVar[type[Machine]] = HostMachine
    chunk: ClassVar[int] = 1000

    def program(self, random: np.random.Generator, architecture: str, commands: int) -> Program:
        """A host's life."""
        machine = draw_machine(random, architecture)
        return Program(self.name, machine, tuple(draw_steps(random, machine, commands)))

    def start(self, machine: Any) -> OnHardware:
        """Boot. Raises UnusableInput without a source or a compiler."""
        return OnHardware(machine, self.source)


PEER = LinuxDriver()
