# SPDX-License-Identifier: Apache-2.0
"""The registers that belong to a RAM image, each with where its value comes from; and the TOML file beside an image.

One table a frame (`GITS0`, `GICR0`, `GICD`, ...), one key a register, each value the register's 32 or 64 bits:

    [GITS0]
    CBASER = 0xb8000000431c040f

A redistributor's table may have `RD_base` too, the address of its first frame: no register tells it, and with
GITS_TYPER.PTA = 1 commands name redistributors by it. `base` is that of an ITS or the distributor.

A file may as well be lines of `GITS0_CBASER = b8000000431c040f`, hexadecimal with or without 0x.

An image of a guest's RAM has a table `guest` as well, with what is not in a register.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Self

from gicmodel.errors import UnusableInput, number_in
from gicmodel.images.files import replacing, start_of
from gicmodel.layouts.registers.by_name import REGISTERS

Registers = dict[str, dict[str, int]]
"""Values by frame and register; those that somebody gave are `Given`, and tell where they come from."""

RD_BASE = "RD_base"
BASES = {"GITS": "base", "GICR": RD_BASE, "GICD": "base"}
"""What the address of a unit's first frame is called."""
PAIRS = "--set"
"""The origin of values given as `NAME=VALUE`."""
MAX_BYTES = 1 << 20
MAX_DOTS = 16
"""Dots on a line that is no comment. tomllib's work and memory grow with the square of the parts of a dotted key."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAMED = r"(?P<unit>GITS|GICR|GICD)(?P<number>[0-9]{0,4})_(?P<name>[A-Z0-9]+|RD_base|base)"
_PAIR = re.compile(_NAMED + r"=(?P<value>\w+)", re.ASCII)
_LISTED = re.compile(_NAMED + r"(?:\s*[=:]\s*|\s+)(?:0[xX])?(?P<value>[0-9a-fA-F]{1,16})", re.ASCII)
_KNOWN = {entry.name for entry in REGISTERS} | {f"{unit}_{name}" for unit, name in BASES.items()}
_COLLECTIONS: dict[type, str] = {dict: "a table", list: "an array"}
"""What is not shown: it may be nested more deeply than Python can print."""


class Given(int):
    """The value of a register, and its origin: the file that it was read from, with the place there, or an option."""

    origin: str

    def __new__(cls, value: int, origin: str) -> Self:
        given = super().__new__(cls, value)
        given.origin = origin
        return given


def origin_of(value: int) -> str | None:
    """Where a register's value comes from, if it tells."""
    return value.origin if isinstance(value, Given) else None


def given(registers: Mapping[str, Mapping[str, int]], origin: str) -> Registers:
    """The same registers, all from one origin."""
    return {
        frame: {name: Given(value, origin) for name, value in values.items()} for frame, values in registers.items()
    }


def merged(sources: Iterable[Registers]) -> Registers:
    """One set of registers; where sources differ the later one counts."""
    registers: Registers = {}
    for source in sources:
        for frame, values in source.items():
            registers.setdefault(frame, {}).update(values)
    return registers


def from_pairs(pairs: Iterable[str]) -> Registers:
    """The registers of `GITS_BASER0=0xf9...` (ITS 0), `GITS1_BASER0=...`, `GICR3_PENDBASER=...`, `GICD_TYPER=...`.

    Raises UnusableInput for a name or a value that is none.
    """
    registers: Registers = {}
    for pair in pairs:
        match = _PAIR.fullmatch(pair)
        if match is None or not _is_known(match):
            raise UnusableInput(
                f"{pair!r} is not NAME=VALUE with a register's name, such as GITS0_BASER0=0xf9070000...{_close(pair)}"
            )
        try:
            value = number_in(match["value"])
        except ValueError as error:
            raise UnusableInput(f"{pair!r}: {match['value']!r} is not a number") from error
        if value >= 1 << 64:
            raise UnusableInput(f"{pair!r} is not a value of 64 bits")
        registers.setdefault(_frame(match), {})[match["name"]] = Given(value, PAIRS)
    return registers


def _is_known(match: re.Match[str]) -> bool:
    return f"{match['unit']}_{match['name']}" in _KNOWN


def _frame(match: re.Match[str]) -> str:
    return match["unit"] if match["unit"] == "GICD" else f"{match['unit']}{int(match['number'] or 0)}"


def _close(pair: str) -> str:
    """Names that are close to a pair's, if any is."""
    plain = re.sub("^(GITS|GICR)[0-9]+_", r"\1_", pair.partition("=")[0])
    close = get_close_matches(plain, _KNOWN, cutoff=0.7)
    return f"; close: {', '.join(close)}" if close else ""


def registers_in(file: IO[bytes], path: Path) -> Registers:
    """The registers in an open file, wherever its position is: {frame: {register: value}}.

    Raises UnusableInput for anything else than 64-bit values in named tables.
    """
    contents = start_of(file, path, MAX_BYTES + 1)
    if len(contents) > MAX_BYTES:
        raise UnusableInput(f"{path}: is larger than {MAX_BYTES:#x} bytes, so it is no registers file")
    for number, line in enumerate(contents.split(b"\n"), 1):
        if line.count(b".") > MAX_DOTS and not line.lstrip().startswith(b"#"):
            raise UnusableInput(f"{path}: line {number} has more than {MAX_DOTS} dots, so it is no registers file")
    if (listed := _listed(contents)) is not None:
        return given(listed, str(path))
    try:
        document = tomllib.loads(contents.decode())
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnusableInput(f"{path}: is not TOML: {error}") from error
    check_registers(path, document)
    return given(document, str(path))


def _listed(contents: bytes) -> Registers | None:
    """The registers of lines `GITS0_BASER0 = f9...`, hexadecimal; None if a line is something else."""
    registers: Registers = {}
    for line in contents.decode("ascii", "replace").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LISTED.fullmatch(text)
        if match is None or not _is_known(match):
            return None
        registers.setdefault(_frame(match), {})[match["name"]] = int(match["value"], 16)
    return registers or None


def check_registers(path: Path, document: Mapping[str, object]) -> None:
    """Raise UnusableInput, naming the file, unless all values are 64 bits and in named tables."""
    for frame, registers in document.items():
        _check_frame(path, frame, registers)


def write_registers(path: Path, registers: Mapping[str, Mapping[str, int]]) -> None:
    """Write {frame: {register: value}}, values in hex; the file is replaced as a whole."""
    tables = []
    for frame, values in registers.items():
        integers = {name: int(value) for name, value in values.items()}
        _check_frame(path, frame, integers)
        tables.append("".join([f"[{frame}]\n", *(f"{name} = {value:#x}\n" for name, value in integers.items())]))
    with replacing(Path(path)) as file:
        file.write("\n".join(tables).encode())


def _check_frame(path: Path, frame: str, registers: object) -> None:
    if not isinstance(registers, dict):
        raise UnusableInput(f"{path}: {frame} is not in a table, such as [GITS0]")
    for name in (frame, *registers):
        if not _NAME.fullmatch(name):
            raise UnusableInput(f"{path}: {name!r} is not the name of a frame or register")
    for name, value in registers.items():
        if not isinstance(value, int) or isinstance(value, bool):
            shown = _COLLECTIONS.get(type(value)) or repr(value)
            raise UnusableInput(f"{path}: {frame}.{name} is {shown}, not an integer")
        if not 0 <= value < 1 << 64:
            raise UnusableInput(f"{path}: {frame}.{name} is {value:#x}, not a value of 64 bits")
