# SPDX-License-Identifier: Apache-2.0
"""Reads a QEMU GICv3 trace, one event a line, as a stream.

A trace is what `qemu-system-aarch64 -d trace:gicv3_its_*,trace:gicv3_redist_*,... -D FILE` leaves: `NAME text`. With
`-msg timestamp=on` QEMU puts `THREAD@SECONDS.MICROSECONDS:` in front or, from 10.2 on, the time as ISO 8601 has it;
loggers add their own stamps. Where the guest's console shares the file, an event may stand behind half a line of it.
Files named `.xz`, `.gz` or `.zst` are unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from gicmodel.errors import UnusableInput, printable
from gicmodel.images.files import opened
from gicmodel.images.qemu_trace.events import FORMS, Event, Glued, Unknown

MOST_OTHER_LINES = 1 << 20
"""After so many lines without one event a file, which may be a device that never ends, is no trace."""

_LINE_BYTES = 4096
_SHOWN = 80
_STAMPS = re.compile(
    r"(?:\d{1,19}@\d{1,19}\.\d{1,9}:"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?:? +"
    r"|\[ *\d{1,19}\.\d{1,9}\] +"
    r"|[(\[]?\d{1,19}[)\]]?:? +)*",
    re.ASCII,
)
_EVENT = re.compile(r"gicv3_[a-z0-9_]+(?= GICv3 )")


def read_trace(path: Path, file: IO[bytes] | None = None) -> Iterator[Event | Glued]:
    """Yield the events of the trace at `path`, in order; a line that is no known event becomes `Unknown`.

    Who reads a trace more than once gives the `file` that `gicmodel.images.files.opened_whole` has opened.

    An event behind other text than time stamps is preceded by `Glued`, on top of the one event that each line yields.
    Raises UnusableInput, naming the line, for a known event whose text is not what QEMU prints, and for a file that
    cannot be read or begins with too much else.
    """
    known = False
    for number, text in _lines(path, file):
        for event in _parse(path, number, text):
            known = known or not isinstance(event, Unknown)
            yield event
        if not known and number >= MOST_OTHER_LINES:
            raise UnusableInput(f"{path}: none of its first {number} lines is a GICv3 trace event of QEMU")


def _lines(path: Path, file: IO[bytes] | None) -> Iterator[tuple[int, str]]:
    """Numbers and text of the lines that are not empty."""
    number = 0
    with opened(path) if file is None else nullcontext(file) as stream:
        if file is not None:
            file.seek(0)
        while line := stream.readline(_LINE_BYTES):
            number += 1
            if len(line) == _LINE_BYTES:
                raise UnusableInput(f"{path}: line {number} has {_LINE_BYTES} bytes or more: not a trace")
            text = line.decode("ascii", errors="replace").strip()
            if text:
                yield number, text


def _parse(path: Path, line: int, text: str) -> Iterator[Event | Glued]:
    stamps = _STAMPS.match(text)
    text = text[stamps.end() :] if stamps else text
    name, _, rest = text.partition(" ")
    if name not in FORMS and (found := _EVENT.search(text)):
        name, rest = found[0], text[found.end() + 1 :]
        if name in FORMS and found.start():
            yield Glued(line, _shown(text[: found.start()].rstrip()))
    form = FORMS.get(name)
    if form is None:
        yield Unknown(line, _shown(name))
        return
    match = form.pattern.fullmatch(rest)
    if match is None:
        raise UnusableInput(f"{path}: line {line}: {name} must read {form.template!r}, not {_shown(rest)!r}")
    yield form.build(line, {key: int(number, 0) for key, number in match.groupdict().items()})


def _shown(text: str) -> str:
    return printable(text[:_SHOWN])
