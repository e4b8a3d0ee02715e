# SPDX-License-Identifier: Apache-2.0
"""How `gicmodel migrate` shows what happens and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from gicmodel.cli.output import print_table, say
from gicmodel.errors import UnusableInput
from gicmodel.layouts.lpi_tables import VSGIS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from gicmodel.migration.machine import Delivery
    from gicmodel.migration.trial import Verdict

SHOWN = 10
"""How many lost or doubled interrupts are named."""


class Watcher:
    """A progress bar on a terminal's stderr; nothing elsewhere."""

    def __init__(self, enabled: bool) -> None:
        self._bar = _progress_bar() if enabled and sys.stderr.isatty() else None
        self._task: TaskID | None = None
        self._step = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""
        if self._bar is None:
            return
        if self._task is None or step != self._step:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._step = self._bar.add_task(step, total=total), step
        self._bar.update(self._task, completed=done, total=total)


def _progress_bar() -> Progress:
    # rich takes as long to import as click and all of this package's layouts.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


class Report(Protocol):
    """What a run of `gicmodel migrate` has to say."""

    unsaved: UnusableInput | None

    @property
    def passed(self) -> bool:
        """Whether the exit status is 0."""

    def to_json(self) -> Any:
        """The document that `--json` writes."""

    def show(self) -> None:
        """Print it for people."""


class Outcome:
    """The report of one trial. `unsaved` is why the RAM that was to be saved is not."""

    def __init__(self, verdict: Verdict, unsaved: UnusableInput | None) -> None:
        self._verdict = verdict
        self.passed = verdict.passed
        self.unsaved = unsaved

    def to_json(self) -> dict[str, Any]:
        """The verdict."""
        verdict = self._verdict
        document: dict[str, Any] = {
            "vlpis": verdict.vlpis,
            "pending_before": verdict.pending_before,
            "pending_after": None if verdict.interrupted else verdict.pending_after,
            "lost": _named(verdict.lost),
            "duplicated": _named(verdict.duplicated),
            "image_identical": verdict.image_identical,
            "policy": verdict.policy.value,
            "commands": dict(verdict.commands),
            "unmaps": verdict.unmaps,
            "vsgis": {
                "pending_before": verdict.sgis_before,
                "pending_after": None if verdict.interrupted else verdict.sgis_after,
            },
            "steps": [{"name": step.name, "seconds": step.seconds, "bytes": step.bytes} for step in verdict.steps],
        }
        if verdict.interrupted:
            document |= {"interrupted": True, "migrations": verdict.migrations}
        if verdict.failure is not None:
            document["error"] = str(verdict.failure)
        if verdict.aborted:
            document["aborted"] = [str(error) for error in verdict.aborted]
        return document

    def show(self) -> None:
        """The table of steps and the verdict."""
        steps = [(step.name, f"{step.seconds * 1e3:.1f}", f"{step.bytes:,}") for step in self._verdict.steps]
        print_table(("step", "ms", "bytes"), steps, right=(1, 2))
        for line in _sentences(self._verdict):
            say(line)


def _sentences(verdict: Verdict) -> list[str]:
    lines = [f"{verdict.vlpis} vLPIs: {_tally(verdict, verdict.pending_before, verdict.pending_after, is_sgi=False)}"]
    if verdict.sgis_before or verdict.sgis_after:
        lines.append(f"vSGIs: {_tally(verdict, verdict.sgis_before, verdict.sgis_after, is_sgi=True)}")
    commands = f"{sum(verdict.commands.values())} ITS commands, vPEs unmapped {verdict.unmaps} times"
    lines.append(f"policy {verdict.policy.value}: {commands}")
    lines += [
        f"aborted at {error}; the guest went on where it was, and it was tried again" for error in verdict.aborted
    ]
    if verdict.image_identical is not None:
        lines.append(f"saved again: {'identical to the image' if verdict.image_identical else 'NOT the bytes it was'}")
    lines += _listed("lost", verdict.lost) + _listed("doubled", verdict.duplicated)
    return [*lines, _conclusion(verdict)]


def _tally(verdict: Verdict, before: int, after: int, is_sgi: bool) -> str:
    """What became of one kind of interrupts."""

    def count(deliveries: Iterable[Delivery]) -> int:
        return sum((intid < VSGIS) is is_sgi for _, intid in deliveries)

    held = f", {count(verdict.held)} disabled and pending still" if count(verdict.held) else ""
    delivered, lost, doubled = map(count, (verdict.delivered.elements(), verdict.lost, verdict.duplicated))
    then = "" if verdict.interrupted else f", {after} after"
    return f"{before} pending before{then}; {delivered} delivered, {lost} lost, {doubled} doubled{held}"


def _conclusion(verdict: Verdict) -> str:
    unharmed = not (verdict.lost or verdict.duplicated)
    if verdict.interrupted:
        return f"interrupted after {verdict.migrations} migrations" + unharmed * ", in which nothing was lost"
    if verdict.failure is not None:
        return f"not migrated: {verdict.failure}; the guest goes on where it was" + unharmed * " and has lost nothing"
    if not verdict.passed:
        return "the migration did not hold"
    if not verdict.expected:
        return "no vLPI was pending, so there was nothing to lose"
    return f"every pending {'vLPI' if verdict.vlpis_expected else 'vSGI'} arrived once, on its vCPU"


def _listed(what: str, deliveries: list[Delivery]) -> list[str]:
    named = [f"{what}: {_kind(intid)} {intid} of vCPU {vcpu}" for vcpu, intid in deliveries[:SHOWN]]
    return named + ([f"{what}: {len(deliveries) - SHOWN} more"] if len(deliveries) > SHOWN else [])


def _kind(intid: int) -> str:
    return "vSGI" if intid < VSGIS else "vLPI"


def _named(deliveries: list[Delivery]) -> list[dict[str, int]]:
    return [{"vcpu": vcpu, "intid": intid} for vcpu, intid in deliveries]
