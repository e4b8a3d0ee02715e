# SPDX-License-Identifier: Apache-2.0
"""The registers that describe a dump: where their values come from, and which of them are missing.

A value is given in a TOML file, as `NAME=VALUE`, or by a QEMU trace (`gicmodel.images.qemu_trace`). Frames are `GITS0`,
`GICR0`, `GICD` and, for a guest's RAM, `guest`, as in `gicmodel.images.registers_file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gicmodel.errors import UnusableInput
from gicmodel.images.registers_file import RD_BASE, Registers
from gicmodel.layouts.registers.by_name import REGISTERS, register

_PAIR = re.compile(
    r"(?P<unit>GITS|GICR|GICD)(?P<number>[0-9]{0,4})_(?P<name>[A-Z0-9]+|RD_base)=(?P<value>\w+)", re.ASCII
)
_KNOWN = {entry.name for entry in REGISTERS} | {f"GICR_{RD_BASE}"}


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


def merged(sources: Iterable[Registers]) -> Registers:
    """One set of registers; where sources differ the later one counts."""
    registers: Registers = {}
    for source in sources:
        for frame, values in source.items():
            registers.setdefault(frame, {}).update(values)
    return registers
