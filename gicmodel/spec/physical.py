# SPDX-License-Identifier: Apache-2.0
"""GICv3 commands. One command is one function: its operands, its checks in order, its effect.

Behind each check stand the numbers of the errors that it ends in. "Open:" is what no public source settles, and what
is the rule here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from gicmodel.spec.interrupts import Interrupts
from gicmodel.spec.lookups import find_event, find_itt, find_redistributor, find_target
from gicmodel.spec.state import Device, Its, Operands, PhysicalEvent, Reason, Refused, Vlpi, check

Handler = Callable[[Interrupts, Its, Operands], None]


def mapd(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map a DeviceID to an ITT, or unmap it."""
    # Operands.
    device_id, valid, itt, size = f["DeviceID"], f["V"], f["ITT_addr"], f["Size"]
    # Checks.
    check(device_id < gic.devices, Reason.DEVICE_OOR)  # 0x01_0801
    # Open: Size counts only with V=1, so that an unmap cannot fail on it.
    check(not valid or size < gic.config.event_id_bits, Reason.ITTSIZE_OOR)  # 0x01_0802
    # Effect.
    # Open: an ITT is memory. What it maps outlives MAPD V=0, and comes back with the ITT.
    if valid:
        its.devices[device_id] = Device(itt, 2 ** (size + 1))
    else:
        its.devices.pop(device_id, None)


def mapc(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map a collection to a redistributor, or unmap it."""
    # Operands.
    icid, valid, rdbase = f["ICID"], f["V"], f["RDbase"]
    # Checks.
    check(icid < gic.collections, Reason.COLLECTION_OOR)  # 0x01_0903
    redistributor = find_redistributor(gic, rdbase) if valid else None  # 0x01_0902
    # Effect.
    # Open: to unmap what is not mapped succeeds.
    if redistributor is not None:
        its.collections[icid] = redistributor
    else:
        its.collections.pop(icid, None)


def mapti(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map an event to an LPI and a collection."""
    # Operands.
    device_id, event_id, intid, icid = f["DeviceID"], f["EventID"], f["pINTID"], f["ICID"]
    # Checks.
    # Open: their order is QEMU's.
    check(device_id < gic.devices, Reason.DEVICE_OOR)  # 0x01_0A01
    check(icid < gic.collections, Reason.COLLECTION_OOR)  # 0x01_0A03
    itt = find_itt(gic, its, device_id, event_id)  # 0x01_0A04, 0x01_0A05
    check(gic.is_lpi(intid), Reason.PHYSICALID_OOR)  # 0x01_0A06
    # Effect.
    # Open: a valid ITE is replaced, and the pending state of the old interrupt stays where it is.
    itt[event_id] = PhysicalEvent(intid, icid)


def mapi(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map an event to the LPI of the same number and a collection: MAPTI with its EventID as pINTID."""
    mapti(gic, its, Operands(f | {"pINTID": f["EventID"]}))  # 0x01_0B01, 0x01_0B03, 0x01_0B04, 0x01_0B05, 0x01_0B06


def movi(gic: Interrupts, its: Its, f: Operands) -> None:
    """Move an event and its pending state to another collection."""
    # Operands.
    device_id, event_id, icid = f["DeviceID"], f["EventID"], f["ICID"]
    # Checks.
    event = find_event(gic, its, device_id, event_id)  # 0x01_0101, 0x01_0104, 0x01_0105, 0x01_0107
    # Open: the number of an event that is a vLPI.
    if not isinstance(event, PhysicalEvent):
        raise Refused(Reason.ITE_INVALID)  # 0x01_0110
    # Open: the event's own collection is looked at before the new one.
    check(event.icid in its.collections, Reason.UNMAPPED_COLLECTION)  # 0x01_0109
    check(icid < gic.collections, Reason.COLLECTION_OOR)  # 0x01_0103
    check(icid in its.collections, Reason.UNMAPPED_COLLECTION)  # 0x01_0109
    # Effect.
    find_itt(gic, its, device_id, event_id)[event_id] = PhysicalEvent(event.intid, icid)
    gic.move_lpis(its.collections[event.icid], its.collections[icid], {event.intid})


def interrupt(gic: Interrupts, its: Its, f: Operands) -> None:
    """INT: as if the device had written the event."""
    # Operands.
    device_id, event_id = f["DeviceID"], f["EventID"]
    # Checks.
    event = find_event(gic, its, device_id, event_id)  # 0x01_0301, 0x01_0304, 0x01_0305, 0x01_0307
    target = find_target(its, event)  # 0x01_0310
    # Effect.
    gic.arrive(target)


def clear(gic: Interrupts, its: Its, f: Operands) -> None:
    """Clear an event's pending state. CLEAR is opcode 0x04, but all sources number its errors 0x0105xx."""
    # Operands.
    device_id, event_id = f["DeviceID"], f["EventID"]
    # Checks.
    event = find_event(gic, its, device_id, event_id)  # 0x01_0501, 0x01_0504, 0x01_0505, 0x01_0507
    target = find_target(its, event)  # 0x01_0510
    # Effect.
    gic.clear(target)


def discard(gic: Interrupts, its: Its, f: Operands) -> None:
    """Clear an event's pending state and unmap it."""
    # Operands.
    device_id, event_id = f["DeviceID"], f["EventID"]
    # Checks.
    event = find_event(gic, its, device_id, event_id)  # 0x01_0F01, 0x01_0F04, 0x01_0F05, 0x01_0F07
    # Open: whether the target must be mapped. `GicConfig.discard_unmapped` says.
    if gic.config.discard_unmapped == "refuse":
        find_target(its, event)  # 0x01_0F10
    # Effect.
    with suppress(Refused):
        gic.clear(find_target(its, event))
    del find_itt(gic, its, device_id, event_id)[event_id]


def inv(gic: Interrupts, its: Its, f: Operands) -> None:
    """Invalidate an event's cached configuration."""
    # Operands.
    device_id, event_id = f["DeviceID"], f["EventID"]
    # Checks.
    event = find_event(gic, its, device_id, event_id)  # 0x01_0C01, 0x01_0C04, 0x01_0C05, 0x01_0C07
    target = find_target(its, event)  # 0x01_0C10
    # Effect.
    if isinstance(target, Vlpi):
        gic.reconsider(target.vpe, {target.vintid})


def invall(gic: Interrupts, its: Its, f: Operands) -> None:
    """Invalidate what is cached of a collection's configuration."""
    # Operands.
    icid = f["ICID"]
    # Checks.
    check(icid < gic.collections, Reason.COLLECTION_OOR)  # 0x01_0D03
    check(icid in its.collections, Reason.UNMAPPED_COLLECTION)  # 0x01_0D09
    # Effect: none, as nothing is cached here.


def movall(gic: Interrupts, its: Its, f: Operands) -> None:
    """Move all pending LPIs of one redistributor to another."""
    # Operands.
    rdbase, rdbase2 = f["RDbase"], f["RDbase2"]
    # Checks.
    source = find_redistributor(gic, rdbase, Reason.MOVALL_PROCNUM_OOR)  # 0x01_0E01
    target = find_redistributor(gic, rdbase2, Reason.MOVALL_PROCNUM_OOR)  # 0x01_0E01
    # Effect.
    gic.move_lpis(source, target, gic.pending(source))


def sync(gic: Interrupts, its: Its, f: Operands) -> None:
    """Wait for a redistributor."""
    # Operands.
    rdbase = f["RDbase"]
    # Checks.
    find_redistributor(gic, rdbase)  # 0x01_0502
    # Effect: none, as everything has its effect at once here.


COMMANDS: dict[str, Handler] = {
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
