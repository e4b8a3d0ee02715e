# SPDX-License-Identifier: Apache-2.0
"""The registers that describe a dump, read as fields; and which of them are missing.

Frames are `GITS0`, `GICR0`, `GICD` and, for a guest's RAM, `guest`, as in `gicmodel.images.registers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from gicmodel.images.registers import Registers
from gicmodel.layouts.registers.by_name import register


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
