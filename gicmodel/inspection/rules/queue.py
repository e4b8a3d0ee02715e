# SPDX-License-Identifier: Apache-2.0
"""Rules of the command queue: does it move?"""

from __future__ import annotations

from collections.abc import Iterator

from gicmodel.images.dump import ABSENT
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.queue import Queue
from gicmodel.inspection.rules.rule import Group, Row, Rule, place
from gicmodel.inspection.stall import likely_reason

STALLED = Rule(
    "queue-stalled",
    "error",
    "The ITS stopped at a command error and executes nothing more until software repairs it and sets CWRITER.Retry.",
    "DDI0601 GITS_CREADR.Stalled",
)
OUTSIDE = Rule(
    "queue-offset",
    "error",
    "CREADR and CWRITER are offsets inside the queue; with another one the ITS need not process anything.",
    "DDI0601 GITS_CWRITER.Offset",
)
WAITING_DISABLED = Rule(
    "queue-its-disabled",
    "warning",
    "Commands wait and the ITS is disabled: none is executed until GITS_CTLR.Enabled is 1.",
    "DDI0601 GITS_CTLR.Enabled",
)
UNKNOWN_COMMAND = Rule(
    "queue-unknown-command",
    "warning",
    "A command waits that this generation of the architecture does not have, or that is not in the dump.",
    "IHI0069, ITS commands",
)

RULES = (STALLED, OUTSIDE, WAITING_DISABLED, UNKNOWN_COMMAND)


def check(found: Inspection) -> Iterator[Group]:
    """What the queues break."""
    for queue in found.queues:
        yield _stalled(found, queue)
        yield _outside(queue)
        yield _waiting(found, queue)
        yield _unknown(queue)


def _outside(queue: Queue) -> Group:
    offsets = {"CREADR": queue.creadr, "CWRITER": queue.cwriter}
    rows = [place(ABSENT, ABSENT, name=name) for name, offset in offsets.items() if not queue.inside(offset)]
    return Group(
        OUTSIDE, rows, lambda row: f"GITS{queue.its}_{row['name']} is outside the queue's {queue.size:#x} bytes"
    )


def _waiting(found: Inspection, queue: Queue) -> Group:
    unit = next(one for one in found.its if one.number == queue.its)
    rows = [place(queue.address, ABSENT)] if queue.waiting and unit.enabled is False else []
    return Group(WAITING_DISABLED, rows, lambda row: f"{queue.waiting} commands wait and {unit.frame} is disabled")


def _stalled(found: Inspection, queue: Queue) -> Group:
    unit = next(one for one in found.its if one.number == queue.its)
    rows: list[Row] = []
    if queue.stalled:
        command = queue.stalled_command
        text = "no command" if command is None else f"{command.text}: {likely_reason(found, unit, command)}"
        where = (queue.address, ABSENT) if command is None else (command.address, command.file_offset)
        rows.append(place(*where, text=text))
    return Group(STALLED, rows, lambda row: f"GITS{queue.its} stalled at {row['text']}")


def _unknown(queue: Queue) -> Group:
    waiting = [command for command in queue.commands if command.state == "waiting"]
    rows = [place(one.address, one.file_offset, text=one.text) for one in waiting if not one.known]
    return Group(UNKNOWN_COMMAND, rows, lambda row: f"GITS{queue.its} has a command waiting that is {row['text']}")
