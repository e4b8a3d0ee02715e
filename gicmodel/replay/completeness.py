# SPDX-License-Identifier: Apache-2.0
"""Why a trace is not all that happened from power-on to its end, so that what a replay of it finds proves nothing.

A trace that lacks a class of events, or that began late, leaves the model in another state than the machine was in:
then neither what agrees nor what differs means anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from gicmodel.images.qemu_trace.events import Command, ItsWrite, Msi, RedistributorWrite, UnknownCommand
from gicmodel.replay.acknowledges import Acknowledges
from gicmodel.replay.comparison import Comparison


class Late:
    """What was used before the trace shows that it was set up: the trace begins after that."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def note(self, line: int, what: str) -> None:
        """Remember the first line of each."""
        self._first.setdefault(what, line)

    def reasons(self) -> Iterator[str]:
        """Each once, with its first line."""
        for what, line in self._first.items():
            yield f"line {line}: {what}: the trace began after power-on"


def lacking(kinds: Collection[type], acknowledges: Acknowledges) -> Iterator[str]:
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


def unjudged(acknowledges: Acknowledges, compared: Mapping[str, Comparison]) -> Iterator[str]:
    """What was not looked at although it was to be: then equality would be an empty word."""
    if not acknowledges.judged and not any(comparison.bytes for comparison in compared.values()):
        yield "nothing was judged: no acknowledge of an LPI is in the trace, and no table or register was compared"
    for name, comparison in compared.items():
        if comparison.absent and not comparison.bytes:
            yield f"nothing was compared of {name}: the image holds none of its {comparison.absent} bytes"
