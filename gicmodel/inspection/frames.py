# SPDX-License-Identifier: Apache-2.0
"""The registers that describe a dump: where their values come from, and which of them are missing.

A value is given in a TOML file, as `NAME=VALUE`, or by the last write in a QEMU trace. Frames are `GITS0`, `GICR0`,
`GICD` and, for a guest's RAM, `guest`, as in `gicmodel.registers_file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from gicmodel.errors import UnusableInput
from gicmodel.files import opened
from gicmodel.layouts.registers import (
    GITS_CREADR,
    GITS_CWRITER,
    ITS_REGISTERS,
    REDISTRIBUTOR_REGISTERS,
    REGISTERS,
    register,
)
from gicmodel.registers_file import RD_BASE, Registers

_PAIR = re.compile(
    r"(?P<unit>GITS|GICR|GICD)(?P<number>[0-9]{0,4})_(?P<name>[A-Z0-9]+|RD_base)=(?P<value>\w+)", re.ASCII
)
_TRACED = re.compile(
    rb"gicv3_(?:its|redist)_write GICv3 (?:ITS|redistributor (?P<number>0x[0-9a-f]{1,8}|[0-9]{1,8})) write: "
    rb"offset (?P<offset>0x[0-9a-f]{1,16}) data (?P<data>0x[0-9a-f]{1,16})"
)
_LINE_BYTES = 4096
_KNOWN = {entry.name for entry in REGISTERS} | {f"GICR_{RD_BASE}"}
_OFFSETS = {
    prefix: {entry.offset: entry.name.removeprefix(f"{prefix}_") for entry in entries}
    for prefix, entries in (("GITS", ITS_REGISTERS), ("GICR", REDISTRIBUTOR_REGISTERS))
}


class Missing(NamedTuple):
    """A register that nobody gave, and what cannot be told without it."""

    register: str
    disables: str


class Frames:
    """Register values by frame, read as fields; remembers which were wanted and missing."""

    def __init__(self, registers: Mapping[str, Mapping[str, int]]) -> None:
        self.values: Registers = {frame: dict(values) for frame, values in registers.items()}
        self._missing: dict[str, str] = {}

    @property
    def missing(self) -> list[Missing]:
        """The registers that `want` did not find, in the order in which they were wanted."""
        return [Missing(name, disables) for name, disables in self._missing.items()]

    def numbers(self, unit: str) -> list[int]:
        """The numbers of the frames of a unit, `GITS` or `GICR`, ascending."""
        return sorted(int(frame[4:]) for frame in self.values if re.fullmatch(rf"{unit}[0-9]{{1,4}}", frame))

    def value(self, frame: str, name: str) -> int | None:
        """A register's value, if given."""
        return self.values.get(frame, {}).get(name)

    def fields(self, frame: str, name: str, architecture: str = "4.1") -> dict[str, int] | None:
        """A register's fields, as that architecture has it, if it does and the register was given."""
        value = self.value(frame, name)
        if value is None:
            return None
        try:
            return register(f"{frame.rstrip('0123456789')}_{name}", architecture).layout.unpack(value)
        except KeyError:
            return None

    def want(self, frame: str, name: str, disables: str, architecture: str = "4.1") -> dict[str, int] | None:
        """As `fields`; a register that was not given is noted as missing, with what that disables."""
        found = self.fields(frame, name, architecture)
        if found is None:
            self._missing[f"{frame}_{name}"] = disables
        return found


def from_pairs(pairs: Iterable[str]) -> Registers:
    """The registers of `GITS_BASER0=0xf9...` (ITS 0), `GITS1_BASER0=...`, `GICR3_PENDBASER=...`, `GICD_TYPER=...`.

    Raises UnusableInput for a name or a value that is none.
    """
    registers: Registers = {}
    for pair in pairs:
        match = _PAIR.fullmatch(pair)
        if match is None or f"{match['unit']}_{match['name']}" not in _KNOWN:
            raise UnusableInput(
                f"{pair!r} is not NAME=VALUE with a register's name, such as GITS0_BASER0=0xf9070000..."
            )
        try:
            value = int(match["value"], 0)
        except ValueError as error:
            raise UnusableInput(f"{pair!r}: {match['value']!r} is not a number") from error
        if value >= 1 << 64:
            raise UnusableInput(f"{pair!r} is not a value of 64 bits")
        frame = match["unit"] if match["unit"] == "GICD" else f"{match['unit']}{int(match['number'] or 0)}"
        registers.setdefault(frame, {})[match["name"]] = value
    return registers


def from_trace(path: Path) -> Registers:
    """The last value written to each register in a QEMU trace (`gicv3_its_write`, `gicv3_redist_write`).

    QEMU runs the queue to its end before a write of CWRITER completes, so CREADR is where CWRITER is. Raises
    UnusableInput for a file that cannot be read or has no such line.
    """
    registers: Registers = {}
    with opened(path) as stream:
        while line := stream.readline(_LINE_BYTES):
            match = _TRACED.search(line)
            if match:
                _note(registers, match)
    if not registers:
        raise UnusableInput(f"{path}: no line of it is a write of an ITS or redistributor register")
    for frame, values in registers.items():
        if frame.startswith("GITS") and "CWRITER" in values:
            values["CREADR"] = GITS_CREADR.pack(Offset=GITS_CWRITER.unpack(values["CWRITER"])["Offset"])
    return registers


def merged(sources: Iterable[Registers]) -> Registers:
    """One set of registers; where sources differ the later one counts."""
    registers: Registers = {}
    for source in sources:
        for frame, values in source.items():
            registers.setdefault(frame, {}).update(values)
    return registers


def _note(registers: Registers, match: re.Match[bytes]) -> None:
    number = match["number"]
    unit, index = ("GITS", 0) if number is None else ("GICR", int(number, 0))
    name = _OFFSETS[unit].get(int(match["offset"], 16))
    if name is not None and index < 1 << 12:
        registers.setdefault(f"{unit}{index}", {})[name] = int(match["data"], 16)
