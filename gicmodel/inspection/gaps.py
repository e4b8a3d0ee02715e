# SPDX-License-Identifier: Apache-2.0
"""What a dump does not tell: why something that was not decoded may be there all the same.

A gap is the reason, in words, with the address that the dump lacks; None says that all there is is known, from the dump
or from a witness. Whoever says that something is not there, or how much there is, asks here first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import ABSENT
from gicmodel.inspection import lpis
from gicmodel.inspection.entries import UNKNOWN, among
from gicmodel.inspection.itt import EVENTS_OF_DEVICES
from gicmodel.inspection.join import MOST_TABLES, PENDING_TABLES, pending_tables
from gicmodel.inspection.lpis import VSGIS_OF_VPES
from gicmodel.inspection.table import ItsTable

if TYPE_CHECKING:
    from gicmodel.inspection.inspection import Inspection
    from gicmodel.inspection.its import Its
    from gicmodel.inspection.linux.devices import KernelVpe

Gap = str | None


def counted(count: int, gap: Gap) -> str:
    """How many there are, as far as that is known."""
    if gap is None:
        return str(count)
    return f"at least {count}" if count else "unknown"


def table(found: Inspection, unit: Its, kind: str) -> Gap:
    """Of all that an ITS's table of that kind maps."""
    entries = unit.tables.get(kind)
    if entries is not None and entries.register in found.truncated:
        return _limited(entries.register)
    if kind in unit.told or (entries is not None and not entries.valid):
        return None
    if entries is None:
        return f"no {unit.frame}_BASER<n> of a {kind} table is given"
    if not unit.maps(kind):
        return f"the format of the entries of {entries.register} is not known"
    return _absent(entries)


def entry(found: Inspection, unit: Its, kind: str, identifier: int) -> Gap:
    """Of one identifier that an ITS's table of that kind was not seen to map."""
    gap, entries = table(found, unit, kind), unit.tables.get(kind)
    if gap is None or entries is None:
        return gap
    if identifier >= entries.capacity:
        return None
    if not unit.maps(kind) or entries.register in found.truncated:
        return gap
    place = int(unit.lacking(found.dump, kind, np.array([identifier], np.int64))[0])
    return None if place == ABSENT else f"its entry in the {kind} table of {entries.register}{_lacks(place)}"


def unsure(found: Inspection, unit: Its, kind: str, ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Of which identifiers ([n]) that an ITS's table of that kind was not seen to map there is a gap."""
    gap, entries = table(found, unit, kind), unit.tables.get(kind)
    if gap is None or entries is None or not unit.maps(kind) or entries.register in found.truncated:
        return np.full(ids.size, gap is not None)
    return np.asarray(unit.lacking(found.dump, kind, ids.astype(np.int64)) != ABSENT)


def unread(found: Inspection, unit: Its) -> NDArray[np.void]:
    """The devices (DEVICES) of an ITS that may have more events than were decoded."""
    if EVENTS_OF_DEVICES in found.truncated:
        return unit.devices
    hidden = unit.devices if found.profile.event is None else unit.devices[unit.events.absent]
    return hidden[~among(hidden["DeviceID"], unit.events.told)]


def events_of(found: Inspection, unit: Its) -> Gap:
    """Of the events of the devices of an ITS that are known."""
    if EVENTS_OF_DEVICES in found.truncated:
        return _limited(EVENTS_OF_DEVICES)
    for device in unread(found, unit):
        itt = f"the ITT of device {device['DeviceID']:#x} at {device['ITT_addr']:#x}"
        if found.profile.event is None:
            return f"the format of the entries of {itt} is not known"
        return f"{itt} is not wholly in the dump"
    return None


def event(found: Inspection, unit: Its, device_id: int, event_id: int) -> Gap:
    """Of one event that was not seen to be mapped."""
    devices, layout = unit.devices[unit.devices["DeviceID"] == device_id], found.profile.event
    if not devices.size:
        return entry(found, unit, "device", device_id)
    if event_id >> int(devices["Size"][0]) + 1 or device_id not in unread(found, unit)["DeviceID"]:
        return None
    if layout is None or EVENTS_OF_DEVICES in found.truncated:
        return events_of(found, unit)
    size = layout.layout.bytes
    place = int(devices["ITT_addr"][0]) + event_id * size
    held = found.dump.held(place, size) == size
    return None if held else f"its entry in the ITT of device {device_id:#x}{_lacks(place)}"


def anywhere(found: Inspection, of_unit: Callable[[Its], Gap]) -> Gap:
    """The first gap of an ITS."""
    if not found.its:
        return "no register of an ITS is given"
    return next((gap for gap in map(of_unit, found.its) if gap is not None), None)


def devices(found: Inspection) -> Gap:
    """Of the devices."""
    return anywhere(found, lambda unit: table(found, unit, "device"))


def events(found: Inspection) -> Gap:
    """Of the events."""
    return devices(found) or anywhere(found, lambda unit: events_of(found, unit))


def collections(found: Inspection) -> Gap:
    """Of the collections."""
    return anywhere(found, lambda unit: table(found, unit, "collection") or _in_hardware(unit))


def _in_hardware(unit: Its) -> Gap:
    count = unit.collections_in_hardware
    return f"{unit.frame} keeps the collections below {count} to itself (GITS_TYPER.HCC)" if count else None


def vpes(found: Inspection) -> Gap:
    """Of the vPEs."""
    return _of_vpes(found, lambda unit: table(found, unit, "vpe"), _absent)


def vpe(found: Inspection, vpe_id: int) -> Gap:
    """Of one vPE that was not seen to be mapped."""

    def of_own(entries: ItsTable) -> Gap:
        place = int(entries.lacking(found.dump, np.array([vpe_id], np.int64))[0])
        return None if place == ABSENT else f"its entry in the vpe table of {entries.register}{_lacks(place)}"

    return _of_vpes(found, lambda unit: entry(found, unit, "vpe", vpe_id), of_own)


def lost_vpes(found: Inspection) -> list[KernelVpe]:
    """The vPEs that the kernel forwards events to, and that no table has."""
    mapped = found.vpes["vPEID"].tolist()
    return [one for number, one in found.kernel.vpes().items() if number not in mapped and vpe(found, number) is None]


def unsure_vpes(found: Inspection, ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Of which vPEs ([n]) that were not seen to be mapped there is a gap."""
    if not (_with_vpes(found) or found.vpe_tables):
        return np.full(ids.size, vpes(found) is not None)
    own = [
        (entries.lacking(found.dump, ids.astype(np.int64)) != ABSENT) | (entries.register in found.truncated)
        for entries in found.vpe_tables
    ]
    return np.asarray(np.any([*(unsure(found, unit, "vpe", ids) for unit in _with_vpes(found)), *own], axis=0))


def _with_vpes(found: Inspection) -> list[Its]:
    return [unit for unit in found.its if "vpe" in unit.tables or "vpe" in unit.told]


def _of_vpes(found: Inspection, of_unit: Callable[[Its], Gap], of_own: Callable[[ItsTable], Gap]) -> Gap:
    """The first gap of the tables of ITSs, and of those that redistributors alone have."""
    if found.architecture == "3" or (found.its and not any(unit.may_map_vpes for unit in found.its)):
        return None
    units, own = _with_vpes(found), found.vpe_tables
    if not units and not own:
        return "no register of a vPE table whose format is known is given"
    limited = (_limited(entries.register) for entries in own if entries.register in found.truncated)
    gaps = (*(of_unit(unit) for unit in units), *limited, *(of_own(entries) for entries in own))
    return next((gap for gap in gaps if gap is not None), None)


def pending(found: Inspection) -> Gap:
    """Of the pending interrupts."""
    if not found.redistributors:
        return "no register of a redistributor is given"
    return vpes(found) or next(_of_pending(found), None)


def placeless(found: Inspection, unit: Its) -> NDArray[np.bool_]:
    """Which collections of an ITS a witness tells to be mapped without the redistributor being known."""
    rows = unit.collections
    told = np.ones(rows.size, np.bool_)
    if unit.maps("collection"):
        told = unit.lacking(found.dump, "collection", rows["ICID"].astype(np.int64)) != ABSENT
    return np.asarray(told & (rows["RDbase"] == UNKNOWN))


def _of_pending(found: Inspection) -> Iterator[str]:
    for lost in lost_vpes(found):
        yield f"the kernel has {lost} mapped, with its pending table at {lost.vpt:#x}, and the tables have not"
    for unit in found.its if found.rdbases.known is None else ():
        rows = unit.collections
        elsewhere = (rows["RDbase"] != UNKNOWN) & ~among(rows["RDbase"], found.rdbases.numbers)
        for icid in rows["ICID"][elsewhere | placeless(found, unit)].tolist():
            yield f"the redistributor of collection {icid} of {unit.frame} is not known"
    if PENDING_TABLES in found.truncated:
        yield _limited(PENDING_TABLES)
    tables = pending_tables(found.redistributors, found.vpes[:MOST_TABLES])
    for one in tables[~pending_known(found, tables)]:
        name = f"the pending table of {'vPE' if one['virtual'] else 'redistributor'} {one['target']}"
        if one["address"] == UNKNOWN:
            yield f"where {name} lies is not known"
        elif not one["virtual"] and one["target"] in undeclared(found):
            yield f"how long {name} at {one['address']:#x} is, is not known (GICR_PROPBASER.IDbits)"
        else:
            yield f"{name} at {one['address']:#x} is not wholly in the dump"


def undeclared(found: Inspection) -> set[int]:
    """The redistributors of which nothing tells how wide their INTIDs are, by Processor_Number."""
    return {one.processor_number for one in found.redistributors if one.declared_id_bits is None}


def pending_known(found: Inspection, tables: NDArray[np.void]) -> NDArray[np.bool_]:
    """Of which pending tables (PENDING_TABLE, [n]) every bit is known."""
    if PENDING_TABLES in found.truncated:
        return np.zeros(tables.size, np.bool_)
    endless = ~tables["virtual"] & among(tables["target"], undeclared(found))
    return lpis.whole(found.dump, tables["address"], tables["id_bits"]) & ~endless


def events_known(found: Inspection) -> NDArray[np.bool_]:
    """Of which pending interrupts ([n]) every event that maps to them is known."""
    rows, mapped = found.pending, found.events
    if events(found) is not None:
        return np.zeros(rows.size, np.bool_)
    # One of a collection that is not known may go to any redistributor.
    anywhere_to = mapped["INTID"][~mapped["virtual"] & (mapped["RDbase"] == UNKNOWN)]
    lost = anywhere_to.tolist() if collections(found) is not None else []
    return np.asarray(rows["virtual"] | ~among(rows["INTID"], lost))


def vsgis(found: Inspection) -> Gap:
    """Of the vSGIs."""
    if found.architecture != "4.1":
        return None
    if VSGIS_OF_VPES in found.truncated:
        return _limited(VSGIS_OF_VPES)
    return vpes(found) or ("their format is not known" if found.profile.vsgi is None and found.vpes.size else None)


def guests(found: Inspection) -> Gap:
    """Of what KVM has of its guests' events."""
    view, what = found.kernel, "KVM's VMs"
    if not view.debugged:
        return "what KVM has is told by the dumped kernel's debug information (--vmlinux) alone"
    return view.absent.get(what) or view.unread.get(what)


def _absent(entries: ItsTable) -> Gap:
    if not entries.absent:
        return None
    lost = f"{entries.absent:#x} bytes of the {entries.kind} table of {entries.register}"
    return f"{lost} are not in the dump, the first at {entries.absent_at:#x}"


def _lacks(place: int) -> str:
    return f" at {place:#x} is not in the dump"


def _limited(what: str) -> str:
    return f"--limit ended the reading of {what}"


OF_VIEWS: dict[str, Callable[[Inspection], Gap]] = {
    **{each.__name__: each for each in (devices, events, collections, vpes, pending, vsgis)},
    "paths": events,
}
"""The gap of each table of what was decoded, by its name."""
