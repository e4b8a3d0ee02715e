# SPDX-License-Identifier: Apache-2.0
"""The picture of benchmarks: each ratio beside its goal, and how the work scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gicmodel.benchmarks.report import Outcome

_BAR_INCHES, _WIDTH_INCHES, _CURVES_INCHES = 0.28, 11, 3.2
_COLOURS = {"pass": "tab:green", "short": "tab:red"}


def draw(outcomes: Sequence[Outcome]) -> Any:
    """A figure of matplotlib, which must be installed."""
    from matplotlib.figure import Figure

    judged = [outcome for outcome in outcomes if outcome.measured and outcome.benchmark.goal]
    curves = _curves(outcomes)
    heights = [max(1.5, _BAR_INCHES * len(judged)), _CURVES_INCHES if curves else 0.01]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + 1), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)
    _draw_bars(parts[0, 0].subplots(), judged)
    if curves:
        axes = parts[1, 0].subplots(1, len(curves), squeeze=False)[0]
        for axis, (title, points) in zip(axes, curves.items(), strict=True):
            _draw_curve(axis, title, points)
    return figure


def _draw_bars(axis: Any, judged: Sequence[Outcome]) -> None:
    """How far beyond its goal each is: right of 1 is met, for speed and cost alike."""
    names = [f"{outcome.group}: {outcome.benchmark.name}" for outcome in judged]
    goals = [(outcome.benchmark.goal, outcome.measured) for outcome in judged]
    margins = [goal.margin(measured) for goal, measured in goals if goal and measured]
    axis.barh(names, margins, color=[_COLOURS[outcome.verdict] for outcome in judged])
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.margins(y=0.01)
    axis.invert_yaxis()
    axis.set_xlabel("ratio to the goal (1: just met)")


def _curves(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    curves: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        point = outcome.benchmark.point
        if point is not None and outcome.measured is not None:
            curves.setdefault((point.curve, point.axis), []).append(outcome)
    return curves


def _draw_curve(axis: Any, title: tuple[str, str], points: Sequence[Outcome]) -> None:
    """Seconds of the whole work against its size, for the model and for its peer."""
    places = [outcome.benchmark.point.value for outcome in points if outcome.benchmark.point]
    totals = [_totals(outcome) for outcome in points]
    axis.loglog(places, [model for model, _ in totals], marker="o", label="model")
    axis.loglog(places, [peer for _, peer in totals], linestyle="--", color="tab:gray", label=points[0].peer)
    axis.set_title(title[0])
    axis.set_xlabel(title[1])
    axis.set_ylabel("seconds")
    axis.legend(fontsize="small")


def _totals(outcome: Outcome) -> tuple[float, float]:
    """The model's seconds for the work, and the peer's for as much."""
    assert outcome.measured is not None
    return outcome.measured.model.median * outcome.work, outcome.measured.peer.median * outcome.work
