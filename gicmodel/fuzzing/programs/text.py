# SPDX-License-Identifier: Apache-2.0
"""Programs as text: a header with the version, the peer and the machine, then one step a line.

    gicmodel fuzz program, version 1
    # ICC_IAR1 of 0: hardware 1023, oracle 8192
    against oracle
    config architecture=4.1 redistributors=2
    tables page_size=0 indirect=0 pages=1

    MAPD its=0 Size=0x3 ITT_addr=0x88000000 V=1 DeviceID=0x0
    translate its=0 DeviceID=0x0 EventID=0x1
    words its=0 0x7f 0x0 0x0 0x0

The lines that describe the machine are those of the peer's `Notation`. `words` is a command that has no mnemonic. What
follows `#` is a comment, and empty lines mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.peer import PEERS, peer
from gicmodel.fuzzing.programs.hardware import EVENTS
from gicmodel.fuzzing.programs.notation import Notation, assignments, number, within
from gicmodel.fuzzing.programs.program import CommandStep, CommandWords, Event, Program, Step
from gicmodel.images.files import opened, replacing
from gicmodel.layouts.commands import COMMANDS, OPCODES, format_command, parse_command

VERSION = 1
_TITLE = "gicmodel fuzz program, version "
_MAX_BYTES = 64 << 20
_WORD = 1 << 64


def format_program(program: Program, comment: str = "") -> str:
    """The text of a program, with lines of comment below its title."""
    notation, machine = peer(program.against).notation, program.machine
    described = zip(notation.header, notation.describe(machine), strict=True)
    header = [
        f"{_TITLE}{VERSION}",
        *(f"# {line}" for line in comment.splitlines()),
        f"against {program.against}",
        *(" ".join([line, *words]) for line, words in described),
        "",
    ]
    architecture = notation.architecture(machine)
    return "\n".join([*header, *(format_step(step, architecture, notation.events) for step in program.steps)]) + "\n"


def format_step(step: Step, architecture: str, events: Mapping[str, tuple[str, ...]] = EVENTS) -> str:
    """A step as its line of text."""
    if isinstance(step, Event):
        named = zip(events[step.verb], step.values, strict=True)
        return " ".join([step.verb, *(f"{name}={_shown(value)}" for name, value in named)])
    if step.words[0] & 0xFF not in COMMANDS(architecture) or not _survives(step.words, architecture):
        return " ".join(["words", f"its={step.its}", *map(hex, step.words)])
    mnemonic, *operands = format_command(step.words, architecture).split()
    return " ".join([mnemonic, f"its={step.its}", *operands])


def format_step_of(program: Program, number: int) -> str:
    """Step `number` of a program, from 0, as its line of text."""
    notation = peer(program.against).notation
    return format_step(program.steps[number], notation.architecture(program.machine), notation.events)


def parse_program(text: str, name: str) -> Program:
    """The program of a text.

    Raises:
        UnusableInput: the text is not one of this version; the message names `name` and the line.
    """
    lines = _Lines(text, name)
    lines.expect_title()
    against = lines.next_of("against", _against)
    notation = peer(against).notation
    understood = [lines.next_of(line, partial(notation.understand, line)) for line in notation.header]
    machine = lines.understood(lambda _: notation.machine(*understood), [])
    parse = partial(
        _step, notation=notation, architecture=notation.architecture(machine), bounds=notation.limits(machine)
    )
    steps = [lines.understood(parse, line.split()) for line in lines]
    return Program(against, machine, tuple(steps))


def read_program(path: Path) -> Program:
    """The program in a file; errors as `parse_program`, or UnusableInput if the file cannot be read."""
    with opened(path) as file:
        octets = file.read(_MAX_BYTES + 1)
    if len(octets) > _MAX_BYTES:
        raise UnusableInput(f"{path}: has more than {_MAX_BYTES:#x} bytes: that is no program")
    return parse_program(octets.decode("utf-8", "backslashreplace"), str(path))


def write_program(path: Path, program: Program, comment: str = "") -> None:
    """Write a program to a file, which is replaced as a whole. Raises UnusableInput if it cannot be written."""
    with replacing(path) as file:
        file.write(format_program(program, comment).encode())


class _Lines(Iterator[str]):
    """The lines that say something, with the number of the one that was taken last for messages."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._number = 0
        self._rest = iter(text.split("\n"))

    def __next__(self) -> str:
        for line in self._rest:
            self._number += 1
            if said := line.partition("#")[0].strip():
                return said
        raise StopIteration

    def understood(self, parse: Callable[[list[str]], Any], words: list[str]) -> Any:
        """What `parse` makes of the words of a line; its ValueError becomes UnusableInput that names the line."""
        try:
            return parse(words)
        except (ValueError, MemoryError) as error:
            raise UnusableInput(f"{self._name}:{max(self._number, 1)}: {error}") from None

    def expect_title(self) -> None:
        """The first line says what this is, and which version."""
        self.understood(_check_title, next(self, "").split())

    def next_of(self, keyword: str, parse: Callable[[list[str]], Any]) -> Any:
        """The values of the next line, which begins with a keyword."""
        first, *rest = next(self, "").split() or [""]
        self.understood(lambda _: _check_keyword(first, keyword), rest)
        return self.understood(parse, rest)


def _check_title(words: list[str]) -> None:
    line = " ".join(words)
    if not line.startswith(_TITLE):
        raise ValueError(f"{line!r:.60} is not {_TITLE + str(VERSION)!r}: this is no fuzz program")
    if line != f"{_TITLE}{VERSION}":
        raise ValueError(f"version {line.removeprefix(_TITLE)!r:.20} of fuzz programs; only {VERSION} is known")


def _check_keyword(word: str, keyword: str) -> None:
    if word != keyword:
        raise ValueError(f"{word!r:.60} where {keyword!r} is needed")


def _against(words: list[str]) -> str:
    if len(words) != 1 or words[0] not in PEERS:
        raise ValueError(f"against one of {', '.join(PEERS)}, not {' '.join(words)!r:.60}")
    return words[0]


def _step(words: list[str], notation: Notation[Any], architecture: str, bounds: dict[str, range]) -> Step:
    verb, *rest = words
    if verb in notation.events:
        return _event(verb, rest, notation.events[verb], bounds)
    if verb != "words" and verb not in OPCODES:
        raise ValueError(f"{verb!r:.60} is neither a command nor an event")
    first, *operands = rest or [""]
    name, _, text = first.partition("=")
    if name != "its":
        raise ValueError(f"{first!r:.60} where its= and the number of an ITS is needed")
    its = within("its", number(text), bounds["its"])
    if verb == "words":
        return CommandStep(its, _four_words(operands))
    return CommandStep(its, parse_command(" ".join([verb, *operands]), architecture))


def _event(verb: str, words: list[str], names: tuple[str, ...], bounds: dict[str, range]) -> Event:
    values = {name: within(name, number(text), bounds[name]) for name, text in assignments(words, names)}
    if len(values) != len(names):
        raise ValueError(f"{verb} needs {', '.join(names)}")
    return Event(verb, tuple(values[name] for name in names))


def _four_words(texts: list[str]) -> CommandWords:
    values = tuple(within("word", number(text), range(_WORD)) for text in texts)
    if len(values) != 4:
        raise ValueError(f"{len(values)} words where a command has four")
    return values


def _shown(value: int) -> str:
    return str(value) if value < 10 else hex(value)


def _survives(words: CommandWords, architecture: str) -> bool:
    """Whether the text of a command has every bit of it."""
    return parse_command(format_command(words, architecture), architecture) == words
