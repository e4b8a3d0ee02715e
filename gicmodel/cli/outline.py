# SPDX-License-Identifier: Apache-2.0
"""What the browser shows: a decoded dump as a tree that is unfolded where somebody looks, and each item's details."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.cli.output import cell
from gicmodel.inspection import Inspection, gaps, views
from gicmodel.inspection.entries import UNKNOWN, device_keys
from gicmodel.inspection.octets import explain, hexdump
from gicmodel.inspection.regions import Regions
from gicmodel.inspection.rules import Findings
from gicmodel.inspection.selection import dump_of
from gicmodel.inspection.views import View

STEP = 256
"""More items of one kind than this are folded into groups."""
HEX_BYTES = 4096
"""How much of a table is shown."""
_TITLES = {
    "findings": "findings",
    "devices": "devices",
    "vpes": "vPEs",
    "collections": "collections",
    "redistributors": "redistributors",
    "memory": "tables",
}


class Item(NamedTuple):
    """Rows [start, end) of the table `kind`: a group of them, or the one row `start`."""

    kind: str
    start: int
    end: int
    group: bool


Path = list[Item]


class Outline:
    """The tree of a decoded dump."""

    def __init__(self, found: Inspection, findings: Findings) -> None:
        self.found = found
        self.findings = findings
        self.regions = Regions(found)
        self._rows: dict[str, Any] = {
            "findings": findings.told,
            "redistributors": found.redistributors,
            "devices": found.devices,
            "events": found.events,
            "collections": found.collections,
            "vpes": found.vpes,
            "vsgis": found.vsgis[np.argsort(found.vsgis["vPEID"], kind="stable")],
            "pending": found.pending[np.lexsort((found.pending["target"], found.pending["virtual"]))],
            "memory": self.regions.rows,
        }
        self._gaps = {name: gap for name, of in gaps.OF_VIEWS.items() if (gap := of(found)) is not None}
        self._device_keys = device_keys(found.devices)
        self._event_keys = device_keys(found.events)

    def roots(self) -> list[Item]:
        """A group for each kind that there is, or may be."""
        counts = {kind: len(self._rows[kind]) for kind in _TITLES}
        return [Item(kind, 0, counts[kind], True) for kind in _TITLES if counts[kind] or kind in self._gaps]

    def children(self, item: Item) -> list[Item]:
        """What an item unfolds to."""
        if item.group:
            return _folded(item)
        return [child for group in self._groups(item) for child in _folded(group)]

    def label(self, item: Item) -> str:
        """An item in one line."""
        if item.group:
            return self._group_label(item)
        row = self._rows[item.kind][item.start]
        if item.kind == "memory":
            return f"{row['address']:#x}: {self.regions.name(row)}"
        return _LABELS[item.kind](row)

    def detail(self, item: Item) -> list[str]:
        """An item's values, its bytes, and what each of its bits says."""
        if item.group:
            return [self._group_label(item)]
        if item.kind == "findings":
            return self._finding(item.start)
        if item.kind == "redistributors":
            return self._redistributor(item.start)
        row = self._rows[item.kind][item.start]
        if item.kind == "memory":
            held = self.found.dump.held(int(row["address"]), int(row["size"]))
            heading = f"{self.regions.name(row)}: {int(row['size']):#x} bytes, {held:#x} of them in the dump"
            return [heading, "", *hexdump(self.found.dump, int(row["address"]), min(int(row["size"]), HEX_BYTES))]
        lines = _values(views.OF_ROWS[item.kind](self.found, self._rows[item.kind][item.start : item.end]))
        entry = self.found.profile.formats.get(item.kind)
        if entry is None and row["address"] == UNKNOWN:
            return lines
        if entry is None:
            return [*lines, "", *hexdump(self.found.dump.pending, int(row["address"]) & -16, 16)]
        return [*lines, "", *explain(dump_of(self.found, entry), entry, row)]

    def places_of(self, intid: int) -> Iterator[Path]:
        """The ways to every event, pending interrupt and vSGI of an INTID."""
        for kind, column in (("events", "INTID"), ("pending", "INTID"), ("vsgis", "vINTID")):
            for row in np.flatnonzero(self._rows[kind][column] == intid).tolist():
                yield self._path(kind, row)

    def places_at(self, address: int) -> Iterator[Path]:
        """The ways to the entries and pending bits at an address, else to the tables around it."""
        entries = [
            (kind, row)
            for kind in views.OF_ROWS
            if kind in self._rows
            for row in np.flatnonzero(self._rows[kind]["address"] == address).tolist()
        ]
        rows = self.regions.rows
        around = np.flatnonzero((rows["address"] <= address) & (address < rows["address"] + rows["size"])).tolist()
        for kind, row in entries or [("memory", row) for row in around]:
            yield self._path(kind, row)

    def _path(self, kind: str, row: int) -> Path:
        """From a root to a row, without the groups between."""
        item = Item(kind, row, row + 1, False)
        found = self._rows[kind][row]
        if kind == "events":
            device = int(np.searchsorted(self._device_keys, self._event_keys[row]))
            return [*self._path("devices", device), item]
        if kind == "vsgis" or (kind == "pending" and found["virtual"]):
            vpe = found["vPEID" if kind == "vsgis" else "target"]
            return [*self._path("vpes", int(np.flatnonzero(self.found.vpes["vPEID"] == vpe)[0])), item]
        if kind == "pending":
            numbers = [one.processor_number for one in self.found.redistributors]
            return [*self._path("redistributors", numbers.index(int(found["target"]))), item]
        return [next(root for root in self.roots() if root.kind == kind), item]

    def _groups(self, item: Item) -> Iterator[Item]:
        """The rows of other kinds that belong to a row."""
        found, pending = self.found, self._rows["pending"]
        if item.kind == "devices":
            key = self._device_keys[item.start]
            first, end = (int(np.searchsorted(self._event_keys, key, side)) for side in ("left", "right"))
            yield Item("events", first, end, True)
        if item.kind == "vpes":
            vpe = found.vpes["vPEID"][item.start]
            yield _span("vsgis", self._rows["vsgis"]["vPEID"] == vpe)
            yield _span("pending", pending["virtual"] & (pending["target"] == vpe))
        if item.kind == "redistributors":
            number = found.redistributors[item.start].processor_number
            yield _span("pending", ~pending["virtual"] & (pending["target"] == number))

    def _group_label(self, item: Item) -> str:
        if item in self.roots() or item.kind in ("findings", "redistributors"):
            gap = self._gaps.get(item.kind) if item in self.roots() else None
            return f"{_TITLES.get(item.kind, item.kind)} ({gaps.counted(item.end - item.start, gap)})"
        first, last = (Item(item.kind, row, row + 1, False) for row in (item.start, item.end - 1))
        return f"{self.label(first).partition(':')[0]} .. {self.label(last).partition(':')[0]}"

    def _finding(self, number: int) -> list[str]:
        finding = self.findings.told[number]
        rule = finding.rule
        lines = [f"{rule.severity} {rule.identifier}", finding.sentence, "", rule.text, f"source: {rule.source}"]
        if finding.address == UNKNOWN:
            return lines
        return [*lines, "", *hexdump(self.found.dump, finding.address & -16, 64)]

    def _redistributor(self, number: int) -> list[str]:
        frames, one = self.found.frames, self.found.redistributors[number]
        lines = []
        for name, value in frames.values[one.frame].items():
            lines += [f"{one.frame}_{name}  {value:#x}"]
            fields = frames.fields(one.frame, name, self.found.architecture) or {}
            lines += [f"  {field:<20} {content:#x}" for field, content in fields.items()]
        return lines


def _folded(group: Item) -> list[Item]:
    """The rows of a group, or groups of them if they are many."""
    count = group.end - group.start
    width = 1
    while count > width * STEP:
        width *= STEP
    starts = range(group.start, group.end, width)
    return [Item(group.kind, start, min(start + width, group.end), width > 1) for start in starts]


def _span(kind: str, chosen: NDArray[np.bool_]) -> Item:
    """Rows that follow each other, as a group."""
    rows = np.flatnonzero(chosen)
    return Item(kind, int(rows[0]), int(rows[-1]) + 1, True) if rows.size else Item(kind, 0, 0, True)


def _values(view: View) -> list[str]:
    width = max(len(column.name) for column in view.columns)
    return [f"{column.name:<{width}}  {cell(column.plain(0, 1)[0])}" for column in view.columns]


def _way(row: np.void) -> str:
    """Where an event leads to."""
    if row["virtual"]:
        return f"vINTID {row['INTID']} -> vPE {row['vPEID']}"
    return f"INTID {row['INTID']} -> collection {row['ICID']}"


def _target(row: np.void, unknown: str = "?") -> str:
    return unknown if row["RDbase"] == UNKNOWN else str(row["RDbase"])


def _if_pending(row: np.void) -> str:
    return " pending" if row["pending"] == 1 else ""


_LABELS: dict[str, Callable[[Any], str]] = {
    "findings": lambda finding: f"{finding.rule.severity} {finding.rule.identifier}",
    "redistributors": lambda redistributor: f"redistributor {redistributor.number}",
    "devices": lambda row: f"device {row['DeviceID']:#x}: ITT at {row['ITT_addr']:#x}",
    "events": lambda row: f"event {row['EventID']}: {_way(row)} -> redistributor {_target(row)}{_if_pending(row)}",
    "vpes": lambda row: (
        f"vPE {row['vPEID']}: redistributor {_target(row)}"
        + ("" if row["resident"] == UNKNOWN else f", resident on {row['resident']}")
    ),
    "collections": lambda row: f"collection {row['ICID']}: redistributor {_target(row, '-')}",
    "vsgis": lambda row: f"vSGI {row['vINTID']}{_if_pending(row)}",
    "pending": lambda row: (
        f"pending {'vINTID' if row['virtual'] else 'INTID'} {row['INTID']}: "
        f"{'?' if row['events'] == UNKNOWN else row['events']} events"
    ),
}
"""A row in one line."""
