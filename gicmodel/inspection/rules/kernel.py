# SPDX-License-Identifier: Apache-2.0
"""Rules of the kernel whose dump it is: does the ITS have what its driver believes it has?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gicmodel.inspection import gaps
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its, Subject
from gicmodel.inspection.linux.devices import KernelEvent
from gicmodel.inspection.rules.mapping import event_name
from gicmodel.inspection.rules.rule import Finding, warning
from gicmodel.inspection.witness import of_queue
from gicmodel.layouts.its_tables import NO_DOORBELL

DIFFERS = warning(
    "kernel-differs",
    "The ITS has what its driver has mapped; else a command was lost or not executed yet, or memory is damaged.",
    "Linux irq-gic-v3-its.c its_irq_domain_activate, its_vlpi_map, its_set_affinity",
)
BROKEN = warning(
    "kernel-list-broken",
    "The driver's structures could not be followed to their end: what the kernel has beyond that is not known.",
    "Linux irq-gic-v3-its.c struct its_node, its_device",
)
DOUBTFUL = warning(
    "mapping-doubtful",
    "What the driver's structures or the queue tell is contradicted by each other or by the tables: it need not be so.",
    "Linux irq-gic-v3-its.c its_create_device, its_lpi_alloc; IHI0069 MAPD, MAPTI",
)


def check(found: Inspection) -> Iterator[Finding]:
    """What differs between the tables and the structures of the kernel."""
    for unit in found.its:
        yield from _doubts(found, unit)
    view = found.kernel
    broken = {**{f"GITS{its}": text for its, text in view.broken.items()}, **view.unread}
    yield from (Finding(BROKEN, f"{what}: {text}") for what, text in broken.items())
    for unit in found.its:
        if unit.number in view.devices and unit.maps("device"):
            yield from _differences(found, unit)
        if view.source and unit.maps("collection"):
            yield from _collections(found, unit)
    for vpe in gaps.lost_vpes(found):
        yield Finding(DIFFERS, f"the kernel has {vpe} mapped, the tables have not")


def _doubts(found: Inspection, unit: Its) -> Iterator[Finding]:
    """What is doubtful of what was told of an ITS, and of the kernel's own devices; events share a device's doubt."""
    devices = found.kernel.devices.get(unit.number, []) if unit.maps("device") else []
    doubts = {Subject(device.device_id): device.doubt for device in devices if device.doubt} | unit.doubts
    for subject, text in doubts.items():
        if subject.event is None or doubts.get(Subject(subject.device)) != text:
            yield Finding(DOUBTFUL, ": ".join(filter(None, (unit.frame, str(subject), text))))


def _collections(found: Inspection, unit: Its) -> Iterator[Finding]:
    known = unit.collections[unit.collections["RDbase"] != UNKNOWN]
    tables = dict(zip(known["ICID"].tolist(), known["RDbase"].tolist(), strict=True))
    targets = _odd_one(found, tables) | _targets(found, unit)
    for row in known:
        icid, number = int(row["ICID"]), int(row["RDbase"])
        if targets.get(icid, UNKNOWN) not in (number, UNKNOWN):
            text = f"collection {icid}: the tables have it at redistributor {number}, the kernel at {targets[icid]}"
            yield Finding(DIFFERS, text, int(row["address"]), int(row["offset"]))


def _targets(found: Inspection, unit: Its) -> dict[int, int]:
    """Where collections are by the driver's structures, or by its commands (MAPC) that still stand in the queue."""
    told: dict[int, int] = {}
    for queue in found.queues:
        if queue.its == unit.number and found.dump.held(queue.address, queue.size):
            collections = of_queue(found.dump, queue, found.architecture).collections
            told |= {icid: int(row["RDbase"]) for icid, row in collections.items()}
    told |= found.kernel.targets.get(unit.number, {})
    return {icid: found.rdbases.number(rdbase, unit.pta) for icid, rdbase in told.items()}


def _odd_one(found: Inspection, tables: dict[int, int]) -> dict[int, int]:
    """Where a collection should be that alone is at no redistributor of a CPU, all others being at that of their own.

    Linux has one collection a CPU, of the same number; a CPU may be anywhere, so that of two nothing is said.
    """
    of_cpu = {one.number: one.processor_number for one in found.redistributors}
    odd = [icid for icid, number in tables.items() if of_cpu.get(icid, number) != number]
    alone = len(odd) == 1 < len(tables) and tables[odd[0]] not in found.rdbases.numbers
    return {odd[0]: of_cpu[odd[0]]} if alone else {}


def _differences(found: Inspection, unit: Its) -> Iterator[Finding]:
    view = found.kernel
    kernels = {key[1:]: event for key, event in view.events().items() if key[0] == unit.number}
    events = unit.events.rows
    mapped = {(int(row["DeviceID"]), int(row["EventID"])): row for row in events}
    others = {device.device_id for device in view.devices[unit.number] if not device.managed}
    whole = unit.number not in view.broken
    itts = dict(zip(unit.devices["DeviceID"].tolist(), unit.devices["ITT_addr"].tolist(), strict=True))
    for device in view.devices[unit.number]:
        if itts.get(device.device_id, device.itt) != device.itt:
            text = f"device {device.device_id:#x}: the tables have its ITT at {itts[device.device_id]:#x}"
            yield Finding(DIFFERS, f"{text}, the kernel at {device.itt:#x}", device.itt)
    for key, event in kernels.items():
        if key not in mapped and gaps.event(found, unit, *key) is None:
            yield Finding(DIFFERS, f"device {key[0]:#x} event {key[1]}: the kernel has {event}, the tables nothing")
    for key, row in mapped.items():
        if (key in kernels or (whole and key[0] not in others)) and (text := _difference(kernels.get(key), row)):
            yield Finding(DIFFERS, f"{event_name(row)}: {text}", int(row["address"]), int(row["offset"]))


def _difference(event: KernelEvent | None, row: np.void) -> str:
    """How an entry differs from the kernel's event; empty if it does not."""
    intid, virtual = int(row["INTID"]), bool(row["virtual"])
    tables = f"vINTID {intid} of vPE {row['vPEID']}" if virtual else f"INTID {intid} of collection {row['ICID']}"
    if event is None:
        return f"the tables have {tables}, the kernel nothing"
    if event.vpe is None:
        same = not virtual and (event.intid, event.cpu) == (intid, int(row["ICID"]))
    else:
        same = virtual and (event.vintid, event.vpe.vpe_id) == (intid, int(row["vPEID"]))
        # its_build_vmapti_cmd() gives an event its vPE's doorbell or none.
        doorbell = event.vpe.doorbell
        if same and doorbell is not None and int(row["Doorbell"]) not in (doorbell, NO_DOORBELL, UNKNOWN):
            return f"the tables have Doorbell {row['Doorbell']}, the kernel {doorbell}"
    return "" if same else f"the tables have {tables}, the kernel {event}"
