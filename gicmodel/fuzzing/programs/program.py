# SPDX-License-Identifier: Apache-2.0
"""Fuzzing programs: a machine and the steps that both sides of a comparison are given.

A step is an ITS command, or an `Event`: a register write, a byte of configuration, an acknowledge. Any part of a
program is a program: a step that makes no sense where it stands does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

CommandWords = tuple[int, ...]
"""The four 64-bit words of a command."""


class CommandStep(NamedTuple):
    """A command for the queue of an ITS."""

    its: int
    words: CommandWords


class Event(NamedTuple):
    """What else may happen: one of the events of the program's `Notation`, and the values of its fields."""

    verb: str
    values: tuple[int, ...]


Step = CommandStep | Event


@dataclass(frozen=True)
class Program:
    """Steps for a machine of whatever kind the peer of that name has."""

    against: str
    machine: Any
    steps: tuple[Step, ...]

    @property
    def commands(self) -> int:
        """How many steps are ITS commands."""
        return list(map(type, self.steps)).count(CommandStep)

    def of(self, steps: Sequence[Step]) -> Program:
        """Other steps for the same machine and peer."""
        return Program(self.against, self.machine, tuple(steps))


def runs(steps: Sequence[Step]) -> Iterator[tuple[int, list[CommandWords]] | Event]:
    """The steps with commands in a row for one ITS, which can be written at once, put together as (ITS, commands)."""
    its, commands = -1, list[CommandWords]()
    for step in steps:
        if isinstance(step, CommandStep) and step.its == its:
            commands.append(step.words)
            continue
        if commands:
            yield its, commands
        if isinstance(step, CommandStep):
            its, commands = step.its, [step.words]
        else:
            its, commands = -1, []
            yield step
    if commands:
        yield its, commands
