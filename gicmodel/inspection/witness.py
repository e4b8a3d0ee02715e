# SPDX-License-Identifier: Apache-2.0
"""What is mapped where the tables do not tell it: the dump lacks them, or nobody published their entries' formats.

The witness is the kernel whose dump it is, by its own structures, or else the commands that still stand in the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Addresses, Dump
from gicmodel.inspection import doubts
from gicmodel.inspection.entries import EVENTS, UNKNOWN, among, event_keys, table
from gicmodel.inspection.its import KINDS, Its, Subject
from gicmodel.inspection.linux.devices import KernelView
from gicmodel.inspection.queue import Queue, ring
from gicmodel.inspection.redistributors import DEFAULT_ID_BITS
from gicmodel.inspection.table import ItsTable
from gicmodel.layouts.commands import decode_command
from gicmodel.layouts.its_tables import NO_DOORBELL

if TYPE_CHECKING:
    from gicmodel.inspection.inspection import Inspection

Row = dict[str, int | bool]
"""An entry by the columns of `inspection.entries`; one that it lacks has the value that means nothing."""
Event = tuple[int, int]
"""DeviceID and EventID."""
_Lacking = Sequence[Callable[[NDArray[np.int64]], Addresses]]
"""Of each table where the dump lacks the entries of identifiers."""


@dataclass
class Witnesses:
    """Who tells of each ITS what its tables do not; `heard` are those that were asked, by ITS.

    All are found when the first is asked, as of one ITS something may speak against what is told of another.
    """

    found: Inspection
    heard: dict[int, Witness] = field(default_factory=dict)

    def of(self, unit: Its) -> Witness | None:
        """The witness of an ITS, if there is one."""
        if unit.number in self._examined:
            self.heard[unit.number] = self._examined[unit.number]
        return self.heard.get(unit.number)

    @cached_property
    def _examined(self) -> dict[int, Witness]:
        """The witnesses of all ITSs, with what speaks against them."""
        found, taken = self.found, [*doubts.taken_by(self.found)]
        examined: dict[int, Witness] = {}
        for unit in found.its:
            if said := [*_said(found, unit)]:
                examined[unit.number] = doubts.agreed(*said) if len(said) > 1 else said[0]
                doubts.doubt_memory(examined[unit.number], found.dump, unit, taken)
        if len(examined) == len(found.its) and not any(unit.may_map_vpes for unit in found.its):
            doubts.doubt_configuration(found, [*examined.values()])
        return examined


def _said(found: Inspection, unit: Its) -> Iterator[Witness]:
    """What the kernel tells of an ITS, and what the commands in its queue do."""
    if unit.number in found.kernel.devices:
        told = of_kernel(found.kernel, unit, found.architecture)
        of_cpu = {one.number: one.processor_number for one in found.redistributors}
        for row in told.targets():
            row["RDbase"] = of_cpu.get(row["RDbase"], UNKNOWN)
        yield told
    for queue in found.queues:
        if queue.its == unit.number and found.dump.held(queue.address, queue.size):
            told = of_queue(found.dump, queue, found.architecture)
            for row in told.targets():
                row["RDbase"] = found.rdbases.number(row["RDbase"], unit.pta)
            yield told


@dataclass
class Witness:
    """Rows by what they are of, in an ITS; who says so; and of which kinds of table these are all there are.

    `managed` are the devices of which the events are all there are, `unmapped` what is said not to be mapped. `doubts`
    is what speaks against it (`inspection.doubts`).
    """

    source: str
    whole: set[str] = field(default_factory=set)
    managed: set[int] = field(default_factory=set)
    unmapped: set[Subject] = field(default_factory=set)
    doubts: dict[Subject, str] = field(default_factory=dict)
    devices: dict[int, Row] = field(default_factory=dict)
    events: dict[Event, Row] = field(default_factory=dict)
    collections: dict[int, Row] = field(default_factory=dict)
    vpes: dict[int, Row] = field(default_factory=dict)

    def targets(self) -> Iterator[Row]:
        """The rows that have an RDbase."""
        yield from self.collections.values()
        yield from self.vpes.values()

    def tell_tables(self, dump: Dump, unit: Its) -> None:
        """Put devices and collections where the tables do not show them."""
        shown = set(unit.devices["DeviceID"].tolist())
        unit.doubts |= {
            subject: text
            for subject, text in self.doubts.items()
            if (subject.event, subject.vpe) == (None, None) and subject.device not in shown
        }
        lacking = {kind: [partial(unit.lacking, dump, kind)] for kind in KINDS if unit.maps(kind)}
        unit.devices = self._added(dump, unit, "device", unit.devices, self.devices, lacking.get("device", []))
        unit.collections = self._added(
            dump, unit, "collection", unit.collections, self.collections, lacking.get("collection", [])
        )

    def tell_vpes(self, dump: Dump, unit: Its, shown: NDArray[np.void], tables: list[ItsTable]) -> NDArray[np.void]:
        """The vPEs that `tables` show, and those that they do not."""
        found = self._added(dump, unit, "vpe", shown, self.vpes, [partial(table.lacking, dump) for table in tables])
        added = found["vPEID"][~among(found["vPEID"], shown["vPEID"].tolist())].tolist()
        unit.doubts |= {one: self.doubts[one] for one in (Subject(vpe=vpe) for vpe in added) if one in self.doubts}
        return found

    def _added(
        self, dump: Dump, unit: Its, kind: str, shown: NDArray[np.void], rows: dict[int, Row], lacking: _Lacking
    ) -> NDArray[np.void]:
        """The entries that are shown, and those of the others for which a table lacks memory, if there is a table."""
        dtype, identifier = KINDS[kind]
        entries = unit.tables.get(kind)
        places = dict(zip(entries.ids.tolist(), entries.addresses.tolist(), strict=True)) if entries else {}
        told = _rows(dump, dtype, unit, ({"address": places.get(key, UNKNOWN), **row} for key, row in rows.items()))
        hidden = ~among(told[identifier], shown[identifier].tolist())
        if lacking:
            hidden &= np.any([of(told[identifier].astype(np.int64)) != UNKNOWN for of in lacking], axis=0)
        # Who does not know what the tables show does not know all.
        if kind in self.whole and among(shown[identifier], rows).all():
            unit.told[kind] = self.source
        found = np.concatenate([shown, told[hidden]])
        return found[np.argsort(found[identifier], kind="stable")]

    def tell_events(self, dump: Dump, unit: Its, entry_bytes: int | None) -> None:
        """Put events where the tables of devices do not show them; with no `entry_bytes` their format is not known."""
        shown = unit.events.rows
        told = _rows(dump, EVENTS, unit, self._placed_events(unit, entry_bytes))
        keys = event_keys(told)
        hidden = ~np.isin(keys, event_keys(shown))
        if entry_bytes is not None:
            size = np.full(told.size, entry_bytes)
            hidden &= (told["address"] != UNKNOWN) & (dump.held_each(told["address"], size) < size)
        unit.events.told = self.managed - set(shown["DeviceID"][~np.isin(event_keys(shown), keys)].tolist())
        added = (Subject(*event) for event in told[hidden][["DeviceID", "EventID"]].tolist())
        of_added = {one: self.doubts.get(one) or self.doubts.get(Subject(one.device), "") for one in added}
        unit.doubts |= {subject: text for subject, text in of_added.items() if text}
        if entry_bytes is None:
            unit.doubts |= {subject: text for subject, text in self.doubts.items() if subject.event is not None}
        rows = np.concatenate([shown, told[hidden]])
        unit.events.rows = rows[np.argsort(event_keys(rows), kind="stable")]

    def _placed_events(self, unit: Its, entry_bytes: int | None) -> Iterator[Row]:
        """The events, each where its device's table has it."""
        if entry_bytes is None and unit.typer is not None:
            entry_bytes = unit.typer["ITT_entry_size"] + 1
        tables = dict(zip(unit.devices["DeviceID"].tolist(), unit.devices["ITT_addr"].tolist(), strict=True))
        for (device, event), row in self.events.items():
            itt = tables.get(device, UNKNOWN)
            place = UNKNOWN if itt == UNKNOWN or entry_bytes is None else itt + event * entry_bytes
            yield {"address": place, "RDbase": UNKNOWN, "configuration": UNKNOWN, "pending": UNKNOWN, **row}


def _rows(dump: Dump, dtype: np.dtype[np.void], unit: Its, rows: Iterable[Row]) -> NDArray[np.void]:
    found = np.concatenate([np.empty(0, dtype), *(table(dtype, 1, its=unit.number, **row) for row in rows)])
    found["offset"] = dump.offsets(found["address"])
    return found


def of_kernel(view: KernelView, unit: Its, architecture: str) -> Witness:
    """What the kernel's structures say of an ITS. Linux has one collection a CPU, of the same number.

    In GICv4.1 a vPE's doorbell is its default one, and in GICv4.0 its events', if they are enabled (Linux
    its_build_vmapti_cmd, its_build_vmapp_cmd): of these nothing is told.
    """
    of_event, of_vpe = (NO_DOORBELL, UNKNOWN) if architecture == "4.1" else (UNKNOWN, NO_DOORBELL)
    witness = Witness(view.source, set() if unit.number in view.broken else {"device"})
    for device in view.devices[unit.number]:
        bits = max(device.events_most - 1, 1).bit_length()
        witness.devices[device.device_id] = {"DeviceID": device.device_id, "ITT_addr": device.itt, "Size": bits - 1}
        if device.managed:
            witness.managed.add(device.device_id)
        if device.doubt:
            witness.doubts[Subject(device.device_id)] = device.doubt
        for event in device.events:
            row = {"DeviceID": device.device_id, "EventID": event.event_id, "INTID": event.intid}
            row |= {"ICID": event.cpu, "Doorbell": NO_DOORBELL}
            if event.vpe is not None and event.vintid is not None:
                row |= {"INTID": event.vintid, "virtual": True, "vPEID": event.vpe.vpe_id, "ICID": 0}
                row["Doorbell"] = of_event
            else:
                witness.collections[event.cpu] = {"ICID": event.cpu, "RDbase": event.cpu, "address": UNKNOWN}
            witness.events[device.device_id, event.event_id] = row
    for vpe in view.vpes().values():
        row = {"vPEID": vpe.vpe_id, "RDbase": vpe.cpu, "VPT_addr": vpe.vpt, "VPT_size": DEFAULT_ID_BITS - 1}
        row |= {} if vpe.vprop is None else {"VCONF_addr": vpe.vprop}
        witness.vpes[vpe.vpe_id] = row | {"Default_Doorbell": of_vpe, "address": UNKNOWN}
    return witness


def of_queue(dump: Dump, queue: Queue, architecture: str) -> Witness:
    """What the commands that still stand in a queue have mapped, the oldest first."""
    slots, whole = ring(dump, queue)
    witness = Witness(
        f"commands that stand in GITS{queue.its}'s queue at {queue.address:#x}", set(KINDS) if whole else set()
    )
    if queue.creadr is None:
        witness.source += ", taken as executed up to CWRITER"
    if not whole:
        witness.source += "; older ones are overwritten or not in the dump"
    for address, words in slots:
        try:
            mnemonic, fields = decode_command(words, architecture)
        except ValueError:
            continue
        if mnemonic in _EFFECTS:
            _EFFECTS[mnemonic](witness, fields, address)
    witness.managed = set(witness.devices) if whole else set()
    return witness


def _mapd(witness: Witness, fields: dict[str, int], address: int) -> None:
    device = fields["DeviceID"]
    witness.events = {key: row for key, row in witness.events.items() if key[0] != device}
    witness.devices.pop(device, None)
    witness.unmapped.add(Subject(device))
    if fields["V"]:
        witness.unmapped.discard(Subject(device))
        witness.devices[device] = {"DeviceID": device, "ITT_addr": fields["ITT_addr"], "Size": fields["Size"]}


def _mapc(witness: Witness, fields: dict[str, int], address: int) -> None:
    witness.collections.pop(fields["ICID"], None)
    if fields["V"]:
        witness.collections[fields["ICID"]] = {name: fields[name] for name in ("ICID", "RDbase")} | {"address": address}


def _map_event(witness: Witness, fields: dict[str, int], address: int) -> None:
    key = fields["DeviceID"], fields["EventID"]
    virtual = "vPEID" in fields
    intid = fields.get("pINTID", fields.get("vINTID", fields["EventID"]))
    doorbell = fields.get("Dbell_pINTID", NO_DOORBELL)
    if key in witness.events:
        witness.doubts[Subject(*key)] = "commands in the queue map it twice"
    row: Row = {"DeviceID": key[0], "EventID": key[1], "INTID": intid, "virtual": virtual, "Doorbell": doorbell}
    witness.events[key] = row | {name: fields[name] for name in ("ICID", "vPEID") if name in fields}


def _move_event(witness: Witness, fields: dict[str, int], address: int) -> None:
    row = witness.events.get((fields["DeviceID"], fields["EventID"]))
    if row is not None:
        row |= {name: fields[name] for name in ("ICID", "vPEID") if name in fields}


def _discard(witness: Witness, fields: dict[str, int], address: int) -> None:
    key = fields["DeviceID"], fields["EventID"]
    witness.events.pop(key, None)
    witness.unmapped.add(Subject(*key))


def _vmapp(witness: Witness, fields: dict[str, int], address: int) -> None:
    vpe = fields["vPEID"]
    witness.vpes.pop(vpe, None)
    if fields["V"]:
        names = ("vPEID", "RDbase", "VPT_addr", "VPT_size", "VCONF_addr", "Default_Doorbell")
        witness.vpes[vpe] = {name: fields[name] for name in names if name in fields} | {"address": address}


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
