# SPDX-License-Identifier: Apache-2.0
"""What the bytes in RAM say, in the oracle's words: tables and pending tables decoded with `layouts` alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.lab.board import Table
from gicmodel.lab.rig import Rig
from gicmodel.layouts.its_tables import INTTYPE_PHYSICAL, ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGI_CONFIGURATION, VSGI_CONFIGURATION_BYTE, VSGIS, table_bytes
from gicmodel.spec.state import Device, Event, PhysicalEvent, VirtualEvent

Fields = dict[str, int]

_ITE_WORDS = ITE.bytes // 4


def devices(rig: Rig, its: int) -> dict[int, Device]:
    """The valid DTEs of an ITS."""
    entries = _valid_entries(rig, rig.device_tables[its])
    return {number: Device(entry["ITT_addr"], 2 << entry["Size"]) for number, entry in entries.items()}


def collections(rig: Rig, its: int) -> dict[int, int]:
    """The redistributor of each valid CTE of an ITS; its first GITS_TYPER.HCC collections have none in RAM."""
    entries = _valid_entries(rig, rig.collection_tables[its])
    return {rig.config.hcc + number: entry["RDbase"] for number, entry in entries.items()}


def vpes(rig: Rig, its: int) -> dict[int, Fields]:
    """The valid vPE entries in an ITS's table."""
    return _valid_entries(rig, rig.vpe_tables[its])


def events(rig: Rig, itt: int) -> dict[int, Event]:
    """The valid ITEs of an ITT, by EventID."""
    words = rig.memory.view(itt, _ITE_WORDS << rig.config.event_id_bits, np.uint32)
    used = np.unique(np.flatnonzero(words) // _ITE_WORDS)
    rows = ITE.decode(ITE.words_of(words.reshape(-1, _ITE_WORDS)[used].tobytes()))
    return {int(number): _event(row) for number, row in zip(used, rows, strict=True) if row["Valid"]}


def mapped_events(rig: Rig) -> dict[tuple[int, int, int], int | None]:
    """(ITS, DeviceID, EventID) of every event that is mapped, and the vPEID that it leads to if it is virtual."""
    known = {itt: events(rig, itt) for itt in rig.itts}
    return {
        (its, device_id, event_id): entry.vpeid if isinstance(entry, VirtualEvent) else None
        for its in range(rig.config.its)
        for device_id, device in devices(rig, its).items()
        for event_id, entry in known.get(device.itt, {}).items()
        if event_id < device.events
    }


def mapped_vpes(rig: Rig) -> dict[tuple[int, int], Fields]:
    """(ITS, vPEID) of every vPE that is mapped, and its entry."""
    if not rig.config.virtual:
        return {}
    return {
        (its, vpeid): entry
        for its in range(rig.config.its)
        for vpeid, entry in vpes(rig, its).items()
        if not rig.config.v41 or entry["ITSMap"] >> its & 1
    }


def pending_bits(rig: Rig, address: int) -> set[int]:
    """The INTIDs whose bits are set in a pending table, those of the first KiB left out."""
    return {intid for intid in _bits(rig, address) if intid >= FIRST_LPI}


def vsgis(rig: Rig, vpt: int) -> tuple[set[int], dict[int, Fields]]:
    """The pending vSGIs of a VPT, and the configuration of those that have one."""
    pending = {number for number in _bits(rig, vpt) if number < VSGIS}
    configured = {}
    for number in range(VSGIS):
        byte = rig.memory.read_u8(vpt + VSGI_CONFIGURATION_BYTE + number)
        if byte:
            configured[number] = VSGI_CONFIGURATION.unpack(byte)
    return pending, configured


def _bits(rig: Rig, address: int) -> list[int]:
    octets = rig.memory.view(address, table_bytes(rig.config.intid_bits), np.uint8)
    used: NDArray[np.int64] = np.flatnonzero(octets)
    return [8 * int(byte) + bit for byte in used for bit in range(8) if int(octets[byte]) >> bit & 1]


def _valid_entries(rig: Rig, table: Table) -> dict[int, Fields]:
    """Every entry with its Valid bit set, within or beyond the IDs that the table serves."""
    words = len(table.layout.word_bits)
    entries = rig.memory.view(table.entries, table.count * words, np.uint64).reshape(-1, words)
    used = np.flatnonzero(entries.any(axis=1))
    decoded = {int(number): table.layout.unpack(entries[number]) for number in used}
    return {number: entry for number, entry in decoded.items() if entry["Valid"]}


def _event(row: Any) -> Event:
    if row["IntType"] == INTTYPE_PHYSICAL:
        return PhysicalEvent(int(row["IntID"]), int(row["ICID"]))
    return VirtualEvent(int(row["IntID"]), int(row["vPEID"]), int(row["Doorbell"]))
