# SPDX-License-Identifier: Apache-2.0
"""`gicmodel.driver` beside the driver that it is a port of: the same operations, the same commands and register writes.

Each drives a GIC of its own, and addresses in RAM are not compared: each has its own allocator. What is meant to differ
is in `MEANT`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gicmodel.driver.errors import DriverError
from gicmodel.fuzzing.peers.linux.driver.draw import draw_machine, draw_steps
from gicmodel.fuzzing.peers.linux.driver.expected import Expected
from gicmodel.fuzzing.peers.linux.driver.host import Host, HostFailure
from gicmodel.fuzzing.peers.linux.driver.linux_host import LinuxHost
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.peers.linux.driver.port_host import PortHost
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.peers.peer import Comparison, Divergence
from gicmodel.fuzzing.programs.program import Event, Program, Step
from gicmodel.layouts.registers.by_name import register

MEANT = {
    "boot": "Linux clears GICR_VPROPBASER.Valid on every redistributor before all else and wakes CPU 0's redistributor"
    " first, and its probes of page sizes and levels write other bits; the port's tables are no larger than they must"
    " be. What either boot comes to is compared by all that follows.",
    "meanwhile": "What a driver writes does not depend on when messages come; `raise` is compared.",
    "suspend": "The port has none.",
    "kexec": "The port is no kernel: a second GicDriver over the same Gic is the caller's.",
    "plug": "The port has every CPU from the start.",
    "unplug": "The port has every CPU to the end.",
}
"""Operations that are not compared, and why."""
TOGETHER = ("begin_vm", "end_vm", "save")
"""What the port does to all vPEs of a VM for one ITS after the other; what each ITS gets is as from Linux."""

_ADDRESS = re.compile(r"((?:VPT|VCONF|ITT)_addr)=0x[0-9a-f]+")
_WITH_ADDRESS = {("GICR", register(name, "4.0").offset): name for name in ("GICR_VPROPBASER", "GICR_VPENDBASER")}
_ADDRESS_BITS = 0xF_FFFF_FFFF_F000


class BesideThePort(Comparison):
    """Linux and the port, step by step. Steps that make no sense where they stand, or are `MEANT`, are left out."""

    def __init__(self, machine: HostMachine, source: KernelSource) -> None:
        self.expected = Expected(machine)
        self.linux = LinuxHost(machine, source, records=True)
        self.port = PortHost(machine, records=True)
        self.outcomes = Counter()
        for host in (self.linux, self.port):
            host.boot()
            host.bus.take_written()

    def run(self, steps: Sequence[Step]) -> None:
        """Results and streams of every step."""
        for step in steps:
            if isinstance(step, Event) and step.verb not in MEANT and self.expected.makes_sense(step):
                self._step(step)

    def check(self) -> None:
        """What is pending for every vPE."""
        for key, vpe in self.expected.vpes():
            for host in (self.linux, self.port):
                if (pending := host.pending(*key)) != sorted(vpe.pending):
                    raise Divergence(f"pending for vCPU {key[1]}", f"is {pending}", f"should be {sorted(vpe.pending)}")

    def close(self) -> None:
        """Unload Linux."""
        self.linux.close()

    def _step(self, step: Event) -> None:
        verb, values = step
        self.outcomes[verb, "OK"] += 1
        if self.expected.takes_interrupts_before(verb):
            self._step(Event("interrupts", ()))
        for before in self._first(step):
            self._both(before)
        if verb == "save":
            self._save(*values)
        else:
            result = self._both(step)
            follow = self.expected.raised if verb == "raise" else getattr(self.expected, verb)
            rang = follow(result, *values)
            for vpe in rang or ():
                self._both(Event("take_doorbell", vpe))

    def _first(self, step: Event) -> list[Event]:
        """KVM ends forwarding and vSGIs before a VM; an interrupt that is freed is unmasked.

        Linux' irq core does not mask what is masked; the port's `lpis.deactivate` always disables.
        """
        verb, values = step
        first: list[Event] = []
        if verb == "free" and self.expected.makes_sense(unmask := Event("mask", (*values, 0))):
            first = [unmask]
        if verb == "end_vm":
            first = [Event("unforward", event) for event in self.expected.forwarded_to(*values)]
            first += (Event("end_vsgi", (*values, *vsgi)) for vsgi in self.expected.vsgis_of(*values))
        for each in first:
            getattr(self.expected, each.verb)(0, *each.values)
        return first

    def _save(self, vm: int) -> None:
        vcpus = range(len(self.expected.vms[vm].vpes))
        self._both(Event("unmap_vpes", (vm,)), "save")
        tables = [self.linux.pending_in_ram(vm, vcpu) for vcpu in vcpus]
        self._both(Event("map_vpes", (vm,)), "save")
        self.expected.saved(tables, vm)

    def _both(self, step: Event, verb: str = "") -> Any:
        """Let both do it; what they write and return must be the same."""
        linux = self._do(self.linux, step, 0)
        port = self._do(self.port, step, linux)
        _agree(f"result of {step.verb}", linux, port)
        streams = (_comparable(host.bus.take_written(), verb or step.verb) for host in (self.linux, self.port))
        _compare_streams(verb or step.verb, *streams)
        return linux

    def _do(self, host: Host, step: Event, chosen: Any) -> Any:
        verb, values = step
        try:
            if verb == "request":
                its, device_id, event_id = values
                return host.request(its, device_id, event_id, chosen)
            if verb == "raise":
                return host.raised(*values)
            if verb == "take":
                cpu = self.expected.vpe((values[0], values[1])).cpu
                assert cpu is not None
                return host.taken_by_guest(cpu)
            return getattr(host, verb)(*values)
        except (HostFailure, DriverError) as failure:
            raise Divergence(f"the driver's {verb}", f"{type(host).__name__}: {failure}") from None


def _comparable(written: list[str], verb: str) -> list[str]:
    """A stream without addresses, and what is done together in the order of frames."""
    plain = [_without_addresses(line) for line in written]
    return sorted(plain, key=lambda line: line.split("+")[0].split()[0]) if verb in TOGETHER else plain


def _without_addresses(line: str) -> str:
    frame, plus, rest = line.partition("+")
    if not plus:
        return _ADDRESS.sub(r"\1=@", line)
    offset, value = (int(text, 16) for text in rest.split())
    if (name := _WITH_ADDRESS.get((frame[:4], offset))) is not None:
        return f"{frame} {name} {value & ~_ADDRESS_BITS:#x}"
    return line


def _compare_streams(verb: str, linux: list[str], port: list[str]) -> None:
    if linux == port:
        return
    at = next(
        (n for n, pair in enumerate(zip(linux, port, strict=False)) if pair[0] != pair[1]), min(len(linux), len(port))
    )
    sides = (
        f"{name} {side[at] if at < len(side) else 'nothing more'}" for name, side in (("Linux", linux), ("port", port))
    )
    raise Divergence(f"what {verb} writes", f"number {at}", *sides)


def _agree(what: str, linux: object, port: object) -> None:
    if linux != port:
        raise Divergence(what, f"Linux {linux}", f"port {port}")


class LinuxPort(LinuxDriver):
    """`gicmodel.driver` and the ITS driver of a kernel's source."""

    name: ClassVar[str] = "linux-port"

    def program(self, random: np.random.Generator, architecture: str, commands: int) -> Program:
        """A host's life, in which KVM also changes configuration without having it read."""
        machine = draw_machine(random, architecture)
        # What a redistributor retains does not show in what drivers write.
        machine = HostMachine(replace(machine.config, caching="none"))
        return Program(self.name, machine, tuple(draw_steps(random, machine, commands, invs=(0, 1))))

    def start(self, machine: Any) -> BesideThePort:  # type: ignore[override]
        """Boot both. Raises UnusableInput without a source or a compiler."""
        return BesideThePort(machine, self.source)


PEER = LinuxPort()
