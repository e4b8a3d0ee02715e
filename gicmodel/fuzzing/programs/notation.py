# SPDX-License-Identifier: Apache-2.0
"""How the programs of a peer are written, and made simpler: one `Notation` for each kind of machine they run on."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Generic, TypeVar

from gicmodel.fuzzing.programs.program import CommandStep, Event, Program, Step
from gicmodel.layouts.commands import COMMANDS

M = TypeVar("M")

_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}", re.ASCII)


class Notation(ABC, Generic[M]):
    """Programs for machines of the type `M`.

    `events` has the fields of each event. Fields that are `names` may take each other's values wherever these are, none
    less than its `least`; those of one command that are `simplified` may become 0 by themselves, and each bit of those
    of an event that are `bits`.
    """

    events: ClassVar[Mapping[str, tuple[str, ...]]]
    names: ClassVar[tuple[str, ...]]
    least: ClassVar[Mapping[str, int]] = {}
    simplified: ClassVar[tuple[str, ...]] = ()
    bits: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def architecture(self, machine: M) -> str:
        """Which commands there are."""

    @abstractmethod
    def limits(self, machine: M) -> dict[str, range]:
        """The values that each field of an event may have."""

    @abstractmethod
    def describe(self, machine: M) -> Iterator[list[str]]:
        """The words of each line that describes a machine."""

    @abstractmethod
    def machine(self, line: Callable[[str], list[str]]) -> M:
        """The machine that lines describe: `line` gives the words of the next one, but for the first, which it is told.

        ValueError says why the words mean nothing, or what of the machine there cannot be.
        """

    @abstractmethod
    def simpler_machines(self, program: Program) -> Iterator[M]:
        """Machines on which the program may fail as well."""

    def renamed(self, program: Program) -> Iterable[str]:
        """Those `names` whose values may change in this program."""
        return self.names

    def operations(self, program: Program) -> int:
        """How long a program is: its ITS commands."""
        return program.commands

    # Steps as their fields.

    def fields(self, step: Step, machine: M) -> dict[str, int]:
        """The fields of a step by name; of a command also `its`, and nothing else if its opcode is unknown."""
        if isinstance(step, Event):
            return dict(zip(self.events[step.verb], step.values, strict=True))
        layout = COMMANDS(self.architecture(machine)).get(step.words[0] & 0xFF)
        return {"its": step.its} | (layout.unpack(step.words) if layout else {})

    def replaced(self, step: Step, machine: M, fields: dict[str, int]) -> Step:
        """A step with these fields; a command has no RES0 bit set, but if its opcode is unknown all that it had."""
        if isinstance(step, Event):
            return Event(step.verb, tuple(fields.values()))
        layout = COMMANDS(self.architecture(machine)).get(step.words[0] & 0xFF)
        if layout is None:
            return CommandStep(fields["its"], step.words)
        values = {name: value for name, value in fields.items() if name != "its"}
        return CommandStep(fields["its"], layout.pack_words(**values))

    def is_possible(self, program: Program) -> bool:
        """Whether the machine has what the events name."""
        bounds = self.limits(program.machine)
        events = (self.fields(step, program.machine) for step in program.steps if isinstance(step, Event))
        return all(value in bounds[name] for event in events for name, value in event.items())


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
