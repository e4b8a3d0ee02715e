# SPDX-License-Identifier: Apache-2.0
"""Linux' own ITS driver on the hardware: each interrupt arrives where and when it must.

Linux' side is `irq-gic-v3-its.c` and `irq-gic-v4.c` as they are, and what finds redistributors of `irq-gic-v3.c`. The
hardware retains and puts off what it may; free memory is poisoned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gicmodel.fuzzing.peers.linux.build import built, compiler
from gicmodel.fuzzing.peers.linux.driver.draw import draw_machine, draw_steps
from gicmodel.fuzzing.peers.linux.driver.expected import Expected
from gicmodel.fuzzing.peers.linux.driver.host import HostFailure
from gicmodel.fuzzing.peers.linux.driver.linux_host import LinuxHost
from gicmodel.fuzzing.peers.linux.driver.machine import NOTATION, HostMachine, HostNotation
from gicmodel.fuzzing.peers.linux.driver.recipe import ITS
from gicmodel.fuzzing.peers.linux.source import KernelSource, source_for
from gicmodel.fuzzing.peers.peer import Comparison, Divergence, Peer
from gicmodel.fuzzing.programs.program import Event, Program, Step
from gicmodel.layouts.registers.by_name import register

_AFTER_KEXEC = ("Booted with LPIs enabled", "Expected reserved range")
"""redist_disable_lpis and gic_check_reserved_range: an earlier kernel has left the GIC on, with other tables."""
_STATUSR = register("GITS_STATUSR").offset
_STATUS = 0xF


class OnHardware(Comparison):
    """Linux on the hardware, and what is expected of both. Steps that make no sense where they stand are left out."""

    def __init__(self, machine: HostMachine, source: KernelSource) -> None:
        self.expected = Expected(machine, maps_anew=source.is_before(6, 12))
        self.linux = LinuxHost(machine, source)
        self.outcomes = Counter()
        self._booted = False
        self._message: Event | None = None

    def run(self, steps: Sequence[Step]) -> None:
        """What comes of each step, and that no command has failed and no kernel complains."""
        if not self._booted:
            self._step(Event("boot", ()))
            self._booted = True
        for step in steps:
            if isinstance(step, Event) and self.expected.makes_sense(step):
                self._step_with_message(step)

    def check(self) -> None:
        """What is pending anywhere, memory that is free, registers that note accesses."""
        for key, vpe in self.expected.vpes():
            pending = self.linux.pending(*key)
            if pending != sorted(vpe.pending):
                raise Divergence(f"pending for vCPU {key[1]}", f"is {pending}", f"should be {sorted(vpe.pending)}")
        self.linux.check_memory()
        self._complaints("memory")
        gic = self.linux.bus.gic
        for number, its in enumerate(gic.its):
            if status := its.read(_STATUSR, 4) & _STATUS:
                raise Divergence(f"GITS_STATUSR of ITS {number}", hex(status))

    def close(self) -> None:
        """Unload the kernel."""
        self.linux.close()

    def _step_with_message(self, step: Event) -> None:
        """A step, and the message that comes meanwhile; before it, if it makes a difference when."""
        message, self._message = self._message, None
        if message is None:
            self._step(step)
            return
        its, device_id, event_id, polls = message.values
        event = its, device_id, event_id
        if not self.expected.is_apart(step, event):
            self._step(Event("raise", event))
            self._step(step)
            return
        accepted: list[bool] = []
        self.linux.bus.arrive_after(polls, lambda: accepted.append(self.linux.raised(*event)))
        self._step(step)
        self.linux.bus.arrive()
        self.expected.raised(accepted[0], *event)

    def _meanwhile(self, verb: str, values: tuple[int, ...]) -> None:
        self._message = Event(verb, values)

    def _step(self, step: Event) -> None:
        verb = step.verb
        self.outcomes[verb, "OK"] += 1
        if self.expected.takes_interrupts_before(verb):
            self._interrupts(verb, ())
        try:
            getattr(self, f"_{verb}", self._plain)(*step)
        except HostFailure as failure:
            raise Divergence(f"the kernel's {verb}", str(failure)) from None
        self._complaints(verb)

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
        if missing := late.owed if self.expected.leaves_doorbells else late.missing:
            raise Divergence(f"what {verb} leaves out", missing[0])

    def _plain(self, verb: str, values: tuple[int, ...]) -> None:
        result = getattr(self.linux, verb)(*values)
        getattr(self.expected, verb)(result, *values)

    def _request(self, verb: str, values: tuple[int, ...]) -> None:
        its, device_id, event_id = values
        self.expected.request(self.linux.request(its, device_id, event_id, 0), *values)

    def _raise(self, verb: str, values: tuple[int, ...]) -> None:
        self.expected.raised(self.linux.raised(*values), *values)

    def _interrupts(self, verb: str, values: tuple[int, ...]) -> None:
        for vpe in self.expected.interrupts(self.linux.interrupts()):
            self.linux.take_doorbell(*vpe)

    def _take(self, verb: str, values: tuple[int, ...]) -> None:
        vm, vcpu = values
        cpu = self.expected.vpe((vm, vcpu)).cpu
        assert cpu is not None
        self.expected.take(self.linux.taken_by_guest(cpu), vm, vcpu)

    def _save(self, verb: str, values: tuple[int, ...]) -> None:
        (vm,) = values
        vcpus = range(len(self.expected.vms[vm].vpes))
        self.linux.unmap_vpes(vm)
        tables = [self.linux.pending_in_ram(vm, vcpu) for vcpu in vcpus]
        self.linux.map_vpes(vm)
        self.expected.saved(tables, vm)

    def _end_vm(self, verb: str, values: tuple[int, ...]) -> None:
        """KVM ends forwarding, and the vSGIs, first."""
        (vm,) = values
        for event in self.expected.forwarded_to(vm):
            self._plain("unforward", event)
        for vcpu, sgi in self.expected.vsgis_of(vm):
            self._plain("end_vsgi", (vm, vcpu, sgi))
        self._plain(verb, values)

    def _unplug(self, verb: str, values: tuple[int, ...]) -> None:
        """A CPU goes down with nothing that waits for it."""
        (cpu,) = values
        self._interrupts(verb, ())
        self.linux.unplug(cpu, min(self.expected.online - {cpu}))
        leaving = list(self.expected.physical_on(cpu))
        self.expected.unplug(0, cpu)
        for event, interrupt in leaving:
            self.expected.moved(interrupt, self.linux.cpu_of(*event))


class LinuxDriver(Peer):
    """The ITS driver of a kernel's source."""

    name: ClassVar[str] = "linux-driver"
    notation: ClassVar[HostNotation] = NOTATION
    chunk: ClassVar[int] = 1000

    def __init__(self, linux_source: Path | None = None) -> None:
        self._where = linux_source

    def made_of(self, linux_source: Path | None) -> LinuxDriver:
        """One of this source."""
        return type(self)(linux_source)

    def require(self) -> None:
        """A source, and a compiler for it."""
        compiler()
        built(self.source, ITS)

    @property
    def source(self) -> KernelSource:
        """The kernel's source; errors as `source_for`."""
        return source_for(self._where)

    def program(self, random: np.random.Generator, architecture: str, commands: int) -> Program:
        """A host's life."""
        machine = draw_machine(random, architecture)
        return Program(self.name, machine, tuple(draw_steps(random, machine, commands)))

    def start(self, machine: Any) -> OnHardware:
        """Boot. Raises UnusableInput without a source or a compiler."""
        return OnHardware(machine, self.source)


PEER = LinuxDriver()
