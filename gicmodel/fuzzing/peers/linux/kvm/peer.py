# SPDX-License-Identifier: Apache-2.0
"""Linux' own vgic as a peer of `gicmodel.kvm`: one VM on either, results, RAM and state compared after every operation.

Linux' side is `vgic.c`, `vgic-its.c`, `vgic-mmio.c`, `vgic-mmio-v3.c` and `vgic-v4.c` as they are, and what saves
pending tables of `vgic-v3.c`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import ClassVar

import numpy as np

from gicmodel.fuzzing.peers.linux.build import Recipe
from gicmodel.fuzzing.peers.linux.kvm.differences import explained, name, seen, without_ppis
from gicmodel.fuzzing.peers.linux.kvm.linux_vm import VGIC, LinuxVm
from gicmodel.fuzzing.peers.linux.kvm.lives.forwarding import Forwarding
from gicmodel.fuzzing.peers.linux.kvm.lives.guest import Guest
from gicmodel.fuzzing.peers.linux.kvm.lives.life import Life
from gicmodel.fuzzing.peers.linux.kvm.lives.pending import Pending
from gicmodel.fuzzing.peers.linux.kvm.lives.tables import Tables
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, VirtualMachine
from gicmodel.fuzzing.peers.linux.kvm.model_vm import ModelVm
from gicmodel.fuzzing.peers.linux.kvm.vm import OK, OOPS, STORM, State, Vm
from gicmodel.fuzzing.peers.linux.peer import LinuxPeer
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.peers.peer import Comparison, Divergence
from gicmodel.fuzzing.programs.program import CommandStep, Event, Machine, Program, Step
from gicmodel.kvm import KvmBehaviour
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, queue_bytes
from gicmodel.memory import PAGE_BYTES

_DEAD = (OOPS, STORM)
_CWRITER = register("GITS_CWRITER", "3").offset
_BEGINNINGS = ("boot", "create")
_BEFORE_INIT = ("initialise", "dist_user_read", "dist_user_write", "rd_user_read", "rd_user_write")
_OF_HOST_IRQS = ("forward", "unforward", "change_route", "device_event")
_PLACES = {"cbaser": 1, "cwriter": 3}


class AgainstLinux(Comparison):
    """The model's VM and Linux'. What makes no sense where it stands, as to stop a vCPU that is out, is left out."""

    def __init__(self, machine: VirtualMachine, source: KernelSource, behaviour: KvmBehaviour) -> None:
        self._machine = machine
        self.model = ModelVm(machine, behaviour)
        self.linux = LinuxVm(machine, source)
        self.outcomes = Counter()
        self._forget()

    def run(self, steps: Sequence[Step]) -> None:
        """Results and state after every step, and the pages that either has written."""
        for step in steps:
            if self._makes_sense(step):
                self._step(step)

    def check(self) -> None:
        """All of RAM, and the host."""
        if self._dead:
            return
        self._compare_pages(np.arange(len(self.model.ram) // PAGE_BYTES))
        _agree(self.linux.state_of_host(), self.model.state_of_host())

    def close(self) -> None:
        """End Linux' VM."""
        self.linux.close()

    def _forget(self) -> None:
        self._dead = False
        self._initialised = True
        self._running: set[int] = set()
        self._routes: dict[int, tuple[int, ...]] = {}
        self._queue_ends: dict[int, int] = {}
        self._state: State = {}

    def _makes_sense(self, step: Step) -> bool:
        """Whether KVM can be asked that now."""
        if isinstance(step, CommandStep):
            return self._initialised and not self._dead
        verb, values = step
        if verb in _BEGINNINGS:
            return True
        if verb in _OF_HOST_IRQS and self._machine.architecture == "3":
            return False
        if not self._initialised and verb not in _BEFORE_INIT:
            return False
        irq_free = values[-1:] and values[-1] not in self._routes
        senseless = {
            "load": values[:1] and values[0] in self._running,
            "put": values[:1] and values[0] not in self._running,
            "forward": not irq_free,
            "unforward": irq_free,
            "change_route": irq_free,
        }
        return not self._dead and not senseless.get(verb)

    def _step(self, step: Step) -> None:
        if isinstance(step, Event) and step.verb in ("enqueue", "ring"):
            step = self._queued(step)
        elif isinstance(step, Event) and step.verb in ("unforward", "change_route"):
            step = Event(step.verb, (*self._routes[step.values[-1]], *step.values))
        step = without_ppis(step)
        model, linux = seen(step, _do(self.model, step)), seen(step, _do(self.linux, step))
        self.outcomes[name(step), linux if isinstance(linux, str) else OK] += 1
        known = None if linux == model else explained(step, linux, model)
        if linux != model and known is None:
            where = f" in {self.linux.died_at}" if linux in _DEAD else ""
            raise Divergence(f"result of {name(step)}", f"Linux {linux}{where}", f"model {model}")
        self._dead = linux in _DEAD or (known is not None and known.parts)
        if isinstance(step, Event):
            self._follow(step, linux)
        if not self._dead:
            self._compare()

    def _queued(self, step: Event) -> Event:
        """What `enqueue` and `ring` do to RAM and registers."""
        verb, (its, *words) = step
        registers = self.linux.state()[f"registers of ITS {its}"]
        cbaser = GITS_CBASER.unpack(registers[_PLACES["cbaser"]])
        end = self._queue_ends.get(its, registers[_PLACES["cwriter"]])
        if verb == "ring":
            self._queue_ends.pop(its, None)
            return Event("its_write", (its, _CWRITER, end, 8))
        address, octets = cbaser["Physical_Address"] + end, np.array(words, "<u8").tobytes()
        for side in (self.model, self.linux):
            side.store(address, octets)
        self._queue_ends[its] = (end + COMMAND_BYTES) % queue_bytes(cbaser)
        return Event("enqueue", step.values)

    def _follow(self, step: Event, result: object) -> None:
        """What KVM's callers keep."""
        verb, values = step
        if verb in _BEGINNINGS:
            self._forget()
            self._initialised = verb == "boot"
        elif verb == "initialise":
            self._initialised = True
        elif verb == "load" and result == OK:
            self._running.add(values[0])
        elif verb == "put":
            self._running.discard(values[0])
        elif verb in ("forward", "change_route"):
            self._routes[values[-1]] = values[-4:-1]
        elif verb == "unforward":
            del self._routes[values[-1]]

    def _compare(self) -> None:
        linux, model = self.linux.take_dirty(), self.model.take_dirty()
        if (linux != model).any():
            page = int(np.flatnonzero(linux != model)[0])
            sides = (
                f"{side} {'dirty' if dirty[page] else 'clean'}" for side, dirty in (("Linux", linux), ("model", model))
            )
            raise Divergence(f"page {RAM_BASE + page * PAGE_BYTES:#x}", *sides)
        self._compare_pages(np.flatnonzero(linux))
        _agree(self.linux.state(), self.model.state())

    def _compare_pages(self, pages: np.ndarray) -> None:
        if not len(pages):
            return
        linux, model = (side.ram.reshape(-1, PAGE_BYTES)[pages] for side in (self.linux, self.model))
        if (linux != model).any():
            page, offset = np.argwhere(linux != model)[0]
            address = RAM_BASE + int(pages[page]) * PAGE_BYTES + int(offset)
            values = f"Linux {linux[page, offset]:#x}", f"model {model[page, offset]:#x}"
            raise Divergence(f"RAM at {address:#x}", *values)


def _do(side: Vm, step: Step) -> object:
    if isinstance(step, CommandStep):
        return side.command(*step)
    return OK if step.verb == "enqueue" else side.do(step.verb, *step.values)


def _agree(linux: State, model: State) -> None:
    """Raise Divergence for the first part that differs; of lists of rows, for the first row."""
    for what, ours in model.items():
        theirs = linux[what]
        if theirs != ours:
            if isinstance(ours, list) and len(ours) == len(theirs):
                theirs, ours = next((a, b) for a, b in zip(theirs, ours, strict=True) if a != b)
            elif isinstance(ours, list):
                theirs, ours = (
                    [row for row in one if row not in other] for one, other in ((theirs, ours), (ours, theirs))
                )
            raise Divergence(what, f"Linux {_hexadecimal(theirs)}", f"model {_hexadecimal(ours)}")


def _hexadecimal(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_hexadecimal, value))}]"
    return hex(value) if isinstance(value, int) and value > 9 else str(value)


class LinuxKvm(LinuxPeer):
    """KVM of a kernel's source: the model behaves as the release that it is of."""

    name: ClassVar[str] = "linux-kvm"
    recipe: ClassVar[Recipe] = VGIC
    machines: ClassVar[type[Machine]] = VirtualMachine
    chunk: ClassVar[int] = 2000

    @property
    def behaviour(self) -> KvmBehaviour:
        """What the model does: as the release, or if its backports are not known as the release without them."""
        release = self.source.release
        try:
            return KvmBehaviour.release(release)
        except ValueError:
            return KvmBehaviour.release(".".join(release.split(".")[:2]))

    def program(self, random: np.random.Generator, architecture: str, commands: int) -> Program:
        """Lives of a VM one after the other. Nothing in them looks at what the machines do."""
        machine = _drawn(random, architecture)
        steps = _lives(Random(int(random.integers(1 << 62))), machine)
        return Program(self.name, machine, tuple(islice(steps, commands)))

    def start(self, machine: VirtualMachine) -> AgainstLinux:
        """Boot both. Raises UnusableInput without a source or a compiler."""
        return AgainstLinux(machine, self.source, self.behaviour)


def _drawn(random: np.random.Generator, architecture: str) -> VirtualMachine:
    vcpus = int(random.choice(np.array([1, 2, 4, 4, 4, 12] if architecture == "3" else [1, 4, 4])))
    its = int(random.integers(1, 3))
    return VirtualMachine(architecture, vcpus, its, architecture == "4.1" and bool(random.integers(2)))


def _lives(random: Random, machine: VirtualMachine) -> Iterator[Step]:
    kinds: list[type[Life]] = [
        Guest,
        Guest,
        Tables,
        Pending,
        *([Forwarding] * 6 if machine.architecture != "3" else []),
    ]
    while True:
        life = random.choice(kinds)(random, machine)
        yield from life.beginning()
        yield from life.steps()


PEER = LinuxKvm()
