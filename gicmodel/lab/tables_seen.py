# SPDX-License-Identifier: Apache-2.0
"""What the bytes in RAM say, in the oracle's words: tables and pending tables decoded with `layouts` alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.lab.lab import Lab
from gicmodel.lab.tables import Fields, as_fields, events_of, table_of
from gicmodel.layouts.its_tables import INTTYPE_PHYSICAL, ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGI_CONFIGURATION, VSGI_CONFIGURATION_BYTE, VSGIS, table_bytes
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
    """The INTIDs whose bits are set in a pending table, those of the first KiB left out."""
    return {intid for intid in _bits(lab, address) if intid >= FIRST_LPI}


def vsgis(lab: Lab, vpt: int) -> tuple[set[int], dict[int, Fields]]:
    """The pending vSGIs of a VPT, and the configuration of those that have one."""
    pending = {number for number in _bits(lab, vpt) if number < VSGIS}
    configured = {}
    for number in range(VSGIS):
        byte = lab.memory.read_u8(vpt + VSGI_CONFIGURATION_BYTE + number)
        if byte:
            configured[number] = VSGI_CONFIGURATION.unpack(byte)
    return pending, configured


def _bits(lab: Lab, address: int) -> list[int]:
    octets = lab.memory.view(address, table_bytes(lab.config.intid_bits), np.uint8)
    used: NDArray[np.int64] = np.flatnonzero(octets)
    return [8 * int(byte) + bit for byte in used for bit in range(8) if int(octets[byte]) >> bit & 1]


def _valid_entries(lab: Lab, its: int, kind: TableType) -> dict[int, Fields]:
    """Every entry with its Valid bit set, within or beyond the IDs that the table serves."""
    numbers, rows = table_of(lab.gic.its[its], kind, lab.memory)
    return dict(zip(numbers.tolist(), as_fields(rows), strict=True))


def _event(entry: Fields) -> Event:
    if entry["IntType"] == INTTYPE_PHYSICAL:
        return PhysicalEvent(entry["IntID"], entry["ICID"])
    return VirtualEvent(entry["IntID"], entry["vPEID"], entry["Doorbell"])
