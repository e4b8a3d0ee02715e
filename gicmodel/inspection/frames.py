# SPDX-License-Identifier: Apache-2.0
"""The registers that describe a dump, read as fields: which are missing, which generation they are of.

Frames are `GITS0`, `GICR0`, `GICD` and, for a guest's RAM, `guest`, as in `gicmodel.images.registers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gicmodel.images.registers import Registers
from gicmodel.layouts.its_tables import VTE
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import BASERS
from gicmodel.layouts.table import TableType


class Frames:
    """Register values by frame, read as fields; `missing` has what `want` did not find, and what that disables."""

    def __init__(self, registers: Mapping[str, Mapping[str, int]]) -> None:
        self.values: Registers = {frame: dict(values) for frame, values in registers.items()}
        self.missing: dict[str, str] = {}

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
            self.missing[f"{frame}_{name}"] = disables
        return found


def architecture_of(frames: Frames) -> str:
    """`"3"`, `"4.0"` or `"4.1"`, as GITS_TYPER or GICR_TYPER say; without them, as the other registers imply."""
    seen = [_by_typer(frames, f"GITS{n}", "Virtual", "VMAPP") for n in frames.numbers("GITS")]
    seen += [_by_typer(frames, f"GICR{n}", "VLPIS", "RVPEID") for n in frames.numbers("GICR")]
    told = [architecture for architecture in seen if architecture is not None]
    return max(told) if told else _by_tables(frames)


def _by_typer(frames: Frames, frame: str, virtual: str, v41: str) -> str | None:
    typer = frames.fields(frame, "TYPER")
    if typer is None:
        return None
    if not typer[virtual]:
        return "3"
    return "4.1" if typer[v41] else "4.0"


def _by_tables(frames: Frames) -> str:
    """Without a TYPER: a vPE table is of GICv4, and a valid vPE configuration table, or wide entries, of GICv4.1."""
    basers = [frames.fields(f"GITS{its}", f"BASER{n}") for its in frames.numbers("GITS") for n in range(BASERS)]
    vpe_tables = [baser for baser in basers if baser is not None and baser["Type"] == TableType.VPES]
    vpropbasers = [frames.fields(f"GICR{n}", "VPROPBASER") for n in frames.numbers("GICR")]
    if any(found["Valid"] for found in vpropbasers if found is not None):
        return "4.1"
    if any(baser["Entry_Size"] + 1 > VTE.bytes for baser in vpe_tables):
        return "4.1"
    return "4.0" if vpe_tables or any(found is not None for found in vpropbasers) else "3"
