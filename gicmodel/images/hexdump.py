# SPDX-License-Identifier: Apache-2.0
"""RAM as text: xxd, hexdump (-C), U-Boot's md, QEMU's xp, crash's and drgn's rd.

A line has an address, groups of digits, and perhaps the same bytes as characters. A group is bytes in their order (xxd,
hexdump -C) or a little-endian number (the others). Where it is longer than a byte the characters tell which; where they
do not, groups of 2 bytes behind a colon are xxd's, and all others are numbers. That last is our choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import ABSENT
from gicmodel.images.files import start_of
from gicmodel.images.segments import Segment
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES

MAX_TEXT, MAX_BYTES = 1 << 28, 1 << 30
_ENOUGH = 4
"""How many lines of that kind make a hexdump."""
_GROUP = rb"(?:0x)?(?:[0-9a-f]{16}|[0-9a-f]{8}|[0-9a-f]{4}|[0-9a-f]{2})"
_LINE = re.compile(
    rb"(?:0x)?(?P<address>[0-9a-f]{4,16})(?P<colon>:)?\s{1,4}(?P<groups>"
    + _GROUP
    + rb"(?:\s{1,2}"
    + _GROUP
    + rb"){0,31})"
    rb"(?:\s*$|\s{2,}(?P<text>.*)$)",
    re.IGNORECASE | re.DOTALL,
)
_END = re.compile(rb"(?:0x)?(?P<address>[0-9a-f]{7,16}):?", re.IGNORECASE)
"""hexdump ends with the address after the last byte."""
_PROMPT = (b"=>", b"(qemu)", b"crash>", b">>>", b"#", b"$")
_REPEATED = b"*"


class _Row(NamedTuple):
    """A line: where its bytes are, as they are in order and as numbers, and the characters beside them.

    `repeats`: the line before it goes on up to it.
    """

    address: int
    in_order: bytes
    numbers: bytes
    colon: bool
    width: int
    text: bytes
    repeats: bool = False


def is_hexdump(start: bytes) -> bool:
    """Whether what begins so is digits of RAM and not RAM."""
    lines = [line for line in start[:PAGE_BYTES].split(b"\n")[:-1] or [start] if _wanted(line)][:_ENOUGH]
    fitting = [line for line in lines if line.strip() == _REPEATED or _row(line)]
    return bool(lines) and bool(_row(lines[0])) and 2 * len(fitting) >= len(lines)


def segments_in(file: IO[bytes], path: Path, base: int | None) -> list[Segment]:
    """The RAM of an open hexdump; `base` is added to its addresses. Raises UnusableInput."""
    text = start_of(file, path, MAX_TEXT + 1)
    if len(text) > MAX_TEXT:
        raise UnusableInput(f"{path}: is a hexdump of more than {MAX_TEXT:#x} characters")
    rows = list(_rows(path, text))
    as_numbers = _are_numbers(path, rows)
    # A line that is there twice, as where two excerpts meet, is one.
    pieces = sorted(set(_pieces(path, rows, as_numbers, base or 0)))
    return list(_joined(path, pieces))


def _wanted(line: bytes) -> bool:
    return bool(line.strip()) and not line.strip().startswith(_PROMPT)


def _row(line: bytes) -> _Row | None:
    match = _LINE.match(line.strip(b"\r\n").lstrip())
    if match is None:
        return None
    groups = match["groups"].split()
    widths = {len(group.lower().removeprefix(b"0x")) // 2 for group in groups}
    if len(widths) != 1:
        return None
    raw = [bytes.fromhex(group.lower().removeprefix(b"0x").decode()) for group in groups]
    prefixed = groups[0].lower().startswith(b"0x")
    numbers = b"".join(each[::-1] for each in raw)
    in_order = numbers if prefixed else b"".join(raw)
    text = (match["text"] or b"").rstrip(b"\r\n")
    return _Row(int(match["address"], 16), in_order, numbers, bool(match["colon"]), widths.pop(), text)


def _rows(path: Path, text: bytes) -> Iterator[_Row]:
    any_before = repeats = False
    for number, line in enumerate(text.split(b"\n"), 1):
        if not _wanted(line):
            continue
        row = _row(line)
        if row is None and any_before and line.strip() == _REPEATED:
            repeats = True
            continue
        if row is None and any_before and (end := _END.fullmatch(line.strip())):
            row = _Row(int(end["address"], 16), b"", b"", False, 1, b"")
        if row is None:
            raise UnusableInput(f"{path}: line {number} of a hexdump is {line[:60].decode(errors='replace')!r}")
        yield row._replace(repeats=True) if repeats else row
        any_before, repeats = True, False


def _are_numbers(path: Path, rows: list[_Row]) -> bool:
    """Whether groups are numbers; UnusableInput if the characters beside them fit neither way."""
    told = [row for row in rows if row.text and row.in_order != row.numbers]
    fits = {True, False}
    for row in told:
        fits -= {way for way in fits if not _fits(row.numbers if way else row.in_order, row.text)}
    if not fits:
        raise UnusableInput(f"{path}: is a hexdump whose characters are not those of its digits")
    if len(fits) == 1:
        return fits.pop()
    return not any(row.colon and row.width == 2 for row in rows)


def _fits(octets: bytes, text: bytes) -> bool:
    shown = bytes(octet if 0x20 <= octet < 0x7F else ord(".") for octet in octets)
    # Spaces at its ends are not told from those around it.
    return shown.strip() in (text.strip(), text.strip().strip(b"|").strip())


def _pieces(path: Path, rows: list[_Row], as_numbers: bool, base: int) -> Iterator[tuple[int, bytes]]:
    before, total = (0, b""), 0
    for row in rows:
        address, octets = row.address + base, row.numbers if as_numbers else row.in_order
        if (address + len(octets)) >> ADDRESS_BITS:
            raise UnusableInput(f"{path}: is a hexdump of {address:#x}, which is no physical address")
        if row.repeats:
            gap = address - before[0] - len(before[1])
            if gap < 0 or gap > MAX_BYTES or gap % len(before[1]):
                raise UnusableInput(f"{path}: '*' in a hexdump goes on from {before[0]:#x} to {address:#x}")
            yield before[0] + len(before[1]), before[1] * (gap // len(before[1]))
            total += gap
        total += len(octets)
        if total > MAX_BYTES:
            raise UnusableInput(f"{path}: is a hexdump of more than {MAX_BYTES:#x} bytes")
        if octets:
            yield address, octets
            before = address, octets


def _joined(path: Path, pieces: list[tuple[int, bytes]]) -> Iterator[Segment]:
    """Neighbouring pieces as one."""
    if not pieces:
        raise UnusableInput(f"{path}: is a hexdump without bytes")
    ends = [-1, *(address + len(octets) for address, octets in pieces)]
    for (address, _), end in zip(pieces, ends, strict=False):
        if address < end:
            raise UnusableInput(f"{path}: is a hexdump that has {address:#x} twice")
    starts = [n for n, (address, _) in enumerate(pieces) if address != ends[n]]
    for first, last in pairwise([*starts, len(pieces)]):
        octets = b"".join(octets for _, octets in pieces[first:last])
        yield Segment(pieces[first][0], np.frombuffer(octets, np.uint8), ABSENT)
