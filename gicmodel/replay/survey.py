# SPDX-License-Identifier: Apache-2.0
"""What has to be known of a trace before its first event can be fed: which GIC wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gicmodel.config import Architecture
from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import Processors, read_trace
from gicmodel.images.qemu_trace.events import Command, Event, Glued, RedistributorWrite, Unknown
from gicmodel.layouts.commands import COMMANDS
from gicmodel.layouts.registers.redistributor import VLPI_FRAME

_PHYSICAL = {layout.name for layout in COMMANDS("3").values()}


@dataclass(frozen=True)
class Survey:
    """`events` counts lines, `kinds` are the classes of `qemu_trace.events` among them; `glued` counts the events that
    stand behind other text, `first_glued` is the first. `processors` is the Processor_Number by affinity;
    `assumed`: there are several clusters, and nothing in the trace tells how large they are."""

    events: int
    kinds: frozenset[type]
    architecture: Architecture
    processors: Mapping[int, int]
    assumed: bool
    glued: int
    first_glued: Glued | None

    @property
    def redistributors(self) -> int:
        """One more than the highest processor number seen."""
        return max(self.processors.values(), default=0) + 1


def survey(path: Path, file: IO[bytes] | None = None) -> Survey:
    """Read the trace at `path`, which may be open as `file`, once.

    Raises UnusableInput for a malformed line, and for a file that holds no GICv3 event.
    """
    events = glued = 0
    kinds: set[type] = set()
    virtual = False
    first_glued = None
    processors = Processors(path)
    for event in read_trace(path, file):
        if isinstance(event, Glued):
            glued += 1
            first_glued = first_glued or event
            continue
        events += 1
        kinds.add(type(event))
        virtual = virtual or _is_virtual(event)
        processors.note(event)
    if not kinds - {Unknown}:
        raise UnusableInput(f"{path}: none of its {events} lines is a GICv3 trace event of QEMU")
    architecture: Architecture = "4.0" if virtual else "3"
    numbers = processors.numbers()
    return Survey(events, frozenset(kinds), architecture, numbers, processors.assumed, glued, first_glued)


def _is_virtual(event: Event) -> bool:
    """Whether only a GIC with vLPIs can have produced the event: QEMU knows GICv3 and GICv4.0."""
    match event:
        case Command():
            return event.mnemonic not in _PHYSICAL
        case RedistributorWrite():
            return event.offset >= VLPI_FRAME
        case _:
            return False
