# SPDX-License-Identifier: Apache-2.0
"""The registers that belong to a RAM image, as a TOML file beside it.

One table a frame (`GITS0`, `GICR0`, `GICD`, ...), one key a register, each value the register's 32 or 64 bits:

    [GITS0]
    CBASER = 0xb8000000431c040f

An image of a guest's RAM has a table `guest` as well, with what is not in a register.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gicmodel.errors import UnusableInput
from gicmodel.files import opened, replacing

Registers = dict[str, dict[str, int]]

MAX_BYTES = 1 << 20

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def read_registers(path: Path) -> Registers:
    """Return {frame: {register: value}}; raise UnusableInput for anything else than 64-bit values in named tables."""
    path = Path(path)
    with opened(path) as file:
        contents = file.read(MAX_BYTES + 1)
    if len(contents) > MAX_BYTES:
        raise UnusableInput(f"{path}: is larger than {MAX_BYTES:#x} bytes, so it is no registers file")
    try:
        document = tomllib.loads(contents.decode())
    except (ValueError, RecursionError) as error:
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
            raise UnusableInput(f"{path}: {frame}.{name} is {value!r}, not an integer")
        if not 0 <= value < 1 << 64:
            raise UnusableInput(f"{path}: {frame}.{name} is {value:#x}, not a value of 64 bits")
