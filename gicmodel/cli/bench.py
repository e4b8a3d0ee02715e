# SPDX-License-Identifier: Apache-2.0
"""`gicmodel bench`: how fast the model is, beside what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.exceptions import Exit

from gicmodel.benchmarks.compare import Change, bench_quantities, changes, read_saved
from gicmodel.benchmarks.harness import Goal, Spread, Unproven
from gicmodel.benchmarks.report import GROUPS, Outcome, document, machine, run_all
from gicmodel.cli.engine import choose_engine
from gicmodel.cli.options import FigureFile, SourceFile
from gicmodel.cli.output import Results, json_options, print_table, save_figure, say
from gicmodel.cli.progress import Watcher
from gicmodel.errors import Interrupted

compare_option = click.option(
    "--compare",
    metavar="FILE",
    type=SourceFile(),
    help="What has changed since the run whose --json-file is FILE.",
)
_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_HEAD = ("benchmark", "model", "peer", "", "ratio", "quartiles", "goal", "", "peak MB")
WRONG = 1


@click.command(epilog="NAMEs: " + "; ".join(f"{name}, {about}" for name, about in GROUPS.items()) + ".")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(GROUPS)))
@click.option("--quick", is_flag=True, help="One round of each on little data: shows that it works, not how fast.")
@json_options
@click.option("--figure", metavar="FILE", type=FigureFile(), help="Draw ratios and scaling; .svg, .png or .pdf.")
@compare_option
def command(names: tuple[str, ...], quick: bool, results: Results, figure: Path | None, compare: Path | None) -> None:
    """Measure the model and its peers side by side, the result of each proved first.

    A ratio is the median of rounds in which both ran next to each other, with its quartiles. A goal "x 10" is met by
    at least ten times the peer's speed, a goal "cost 0.03" by at most that part of the peer's time.

    Exit status: 0 measured, whatever came of it; 1 a result was wrong, or with --compare a ratio is worse by more than
    its noise; 2 unusable input.
    """
    before = read_saved(compare, bench_quantities, "bench") if compare else None
    choose_engine(None, math.inf)

    def publish(outcomes: Sequence[Outcome]) -> None:
        results.publish(document(outcomes), partial(_show, outcomes))

    with measuring(publish), Watcher(lines=not results.as_json) as watcher:
        outcomes = run_all(
            names or GROUPS, quick, lambda name, done, total: watcher.progress("measuring", done, total, name)
        )
    publish(outcomes)
    if figure is not None:
        from gicmodel.benchmarks.figure import draw

        save_figure(figure, draw(outcomes))
    if before is not None:
        judge(changes(before, bench_quantities(document(outcomes))), results.as_json)


@contextmanager
def measuring(publish: Callable[[Any], None]) -> Iterator[None]:
    """What is measured before Ctrl-C is published, too; of a wrong result is told, and Exit 1."""
    try:
        yield
    except Interrupted as stop:
        publish(stop.so_far)
        raise
    except Unproven as error:
        click.echo(f"gicmodel: {error}", err=True)
        raise Exit(WRONG) from error


def judge(found: Sequence[Change], quiet: bool) -> None:
    """Print what has changed; Exit 1 if something is worse."""
    if not quiet:
        rows = [
            (change.verdict, change.name, _value(change.before), _value(change.now))
            for change in found
            if change.verdict
        ]
        say(f"\n{len(found) - len(rows)} of {len(found)} figures have not changed by more than their noise")
        if rows:
            print_table(("", "figure", "before", "now"), rows, right=(2, 3))
    if any(change.verdict == "worse" for change in found):
        raise Exit(WRONG)


def _value(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:.3g} ({_quartiles(spread)})"


def _show(outcomes: Sequence[Outcome]) -> None:
    """The machine, the table, and which peers are missing."""
    say(", ".join(f"{name} {value}" for name, value in machine().items()) + "\n")
    print_table(_HEAD, [*map(_row, outcomes)])
    for reason in sorted({outcome.missing for outcome in outcomes if outcome.missing}):
        say(f"peer missing: {reason}")


def _row(outcome: Outcome) -> tuple[str, ...]:
    name = f"{outcome.group}: {outcome.benchmark.name}"
    goal = _goal(outcome.benchmark.goal)
    measured = outcome.measured
    if measured is None:
        return name, "", "", "", "", "", goal, outcome.verdict, ""
    times = f"{_time(measured.model.median)}/{outcome.unit}", _time(measured.peer.median)
    ratio = f"{measured.ratio.median:.3g}", _quartiles(measured.ratio)
    return name, *times, outcome.peer, *ratio, goal, outcome.verdict, megabytes(outcome.peak_bytes)


def megabytes(octets: int | None) -> str:
    """A number of bytes in millions; a dash if it is unknown."""
    return "-" if octets is None else f"{octets / 1e6:.0f}"


def _quartiles(ratio: Spread) -> str:
    return f"{ratio.low:.3g} .. {ratio.high:.3g}"


def _goal(goal: Goal | None) -> str:
    if goal is None:
        return ""
    return f"x {goal.bound:g}" if goal.kind == "speed" else f"cost {goal.bound:g}"


def _time(seconds: float) -> str:
    name, unit = next(((name, unit) for name, unit in _UNITS if seconds >= unit), _UNITS[-1])
    return f"{seconds / unit:.3g} {name}"
