# SPDX-License-Identifier: Apache-2.0
"""Rules of the command queue: does it move, and if not, why, as far as the dump tells?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gicmodel.images.dump import ABSENT
from gicmodel.inspection import gaps
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its
from gicmodel.inspection.join import most_id_bits
from gicmodel.inspection.queue import Command, Queue
from gicmodel.inspection.rules.rule import Finding, error, warning
from gicmodel.layouts.commands import decode_command
from gicmodel.layouts.lpi_tables import FIRST_LPI

STALLED = error(
    "queue-stalled",
    "The ITS stopped at a command error and executes nothing more until software repairs it and sets CWRITER.Retry.",
    "DDI0601 GITS_CREADR.Stalled",
)
OUTSIDE = error(
    "queue-offset",
    "CREADR and CWRITER are offsets inside the queue; with another one the ITS need not process anything.",
    "DDI0601 GITS_CWRITER.Offset",
)
WAITING_DISABLED = warning(
    "queue-its-disabled",
    "Commands wait and the ITS is disabled: none is executed until GITS_CTLR.Enabled is 1.",
    "DDI0601 GITS_CTLR.Enabled",
)
BEHIND = warning(
    "queue-behind",
    "Commands wait though the ITS is enabled and not stalled: it had not come to them yet, or does not move at all. "
    "Linux waits a second at most; GITS_CREADR read twice tells.",
    "IHI0069, The ITS command interface; Linux irq-gic-v3-its.c its_wait_for_range_completion",
)
UNKNOWN_COMMAND = warning(
    "queue-unknown-command",
    "A command waits that this generation of the architecture does not have, or that is not in the dump.",
    "IHI0069, ITS commands",
)


def check(found: Inspection) -> Iterator[Finding]:
    """What the queues break."""
    for queue in found.queues:
        unit = next(one for one in found.its if one.number == queue.its)
        if queue.stalled:
            yield _stalled(found, unit, queue)
        for name, offset in {"CREADR": queue.creadr, "CWRITER": queue.cwriter}.items():
            if not queue.inside(offset):
                yield Finding(OUTSIDE, f"{unit.frame}_{name} is outside the queue's {queue.size:#x} bytes")
        yield from _waiting(unit, queue)
        for one in queue.commands:
            if one.state == "waiting" and not one.known:
                text = f"{unit.frame} has a command waiting that is {one.text}"
                yield Finding(UNKNOWN_COMMAND, text, one.address, one.file_offset)


def _waiting(unit: Its, queue: Queue) -> Iterator[Finding]:
    if queue.waiting and unit.enabled is False:
        text = f"{queue.waiting} commands wait and {unit.frame} is disabled"
        yield Finding(WAITING_DISABLED, text, queue.address)
    if queue.waiting and unit.enabled and not queue.stalled:
        offsets = f"CREADR is {queue.creadr:#x}, CWRITER {queue.cwriter:#x}"
        yield Finding(BEHIND, f"{queue.waiting} commands wait for {unit.frame}: {offsets}", queue.address)


def _stalled(found: Inspection, unit: Its, queue: Queue) -> Finding:
    command = queue.stalled_command
    if command is None:
        return Finding(STALLED, f"{unit.frame} stalled at no command", queue.address)
    text = f"{unit.frame} stalled at {command.text}: {likely_reason(found, unit, command)}"
    return Finding(STALLED, text, command.address, command.file_offset)


Fields = dict[str, int]

_NEEDS_NO_EVENT = {"MAPTI", "MAPI", "VMAPTI", "VMAPI"}
_NEEDS_COLLECTION = {"MOVI", "INVALL"}
_NEEDS_VPE = {"VMOVI", "VMOVP", "VSYNC", "VINVALL", "INVDB", "VSGI"}
_UNMAPS = {"MAPD", "MAPC", "VMAPP"}


def likely_reason(found: Inspection, unit: Its, command: Command) -> str:
    """One clause: the first rule that the command breaks, or that none is seen."""
    if command.words is None:
        return "the command is not in the dump"
    if not command.known:
        return f"GICv{found.architecture} has no such command"
    mnemonic, fields = decode_command(command.words, found.architecture)
    for check in (_device, _event, _intid, _collection, _vpe, _redistributor):
        for reason in check(found, unit, mnemonic, fields):
            return reason
    unread = gaps.events(found) or gaps.collections(found) or gaps.vpes(found)
    return "no reason is seen in the tables" + ("" if unread is None else f", which are not known in full: {unread}")


def _device(found: Inspection, unit: Its, mnemonic: str, fields: Fields) -> Iterator[str]:
    if "DeviceID" not in fields:
        return
    device_id = fields["DeviceID"]
    bits = unit.device_id_bits
    if bits is not None and device_id >> bits:
        yield f"DeviceID {device_id:#x} is wider than the {bits} bits of {unit.frame}"
    yield from _no_room(found, unit, "device", "DeviceID", device_id)
    most = unit.event_id_bits
    if mnemonic == "MAPD" and fields["V"] and most is not None and fields["Size"] + 1 > most:
        yield f"Size asks for EventIDs of {fields['Size'] + 1} bits; {unit.frame} has {most}"
    unmapped = device_id not in unit.devices["DeviceID"]
    if mnemonic != "MAPD" and unmapped and gaps.entry(found, unit, "device", device_id) is None:
        yield f"device {device_id:#x} is not mapped"


def _no_room(found: Inspection, unit: Its, kind: str, name: str, identifier: int) -> Iterator[str]:
    """A table too small for an identifier, or without a level 2 page for it."""
    table = unit.tables.get(kind)
    if table is None:
        return
    if not table.valid:
        yield f"{table.register} is not valid"
    elif identifier >= table.capacity:
        yield f"{name} {identifier:#x} is beyond the {table.capacity:#x} entries of {table.register}"
    level1, place = table.level1, table.lacking(found.dump, np.array([identifier], np.int64))
    if level1 is not None and identifier // table.per_page not in level1.indices[level1.used] and place[0] == ABSENT:
        yield f"{table.register} has no level 2 page for {name} {identifier:#x}"


def _event(found: Inspection, unit: Its, mnemonic: str, fields: Fields) -> Iterator[str]:
    if "EventID" not in fields:
        return
    rows = unit.devices[unit.devices["DeviceID"] == fields["DeviceID"]]
    event_id = fields["EventID"]
    if rows.size and event_id >> int(rows["Size"][0]) + 1:
        yield f"EventID {event_id:#x} is beyond the {int(rows['Size'][0]) + 1} bits of device {fields['DeviceID']:#x}"
    if mnemonic in _NEEDS_NO_EVENT:
        return
    events = unit.events.rows
    mine = events[(events["DeviceID"] == fields["DeviceID"]) & (events["EventID"] == event_id)]
    if not mine.size:
        if gaps.event(found, unit, fields["DeviceID"], event_id) is None:
            yield f"event {event_id} of device {fields['DeviceID']:#x} is not mapped"
    elif mnemonic in ("MOVI", "VMOVI") and bool(mine["virtual"][0]) != (mnemonic == "VMOVI"):
        yield f"event {event_id} of device {fields['DeviceID']:#x} is {'virtual' if mine['virtual'][0] else 'physical'}"


def _intid(found: Inspection, unit: Its, mnemonic: str, fields: Fields) -> Iterator[str]:
    bits = most_id_bits(found.redistributors)
    intid = fields["EventID"] if mnemonic == "MAPI" else fields.get("pINTID", FIRST_LPI)
    if not FIRST_LPI <= intid < 1 << bits:
        yield f"INTID {intid} is no LPI of {bits} bits"
    if mnemonic in ("VMAPTI", "VMAPI"):
        vintid = fields.get("vINTID", fields["EventID"])
        if vintid < FIRST_LPI:
            yield f"vINTID {vintid} is no LPI"


def _collection(found: Inspection, unit: Its, mnemonic: str, fields: Fields) -> Iterator[str]:
    icid = fields.get("ICID")
    if icid is None or icid < unit.collections_in_hardware:
        return
    yield from _no_room(found, unit, "collection", "ICID", icid)
    unmapped = icid not in unit.collections["ICID"]
    if mnemonic in _NEEDS_COLLECTION and unmapped and gaps.entry(found, unit, "collection", icid) is None:
        yield f"collection {icid} is not mapped"


def _vpe(found: Inspection, unit: Its, mnemonic: str, fields: Fields) -> Iterator[str]:
    vpe_id = fields.get("vPEID")
    if vpe_id is None:
        return
    yield from _no_room(found, unit, "vpe", "vPEID", vpe_id)
    mapped = found.vpes["vPEID"]
    if mnemonic in _NEEDS_VPE and vpe_id not in mapped and gaps.vpe(found, vpe_id) is None:
        yield f"vPE {vpe_id} is not mapped"
    if mnemonic == "VMAPP" and fields["V"] and vpe_id in mapped:
        yield f"vPE {vpe_id} is mapped already"
    if mnemonic == "VMAPP" and not fields["V"] and (found.vpes["resident"][mapped == vpe_id] >= 0).any():
        yield f"vPE {vpe_id} is resident"


def _redistributor(found: Inspection, unit: Its, mnemonic: str, fields: Fields) -> Iterator[str]:
    if mnemonic in _UNMAPS and not fields["V"]:
        return
    for name in ("RDbase", "RDbase2"):
        if name in fields and found.rdbases.is_none(fields[name], unit.pta):
            yield f"{name} {fields[name]:#x} is no redistributor"
