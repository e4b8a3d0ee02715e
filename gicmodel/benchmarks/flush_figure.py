# SPDX-License-Identifier: Apache-2.0
"""The picture of a sweep: what takes the time of each flush."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gicmodel.benchmarks.flush_points import Flush, FlushPoint, varying

_BAR_INCHES, _WIDTH_INCHES, _NS = 0.4, 10, 1e9
_COLOURS = {
    "unmap: driver": "tab:orange",
    "VPT clean: GIC": "tab:red",
    "guest tables: KVM": "tab:green",
    "VPT read: GIC": "tab:purple",
    "map: driver": "tab:blue",
}


def draw(flushes: Sequence[Flush]) -> Any:
    """A figure of matplotlib, which must be installed: a bar for each VM, with the quartiles of the whole."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, max(2.0, _BAR_INCHES * len(flushes) + 1.2)), layout="constrained")
    axis = figure.subplots()
    names = [_name(flush.point, flushes) for flush in flushes]
    left = [0.0] * len(flushes)
    for part, colour in _COLOURS.items():
        widths = [_slices(flush)[part] for flush in flushes]
        axis.barh(names, widths, left=left, color=colour, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for name, flush in zip(names, flushes, strict=True):
        per_vlpi = _NS / flush.point.vlpis
        whole = flush.seconds["whole"]
        axis.hlines(name, whole.low * per_vlpi, whole.high * per_vlpi, color="black")
        axis.plot([flush.seconds["loop"].median * per_vlpi], [name], "k|", markersize=14)
    axis.invert_yaxis()
    axis.set_xlabel("ns a vLPI (black line: quartiles; tick: with KVM's loop, LPI by LPI)")
    axis.legend(fontsize="small")
    return figure


def _slices(flush: Flush) -> dict[str, float]:
    """The medians of the parts, in ns a vLPI."""
    parts = {name: spread.median * _NS / flush.point.vlpis for name, spread in flush.seconds.items()}
    clean, read = parts.get("clean", 0.0), parts.get("read", 0.0)
    driver = parts.get("unmap", 0.0) - clean, parts.get("map", 0.0) - read
    return dict(zip(_COLOURS, (driver[0], clean, parts["tables"], read, driver[1]), strict=True))


def _name(point: FlushPoint, flushes: Sequence[Flush]) -> str:
    differ = varying([flush.point for flush in flushes])
    return ", ".join(f"{name} {getattr(point, name)}" for name in differ) or f"{point.vlpis} vLPIs"
