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
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CWRITER, queue_bytes
from gicmodel.memory import GuestMemory

READ = CFUNCTYPE(c_uint64, c_uint64, c_int)
WRITE = CFUNCTYPE(None, c_uint64, c_uint64, c_int)
RELAX = CFUNCTYPE(None)
_CBASER, _CWRITER = register("GITS_CBASER").offset, register("GITS_CWRITER").offset


class HostBus(Bus):
    """A GIC over `memory`, and its bus.

    `written` has what was written, commands as their text, if `records`. An exception of the model cannot pass through
    C: it is kept in `raised`.
    """

    def __init__(self, machine: HostMachine, memory: GuestMemory, records: bool = False) -> None:
        self.gic = Gic(machine.config, memory)
        self.late = LateGic(self.gic) if machine.late else None
        super().__init__(self.late or self.gic)
        self.written: list[str] = []
        self.raised: BaseException | None = None
        self._records = records
        self._queue_ends: dict[str, int] = {}
        self._arrival: tuple[int, Callable[[], None]] | None = None
        self.callbacks: list[Any] = [READ(self._kept(self.read, 0)), WRITE(self._kept(self.write, None))]
        self.callbacks.append(RELAX(self._kept(self.relax, None)))

    def write(self, address: int, value: int, size: int, *, device_id: int = 0) -> None:
        """A write of a register."""
        if self._records:
            self._record(address, value, size)
        super().write(address, value, size, device_id=device_id)

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

    def _record(self, address: int, value: int, size: int) -> None:
        region = self.region(address, size)
        offset = address - region.base
        if region.its is not None and offset == _CWRITER:
            self._record_commands(region.name, GITS_CWRITER.unpack(value)["Offset"])
            return
        if region.its is not None and offset == _CBASER:
            self._queue_ends[region.name] = 0
        self.written.append(f"{region.name}+{offset:#x} {value:#x}")

    def _record_commands(self, name: str, end: int) -> None:
        queue = GITS_CBASER.unpack(self.gic.its[int(name.removeprefix("GITS"))].read(_CBASER, 8))
        at = self._queue_ends.get(name, 0)
        while at != end:
            words = self.gic.memory.view(queue["Physical_Address"] + at, COMMAND_BYTES // 8, np.uint64)
            self.written.append(f"{name} {format_command(words, self.gic.config.architecture)}")
            at = (at + COMMAND_BYTES) % queue_bytes(queue)
        self._queue_ends[name] = end

    def _kept(self, function: Callable[..., Any], otherwise: Any) -> Callable[..., Any]:
        def called(*arguments: int) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self.raised = self.raised or error
                return otherwise

        return called
