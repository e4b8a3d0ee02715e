# SPDX-License-Identifier: Apache-2.0
"""What `gicmodel bench` runs, and how it shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from gicmodel.benchmarks.catalogue import benchmarks
from gicmodel.benchmarks.harness import QUICK, THOROUGH, Goal, Spread, Unproven
from gicmodel.benchmarks.report import Outcome, machine, run
from gicmodel.cli._columns import show as show_columns
from gicmodel.errors import Interrupted

_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_HEAD = ("benchmark", "model", "peer", "", "ratio", "quartiles", "goal", "")
WRONG = 1


def run_all(groups: Iterable[str], quick: bool, quiet: bool) -> list[Outcome]:
    """Measure the groups, one line of progress each on stderr. Ends the process with status 1 if a result is wrong.

    Interrupted, with the outcomes so far, by Ctrl-C.
    """
    outcomes: list[Outcome] = []
    for group in groups:
        if not quiet:
            click.echo(f"gicmodel: measuring {group}", err=True)
        try:
            outcomes.extend(run(group, benchmarks(group), quick, QUICK if quick else THOROUGH))
        except KeyboardInterrupt as stop:
            raise Interrupted(outcomes) from stop
        except Unproven as error:
            click.echo(f"gicmodel: {group}: {error}", err=True)
            raise SystemExit(WRONG) from None
    return outcomes


def show(outcomes: Sequence[Outcome]) -> None:
    """The machine, the table, and which peers are missing."""
    click.echo(", ".join(f"{name} {value}" for name, value in machine().items()) + "\n")
    show_columns([_HEAD, *map(_row, outcomes)])
    for reason in sorted({outcome.missing for outcome in outcomes if outcome.missing}):
        click.echo(f"peer missing: {reason}")


def _row(outcome: Outcome) -> tuple[str, ...]:
    name = f"{outcome.group}: {outcome.benchmark.name}"
    goal = _goal(outcome.benchmark.goal)
    measured = outcome.measured
    if measured is None:
        return name, "", "", "", "", "", goal, outcome.verdict
    times = f"{_time(measured.model.median)}/{outcome.unit}", _time(measured.peer.median)
    return name, *times, outcome.peer, f"{measured.ratio.median:.3g}", _quartiles(measured.ratio), goal, outcome.verdict


def _quartiles(ratio: Spread) -> str:
    return f"{ratio.low:.3g} .. {ratio.high:.3g}"


def _goal(goal: Goal | None) -> str:
    if goal is None:
        return ""
    return f"x {goal.bound:g}" if goal.kind == "speed" else f"cost {goal.bound:g}"


def _time(seconds: float) -> str:
    name, unit = next(((name, unit) for name, unit in _UNITS if seconds >= unit), _UNITS[-1])
    return f"{seconds / unit:.3g} {name}"
