# SPDX-License-Identifier: Apache-2.0
"""Fuzzing programs: a machine and the steps that both sides of a comparison are given; `text` writes them.

A step is an ITS command, or an `Event`: a register write, a byte of configuration, an acknowledge. Any part of a
program is a program: a step that makes no sense where it stands does nothing.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, NamedTuple, Self

from gicmodel.layouts.commands import COMMANDS

_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}", re.ASCII)

CommandWords = tuple[int, ...]
"""The four 64-bit words of a command."""


class CommandStep(NamedTuple):
    """A command for the queue of an ITS."""

    its: int
    words: CommandWords


class Event(NamedTuple):
    """What else may happen: one of the `events` of the program's machine, and the values of its fields."""

    verb: str
    values: tuple[int, ...]


Step = CommandStep | Event


class Machine(ABC):
    """What a program runs on, what may happen to it, and how both are written and made simpler.

    `events` has the fields of each event. Fields that are `names` may take each other's values wherever these are, none
    less than its `least`; those of one command that are `simplified` may become 0 by themselves, and each bit of those
    of an event that are `bits`. Programs are as long as they have ITS commands, or if `counts_events` steps.
    """

    events: ClassVar[Mapping[str, tuple[str, ...]]]
    names: ClassVar[tuple[str, ...]]
    least: ClassVar[Mapping[str, int]] = {}
    simplified: ClassVar[tuple[str, ...]] = ()
    bits: ClassVar[tuple[str, ...]] = ()
    counts_events: ClassVar[bool] = False

    @property
    @abstractmethod
    def command_set(self) -> str:
        """The architecture whose ITS commands it takes."""

    @abstractmethod
    def limits(self) -> dict[str, range]:
        """The values that each field of an event may have."""

    @abstractmethod
    def describe(self) -> Iterator[list[str]]:
        """The words of each line that describes it."""

    @classmethod
    @abstractmethod
    def described(cls, line: Callable[[str], list[str]]) -> Self:
        """The machine that lines describe: `line` gives the words of the next one, but for the first, which it is told.

        ValueError says why the words mean nothing, or what of the machine there cannot be.
        """

    @abstractmethod
    def simpler(self, steps: Sequence[Step]) -> Iterator[Self]:
        """Machines on which a program that fails may fail as well."""

    def renamed(self) -> tuple[str, ...]:
        """Those `names` whose values may change."""
        return self.names

    # Steps as their fields.

    def fields(self, step: Step) -> dict[str, int]:
        """The fields of a step by name; of a command also `its`, and nothing else if its opcode is unknown."""
        if isinstance(step, Event):
            return dict(zip(self.events[step.verb], step.values, strict=True))
        layout = COMMANDS(self.command_set).get(step.words[0] & 0xFF)
        return {"its": step.its} | (layout.unpack(step.words) if layout else {})

    def replaced(self, step: Step, fields: dict[str, int]) -> Step:
        """A step with these fields; a command has no RES0 bit set, but if its opcode is unknown all that it had."""
        if isinstance(step, Event):
            return Event(step.verb, tuple(fields.values()))
        layout = COMMANDS(self.command_set).get(step.words[0] & 0xFF)
        if layout is None:
            return CommandStep(fields["its"], step.words)
        values = {name: value for name, value in fields.items() if name != "its"}
        return CommandStep(fields["its"], layout.pack_words(**values))

    def has_all(self, steps: Sequence[Step]) -> bool:
        """Whether it has what the events name."""
        bounds = self.limits()
        events = (self.fields(step) for step in steps if isinstance(step, Event))
        return all(value in bounds[name] for event in events for name, value in event.items())


@dataclass(frozen=True)
class Program:
    """Steps for a machine of whatever kind the peer of that name has."""

    against: str
    machine: Machine
    steps: tuple[Step, ...]

    @property
    def commands(self) -> int:
        """How many steps are ITS commands."""
        return list(map(type, self.steps)).count(CommandStep)

    @property
    def operations(self) -> int:
        """How long it is."""
        return len(self.steps) if self.machine.counts_events else self.commands

    def of(self, steps: Sequence[Step]) -> Program:
        """Other steps for the same machine and peer."""
        return Program(self.against, self.machine, tuple(steps))


def runs(steps: Sequence[Step]) -> Iterator[tuple[int, list[CommandWords]] | Event]:
    """The steps with commands in a row for one ITS, which can be written at once, put together as (ITS, commands)."""
    for its, together in groupby(steps, lambda step: step[0] if isinstance(step, CommandStep) else None):
        if isinstance(its, int):
            yield its, [words for _, words in together]
        else:
            yield from (step for step in together if isinstance(step, Event))


# How the words of a line say things: `name=value`, with numbers in decimal or hexadecimal.


def assignments(words: list[str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of each word `name=text`; a name must be known and come once, else ValueError."""
    seen = set()
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known or name in seen:
            raise ValueError(f"{word!r:.60} is not one of {', '.join(known)}, '=' and a value, given once")
        seen.add(name)
        yield name, text


def numbers(line: str, words: list[str], known: Mapping[str, range]) -> dict[str, int]:
    """The numbers of a line that gives one to each name. ValueError if it does not, or if one is not in its range."""
    values = {name: within(name, number(text), known[name]) for name, text in assignments(words, known)}
    if len(values) != len(known):
        raise ValueError(f"{line} needs {', '.join(known)}")
    return values


def number(text: str) -> int:
    """A number in decimal or hexadecimal. ValueError if the text is none."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r:.60} is not a number")
    return int(text, 16 if text.startswith("0x") else 10)


def within(name: str, value: int, allowed: range) -> int:
    """The value, if it is allowed. ValueError that names it if not."""
    if value not in allowed:
        raise ValueError(f"{name}={value:#x} is not from {allowed.start:#x} to {allowed.stop - 1:#x}")
    return value
