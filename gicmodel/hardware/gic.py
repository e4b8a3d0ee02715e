# SPDX-License-Identifier: Apache-2.0
"""`Gic`: N ITSs, M redistributors with their CPU interfaces, and one RAM."""

from __future__ import annotations

from functools import cached_property

from gicmodel.config import GicConfig
from gicmodel.errors import whole
from gicmodel.hardware.command_errors import CommandError
from gicmodel.hardware.distributor import Distributor
from gicmodel.hardware.its import Its
from gicmodel.hardware.kernels.lines import lines_of
from gicmodel.hardware.kernels.state import (
    CONFIG,
    DIST,
    DIST_AT,
    LOG,
    LOG_AT,
    LOG_ENTRIES,
    LOG_WORDS,
    RD,
    Machine,
    new_machine,
    rd_at,
)
from gicmodel.hardware.lines import Line, LineCallback, Lines
from gicmodel.hardware.redistributor import Redistributor
from gicmodel.images.registers import Registers
from gicmodel.layouts.registers.by_name import ITS_NAMES, REDISTRIBUTOR_NAMES, read_frame
from gicmodel.memory import GuestMemory


class Gic:
    """A GIC over a RAM window. What it holds is in `machine`; what software sees of it is in registers and RAM.

    A `Gic`, with its RAM, ITSs, redistributors and CPU interfaces, belongs to one thread at a time: kernels run without
    the GIL and without locks, and two ITSs whose LPIs go to one redistributor lose some when two threads drive them.
    Threads with a `Gic` each, and a RAM each, run at the same time.
    """

    def __init__(self, config: GicConfig, memory: GuestMemory) -> None:
        self.config = config
        self.memory = memory
        self.machine: Machine = new_machine(config, memory)
        self.distributor = Distributor(config, self.machine)
        self.its = [Its(config, self.machine, number) for number in range(config.its)]
        self.redistributors = [Redistributor(config, self.machine, number) for number in range(config.redistributors)]

    @property
    def errors(self) -> list[CommandError]:
        """The latest command errors, oldest first; at most 1024 are kept."""
        count = int(self.machine.chip[CONFIG.log_count])
        if not count:
            return []
        log = self.machine.chip[LOG_AT : LOG_AT + min(count, LOG_ENTRIES) * LOG_WORDS].reshape(-1, LOG_WORDS).tolist()
        first = count % LOG_ENTRIES if count > LOG_ENTRIES else 0
        return [_error(entry) for entry in (*log[first:], *log[:first])]

    def registers(self) -> Registers:
        """The registers that describe the tables in RAM, by frame: GITS0.., GICR0.., GICD."""
        architecture = self.config.architecture
        virtual = ("VPROPBASER", "VPENDBASER") if self.config.virtual else ()
        frames = {f"GITS{n}": read_frame(its, "GITS", ITS_NAMES, architecture) for n, its in enumerate(self.its)}
        for n, redistributor in enumerate(self.redistributors):
            frames[f"GICR{n}"] = read_frame(redistributor, "GICR", REDISTRIBUTOR_NAMES + virtual, architecture)
        names = ("CTLR", "TYPER", "TYPER2") if self.config.v41 else ("CTLR", "TYPER")
        frames["GICD"] = read_frame(self.distributor, "GICD", names, architecture)
        return frames

    def line(self, pe: int, line: Line) -> bool:
        """Whether an output line of the PE of redistributor `pe` is high now. ValueError: there is none of them."""
        number = whole(pe, "Gic.line: the PE", 0, self.config.redistributors - 1)
        return bool(int(lines_of(self.machine, number)) >> Line(line) & 1)

    def on_line(self, callback: LineCallback) -> None:
        """Call `callback(pe, line, level)` whenever an output line of a PE changes, at the end of what has changed it.

        That is a register access, `step`, a message or an input: any method of a register frame or a CPU interface.
        A callback may make accesses itself; what changes of them is told when it has returned. Lines that are high
        already are not told. Without a callback nothing of this is worked out. RuntimeError, from what made the change:
        callbacks' own accesses change lines without end.
        """
        self._lines.add(callback)

    @cached_property
    def _lines(self) -> Lines:
        lines = Lines(self.machine, self.config.redistributors)
        for its in self.its:
            lines.follow(its, "write", "translate", "translate_many", "step")
        lines.follow(self.distributor, "write", stirs=DIST_AT + DIST.stirred)
        lines.follow(self.distributor, "set_line")
        for face in self.redistributors:
            place = int(rd_at(face.number)) + RD.stirred
            lines.follow(face, "write", stirs=place)
            lines.follow(face, "set_line")
            lines.follow(face.cpu, "read", "write")
            lines.follow(face.cpu, "acknowledge", "take", "acknowledge_virtual", "take_virtual", stirs=place)
        return lines

    def clear_errors(self) -> None:
        """Empty the log."""
        self.machine.chip[CONFIG.log_count] = 0

    def step(self) -> int:
        """Let time pass: each ITS executes at most `commands_per_step` commands; how many were executed in all.

        Without `commands_per_step` the queues have already run to their ends and this executes nothing.
        """
        self.distributor.step()
        for redistributor in self.redistributors:
            redistributor.step()
        budget = self.config.commands_per_step or 0
        return sum(its.step(budget) for its in self.its)


def _error(words: list[int]) -> CommandError:
    """An entry of the log."""
    dw0, dw1, dw2, dw3 = words[LOG.words : LOG.words + 4]
    return CommandError(words[LOG.its], words[LOG.offset], words[LOG.number], (dw0, dw1, dw2, dw3))
