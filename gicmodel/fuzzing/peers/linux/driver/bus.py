# SPDX-License-Identifier: Apache-2.0
"""The registers of a host's GIC as C code reaches them, what was written to them, and time."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_int, c_uint64
from typing import Any

import numpy as np

from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Bus
from gicmodel.lab.late import LateGic
from gicmodel.layouts.commands import COMMAND_BYTES, format_command
from gicmodel.layouts.registers.by_name import RegisterFrame, register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CWRITER
from gicmodel.memory import PAGE_BYTES, GuestMemory

READ = CFUNCTYPE(c_uint64, c_uint64, c_int)
WRITE = CFUNCTYPE(None, c_uint64, c_uint64, c_int)
RELAX = CFUNCTYPE(None)
_FRAME_SHIFT = 16
_CBASER, _CWRITER = register("GITS_CBASER").offset, register("GITS_CWRITER").offset


class HostBus:
    """A GIC over `memory`, at the addresses of `hardware.bus.Bus`.

    `written` has what was written, commands as their text, if `records`. An exception of the model cannot pass through
    C: it is kept in `raised`.
    """

    def __init__(self, machine: HostMachine, memory: GuestMemory, records: bool = False) -> None:
        self.gic = Gic(machine.config, memory)
        self.late = LateGic(self.gic) if machine.late else None
        self.bus = Bus(self.gic)
        self.written: list[str] = []
        self.raised: BaseException | None = None
        self._records = records
        self._queue_ends: dict[str, int] = {}
        self._arrival: tuple[int, Callable[[], None]] | None = None
        faces: list[RegisterFrame] = [self.gic.distributor, *self._redistributors, *self._its]
        names = ["GICD", *(f"GICR{n}" for n in range(machine.config.redistributors))]
        names += (f"GITS{n}" for n in range(machine.config.its))
        self._frames: dict[int, tuple[str, int, RegisterFrame]] = {}
        for name, face in zip(names, faces, strict=True):
            region = next(each for each in self.bus.regions if each.name == name)
            for base in range(region.base, region.base + region.size, 1 << _FRAME_SHIFT):
                self._frames[base >> _FRAME_SHIFT] = name, region.base, face
        self.callbacks: list[Any] = [READ(self._kept(self.read, 0)), WRITE(self._kept(self.write, None))]
        self.callbacks.append(RELAX(self._kept(self.relax, None)))

    @property
    def _redistributors(self) -> list[Any]:
        return self.late.redistributors if self.late else self.gic.redistributors

    @property
    def _its(self) -> list[Any]:
        return self.late.its if self.late else self.gic.its

    def read(self, address: int, size: int) -> int:
        """A read. KeyError: there is nothing."""
        _, base, face = self._frames[address >> _FRAME_SHIFT]
        return int(face.read(address - base, size))

    def write(self, address: int, value: int, size: int) -> None:
        """A write; errors as of `read`."""
        name, base, face = self._frames[address >> _FRAME_SHIFT]
        if self._records:
            self._record(name, address - base, value)
        face.write(address - base, value, size)

    def relax(self) -> None:
        """Time passes: a poll of the driver."""
        self.gic.step()
        if self._arrival is not None:
            polls, deliver = self._arrival
            self._arrival = polls - 1, deliver
            if not polls:
                self.arrive()

    def arrive_after(self, polls: int, deliver: Callable[[], None]) -> None:
        """Call `deliver` once, when the driver has polled so often and once more, or at `arrive`."""
        self._arrival = polls, deliver

    def arrive(self) -> None:
        """What has not come yet comes now."""
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival[1]()

    def take_written(self) -> list[str]:
        """What was written since the last call."""
        written, self.written = self.written, []
        return written

    def _record(self, name: str, offset: int, value: int) -> None:
        if name.startswith("GITS") and offset == _CWRITER:
            self._record_commands(name, GITS_CWRITER.unpack(value)["Offset"])
            return
        if name.startswith("GITS") and offset == _CBASER:
            self._queue_ends[name] = 0
        self.written.append(f"{name}+{offset:#x} {value:#x}")

    def _record_commands(self, name: str, end: int) -> None:
        queue = GITS_CBASER.unpack(self.gic.its[int(name.removeprefix("GITS"))].read(_CBASER, 8))
        at = self._queue_ends.get(name, 0)
        while at != end:
            words = self.gic.memory.view(queue["Physical_Address"] + at, COMMAND_BYTES // 8, np.uint64)
            self.written.append(f"{name} {format_command(words, self.gic.config.architecture)}")
            at = (at + COMMAND_BYTES) % ((queue["Size"] + 1) * PAGE_BYTES)
        self._queue_ends[name] = end

    def _kept(self, function: Callable[..., Any], otherwise: Any) -> Callable[..., Any]:
        def called(*arguments: int) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self.raised = self.raised or error
                return otherwise

        return called
