# SPDX-License-Identifier: Apache-2.0
"""Which part of a decoded dump is shown: all, one table, one device or event, one vPE, or what is pending."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.inspection import views
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.profiles import Entry
from gicmodel.inspection.rules import Findings
from gicmodel.inspection.views import View

TABLES = (
    "devices",
    "events",
    "collections",
    "vpes",
    "vsgis",
    "redistributors",
    "pending",
    "queue",
    "memory",
    "findings",
)
"""The names of the views that show all that was decoded."""
ON_DEMAND = ("origins",)
"""The names of those that only show up when they are asked for."""


@dataclass(frozen=True)
class Selection:
    """What to show; a field that is None, or false, narrows nothing."""

    device: int | None = None
    event: int | None = None
    vpe: int | None = None
    pending: bool = False
    table: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The views to show, in order."""
        if self.table is not None:
            return (self.table,)
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
    profile = found.profile
    kinds = {
        "devices": (profile.device, devices(found, selection)),
        "events": (profile.event, events(found, selection)),
        "collections": (profile.collection, found.collections),
        "vpes": (profile.vpe, vpes(found, selection)),
        "vsgis": (None if profile.vsgi is None else profile.vsgi.configuration, vsgis(found, selection)),
    }
    chosen = [kinds[name] for name in selection.names if name in kinds]
    if selection.event is not None:
        chosen = [kinds["events"]]
    return [(entry, rows) for entry, rows in chosen if entry is not None]


def dump_of(found: Inspection, entry: Entry) -> Dump:
    """Where the bytes of an entry are: vSGIs are in pending tables."""
    storage = found.profile.vsgi
    return found.dump.pending if storage is not None and entry is storage.configuration else found.dump


def devices(found: Inspection, selection: Selection) -> NDArray[np.void]:
    """The selected devices."""
    rows = found.devices
    return rows if selection.device is None else rows[rows["DeviceID"] == selection.device]


def vpes(found: Inspection, selection: Selection) -> NDArray[np.void]:
    """The selected vPEs."""
    rows = found.vpes
    return rows if selection.vpe is None else rows[rows["vPEID"] == selection.vpe]


def events(found: Inspection, selection: Selection) -> NDArray[np.void]:
    """The selected events."""
    rows = found.events
    keep = np.ones(rows.size, np.bool_)
    if selection.device is not None:
        keep &= rows["DeviceID"] == selection.device
    if selection.event is not None:
        keep &= rows["EventID"] == selection.event
    if selection.vpe is not None:
        keep &= rows["virtual"] & (rows["vPEID"] == selection.vpe)
    if selection.pending:
        keep &= rows["pending"] == 1
    return rows[keep]


def pending(found: Inspection, selection: Selection) -> NDArray[np.void]:
    """The selected pending interrupts."""
    rows = found.pending
    return rows if selection.vpe is None else rows[rows["virtual"] & (rows["target"] == selection.vpe)]


def vsgis(found: Inspection, selection: Selection) -> NDArray[np.void]:
    """The selected vSGIs."""
    rows = found.vsgis
    if selection.pending:
        rows = rows[rows["pending"] == 1]
    return rows if selection.vpe is None else rows[rows["vPEID"] == selection.vpe]


def _view(found: Inspection, findings: Findings, selection: Selection, name: str) -> View:
    if name == "devices":
        return views.devices(found, devices(found, selection))
    if name == "events":
        return views.events(found, events(found, selection))
    if name == "collections":
        return views.collections(found, found.collections)
    if name == "vpes":
        return views.vpes(found, vpes(found, selection))
    if name == "vsgis":
        return views.vsgis(found, vsgis(found, selection))
    if name == "redistributors":
        return views.redistributors(found)
    if name == "pending":
        return views.pending(found, pending(found, selection))
    if name == "queue":
        return views.queue(found)
    if name == "origins":
        return views.origins(found)
    return views.memory(found) if name == "memory" else views.findings(findings)


def _check(found: Inspection, selection: Selection) -> None:
    if selection.device is not None and not devices(found, selection).size:
        raise UnusableInput(f"device {selection.device:#x} is not mapped in this dump")
    if selection.vpe is not None and not vpes(found, selection).size:
        raise UnusableInput(f"vPE {selection.vpe} is not mapped in this dump")
    if selection.event is not None and not events(found, Selection(selection.device, selection.event)).size:
        raise UnusableInput(f"event {selection.event} of device {selection.device:#x} is not mapped in this dump")
