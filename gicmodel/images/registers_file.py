# SPDX-License-Identifier: Apache-2.0
"""The registers that belong to a RAM image, as a TOML file beside it.

One table a frame (`GITS0`, `GICR0`, `GICD`, ...), one key a register, each value the register's 32 or 64 bits:

    [GITS0]
    CBASER = 0xb8000000431c040f

A redistributor's table may have `RD_base` too, the address of its first frame: no register tells it, and with
GITS_TYPER.PTA = 1 commands name redistributors by it.

An image of a guest's RAM has a table `guest` as well, with what is not in a register.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from gicmodel.errors import UnusableInput
from gicmodel.images.files import opened, refusing, replacing

Registers = dict[str, dict[str, int]]

RD_BASE = "RD_base"
MAX_BYTES = 1 << 20
MAX_DOTS = 16
"""Dots on a line that is no comment. tomllib's work and memory grow with the square of the parts of a dotted key."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_COLLECTIONS: dict[type, str] = {dict: "a table", list: "an array"}
"""What is not shown: it may be nested more deeply than Python can print."""


def read_registers(path: Path) -> Registers:
    """Return {frame: {register: value}}; raise UnusableInput for anything else than 64-bit values in named tables."""
    path = Path(path)
    with opened(path) as file:
        return _read(file, path)


def registers_in(file: IO[bytes], path: Path) -> Registers:
    """As `read_registers`, of a file that can be sought and is open already."""
    with refusing(path):
        file.seek(0)
    return _read(file, path)


def _read(file: IO[bytes], path: Path) -> Registers:
    with refusing(path):
        contents = file.read(MAX_BYTES + 1)
    if len(contents) > MAX_BYTES:
        raise UnusableInput(f"{path}: is larger than {MAX_BYTES:#x} bytes, so it is no registers file")
    for number, line in enumerate(contents.split(b"\n"), 1):
        if line.count(b".") > MAX_DOTS and not line.lstrip().startswith(b"#"):
            raise UnusableInput(f"{path}: line {number} has more than {MAX_DOTS} dots, so it is no registers file")
    try:
        document = tomllib.loads(contents.decode())
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnusableInput(f"{path}: is not TOML: {error}") from error
    check_registers(path, document)
    return document


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
