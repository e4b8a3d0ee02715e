# SPDX-License-Identifier: Apache-2.0
"""`gicmodel.driver` beside the driver that it is a port of: the same operations, the same commands and register writes.

Each drives a GIC of its own, and addresses in RAM are not compared: each has its own allocator. What is meant to differ
is in `MEANT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np

from gicmodel.driver.errors import DriverError
from gicmodel.fuzzing.peers.linux.driver.as_expected import INTERRUPTS, AsExpected
from gicmodel.fuzzing.peers.linux.driver.draw import draw_machine, draw_steps
from gicmodel.fuzzing.peers.linux.driver.host import Host, HostBus, HostFailure
from gicmodel.fuzzing.peers.linux.driver.linux_host import LinuxHost
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.peers.linux.driver.port_host import PortHost
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.program import Event, Program
from gicmodel.hardware.bus import Region
from gicmodel.layouts.commands import COMMAND_BYTES, format_command
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CWRITER, queue_bytes

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
_CBASER, _CWRITER = register("GITS_CBASER").offset, register("GITS_CWRITER").offset


class Written:
    """What a driver writes, as text without addresses in RAM: registers, and the commands of a queue."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._queue_ends: dict[str, int] = {}

    def note(self, bus: HostBus, address: int, value: int, size: int) -> None:
        """A write that is about to be done."""
        region = bus.region(address, size)
        frame, offset = region.name, address - region.base
        if region.its is not None and offset == _CWRITER:
            self._lines += self._commands(bus, region, GITS_CWRITER.unpack(value)["Offset"])
            return
        if region.its is not None and offset == _CBASER:
            self._queue_ends[frame] = 0
        name = _WITH_ADDRESS.get((frame[:4], offset))
        self._lines.append(
            f"{frame}+{offset:#x} {value:#x}" if name is None else f"{frame} {name} {value & ~_ADDRESS_BITS:#x}"
        )

    def _commands(self, bus: HostBus, its: Region, end: int) -> Iterator[str]:
        queue = GITS_CBASER.unpack(its.face.read(_CBASER, 8))
        at, self._queue_ends[its.name] = self._queue_ends.get(its.name, 0), end
        while at != end:
            words = bus.gic.memory.view(queue["Physical_Address"] + at, COMMAND_BYTES // 8, np.uint64)
            command = format_command(words, bus.gic.config.architecture)
            yield _ADDRESS.sub(r"\1=@", f"{its.name} {command}")
            at = (at + COMMAND_BYTES) % queue_bytes(queue)

    def take(self, verb: str) -> list[str]:
        """The lines since the last time; of what is done together in the order of frames."""
        lines, self._lines = self._lines, []
        return sorted(lines, key=lambda line: line.split("+")[0].split()[0]) if verb in TOGETHER else lines


class BesideThePort(AsExpected):
    """Linux and the port, step by step: what they return and write. Steps that are `MEANT` are left out."""

    def __init__(self, machine: HostMachine, source: KernelSource) -> None:
        self._written = Written(), Written()
        self.linux = LinuxHost(machine, source, self._written[0].note)
        self.port = PortHost(machine, self._written[1].note)
        super().__init__(machine, [self.linux, self.port])
        for host, written in zip(self.hosts, self._written, strict=True):
            host.do("boot")
            written.take("boot")

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
        _compare_streams(part_of, *(written.take(part_of) for written in self._written))
        return linux


def _do(host: Host, verb: str, *values: int) -> Any:
    try:
        return host.do(verb, *values)
    except (HostFailure, DriverError) as failure:
        raise Divergence(f"the driver's {verb}", f"{type(host).__name__}: {failure}") from None


def _compare_streams(verb: str, linux: list[str], port: list[str]) -> None:
    for number, (theirs, ours) in enumerate(zip_longest(linux, port, fillvalue="nothing more")):
        if theirs != ours:
            raise Divergence(f"what {verb} writes", f"number {number}", f"Linux {theirs}", f"port {ours}")


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
