# SPDX-License-Identifier: Apache-2.0
"""The picture of a decoded dump: which interrupts are pending and enabled where, and where the tables lie."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection import gaps, lpis
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.join import pending_tables
from gicmodel.inspection.regions import KIND_TITLES, Regions
from gicmodel.layouts.lpi_tables import FIRST_LPI

BINS = 128
ROWS = 64
"""How many rows a picture can show; the first ones are."""
_ROW_INCHES, _WIDTH_INCHES, _MAP_INCHES = 0.22, 11, 3
_VISIBLE = 0.003
"""The least width of a region, as a part of the picture's."""
_MARKS = 8
"""The most addresses below the picture, each a multiple of a power of two."""


class Heat(NamedTuple):
    """`pending` and `enabled` count interrupts, int64 [rows, bins]; bin n begins at INTID FIRST_LPI + n * width.

    The name of a row says if the dump lacks a part of its pending table.
    """

    rows: list[str]
    width: int
    pending: NDArray[np.int64]
    enabled: NDArray[np.int64]


def heat(found: Inspection) -> Heat:
    """Count the pending interrupts, and the events whose interrupt is enabled."""
    tables = pending_tables(found.redistributors, found.vpes[:ROWS])[:ROWS]
    owners = tables[["virtual", "target"]].tolist()
    events = found.events[lpis.enabled(found.events["configuration"])]
    target = np.where(events["virtual"], events["vPEID"], events["RDbase"])
    highest = max(int(rows["INTID"].max(initial=FIRST_LPI)) for rows in (events, found.pending))
    width = -(-(highest + 1 - FIRST_LPI) // BINS)
    whole = gaps.pending_known(found, tables).tolist()
    names = [
        f"{'vPE' if virtual else 'RD'} {number}{'' if known else ' (not all known)'}"
        for (virtual, number), known in zip(owners, whole, strict=True)
    ]
    pending = [_count(found.pending, found.pending["target"], owner, width) for owner in owners]
    enabled = [_count(events, target, owner, width) for owner in owners]
    shape = (len(owners), BINS)
    return Heat(names, width, np.reshape(pending, shape).astype(np.int64), np.reshape(enabled, shape).astype(np.int64))


def _count(rows: NDArray[np.void], target: NDArray[np.int64], owner: tuple[bool, int], width: int) -> NDArray[np.int64]:
    virtual, number = owner
    intids = rows["INTID"][(rows["virtual"] == virtual) & (target == number)].astype(np.int64)
    bins = (intids[intids >= FIRST_LPI] - FIRST_LPI) // width
    return np.bincount(bins, minlength=BINS)[:BINS].astype(np.int64)


def draw(found: Inspection) -> Any:
    """A figure of matplotlib, which must be installed."""
    from matplotlib.figure import Figure

    counts = heat(found)
    inches = max(1.2, _ROW_INCHES * len(counts.rows) + 0.8)
    figure = Figure(figsize=(_WIDTH_INCHES, 2 * inches + _MAP_INCHES), layout="constrained")
    axes = figure.subplots(3, 1, height_ratios=[inches, inches, _MAP_INCHES])
    _draw_heat(figure, axes[0], counts, counts.pending, "pending")
    _draw_heat(figure, axes[1], counts, counts.enabled, "mapped and enabled")
    _draw_map(axes[2], Regions(found))
    return figure


def _draw_heat(figure: Any, axis: Any, counts: Heat, values: Any, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    end = FIRST_LPI + BINS * counts.width
    # White is none; one interrupt among many is still seen.
    shown = np.ma.masked_equal(values, 0)
    rows = max(1, len(counts.rows))
    image = axis.imshow(
        shown if len(counts.rows) else np.zeros((1, BINS)),
        aspect="auto",
        interpolation="nearest",
        extent=(FIRST_LPI, end, rows - 0.5, -0.5),
        vmin=0,
        vmax=counts.width,
        cmap="viridis_r",
    )
    axis.set_yticks(range(len(counts.rows)), counts.rows)
    axis.set_title(f"{title} (INTIDs of one bin: {counts.width})")
    axis.set_xlabel("INTID")
    figure.colorbar(image, ax=axis, ticks=MaxNLocator(integer=True))


def _draw_map(axis: Any, regions: Regions) -> None:
    """A row for each kind of table; regions too small to see are drawn as wide as can be seen."""
    from matplotlib.ticker import MultipleLocator

    rows = regions.rows
    kinds = np.unique(rows["kind"]).tolist()
    span = int(np.ptp(rows["address"])) if rows.size else 0
    least = max(1, int(span * _VISIBLE))
    for place, kind in enumerate(kinds):
        mine = rows[rows["kind"] == kind]
        bars = [(address, max(size, least)) for address, size in mine[["address", "size"]].tolist()]
        axis.broken_barh(bars, (place - 0.4, 0.8))
    axis.set_yticks(range(len(kinds)), [KIND_TITLES[kind] for kind in kinds])
    axis.invert_yaxis()
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(MultipleLocator(1 << (int(high - low) // _MARKS).bit_length()))
    axis.xaxis.set_major_formatter(lambda address, _: f"{int(address):#x}")
    axis.set_title("memory of the tables")
    axis.set_xlabel("physical address")
