# SPDX-License-Identifier: Apache-2.0
"""One replay from end to end: survey the trace, feed it, compare.

A trace that lacks a class of events, or that began late, leaves the model in another state than the machine was in:
then neither what agrees nor what differs means anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from gicmodel.errors import Interrupted, UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.files import opened_whole
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.qemu_trace.events import Acknowledge, Command, ItsWrite, Msi, RedistributorWrite, UnknownCommand
from gicmodel.images.registers import Registers
from gicmodel.replay.acknowledges import Acknowledges
from gicmodel.replay.comparison import Compared, check_image, compare_registers, compare_tables
from gicmodel.replay.replayer import Replayer
from gicmodel.replay.survey import Survey, survey

Progress = Callable[[int, int], None]
"""Called now and then with the events fed so far and their total."""

_EVENTS_A_REPORT = 1024


@dataclass(frozen=True)
class Outcome:
    """What a replay found. `not_pending` are the acknowledges of interrupts that the model did not hold pending;
    `unknown` counts the lines that are no known event, by name; `compared` is empty without an image. `partial` are
    the reasons why the trace is not all that happened, so that what was found proves nothing; `unjudged` is what was
    not looked at, so that equality proves nothing."""

    traced: Survey
    events: int
    commands_by_kind: dict[str, int]
    msis: int
    acknowledges: int
    not_pending: tuple[Acknowledge, ...]
    unknown: dict[str, int]
    compared: dict[str, Compared]
    partial: tuple[str, ...]
    unjudged: tuple[str, ...]

    @property
    def commands(self) -> int:
        """How many there were of all kinds."""
        return sum(self.commands_by_kind.values())

    @property
    def verdict(self) -> Literal["equal", "different", "partial"]:
        """Whether the model did all that the trace and the image say, if they say all that happened."""
        if self.partial:
            return "partial"
        if self.not_pending or any(comparison.different for comparison in self.compared.values()):
            return "different"
        return "partial" if self.unjudged else "equal"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "verdict": self.verdict,
            "partial": [*self.partial, *self.unjudged],
            "events": self.events,
            "commands": self.commands,
            "commands_by_kind": dict(sorted(self.commands_by_kind.items())),
            "msis": self.msis,
            "acknowledges": self.acknowledges,
            "acknowledged_not_pending": len(self.not_pending),
            "unknown": self.unknown,
            "glued": self.traced.glued,
            "compared": {
                name: {"bytes": comparison.bytes, "different": comparison.different, "absent": comparison.absent}
                for name, comparison in self.compared.items()
            },
        }


def replay(
    trace: Path,
    image: Dump | None = None,
    registers: Registers | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Feed the trace to a model of the GIC that wrote it, then compare.

    `image` is the machine's RAM at the end of the trace, `registers` its registers then. Raises UnusableInput, and by
    Ctrl-C Interrupted, with the outcome of what was fed.
    """
    with opened_whole(trace) as file:
        traced, replayer = _fed(trace, file, image, progress)
    replayer.finish()
    if replayer.events != traced.events:
        raise UnusableInput(f"{trace}: has {replayer.events} lines when read again and had {traced.events}: it changes")
    return _outcome(replayer, traced, image, registers)


def _fed(trace: Path, file: IO[bytes], ram: Dump | None, progress: Progress | None) -> tuple[Survey, Replayer]:
    traced = survey(trace, file)
    replayer = Replayer(trace, traced, ram)
    try:
        for event in read_trace(trace, file):
            replayer.feed(event)
            if progress and (replayer.events % _EVENTS_A_REPORT == 0 or replayer.events == traced.events):
                progress(replayer.events, traced.events)
    except KeyboardInterrupt as stop:
        raise Interrupted(_outcome(replayer, traced, None, None)) from stop
    return traced, replayer


def _outcome(replayer: Replayer, traced: Survey, image: Dump | None, registers: Registers | None) -> Outcome:
    compared = {}
    if image is not None:
        check_image(replayer.gic, replayer.mapped)
        compared = compare_tables(replayer.gic, image, replayer.software.written)
    if registers is not None:
        compared["registers"] = compare_registers(replayer.gic, registers)
    acknowledges = replayer.acknowledges
    late = (f"line {line}: {what}: the trace began after power-on" for what, line in replayer.late.items())
    return Outcome(
        traced=traced,
        events=replayer.events,
        commands_by_kind=dict(replayer.commands),
        msis=replayer.msis,
        acknowledges=acknowledges.count,
        not_pending=tuple(acknowledges.not_pending),
        unknown=dict(replayer.unknown),
        compared=compared,
        partial=(*_lacking(traced.kinds, acknowledges), *late),
        unjudged=tuple(_unjudged(acknowledges, compared)),
    )


def _lacking(kinds: Collection[type], acknowledges: Acknowledges) -> Iterator[str]:
    """The classes of events that what the trace does hold asks for."""
    lpis = acknowledges.judged > 0
    works = not {Command, UnknownCommand, Msi}.isdisjoint(kinds) or lpis
    if works and ItsWrite not in kinds:
        yield "no line is a gicv3_its_write, but the ITS works"
    if works and RedistributorWrite not in kinds:
        yield "no line is a gicv3_redist_write, but the ITS works"
    if lpis and Command not in kinds:
        yield "no line is a gicv3_its_cmd_*, but LPIs are acknowledged"
    if acknowledges.not_pending and Msi not in kinds:
        yield "no line is a gicv3_its_translation_write, but LPIs are acknowledged"


def _unjudged(acknowledges: Acknowledges, compared: Mapping[str, Compared]) -> Iterator[str]:
    """What was not looked at although it was to be: then equality would be an empty word."""
    if not acknowledges.judged and not any(comparison.bytes for comparison in compared.values()):
        yield "nothing was judged: no acknowledge of an LPI is in the trace, and no table or register was compared"
    for name, comparison in compared.items():
        if comparison.absent and not comparison.bytes:
            yield f"nothing was compared of {name}: the image holds none of its {comparison.absent} bytes"
