# SPDX-License-Identifier: Apache-2.0
"""Which part of a decoded dump is shown: all, one table, one device or event, one vPE, or what is pending."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput, number_in
from gicmodel.images.dump import Dump
from gicmodel.inspection import gaps, views
from gicmodel.inspection.entries import UNKNOWN, device_keys, event_keys
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.paths import irqs_of, physical_lpis
from gicmodel.inspection.profiles import Entry
from gicmodel.inspection.rules import Findings
from gicmodel.inspection.rules.mapping import event_name
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
    """The DeviceID and, after a colon, the EventID, of 32 bits at most; raises UnusableInput."""
    device, colon, event = text.partition(":")
    try:
        numbers = number_in(device), number_in(event) if colon else None
    except ValueError as error:
        raise UnusableInput(f"--device {text!r} is not DeviceID or DeviceID:EventID, such as 0x10:3") from error
    if any((number or 0) >> 32 for number in numbers):
        raise UnusableInput(f"--device {text!r}: a DeviceID or an EventID has 32 bits at most")
    return numbers


def select(found: Inspection, findings: Findings, selection: Selection) -> list[View]:
    """The views of a selection.

    Raises UnusableInput if it names a device, an event or a vPE that is not mapped, or of which that is not known.
    """
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
        rows = chosen(found, selection, "events" if name == "paths" else name)
        return replace(views.OF_ROWS[name](found, rows), gap=_gap(found, selection, name))
    return views.findings(findings) if name == "findings" else views.OF_ALL[name](found)


def _gap(found: Inspection, selection: Selection, name: str) -> gaps.Gap:
    """Why more rows may belong to the selection: what it names is there, as `_check` saw."""
    if selection.event is not None or (selection.device is not None and name == "devices"):
        return None
    if selection.vpe is not None and name == "vpes":
        return None
    return gaps.OF_VIEWS[name](found)


def _check(found: Inspection, selection: Selection) -> None:
    device, event, vpe = selection.device, selection.event, selection.vpe
    if device is not None and not chosen(found, Selection(device), "devices").size:
        gap = gaps.anywhere(found, lambda unit: gaps.entry(found, unit, "device", device))
        _refuse(found, f"device {device:#x}", _MAPPED, gap)
    if vpe is not None and not chosen(found, selection, "vpes").size:
        _refuse(found, f"vPE {vpe}", _MAPPED, gaps.vpe(found, vpe))
    if selection.irq is not None and not found.kernel.interrupts:
        raise UnusableInput(f"--irq {selection.irq}: Linux's interrupts are not known; --vmlinux FILE tells them")
    for what, number, alone, numbers in (
        ("LPI", selection.lpi, Selection(lpi=selection.lpi), physical_lpis),
        ("irq", selection.irq, Selection(irq=selection.irq), irqs_of),
    ):
        if number is not None and not chosen(found, alone, "events").size:
            unknown = found.events[numbers(found, found.events) == UNKNOWN]
            gap = gaps.events(found) or next((f"that of {event_name(row)} is not known" for row in unknown), None)
            _refuse(found, f"{what} {number}", _OF_EVENT, gap)
    if device is not None and event is not None and not chosen(found, Selection(device, event), "events").size:
        gap = gaps.anywhere(found, lambda unit: gaps.event(found, unit, device, event))
        _refuse(found, f"event {event} of device {device:#x}", _MAPPED, gap)
    if (selection.lpi, selection.irq) != (None, None) and not chosen(found, selection, "events").size:
        raise UnusableInput("each is there that is selected, and no event is all of it")


_MAPPED = "is mapped", "is not mapped"
_OF_EVENT = "has an event that is mapped", "has no event that is mapped"


def _refuse(found: Inspection, what: str, states: tuple[str, str], gap: gaps.Gap) -> NoReturn:
    """Raise UnusableInput for what is not there, or cannot be told to be."""
    if gap is not None:
        raise UnusableInput(f"{what}: it is not known whether it {states[0]}: {gap}")
    told = sorted({source for unit in found.its for source in unit.told.values()})
    raise UnusableInput(f"{what} {states[1]} in this dump{', as told by ' + ', '.join(told) if told else ''}")
