# SPDX-License-Identifier: Apache-2.0
"""GICv3 commands of the oracle. Each is its checks, in order, and then what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from gicmodel.spec.state import Device, Event, Its, Lpi, PhysicalEvent, Reason, Refused, Vlpi, check

if TYPE_CHECKING:
    from gicmodel.spec.commands import Oracle

Fields = Mapping[str, int]
Handler = Callable[["Oracle", Its, Fields], None]


# Lookups (note LOOKUP).


def find_device(oracle: Oracle, its: Its, device_id: int) -> Device:
    """The device's ITT. Refuses one out of range or unmapped."""
    check(device_id < oracle.devices, Reason.DEVICE_OOR)
    check(device_id in its.devices, Reason.UNMAPPED_DEVICE)
    return its.devices[device_id]


def find_itt(oracle: Oracle, its: Its, device_id: int, event_id: int) -> dict[int, Event]:
    """The ITT that has an entry for the event. Refuses an event out of range."""
    device = find_device(oracle, its, device_id)
    check(event_id < device.events, Reason.ID_OOR)
    return oracle.itts[device.itt]


def find_event(oracle: Oracle, its: Its, device_id: int, event_id: int) -> Event:
    """What an event leads to. Refuses an unmapped one."""
    itt = find_itt(oracle, its, device_id, event_id)
    check(event_id in itt, Reason.UNMAPPED_INTERRUPT)
    return itt[event_id]


def find_target(its: Its, event: Event) -> Lpi | Vlpi:
    """The interrupt that an event becomes. Refuses an unmapped collection or vPE, and a vINTID beyond the VPT."""
    if isinstance(event, PhysicalEvent):
        check(event.icid in its.collections, Reason.ITE_INVALID)
        return Lpi(its.collections[event.icid], event.intid)
    check(event.vpeid in its.vpes, Reason.ITE_INVALID)
    vpe = its.vpes[event.vpeid]
    check(event.vintid < 2**vpe.vintid_bits, Reason.ITE_INVALID)
    return Vlpi(vpe, event.vintid, event.doorbell)


def find_redistributor(oracle: Oracle, rdbase: int, reason: Reason) -> int:
    """The redistributor of an RDbase field."""
    redistributor = oracle.redistributor(rdbase)
    if redistributor is None:
        raise Refused(reason)
    return redistributor


# Commands.


def mapd(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map a DeviceID to an ITT, or unmap it."""
    check(f["DeviceID"] < oracle.devices, Reason.DEVICE_OOR)
    if not f["V"]:
        its.devices.pop(f["DeviceID"], None)
        return
    check(f["Size"] < oracle.config.event_id_bits, Reason.ITTSIZE_OOR)
    its.devices[f["DeviceID"]] = Device(f["ITT_addr"], 2 ** (f["Size"] + 1))


def mapc(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map a collection to a redistributor, or unmap it."""
    check(f["ICID"] < oracle.collections, Reason.COLLECTION_OOR)
    if not f["V"]:
        its.collections.pop(f["ICID"], None)
        return
    its.collections[f["ICID"]] = find_redistributor(oracle, f["RDbase"], Reason.PROCNUM_OOR)


def map_physical(oracle: Oracle, its: Its, f: Fields, intid: int) -> None:
    """MAPTI and MAPI (note MAPTI)."""
    check(f["DeviceID"] < oracle.devices, Reason.DEVICE_OOR)
    check(f["ICID"] < oracle.collections, Reason.COLLECTION_OOR)
    itt = find_itt(oracle, its, f["DeviceID"], f["EventID"])
    check(oracle.is_lpi(intid), Reason.PHYSICALID_OOR)
    itt[f["EventID"]] = PhysicalEvent(intid, f["ICID"])


def mapti(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map an event to an LPI and a collection."""
    map_physical(oracle, its, f, f["pINTID"])


def mapi(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map an event to the LPI of the same number and a collection."""
    map_physical(oracle, its, f, f["EventID"])


def movi(oracle: Oracle, its: Its, f: Fields) -> None:
    """Move an event and its pending state to another collection (note MOVI)."""
    event = find_event(oracle, its, f["DeviceID"], f["EventID"])
    if not isinstance(event, PhysicalEvent):
        raise Refused(Reason.ITE_INVALID)
    check(event.icid in its.collections, Reason.UNMAPPED_COLLECTION)
    check(f["ICID"] < oracle.collections, Reason.COLLECTION_OOR)
    check(f["ICID"] in its.collections, Reason.UNMAPPED_COLLECTION)
    find_itt(oracle, its, f["DeviceID"], f["EventID"])[f["EventID"]] = PhysicalEvent(event.intid, f["ICID"])
    oracle.move_lpis(its.collections[event.icid], its.collections[f["ICID"]], {event.intid})


def interrupt(oracle: Oracle, its: Its, f: Fields) -> None:
    """INT: as if the device had written the event."""
    oracle.arrive(find_target(its, find_event(oracle, its, f["DeviceID"], f["EventID"])))


def clear(oracle: Oracle, its: Its, f: Fields) -> None:
    """Clear an event's pending state."""
    oracle.clear(find_target(its, find_event(oracle, its, f["DeviceID"], f["EventID"])))


def discard(oracle: Oracle, its: Its, f: Fields) -> None:
    """Clear an event's pending state, if its target is mapped, and unmap it (note LOOKUP)."""
    event = find_event(oracle, its, f["DeviceID"], f["EventID"])
    if oracle.config.discard_unmapped == "refuse":
        find_target(its, event)
    with suppress(Refused):
        oracle.clear(find_target(its, event))
    del find_itt(oracle, its, f["DeviceID"], f["EventID"])[f["EventID"]]


def inv(oracle: Oracle, its: Its, f: Fields) -> None:
    """Invalidate an event's cached configuration."""
    match find_target(its, find_event(oracle, its, f["DeviceID"], f["EventID"])):
        case Vlpi(vpe, vintid):
            oracle.reconsider(vpe, {vintid})


def invall(oracle: Oracle, its: Its, f: Fields) -> None:
    """Invalidate what is cached of a collection's configuration: here, only the checks."""
    check(f["ICID"] < oracle.collections, Reason.COLLECTION_OOR)
    check(f["ICID"] in its.collections, Reason.UNMAPPED_COLLECTION)


def movall(oracle: Oracle, its: Its, f: Fields) -> None:
    """Move all pending LPIs of one redistributor to another."""
    source = find_redistributor(oracle, f["RDbase"], Reason.MOVALL_PROCNUM_OOR)
    target = find_redistributor(oracle, f["RDbase2"], Reason.MOVALL_PROCNUM_OOR)
    oracle.move_lpis(source, target, oracle.pending(source))


def sync(oracle: Oracle, its: Its, f: Fields) -> None:
    """Wait for a redistributor: here, only the check."""
    find_redistributor(oracle, f["RDbase"], Reason.PROCNUM_OOR)


HANDLERS: dict[str, Handler] = {
    "MAPD": mapd,
    "MAPC": mapc,
    "MAPTI": mapti,
    "MAPI": mapi,
    "MOVI": movi,
    "INT": interrupt,
    "CLEAR": clear,
    "DISCARD": discard,
    "INV": inv,
    "INVALL": invall,
    "MOVALL": movall,
    "SYNC": sync,
}
