# SPDX-License-Identifier: Apache-2.0
"""What is mapped where the tables do not tell it, because nobody published their entries' formats.

The witness is the kernel whose dump it is, by its own structures, or else the commands that still stand in the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection.entries import COLLECTIONS, DEVICES, EVENTS, UNKNOWN, VPES, table
from gicmodel.inspection.its import Its
from gicmodel.inspection.linux.devices import KernelView
from gicmodel.inspection.queue import Queue, ring
from gicmodel.inspection.redistributors import DEFAULT_ID_BITS
from gicmodel.layouts.commands import decode_command
from gicmodel.layouts.its_tables import NO_DOORBELL

Row = dict[str, int | bool]
Event = tuple[int, int]
"""DeviceID and EventID."""


@dataclass
class Witness:
    """Rows by what they are of, in an ITS; who says so; and whether that is all there is."""

    source: str
    whole: bool = False
    devices: dict[int, Row] = field(default_factory=dict)
    events: dict[Event, Row] = field(default_factory=dict)
    collections: dict[int, Row] = field(default_factory=dict)
    vpes: dict[int, Row] = field(default_factory=dict)

    def tell(self, dump: Dump, unit: Its) -> NDArray[np.void]:
        """Put the rows where those of the tables would be; returns the vPEs."""
        entries = unit.tables.get("device")
        places = dict(zip(entries.ids.tolist(), entries.addresses.tolist(), strict=True)) if entries else {}
        placed = ({"address": places.get(key, UNKNOWN), **row} for key, row in sorted(self.devices.items()))
        unit.devices = _rows(DEVICES, unit, placed)
        unit.collections = _rows(COLLECTIONS, unit, (row for _, row in sorted(self.collections.items())))
        unit.events.rows = _rows(EVENTS, unit, self._placed_events(unit))
        unit.told_whole = self.whole
        found = _rows(VPES, unit, (row for _, row in sorted(self.vpes.items())))
        for rows in (unit.devices, unit.collections, unit.events.rows, found):
            rows["offset"] = dump.offsets(rows["address"])
        return found

    def _placed_events(self, unit: Its) -> Iterator[Row]:
        """The events, each where its device's table has it."""
        for (device, event), row in sorted(self.events.items()):
            itt = self.devices.get(device, {}).get("ITT_addr", UNKNOWN)
            place = UNKNOWN
            if unit.typer is not None and itt != UNKNOWN:
                place = itt + event * (unit.typer["ITT_entry_size"] + 1)
            yield {"address": place, "RDbase": UNKNOWN, "configuration": UNKNOWN, "pending": UNKNOWN, **row}


def _rows(dtype: np.dtype[np.void], unit: Its, rows: Iterable[Row]) -> NDArray[np.void]:
    found = [table(dtype, 1, its=unit.number, **row) for row in rows]
    return np.concatenate([np.empty(0, dtype), *found])


def of_kernel(view: KernelView, unit: Its) -> Witness:
    """What the kernel's structures say of an ITS. Linux has one collection a CPU, of the same number."""
    witness = Witness(view.source, unit.number not in view.broken)
    for device in view.devices[unit.number]:
        bits = max(device.events_most - 1, 1).bit_length()
        witness.devices[device.device_id] = {"DeviceID": device.device_id, "ITT_addr": device.itt, "Size": bits - 1}
        witness.whole &= device.managed
        for event in device.events:
            row = {"DeviceID": device.device_id, "EventID": event.event_id, "INTID": event.intid}
            row |= {"ICID": event.cpu, "Doorbell": NO_DOORBELL}
            if event.vpe is not None and event.vintid is not None:
                row |= {"INTID": event.vintid, "virtual": True, "vPEID": event.vpe.vpe_id, "ICID": 0}
            else:
                witness.collections[event.cpu] = _collection(event.cpu, event.cpu)
            witness.events[device.device_id, event.event_id] = row
    for vpe in view.vpes().values():
        vprop = UNKNOWN if vpe.vprop is None else vpe.vprop
        witness.vpes[vpe.vpe_id] = _vpe(vpe.vpe_id, vpe.cpu, vpe.vpt, DEFAULT_ID_BITS - 1, vprop)
    return witness


def of_queue(dump: Dump, queue: Queue, architecture: str) -> Witness:
    """What the commands that still stand in a queue have mapped, the oldest first."""
    slots, whole = ring(dump, queue)
    witness = Witness(f"commands that stand in GITS{queue.its}'s queue at {queue.address:#x}", whole)
    if queue.creadr is None:
        witness.source += ", taken as executed up to CWRITER"
    if not whole:
        witness.source += "; older ones are overwritten or not in the dump"
    for address, words in slots:
        try:
            mnemonic, fields = decode_command(words, architecture)
        except ValueError:
            continue
        _EFFECTS.get(mnemonic, _nothing)(witness, fields, address)
    return witness


def _nothing(witness: Witness, fields: dict[str, int], address: int) -> None:
    pass


def _mapd(witness: Witness, fields: dict[str, int], address: int) -> None:
    device = fields["DeviceID"]
    witness.events = {key: row for key, row in witness.events.items() if key[0] != device}
    witness.devices.pop(device, None)
    if fields["V"]:
        witness.devices[device] = {"DeviceID": device, "ITT_addr": fields["ITT_addr"], "Size": fields["Size"]}


def _mapc(witness: Witness, fields: dict[str, int], address: int) -> None:
    witness.collections.pop(fields["ICID"], None)
    if fields["V"]:
        witness.collections[fields["ICID"]] = _collection(fields["ICID"], fields["RDbase"], address)


def _map_event(witness: Witness, fields: dict[str, int], address: int) -> None:
    key = fields["DeviceID"], fields["EventID"]
    virtual = "vPEID" in fields
    intid = fields.get("pINTID", fields.get("vINTID", fields["EventID"]))
    doorbell = fields.get("Dbell_pINTID", NO_DOORBELL)
    row: Row = {"DeviceID": key[0], "EventID": key[1], "INTID": intid, "virtual": virtual, "Doorbell": doorbell}
    witness.events[key] = row | {name: fields[name] for name in ("ICID", "vPEID") if name in fields}


def _move_event(witness: Witness, fields: dict[str, int], address: int) -> None:
    row = witness.events.get((fields["DeviceID"], fields["EventID"]))
    if row is not None:
        row |= {name: fields[name] for name in ("ICID", "vPEID") if name in fields}


def _discard(witness: Witness, fields: dict[str, int], address: int) -> None:
    witness.events.pop((fields["DeviceID"], fields["EventID"]), None)


def _vmapp(witness: Witness, fields: dict[str, int], address: int) -> None:
    vpe = fields["vPEID"]
    witness.vpes.pop(vpe, None)
    if fields["V"]:
        vconf, doorbell = fields.get("VCONF_addr", UNKNOWN), fields.get("Default_Doorbell", NO_DOORBELL)
        size = fields["VPT_size"]
        witness.vpes[vpe] = _vpe(vpe, fields["RDbase"], fields["VPT_addr"], size, vconf, doorbell, address)


def _vmovp(witness: Witness, fields: dict[str, int], address: int) -> None:
    if fields["vPEID"] in witness.vpes:
        witness.vpes[fields["vPEID"]]["RDbase"] = fields["RDbase"]


_EFFECTS = {
    "MAPD": _mapd,
    "MAPC": _mapc,
    **dict.fromkeys(("MAPTI", "MAPI", "VMAPTI", "VMAPI"), _map_event),
    **dict.fromkeys(("MOVI", "VMOVI"), _move_event),
    "DISCARD": _discard,
    "VMAPP": _vmapp,
    "VMOVP": _vmovp,
}


def _collection(icid: int, rdbase: int, address: int = UNKNOWN) -> Row:
    return {"ICID": icid, "RDbase": rdbase, "address": address}


def _vpe(
    vpe: int, rdbase: int, vpt: int, size: int, vconf: int, doorbell: int = NO_DOORBELL, address: int = UNKNOWN
) -> Row:
    row: Row = {"vPEID": vpe, "RDbase": rdbase, "VPT_addr": vpt, "VPT_size": size, "VCONF_addr": vconf}
    return row | {"Default_Doorbell": doorbell, "resident": UNKNOWN, "address": address}
