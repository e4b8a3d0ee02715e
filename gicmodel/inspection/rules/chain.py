# SPDX-License-Identifier: Apache-2.0
"""Rules of the `next` chains in tables that KVM saved: will restore find every entry?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection.chains import Chain, follow
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its
from gicmodel.inspection.rules.mapping import event_name
from gicmodel.inspection.rules.rule import Group, Rule

BROKEN = Rule(
    "chain-broken",
    "error",
    "`next` is the distance to the next entry in use, unless it is saturated; restore searches on from where it leads.",
    "Linux Documentation/virt/kvm/devices/arm-vgic-its.rst",
)
LEAVING = Rule(
    "chain-leaves-table",
    "error",
    "`next` stays inside the table; for an event KVM refuses to restore it with EINVAL.",
    "Linux vgic-its.c vgic_its_restore_ite, scan_its_table",
)
SKIPPED = Rule(
    "chain-skips",
    "warning",
    "The chain jumps over an entry in use, or ends before it: restore does not see it. It is stale, or will be lost.",
    "Linux vgic-its.c scan_its_table; e9649129d33d and 7602ffd1d5e8 clear stale entries",
)

RULES = (BROKEN, LEAVING, SKIPPED)


def check(found: Inspection) -> Iterator[Group]:
    """What the chains break."""
    bits = found.profile.next_bits
    for unit in found.its:
        if "device" in bits and unit.maps("device"):
            yield from _groups(unit.devices, _of_devices(unit, bits["device"]), "device")
        if "event" in bits:
            yield from _groups(unit.events.rows, _of_events(unit, bits["event"]), "event")


def _of_devices(unit: Its, bits: int) -> Chain:
    rows, table = unit.devices, unit.tables["device"]
    ids = rows["DeviceID"].astype(np.int64)
    page = table.per_page if table.indirect else None
    end = np.full(rows.size, table.capacity, np.int64)
    return follow(ids, rows["next"].astype(np.int64), np.zeros(rows.size, np.int64), end, bits, page)


def _of_events(unit: Its, bits: int) -> Chain:
    rows = unit.events.rows
    device = np.searchsorted(unit.devices["DeviceID"], rows["DeviceID"])
    end = np.int64(1) << unit.devices["Size"][device].astype(np.int64) + 1
    ids, group = rows["EventID"].astype(np.int64), rows["DeviceID"].astype(np.int64)
    return follow(ids, rows["next"].astype(np.int64), group, end, bits)


def _groups(rows: NDArray[np.void], chain: Chain, kind: str) -> Iterator[Group]:
    def name(row: np.void) -> str:
        return event_name(row) if kind == "event" else f"device {row['DeviceID']:#x}"

    yield Group(
        BROKEN, rows[chain.broken], lambda row: f"next of {name(row)} is {row['next']}: nothing is mapped there"
    )
    yield Group(LEAVING, rows[chain.leaving], lambda row: f"next of {name(row)} is {row['next']}: beyond its table")
    yield Group(SKIPPED, rows[chain.skipped], lambda row: f"{name(row)} is mapped and not in its table's chain")
