# SPDX-License-Identifier: Apache-2.0
"""Reads a QEMU GICv3 trace, one event a line, as a stream.

A trace is what `qemu-system-aarch64 -d trace:gicv3_its_*,trace:gicv3_redist_write,... -D FILE` leaves: `NAME text`, or
`PID@SECONDS.MICROSECONDS:NAME text` when QEMU runs with `-msg timestamp=on`. Files named `.xz` or `.gz` are unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gicmodel.errors import UnusableInput
from gicmodel.files import opened
from gicmodel.replay.events import FORMS, Event, Unknown

_LINE_BYTES = 4096
_STAMP = re.compile(r"\d+@\d+\.\d+:")


def read_trace(path: Path) -> Iterator[Event]:
    """Yield the events of the trace at `path`, in order; a line that is no known event becomes `Unknown`.

    Raises UnusableInput, naming the line, for a known event whose text is not what QEMU prints, and for a file that
    cannot be read.
    """
    number = 0
    with opened(path) as stream:
        while line := stream.readline(_LINE_BYTES):
            number += 1
            if len(line) == _LINE_BYTES:
                raise UnusableInput(f"{path}: line {number} has {_LINE_BYTES} bytes or more: not a trace")
            text = line.decode("ascii", errors="replace").strip()
            if text:
                yield _parse(path, number, text)


def _parse(path: Path, line: int, text: str) -> Event:
    stamp = _STAMP.match(text)
    if stamp:
        text = text[stamp.end() :]
    name, _, rest = text.partition(" ")
    form = FORMS.get(name)
    if form is None:
        return Unknown(line, _printable(name))
    match = form.pattern.fullmatch(rest)
    if match is None:
        raise UnusableInput(f"{path}: line {line}: {name} must read {form.template!r}, not {_printable(rest)!r}")
    return form.build(line, {key: int(number, 0) for key, number in match.groupdict().items()})


def _printable(text: str) -> str:
    """At most 80 characters, none of which moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text[:80])
