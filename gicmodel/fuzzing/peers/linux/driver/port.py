# SPDX-License-Identifier: Apache-2.0
"""`gicmodel.driver` beside the driver that it is a port of: the same operations, the same commands and register writes.

Each drives a GIC of its own, and addresses in RAM are not compared: each has its own allocator. What is meant to differ
is in `MEANT`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gicmodel.driver.errors import DriverError
from gicmodel.fuzzing.peers.linux.driver.as_expected import INTERRUPTS, AsExpected
from gicmodel.fuzzing.peers.linux.driver.draw import draw_machine, draw_steps
from gicmodel.fuzzing.peers.linux.driver.host import Host, HostFailure
from gicmodel.fuzzing.peers.linux.driver.linux_host import LinuxHost
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.peers.linux.driver.port_host import PortHost
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.program import Event, Program
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


class BesideThePort(AsExpected):
    """Linux and the port, step by step: what they return and write. Steps that are `MEANT` are left out."""

    def __init__(self, machine: HostMachine, source: KernelSource) -> None:
        self.linux = LinuxHost(machine, source, records=True)
        self.port = PortHost(machine, records=True)
        super().__init__(machine, [self.linux, self.port])
        for host in self.hosts:
            host.do("boot")
            host.bus.take_written()

    def close(self) -> None:
        """Unload Linux."""
        self.linux.close()

    def _makes_sense(self, step: Event) -> bool:
        return step.verb not in MEANT and super()._makes_sense(step)

    def _first_interrupts(self) -> None:
        self._step(INTERRUPTS)

    def _free(self, step: Event) -> None:
        """Linux' irq core does not mask what is masked; the port's `lpis.deactivate` always disables."""
        if self.sense.makes_sense(unmask := Event("mask", (*step.values, 0))):
            self._plain(unmask)
        self._plain(step)

    def _all(self, verb: str, *values: int) -> Any:
        """Let both do it; what they write and return must be the same. The port's caller chooses the CPU, as Linux."""
        linux = _do(self.linux, verb, *values)
        port = _do(self.port, verb, *values, *([linux] if verb == "request" else []))
        if linux != port:
            raise Divergence(f"result of {verb}", f"Linux {linux}", f"port {port}")
        part_of = "save" if verb in ("unmap_vpes", "map_vpes") else verb
        streams = (_comparable(host.bus.take_written(), part_of) for host in self.hosts)
        _compare_streams(part_of, *streams)
        return linux


def _do(host: Host, verb: str, *values: int) -> Any:
    try:
        return host.do(verb, *values)
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
