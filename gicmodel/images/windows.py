# SPDX-License-Identifier: Apache-2.0
"""Registers as a program that reads addresses shows them: QEMU's `xp`, U-Boot's `md`, `devmem`, `devmem2`.

Such text names addresses and not registers. Which is which is known once the addresses of the frames are: they are
given as GITS<n>_base, GICR<n>_RD_base and GICD_base, or those of a Linux kernel that was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images import hexdump
from gicmodel.images.dump import ABSENT, Dump
from gicmodel.images.files import start_of
from gicmodel.images.registers import BASES, Given, Registers
from gicmodel.images.segments import Segment
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import DISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.its import ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import REDISTRIBUTOR_REGISTERS, VLPI_FRAME
from gicmodel.layouts.registers.register import Register
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES

_MOST_TEXT = 1 << 20
_ENTRIES = {"GITS": ITS_REGISTERS, "GICR": REDISTRIBUTOR_REGISTERS, "GICD": DISTRIBUTOR_REGISTERS}
_TYPER = register("GICR_TYPER")
_VLPIS_BYTES = 2 * VLPI_FRAME
"""Four frames (IHI0069, 12.1)."""
_DEVMEM = re.compile(
    r"(?:.*[#$>]\s*)?(?:sudo\s+|busybox\s+)*devmem2?\s+(?P<address>\w+)(?:\s+(?P<width>8|16|32|64|[bhwlBHWL]))?",
    re.ASCII,
)
_VALUE = re.compile(r"(?:Value at address \w+ \(\w+\): )?(?:0x)?(?P<value>[0-9a-fA-F]{1,16})", re.ASCII)
_WIDTHS = {"b": 8, "h": 16, "w": 32, "l": 64}
_CHATTER = ("/dev/mem opened", "Memory mapped at address")
"""What devmem2 says besides."""


def window_in(file: IO[bytes], path: Path) -> Dump | None:
    """What an open file of such text shows, by address; None for a file of another kind. Raises UnusableInput."""
    start = start_of(file, path, PAGE_BYTES)
    if hexdump.is_hexdump(start):
        return Dump(hexdump.segments_in(file, path, None))
    if b"devmem" not in start and not start.lstrip().startswith(_CHATTER[0].encode()):
        return None
    text = start_of(file, path, _MOST_TEXT + 1)
    if len(text) > _MOST_TEXT:
        raise UnusableInput(f"{path}: has more than {_MOST_TEXT:#x} bytes, so it is no output of devmem")
    return Dump(list(_values(path, text.decode("ascii", "replace"))))


def registers_in(window: Dump, bases: Mapping[str, int], path: Path) -> Registers:
    """The registers that are shown whole, by the addresses of the frames. Raises UnusableInput if there is none."""
    registers: Registers = {}
    for frame, base in bases.items():
        unit = frame.rstrip("0123456789")
        for entry in _entries(window, unit, base, bases):
            octets, held = window.read(base + entry.offset, entry.bits // 8)
            if held.all():
                value = Given(int.from_bytes(octets.tobytes(), "little"), f"{path}, by address")
                registers.setdefault(frame, {})[entry.name.removeprefix(f"{unit}_")] = value
    if not registers:
        known = ", ".join(f"{frame} at {base:#x}" for frame, base in bases.items())
        raise UnusableInput(
            f"{path}: shows {window.segments[0].address:#x}, which is no register of a frame whose address is known "
            f"({known or 'none is'}); --set GITS0_base=0x... or GICR0_RD_base=0x... tells one"
        )
    return registers


def _entries(window: Dump, unit: str, base: int, bases: Mapping[str, int]) -> list[Register]:
    """The registers that a frame has: the VLPI frame of GICv4 is where another redistributor may be in GICv3."""
    end = _VLPIS_BYTES
    if unit == "GICR":
        octets, held = window.read(base + _TYPER.offset, 8)
        told = _TYPER.layout.unpack(int.from_bytes(octets.tobytes(), "little"))["VLPIS"] if held.all() else None
        others = sorted(address for frame, address in bases.items() if frame.startswith(unit))
        apart = min((above - below for below, above in pairwise(others)), default=VLPI_FRAME)
        end = VLPI_FRAME if told == 0 or (told is None and apart < _VLPIS_BYTES) else _VLPIS_BYTES
    return [entry for entry in _ENTRIES[unit] if entry.access != "WO" and entry.offset < end]


def bases_of(registers: Registers) -> dict[str, int]:
    """The addresses of frames that were given."""
    units = ((frame, BASES.get(frame.rstrip("0123456789"), "")) for frame in registers)
    return {frame: registers[frame][name] for frame, name in units if name in registers[frame]}


def _values(path: Path, text: str) -> Iterator[Segment]:
    """A segment for each value that is read."""
    asked: tuple[int, int] | None = None
    seen: dict[int, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(_CHATTER):
            continue
        if match := _DEVMEM.fullmatch(line):
            asked = _asked(path, number, match)
        elif asked is not None and (match := _VALUE.fullmatch(line)):
            address, bits = asked
            if int(match["value"], 16) >> bits:
                raise UnusableInput(f"{path}: line {number}: {match['value']} has more than {bits} bits")
            seen[address] = int(match["value"], 16).to_bytes(bits // 8, "little")
            asked = None
        else:
            raise UnusableInput(f"{path}: line {number}: {line[:60]!r} is neither `devmem ADDRESS WIDTH` nor its value")
    if not seen:
        raise UnusableInput(f"{path}: no line of it is a value that devmem read")
    for address, octets in seen.items():
        yield Segment(address, np.frombuffer(octets, np.uint8), ABSENT)


def _asked(path: Path, number: int, match: re.Match[str]) -> tuple[int, int]:
    """The address and the bits of a read: 32 where no width is given."""
    width = (match["width"] or "32").lower()
    try:
        address = int(match["address"], 0)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << ADDRESS_BITS:
        raise UnusableInput(f"{path}: line {number}: {match['address']!r} is no physical address")
    return address, _WIDTHS.get(width) or int(width)
