# SPDX-License-Identifier: Apache-2.0
"""VMCOREINFO: what a Linux kernel writes about itself for whoever reads its dump, found in RAM.

It is an ELF note, `NAME=VALUE` a line (kernel/vmcore_info.c, arch/arm64/kernel/vmcore_info.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.scan import Places

_NOTE_HEADER = 24
"""Three words of 32 bits, and the name "VMCOREINFO" padded to 12 bytes."""
_SIZE_AT, _NAME_AT = 4, 12
_MOST = 0x1_0000
_MOST_NOTES = 64
_LINE = re.compile(r"(?P<name>[A-Za-z_][\w().-]*)=(?P<value>[^\n]*)", re.ASCII)


class Vmcoreinfo(NamedTuple):
    """The lines of one note, by name."""

    values: dict[str, str]

    @property
    def release(self) -> str:
        """`uname -r`."""
        return self.values.get("OSRELEASE", "")

    @property
    def text(self) -> str:
        """The lines, as they are in the note."""
        return "".join(f"{name}={value}\n" for name, value in self.values.items())

    def number(self, name: str) -> int | None:
        """What `NUMBER(name)`, `SYMBOL(name)`, `SIZE(name)`, `LENGTH(name)` or `PAGESIZE` says; None if nothing does.

        The kernel prints some in hexadecimal with 0x, symbols without, and numbers of its own in decimal.
        """
        text = self.values.get(name)
        if text is None:
            return None
        try:
            return int(text, 16) if name.startswith("SYMBOL") else int(text, 0)
        except ValueError:
            return None


def read_notes(dump: Dump, places: Places) -> list[Vmcoreinfo]:
    """The notes that hold at least a release, by address."""
    notes = (Vmcoreinfo(dict(_lines(_text(dump, place)))) for place in places.notes[:_MOST_NOTES])
    return [note for note in notes if note.release]


def _text(dump: Dump, place: int) -> str:
    """The note's text; `place` is 8 bytes into it."""
    start = place - 8
    octets = b"".join(piece.octets.tobytes() for piece in dump.pieces(start, _NOTE_HEADER + _MOST))
    size = int.from_bytes(octets[_SIZE_AT : _SIZE_AT + 4], "little")
    if octets[_NAME_AT : _NAME_AT + 11] != b"VMCOREINFO\0" or size > _MOST:
        return ""
    return octets[_NOTE_HEADER : _NOTE_HEADER + size].decode("ascii", "replace")


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        if match := _LINE.fullmatch(line):
            yield match["name"], match["value"]
