# SPDX-License-Identifier: Apache-2.0
"""What the bytes in RAM say, in the oracle's words: tables and pending tables decoded with `layouts` alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.lab.lab import Lab
from gicmodel.lab.placement import TablePlace
from gicmodel.layouts.its_tables import INTTYPE_PHYSICAL, ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGI_CONFIGURATION, VSGI_CONFIGURATION_BYTE, VSGIS, table_bytes
from gicmodel.spec.state import Device, Event, PhysicalEvent, VirtualEvent

Fields = dict[str, int]

_ITE_WORDS = ITE.bytes // 4


def devices(lab: Lab, its: int) -> dict[int, Device]:
    """The valid DTEs of an ITS."""
    entries = _valid_entries(lab, lab.placement.tables[its][0])
    return {number: Device(entry["ITT_addr"], 2 << entry["Size"]) for number, entry in entries.items()}


def collections(lab: Lab, its: int) -> dict[int, int]:
    """The redistributor of each valid CTE of an ITS; its first GITS_TYPER.HCC collections have none in RAM."""
    entries = _valid_entries(lab, lab.placement.tables[its][1])
    return {lab.config.hcc + number: entry["RDbase"] for number, entry in entries.items()}


def vpes(lab: Lab, its: int) -> dict[int, Fields]:
    """The valid vPE entries in an ITS's table."""
    return _valid_entries(lab, lab.placement.tables[its][2])


def events(lab: Lab, itt: int) -> dict[int, Event]:
    """The valid ITEs of an ITT, by EventID."""
    words = lab.memory.view(itt, _ITE_WORDS << lab.config.event_id_bits, np.uint32)
    used = np.unique(np.flatnonzero(words) // _ITE_WORDS)
    rows = ITE.decode(ITE.words_of(words.reshape(-1, _ITE_WORDS)[used].tobytes()))
    return {int(number): _event(row) for number, row in zip(used, rows, strict=True) if row["Valid"]}


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


def _valid_entries(lab: Lab, table: TablePlace) -> dict[int, Fields]:
    """Every entry with its Valid bit set, within or beyond the IDs that the table serves."""
    words = len(table.layout.word_bits)
    entries = lab.memory.view(table.entries, table.count * words, np.uint64).reshape(-1, words)
    used = np.flatnonzero(entries.any(axis=1))
    decoded = {int(number): table.layout.unpack(entries[number]) for number in used}
    return {number: entry for number, entry in decoded.items() if entry["Valid"]}


def _event(row: Any) -> Event:
    if row["IntType"] == INTTYPE_PHYSICAL:
        return PhysicalEvent(int(row["IntID"]), int(row["ICID"]))
    return VirtualEvent(int(row["IntID"]), int(row["vPEID"]), int(row["Doorbell"]))
