# SPDX-License-Identifier: Apache-2.0
"""Which part of a decoded dump is shown: all, one table, one device or event, one vPE, or what is pending."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.inspection import views
from gicmodel.inspection.entries import device_keys, event_keys
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.paths import irqs_of, physical_lpis
from gicmodel.inspection.profiles import Entry
from gicmodel.inspection.rules import Findings
from gicmodel.inspection.views import View

TABLES = (
    *("devices", "events", "collections", "vpes", "vsgis"),
    *("redistributors", "pending", "queue", "memory", "findings"),
)
"""The names of the views that show all that was decoded."""
ON_DEMAND = ("origins", "paths", "guests")
"""The names of those that only show up when they are asked for."""


@dataclass(frozen=True)
class Selection:
    """What to show; a field that is None, or false, narrows nothing."""

    device: int | None = None
    event: int | None = None
    vpe: int | None = None
    pending: bool = False
    table: str | None = None
    lpi: int | None = None
    irq: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The views to show, in order."""
        if self.table is not None:
            return (self.table,)
        if self.event is not None or self.lpi is not None or self.irq is not None:
            return ("paths", "devices", "events")
        if self.device is not None:
            return ("devices", "events")
        if self.vpe is not None:
            return ("vpes", "events", "vsgis", "pending")
        if self.pending:
            return ("pending", "vsgis", "events")
        return TABLES


def parse_device(text: str) -> tuple[int, int | None]:
    """The DeviceID and, after a colon, the EventID; raises UnusableInput."""
    device, _, event = text.partition(":")
    try:
        return int(device, 0), int(event, 0) if event else None
    except ValueError as error:
        raise UnusableInput(f"--device {text!r} is not DeviceID or DeviceID:EventID, such as 0x10:3") from error


def select(found: Inspection, findings: Findings, selection: Selection) -> list[View]:
    """The views of a selection; raises UnusableInput if it names a device, an event or a vPE that is not mapped."""
    _check(found, selection)
    return [_view(found, findings, selection, name) for name in selection.names]


def entries(found: Inspection, selection: Selection) -> list[tuple[Entry, NDArray[np.void]]]:
    """The entries of a selection with their formats, for a look at their bytes."""
    formats = found.profile.formats
    names = ("events",) if selection.event is not None else selection.names
    return [(formats[name], chosen(found, selection, name)) for name in names if name in formats]


def dump_of(found: Inspection, entry: Entry) -> Dump:
    """Where the bytes of an entry are: vSGIs are in pending tables."""
    return found.dump.pending if entry is found.profile.formats.get("vsgis") else found.dump


def chosen(found: Inspection, selection: Selection, name: str) -> NDArray[np.void]:
    """The selected rows of what was decoded; what does not tell a device, an event or a vPE is not chosen by it."""
    rows: NDArray[np.void] = getattr(found, name)
    columns = rows.dtype.names or ()
    keep = np.ones(rows.size, np.bool_)
    of_vpe = "vPEID" if "vPEID" in columns else "target"
    wanted = {"DeviceID": selection.device, "EventID": selection.event, of_vpe: selection.vpe}
    for column, value in (wanted | {"pending": selection.pending or None}).items():
        if value is not None and column in columns:
            keep &= rows[column] == value
    if selection.vpe is not None and "virtual" in columns:
        keep &= rows["virtual"]
    if (selection.lpi, selection.irq) != (None, None) and "DeviceID" in columns:
        keep &= _of_interrupt(found, selection, rows)
    return rows[keep]


def _of_interrupt(found: Inspection, selection: Selection, rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which devices or events have the selected LPI, or Linux's interrupt."""
    events = found.events
    lpis, irqs = physical_lpis(found, events), irqs_of(found, events)
    mine = np.ones(events.size, np.bool_)
    for wanted, values in ((selection.lpi, lpis), (selection.irq, irqs)):
        if wanted is not None:
            mine &= values == wanted
    keys = event_keys if "EventID" in (rows.dtype.names or ()) else device_keys
    return np.isin(keys(rows), keys(events[mine]))


def _view(found: Inspection, findings: Findings, selection: Selection, name: str) -> View:
    if selection.table == name == "queue":
        return views.queue(found, whole=True)
    if name in views.OF_ROWS:
        return views.OF_ROWS[name](found, chosen(found, selection, "events" if name == "paths" else name))
    return views.findings(findings) if name == "findings" else views.OF_ALL[name](found)


def _check(found: Inspection, selection: Selection) -> None:
    if selection.device is not None and not chosen(found, selection, "devices").size:
        raise UnusableInput(f"device {selection.device:#x} is not mapped in this dump")
    if selection.vpe is not None and not chosen(found, selection, "vpes").size:
        raise UnusableInput(f"vPE {selection.vpe} is not mapped in this dump")
    if selection.irq is not None and (found.kernel is None or not found.kernel.interrupts):
        raise UnusableInput(f"--irq {selection.irq}: Linux's interrupts are not known; --vmlinux FILE tells them")
    for what, number in (("LPI", selection.lpi), ("irq", selection.irq)):
        if number is not None and not chosen(found, selection, "events").size:
            raise UnusableInput(f"{what} {number} has no event that is mapped in this dump")
    if selection.event is not None and not chosen(found, Selection(selection.device, selection.event), "events").size:
        raise UnusableInput(f"event {selection.event} of device {selection.device:#x} is not mapped in this dump")
