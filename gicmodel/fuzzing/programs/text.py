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

The lines that describe the machine are its own. `words` is a command that has no mnemonic. What
follows `#` is a comment, and empty lines mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.peer import PEERS, peer
from gicmodel.fuzzing.programs.program import (
    CommandStep,
    CommandWords,
    Event,
    Machine,
    Program,
    Step,
    number,
    numbers,
    within,
)
from gicmodel.images.files import opened, replacing
from gicmodel.layouts.commands import COMMANDS, OPCODES, format_command, parse_command

VERSION = 1
_TITLE = "gicmodel fuzz program, version "
_MAX_BYTES = 64 << 20
_WORD = 1 << 64


def format_program(program: Program, comment: str = "") -> str:
    """The text of a program, with lines of comment below its title."""
    header = [
        f"{_TITLE}{VERSION}",
        *(f"# {line}" for line in comment.splitlines()),
        f"against {program.against}",
        *map(" ".join, program.machine.describe()),
        "",
    ]
    return "\n".join([*header, *(format_step(step, program.machine) for step in program.steps)]) + "\n"


def format_step(step: Step, machine: Machine) -> str:
    """A step of a program for a machine as its line of text."""
    if isinstance(step, Event):
        named = machine.fields(step).items()
        return " ".join([step.verb, *(f"{name}={_shown(value)}" for name, value in named)])
    architecture = machine.command_set
    if step.words[0] & 0xFF not in COMMANDS(architecture) or not _survives(step.words, architecture):
        return " ".join(["words", f"its={step.its}", *map(hex, step.words)])
    mnemonic, *operands = format_command(step.words, architecture).split()
    return " ".join([mnemonic, f"its={step.its}", *operands])


def parse_program(text: str, name: str) -> Program:
    """The program of a text.

    Raises:
        UnusableInput: the text is not one of this version; the message names `name` and the line.
    """
    lines = _Lines(text)
    try:
        return _program(lines)
    except (ValueError, MemoryError) as error:
        raise UnusableInput(f"{name}:{max(lines.number, 1)}: {error}") from None


def _program(lines: _Lines) -> Program:
    _check_title(next(lines, ""))
    against = _against(lines.after("against"))
    machine = peer(against).machines.described(lines.after)
    bounds = machine.limits()
    return Program(against, machine, tuple(_step(line.split(), machine, bounds) for line in lines))


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
    """The lines that say something, with the `number` of the one that was taken last for messages."""

    def __init__(self, text: str) -> None:
        self.number = 0
        self._rest = iter(text.split("\n"))

    def __next__(self) -> str:
        for line in self._rest:
            self.number += 1
            if said := line.partition("#")[0].strip():
                return said
        raise StopIteration

    def after(self, keyword: str) -> list[str]:
        """The other words of the next line, which must begin with a keyword, else ValueError."""
        first, *rest = next(self, "").split() or [""]
        if first != keyword:
            raise ValueError(f"{first!r:.60} where {keyword!r} is needed")
        return rest


def _check_title(said: str) -> None:
    line = " ".join(said.split())
    if not line.startswith(_TITLE):
        raise ValueError(f"{line!r:.60} is not {_TITLE + str(VERSION)!r}: this is no fuzz program")
    if line != f"{_TITLE}{VERSION}":
        raise ValueError(f"version {line.removeprefix(_TITLE)!r:.20} of fuzz programs; only {VERSION} is known")


def _against(words: list[str]) -> str:
    if len(words) != 1 or words[0] not in PEERS:
        raise ValueError(f"against one of {', '.join(PEERS)}, not {' '.join(words)!r:.60}")
    return words[0]


def _step(words: list[str], machine: Machine, bounds: dict[str, range]) -> Step:
    verb, *rest = words
    if verb in machine.events:
        names = machine.events[verb]
        values = numbers(verb, rest, {name: bounds[name] for name in names})
        return Event(verb, tuple(values[name] for name in names))
    if verb != "words" and verb not in OPCODES:
        raise ValueError(f"{verb!r:.60} is neither a command nor an event")
    first, *operands = rest or [""]
    name, _, text = first.partition("=")
    if name != "its":
        raise ValueError(f"{first!r:.60} where its= and the number of an ITS is needed")
    its = within("its", number(text), bounds["its"])
    if verb == "words":
        return CommandStep(its, _four_words(operands))
    return CommandStep(its, parse_command(" ".join([verb, *operands]), machine.command_set))


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
