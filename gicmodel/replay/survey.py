# SPDX-License-Identifier: Apache-2.0
"""What has to be known of a trace before its first event can be fed: which GIC wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gicmodel.errors import UnusableInput
from gicmodel.hardware.config import Architecture
from gicmodel.layouts.commands import COMMANDS
from gicmodel.layouts.registers import VLPI_FRAME
from gicmodel.replay.events import Acknowledge, Command, Event, RedistributorWrite, Unknown
from gicmodel.replay.trace import read_trace

MAX_REDISTRIBUTORS = 512
"""As many CPUs as QEMU's `virt` machine can have."""

_CPUS_A_CLUSTER = 16
_PHYSICAL = {layout.name for layout in COMMANDS("3").values()}


class Survey(NamedTuple):
    """`events` counts lines; `redistributors` is one more than the highest processor number seen."""

    events: int
    architecture: Architecture
    redistributors: int


def processor_number(affinity: int) -> int:
    """The index of a PE: QEMU's `virt` machine with a GICv3 puts 16 PEs in each Aff1 cluster (hw/arm/virt.c)."""
    return (affinity >> 8) * _CPUS_A_CLUSTER + (affinity & 0xFF)


def survey(path: Path) -> Survey:
    """Read the trace once. Raises UnusableInput for a malformed line, and for a file that holds no GICv3 event."""
    events = known = 0
    highest = 0
    virtual = False
    for event in read_trace(path):
        events += 1
        known += not isinstance(event, Unknown)
        virtual = virtual or _is_virtual(event)
        if isinstance(event, RedistributorWrite | Acknowledge):
            highest = max(highest, _checked(path, event))
    if not known:
        raise UnusableInput(f"{path}: none of its {events} lines is a GICv3 trace event of QEMU")
    return Survey(events, "4.0" if virtual else "3", highest + 1)


def _is_virtual(event: Event) -> bool:
    """Whether only a GIC with vLPIs can have produced the event: QEMU knows GICv3 and GICv4.0."""
    match event:
        case Command():
            return event.mnemonic not in _PHYSICAL
        case RedistributorWrite():
            return event.offset >= VLPI_FRAME
        case _:
            return False


def _checked(path: Path, event: RedistributorWrite | Acknowledge) -> int:
    number = processor_number(event.cpu)
    if number >= MAX_REDISTRIBUTORS:
        raise UnusableInput(
            f"{path}: line {event.line}: affinity {event.cpu:#x} is PE {number}; QEMU has at most {MAX_REDISTRIBUTORS}"
        )
    return number
