# SPDX-License-Identifier: Apache-2.0
"""What has to be known of a trace before its first event can be fed: which GIC wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import Processors, read_trace
from gicmodel.images.qemu_trace.events import Command, Event, Glued, Model, RedistributorWrite, Unknown
from gicmodel.layouts.commands import COMMANDS
from gicmodel.layouts.registers.redistributor import VLPI_FRAME
from gicmodel.memory import GuestMemory

_PHYSICAL = {layout.name for layout in COMMANDS("3").values()}


@dataclass(frozen=True)
class Survey:
    """`events` counts lines, `kinds` are the classes of `qemu_trace.events` among them; `glued` counts the events that
    stand behind other text, `first_glued` is the first. `config` is of the GIC that wrote the trace: QEMU's or, with
    its `ram` (base and size), a model's. `processors` is the Processor_Number by affinity; `assumed`: there are several
    clusters, and nothing in the trace tells how large they are."""

    events: int
    kinds: frozenset[type]
    config: GicConfig
    ram: tuple[int, int] | None
    processors: Mapping[int, int]
    assumed: bool
    glued: int
    first_glued: Glued | None


def survey(path: Path, file: IO[bytes] | None = None) -> Survey:
    """Read the trace at `path`, which may be open as `file`, once.

    Raises UnusableInput for a malformed line, and for a file that holds no GICv3 event.
    """
    events = glued = 0
    kinds: set[type] = set()
    virtual = False
    first_glued = model = None
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
        if isinstance(event, Model):
            if events > 1:
                raise UnusableInput(f"{path}: line {event.line}: a trace of a model begins with the line that says so")
            model = event
    if not kinds - {Unknown}:
        raise UnusableInput(f"{path}: none of its {events} lines is a GICv3 trace event of QEMU")
    numbers = processors.numbers()
    seen = max(numbers.values(), default=0) + 1
    if model is None:
        config = GicConfig.qemu("4.0" if virtual else "3", redistributors=seen)
    else:
        config = _modelled(path, model, seen)
    ram = None if model is None else (model.base, model.end - model.base)
    return Survey(events, frozenset(kinds), config, ram, numbers, processors.assumed, glued, first_glued)


def _modelled(path: Path, model: Model, redistributors: int) -> GicConfig:
    """The GIC that a line of ours tells; each command is in the trace where it was executed."""
    try:
        config = replace(GicConfig.of_choices(model.choices.split()), commands_per_step=None)
        GuestMemory(model.base, model.end - model.base)
    except (ValueError, OSError, MemoryError) as error:
        raise UnusableInput(f"{path}: line {model.line}: {error}") from None
    if config.its != 1 or config.redistributors < redistributors:
        raise UnusableInput(
            f"{path}: line {model.line}: its={config.its} redistributors={config.redistributors}, "
            f"but a trace is of one ITS, and this one of {redistributors} redistributors"
        )
    return config


def _is_virtual(event: Event) -> bool:
    """Whether only a GIC with vLPIs can have produced the event: QEMU knows GICv3 and GICv4.0."""
    if isinstance(event, Command):
        return event.mnemonic not in _PHYSICAL
    return isinstance(event, RedistributorWrite) and event.offset >= VLPI_FRAME
