# SPDX-License-Identifier: Apache-2.0
"""What the bytes in RAM say, in the oracle's words: tables and pending tables decoded with `layouts` alone."""

from __future__ import annotations

import numpy as np

from gicmodel.lab.lab import Lab
from gicmodel.lab.tables import Fields, as_fields, events_of, table_of
from gicmodel.layouts.its_tables import INTTYPE_PHYSICAL, ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS, intids_of, table_bytes
from gicmodel.layouts.table import TableType
from gicmodel.spec.state import Device, Event, PhysicalEvent, VirtualEvent


def devices(lab: Lab, its: int) -> dict[int, Device]:
    """The valid DTEs of an ITS."""
    entries = _valid_entries(lab, its, TableType.DEVICES)
    return {number: Device(entry["ITT_addr"], 2 << entry["Size"]) for number, entry in entries.items()}


def collections(lab: Lab, its: int) -> dict[int, int]:
    """The redistributor of each valid CTE of an ITS; its first GITS_TYPER.HCC collections have none in RAM."""
    entries = _valid_entries(lab, its, TableType.COLLECTIONS)
    return {lab.config.hcc + number: entry["RDbase"] for number, entry in entries.items()}


def vpes(lab: Lab, its: int) -> dict[int, Fields]:
    """The valid vPE entries in an ITS's table."""
    return _valid_entries(lab, its, TableType.VPES)


def events(lab: Lab, itt: int) -> dict[int, Event]:
    """The valid ITEs of an ITT, by EventID."""
    numbers, rows = events_of(lab.memory, (itt, ITE.bytes << lab.config.event_id_bits))
    return dict(zip(numbers.tolist(), map(_event, as_fields(rows)), strict=True))


def mapped_events(lab: Lab) -> dict[tuple[int, int, int], int | None]:
    """(ITS, DeviceID, EventID) of every event that is mapped, and the vPEID that it leads to if it is virtual."""
    known = {itt: events(lab, itt) for itt in lab.placement.itts}
    return {
        (its, device_id, event_id): entry.vpeid if isinstance(entry, VirtualEvent) else None
        for its in range(lab.config.its)
        for device_id, device in devices(lab, its).items()
        for event_id, entry in known.get(device.itt, {}).items()
        if event_id < device.events
    }


def mapped_vpes(lab: Lab) -> dict[tuple[int, int], Fields]:
    """(ITS, vPEID) of every vPE that is mapped, and its entry."""
    if not lab.config.virtual:
        return {}
    return {
        (its, vpeid): entry
        for its in range(lab.config.its)
        for vpeid, entry in vpes(lab, its).items()
        if not lab.config.v41 or entry["ITSMap"] >> its & 1
    }


def pending_bits(lab: Lab, address: int) -> set[int]:
    """The LPIs, and in a VPT the vSGIs, whose bits are set in a pending table."""
    intids = intids_of(lab.memory.view(address, table_bytes(lab.config.intid_bits), np.uint8))
    return set(intids[(intids < VSGIS) | (intids >= FIRST_LPI)].tolist())


def _valid_entries(lab: Lab, its: int, kind: TableType) -> dict[int, Fields]:
    """Every entry with its Valid bit set, within or beyond the IDs that the table serves."""
    numbers, rows = table_of(lab.gic.its[its], kind, lab.memory)
    return dict(zip(numbers.tolist(), as_fields(rows), strict=True))


def _event(entry: Fields) -> Event:
    if entry["IntType"] == INTTYPE_PHYSICAL:
        return PhysicalEvent(entry["IntID"], entry["ICID"])
    return VirtualEvent(entry["IntID"], entry["vPEID"], entry["Doorbell"])
