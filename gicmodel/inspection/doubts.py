# SPDX-License-Identifier: Apache-2.0
"""What is doubtful of a testimony, where the tables' own format is private: whatever other memory contradicts.

Of a private format one thing is known: an entry that maps nothing is zero. The commands that still stand in the queue
say more, and so do the LPIs that the configuration table enables. A doubt proves nothing wrong: what was told need not
be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gicmodel.images.dump import Dump
from gicmodel.inspection import lpis
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.its import Its, Subject
from gicmodel.inspection.linux.devices import LPIS, overlapping
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes

if TYPE_CHECKING:
    from gicmodel.inspection.inspection import Inspection
    from gicmodel.inspection.witness import Event, Row, Witness

_ITT_BYTES = 1 << 8
"""No two ITTs are closer: they are aligned to it."""
_MOST_ENTRIES = 1 << 10
"""Of an ITT that are looked at for events that are not told: how long it is a damaged structure may say."""
_UNMAPPED = "the commands in the queue leave it unmapped"


class Span(NamedTuple):
    """Memory with a purpose, and of what it is, if that was told."""

    name: str
    subject: Subject | None = None


def agreed(kernel: Witness, queue: Witness) -> Witness:
    """The kernel's testimony: what the queue contradicts is doubted, and what only the queue has is added."""
    for device, row in kernel.devices.items():
        _settle(kernel, queue, device)
        _doubt(kernel, Subject(device), _against_device(queue, device, row))
    for event, row in kernel.events.items():
        _doubt(kernel, Subject(*event), _against_event(queue, event, row))
    for vpe, row in kernel.vpes.items():
        _doubt(kernel, Subject(vpe=vpe), _against_vpe(queue.vpes.get(vpe), row))
    added = queue.devices.keys() - kernel.devices.keys()
    for device in added if "device" in kernel.whole else ():
        _doubt(kernel, Subject(device), "only the commands in the queue map it")
    for event in queue.events.keys() - kernel.events.keys():
        if event[0] in kernel.managed:
            _doubt(kernel, Subject(*event), "only the commands in the queue map it")
    if added or queue.events.keys() - kernel.events.keys():
        kernel.source += f"; what that lacks by {queue.source}"
    kernel.devices = queue.devices | kernel.devices
    kernel.events = queue.events | kernel.events
    kernel.collections = queue.collections | kernel.collections
    kernel.vpes = queue.vpes | kernel.vpes
    kernel.whole |= queue.whole
    kernel.managed |= queue.managed
    return kernel


def doubt_memory(witness: Witness, dump: Dump, unit: Its, taken: Iterable[tuple[int, int, Span]]) -> None:
    """Doubt what the tables in RAM speak against; `taken` is memory that has another purpose (first, end, what)."""
    for one, other in overlapping([*taken, *_spans(witness, unit)]):
        if one.subject is not None:
            _doubt(witness, one.subject, f"{one.name} overlaps {other.name}")
    _doubt_entries(witness, unit)
    _doubt_numbers(witness)
    if unit.typer is not None:
        for device, row in witness.devices.items():
            _doubt_itt(witness, dump, unit, device, row)
        _doubt_empty(witness, dump, unit)
    for event, row in witness.events.items():
        vpe = Subject(vpe=row.get("vPEID", UNKNOWN))
        if row.get("virtual") and vpe in witness.doubts:
            _doubt(witness, Subject(*event), f"{vpe}: {witness.doubts[vpe]}")


def doubt_configuration(found: Inspection, witnesses: Sequence[Witness]) -> None:
    """Doubt events whose LPIs are disabled while others are enabled that no event has: Linux enables what it uses.

    The witnesses are of all ITSs. There are no doorbells, which are LPIs without an event.
    """
    if any("device" not in witness.whole or witness.devices.keys() - witness.managed for witness in witnesses):
        return
    table = next((one for one in found.redistributors if one.configuration != UNKNOWN), None)
    if table is None:
        return
    intids = np.arange(FIRST_LPI, min(1 << table.id_bits, LPIS))
    octets = lpis.configuration(found.dump, np.full(intids.size, table.configuration), intids)
    enabled = lpis.enabled(octets)
    disabled = set(intids[(octets != UNKNOWN) & ~enabled].tolist())
    told = {int(row["INTID"]) for witness in witnesses for row in witness.events.values()}
    stray = next((lpi for lpi in intids[enabled].tolist() if lpi not in told), None)
    if stray is None:
        return
    text = f"LPI {stray} is enabled, and no event that is told has it"
    suspects = [
        (witness, device, row["INTID"])
        for witness in witnesses
        for (device, _), row in witness.events.items()
        if row["INTID"] in disabled
    ]
    # Linux gives a device LPIs in a row: if one is wrong, all are.
    for witness, device, lpi in suspects:
        _doubt(witness, Subject(device), f"its LPI {lpi} is disabled; {text}")
    for witness in witnesses if not suspects else ():
        _doubt(witness, Subject(), text)
        witness.whole.discard("device")


def taken_by(found: Inspection) -> Iterator[tuple[int, int, Span]]:
    """Memory that registers give to the GIC: first and end address, and what it is."""
    for table in (table for unit in found.its for table in unit.valid_tables.values()):
        yield table.address, table.address + table.size, Span(f"the {table.kind} table at {table.address:#x}")
        for page in table.level1.pages.tolist() if table.level1 is not None else ():
            yield page, page + table.page_bytes, Span(f"the level 2 page at {page:#x}")
    for queue in found.queues:
        yield queue.address, queue.address + queue.size, Span(f"the command queue at {queue.address:#x}")
    for one in found.redistributors:
        if one.pending != UNKNOWN:
            yield one.pending, one.pending + table_bytes(one.id_bits), Span(f"the pending table at {one.pending:#x}")
    for place, id_bits in {(one.configuration, one.id_bits) for one in found.redistributors} - {(UNKNOWN, UNKNOWN)}:
        if place != UNKNOWN:
            yield place, place + (1 << id_bits) - FIRST_LPI, Span(f"the configuration table at {place:#x}")


def _doubt(witness: Witness, subject: Subject, text: str) -> None:
    """Note a doubt, if there is a text; the first counts."""
    if text:
        witness.doubts.setdefault(subject, text)


def _settle(kernel: Witness, queue: Witness, device: int) -> None:
    """Of devices that contradict each other the queue's commands tell which is right, if they map all of its events."""
    events = {event: row for event, row in kernel.events.items() if event[0] == device}
    if events and all(event in queue.events and not _against_event(queue, event, row) for event, row in events.items()):
        kernel.doubts.pop(Subject(device), None)


def _against_device(queue: Witness, device: int, row: Row) -> str:
    said = queue.devices.get(device)
    if said is None:
        return _UNMAPPED if "device" in queue.whole or Subject(device) in queue.unmapped else ""
    if (said["ITT_addr"], said["Size"]) == (row["ITT_addr"], row["Size"]):
        return ""
    return f"MAPD in the queue has its ITT at {said['ITT_addr']:#x}, with EventIDs of {said['Size'] + 1} bits"


def _against_event(queue: Witness, event: Event, row: Row) -> str:
    said = queue.events.get(event)
    if said is None:
        known = "device" in queue.whole or event[0] in queue.devices
        known = known or bool({Subject(*event), Subject(event[0])} & queue.unmapped)
        return _UNMAPPED if known else ""
    return "" if _target(said) == _target(row) else f"the commands in the queue map it to {_target(said)}"


def _target(row: Row) -> str:
    if row.get("virtual"):
        return f"vINTID {row['INTID']} of vPE {row['vPEID']}"
    return f"LPI {row['INTID']} of collection {row['ICID']}"


def _against_vpe(said: Row | None, row: Row) -> str:
    for name in ("VPT_addr", "RDbase"):
        if said is not None and said[name] != row[name] and UNKNOWN not in (said[name], row[name]):
            return f"the commands in the queue have its {name} as {said[name]:#x}"
    return ""


def _spans(witness: Witness, unit: Its) -> Iterator[tuple[int, int, Span]]:
    """The ITTs and virtual pending tables that are told."""
    for device, row in witness.devices.items():
        size = max(_ITT_BYTES, _itt_entry(unit) << row["Size"] + 1)
        yield row["ITT_addr"], row["ITT_addr"] + size, Span(f"the ITT of device {device:#x}", Subject(device))
    for vpe, row in witness.vpes.items():
        size = table_bytes(row["VPT_size"] + 1)
        yield row["VPT_addr"], row["VPT_addr"] + size, Span(f"the VPT of vPE {vpe}", Subject(vpe=vpe))


def _doubt_entries(witness: Witness, unit: Its) -> None:
    """Doubt devices and vPEs whose entry is zero, and that there are no more where an entry is not."""
    for kind, rows in (("device", witness.devices), ("vpe", witness.vpes)):
        table = unit.valid_tables.get(kind)
        if table is None or table.absent:
            continue
        places = dict(zip(table.ids.tolist(), table.addresses.tolist(), strict=True))
        used = rows.keys() | {device for device, _ in witness.events} if kind == "device" else rows.keys()
        for number in used - places.keys():
            _doubt(witness, Subject(**{kind: number}), f"its entry in the {kind} table at {table.address:#x} is zero")
        for number in sorted(places.keys() - rows.keys()) if kind == "device" and "device" in witness.whole else ():
            _doubt(witness, Subject(number), f"its entry at {places[number]:#x} is not zero, and it is not among them")
            witness.whole.discard("device")


def _doubt_numbers(witness: Witness) -> None:
    """Doubt events that their device has no room for or that are of no LPI, and those that share one."""
    seen: dict[tuple[bool, int, int], Event] = {}
    for event, row in witness.events.items():
        device = witness.devices.get(event[0])
        if device is not None and event[1] >> device["Size"] + 1:
            _doubt(witness, Subject(*event), f"its EventID is beyond the {device['Size'] + 1} bits of its device")
        if row["INTID"] < FIRST_LPI:
            _doubt(witness, Subject(*event), f"INTID {row['INTID']} is no LPI")
        virtual = bool(row.get("virtual"))
        twin = seen.setdefault((virtual, row["vPEID"] if virtual else 0, row["INTID"]), event)
        for one, other in ((event, twin), (twin, event)) if twin != event else ():
            if Subject(one[0]) not in witness.doubts:
                _doubt(witness, Subject(*one), f"{Subject(*other)} has INTID {row['INTID']} too")


def _doubt_itt(witness: Witness, dump: Dump, unit: Its, device: int, row: Row) -> None:
    """Doubt a device whose ITT is not there, or has more than its events."""
    itt, size = int(row["ITT_addr"]), _itt_entry(unit)
    places = itt + np.arange(min(2 << row["Size"], _MOST_ENTRIES)) * size
    octets, held = dump.gather(places, size)
    # Where the format is known, who asks of an ITT that is absent is told so.
    if not (held.any() or unit.maps("device")):
        _doubt(witness, Subject(device), f"its ITT at {itt:#x} is not in the dump")
    for event in np.flatnonzero(held & octets.any(axis=1)).tolist() if device in witness.managed else ():
        if (device, event) not in witness.events:
            text = f"its entry in the ITT at {places[event]:#x} is not zero, and it is not among the events"
            _doubt(witness, Subject(device, event), text)
            witness.managed.discard(device)


def _doubt_empty(witness: Witness, dump: Dump, unit: Its) -> None:
    """Doubt events whose entry in the ITT is zero."""
    itts = {device: int(row["ITT_addr"]) for device, row in witness.devices.items()}
    events = [event for event in witness.events if event[0] in itts]
    size = _itt_entry(unit)
    places = np.array([itts[device] + event * size for device, event in events], np.int64)
    octets, held = dump.gather(places, size)
    for row in np.flatnonzero(held & ~octets.any(axis=1)).tolist():
        _doubt(witness, Subject(*events[row]), f"its entry in the ITT at {places[row]:#x} is zero")


def _itt_entry(unit: Its) -> int:
    """Bytes of an entry of an ITT; one, if GITS_TYPER does not tell."""
    return 1 if unit.typer is None else unit.typer["ITT_entry_size"] + 1
