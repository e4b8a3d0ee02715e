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

`config` has the fields of `GicConfig` that are not its defaults. `words` is a command that has no mnemonic. What
follows `#` is a comment, and empty lines mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.comparison import PEERS
from gicmodel.fuzzing.hypothesis.strategies import Geometry
from gicmodel.fuzzing.program import EVENTS, Command, CommandWords, Event, Machine, Program, Step, limits
from gicmodel.images.files import opened, replacing
from gicmodel.layouts.commands import COMMANDS, OPCODES, format_command, parse_command

VERSION = 1
_TITLE = "gicmodel fuzz program, version "
_MAX_BYTES = 64 << 20
_WORD = 1 << 64
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}", re.ASCII)
_DEFAULTS = GicConfig()
_NO_CHOICE = "commands_per_step"
"""A comparison looks at queues that have run to their ends."""
_PAGE_SIZES = 3
_MOST_PAGES = 4


def format_program(program: Program, comment: str = "") -> str:
    """The text of a program, with lines of comment below its title."""
    config, geometry = program.machine.config, program.machine.geometry
    tables = f"page_size={geometry.page_size} indirect={int(geometry.indirect)} pages={geometry.pages}"
    header = [
        f"{_TITLE}{VERSION}",
        *(f"# {line}" for line in comment.splitlines()),
        f"against {program.against}",
        " ".join(["config", *_choices(config)]),
        f"tables {tables}",
        "",
    ]
    return "\n".join([*header, *(format_step(step, config.architecture) for step in program.steps)]) + "\n"


def format_step(step: Step, architecture: str) -> str:
    """A step as its line of text."""
    if isinstance(step, Event):
        named = zip(EVENTS[step.verb], step.values, strict=True)
        return " ".join([step.verb, *(f"{name}={_shown(value)}" for name, value in named)])
    if step.words[0] & 0xFF not in COMMANDS(architecture) or not _survives(step.words, architecture):
        return " ".join(["words", f"its={step.its}", *map(hex, step.words)])
    mnemonic, *assignments = format_command(step.words, architecture).split()
    return " ".join([mnemonic, f"its={step.its}", *assignments])


def parse_program(text: str, name: str) -> Program:
    """The program of a text.

    Raises:
        UnusableInput: the text is not one of this version; the message names `name` and the line.
    """
    lines = _Lines(text, name)
    lines.expect_title()
    against = lines.next_of("against", _against)
    config = lines.next_of("config", _config)
    geometry = lines.next_of("tables", _geometry)
    machine = Machine(config, geometry)
    bounds = limits(machine)
    steps = [lines.understood(lambda words: _step(words, machine, bounds), line.split()) for line in lines]
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


def _config(words: list[str]) -> GicConfig:
    known = {field.name: getattr(_DEFAULTS, field.name) for field in fields(GicConfig) if field.name != _NO_CHOICE}
    choices: dict[str, Any] = {}
    for name, text in _assignments(words, known):
        default = known[name]
        choices[name] = text if isinstance(default, str) else _number(text)
        if isinstance(default, bool):
            choices[name] = bool(_in(name, choices[name], range(2)))
    return GicConfig(**choices)


def _geometry(words: list[str]) -> Geometry:
    known = {"page_size": range(_PAGE_SIZES), "indirect": range(2), "pages": range(1, _MOST_PAGES)}
    values = {name: _in(name, _number(text), known[name]) for name, text in _assignments(words, known)}
    if values.keys() != known.keys():
        raise ValueError(f"tables needs {', '.join(known)}")
    return Geometry(values["page_size"], bool(values["indirect"]), values["pages"])


def _step(words: list[str], machine: Machine, bounds: dict[str, range]) -> Step:
    verb, *rest = words
    if verb in EVENTS:
        return _event(verb, rest, bounds)
    if verb != "words" and verb not in OPCODES:
        raise ValueError(f"{verb!r:.60} is neither a command nor an event")
    first, *operands = rest or [""]
    name, _, text = first.partition("=")
    if name != "its":
        raise ValueError(f"{first!r:.60} where its= and the number of an ITS is needed")
    its = _in("its", _number(text), bounds["its"])
    if verb == "words":
        return Command(its, _four(operands))
    return Command(its, _four_words(parse_command(" ".join([verb, *operands]), machine.config.architecture)))


def _event(verb: str, words: list[str], bounds: dict[str, range]) -> Event:
    names = EVENTS[verb]
    values = {name: _in(name, _number(text), bounds[name]) for name, text in _assignments(words, names)}
    if len(values) != len(names):
        raise ValueError(f"{verb} needs {', '.join(names)}")
    return Event(verb, tuple(values[name] for name in names))


def _four(texts: list[str]) -> CommandWords:
    return _four_words(tuple(_in("word", _number(text), range(_WORD)) for text in texts))


def _four_words(values: tuple[int, ...]) -> CommandWords:
    if len(values) != 4:
        raise ValueError(f"{len(values)} words where a command has four")
    return values[0], values[1], values[2], values[3]


def _assignments(words: list[str], known: Any) -> Iterator[tuple[str, str]]:
    """(name, text) of each word; a name must be known and come once."""
    seen = set()
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known or name in seen:
            raise ValueError(f"{word!r:.60} is not one of {', '.join(known)}, '=' and a value, given once")
        seen.add(name)
        yield name, text


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r:.60} is not a number")
    return int(text, 16 if text.startswith("0x") else 10)


def _in(name: str, value: int, allowed: range) -> int:
    if value not in allowed:
        raise ValueError(f"{name}={value:#x} is not from {allowed.start:#x} to {allowed.stop - 1:#x}")
    return value


def _choices(config: GicConfig) -> Iterator[str]:
    for field in fields(config):
        value = getattr(config, field.name)
        if value != getattr(_DEFAULTS, field.name) or field.name == "architecture":
            yield f"{field.name}={value if isinstance(value, str) else int(value)}"


def _shown(value: int) -> str:
    return str(value) if value < 10 else hex(value)


def _survives(words: CommandWords, architecture: str) -> bool:
    """Whether the text of a command has every bit of it."""
    return parse_command(format_command(words, architecture), architecture) == words
