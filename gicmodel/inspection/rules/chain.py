# SPDX-License-Identifier: Apache-2.0
"""Rules of the `next` chains in tables that KVM saved, followed as its restore does (Linux vgic-its.c, scan_its_table).

An entry in use tells the distance to the next one, 0 for the last; a distance too large for the field saturates. From
an entry that is not in use, restore goes on by one. Distances are positive, so a chain cannot loop; it can end early,
jump over entries, lead to none, or leave its table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection.entries import among
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its
from gicmodel.inspection.rules.mapping import event_name
from gicmodel.inspection.rules.rule import Group, error, warning

BROKEN = error(
    "chain-broken",
    "`next` is the distance to the next entry in use, unless it is saturated; restore searches on from where it leads.",
    "Linux Documentation/virt/kvm/devices/arm-vgic-its.rst",
)
LEAVING = error(
    "chain-leaves-table",
    "`next` stays inside the table; for an event KVM refuses to restore it with EINVAL.",
    "Linux vgic-its.c vgic_its_restore_ite, scan_its_table",
)
SKIPPED = warning(
    "chain-skips",
    "The chain jumps over an entry in use, or ends before it: restore does not see it. It is stale, or will be lost.",
    "Linux vgic-its.c scan_its_table; e9649129d33d and 7602ffd1d5e8 clear stale entries",
)


def check(found: Inspection) -> Iterator[Group]:
    """What the chains break."""
    bits = found.profile.next_bits
    for unit in found.its:
        # Where it is not known what is in use nobody can tell what a chain leaves out.
        if "device" in bits and unit.maps("device") and unit.shows("device") and not found.truncated:
            yield from _groups(unit.devices, _of_devices(unit, bits["device"]), "device")
        if "event" in bits and not found.truncated:
            yield from _groups(*_of_events(unit, bits["event"]), "event")


def _of_devices(unit: Its, bits: int) -> Chain:
    rows, table = unit.devices, unit.tables["device"]
    ids = rows["DeviceID"].astype(np.int64)
    page = table.per_page if table.indirect else None
    end = np.full(rows.size, table.capacity, np.int64)
    return follow(ids, rows["next"].astype(np.int64), np.zeros(rows.size, np.int64), end, bits, page)


def _of_events(unit: Its, bits: int) -> tuple[NDArray[np.void], Chain]:
    """The events of the devices whose tables are wholly there, and their chains."""
    unread = among(unit.events.rows["DeviceID"], unit.devices["DeviceID"][unit.events.absent].tolist())
    rows = unit.events.rows[~unread]
    device = np.searchsorted(unit.devices["DeviceID"], rows["DeviceID"])
    end = np.int64(1) << unit.devices["Size"][device].astype(np.int64) + 1
    ids, group = rows["EventID"].astype(np.int64), rows["DeviceID"].astype(np.int64)
    return rows, follow(ids, rows["next"].astype(np.int64), group, end, bits)


def _groups(rows: NDArray[np.void], chain: Chain, kind: str) -> Iterator[Group]:
    def name(row: np.void) -> str:
        return event_name(row) if kind == "event" else f"device {row['DeviceID']:#x}"

    yield Group(
        BROKEN, rows[chain.broken], lambda row: f"next of {name(row)} is {row['next']}: nothing is mapped there"
    )
    yield Group(LEAVING, rows[chain.leaving], lambda row: f"next of {name(row)} is {row['next']}: beyond its table")
    yield Group(SKIPPED, rows[chain.skipped], lambda row: f"{name(row)} is mapped and not in its table's chain")


class Chain(NamedTuple):
    """Which entries restore does not reach, and whose `next` leads to an entry not in use, or out of the table."""

    skipped: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    leaving: NDArray[np.bool_]


def follow(
    ids: NDArray[np.int64],
    distance: NDArray[np.int64],
    group: NDArray[np.int64],
    end: NDArray[np.int64],
    bits: int,
    page: int | None = None,
) -> Chain:
    """Follow many chains: entries by group, ascending in each; `end` is the size of each entry's table.

    All arrays are [n]. `bits` is the width of the distance. `page` is how many entries a level 2 page has: a `next`
    that leaves its page is not followed by address, restore begins at the first entry of the next page there is.
    """
    target = ids + distance
    last = distance == 0
    leaving = ~last & (target >= end)
    hit = _is_entry(ids, group, target)
    saturated = distance == (1 << bits) - 1
    reached = target if page is None else np.minimum(target, (ids // page + 1) * page)
    successor = _first_at(ids, group, reached)
    return Chain(_skipped(group, successor, last), ~last & ~leaving & ~hit & ~saturated, leaving)


def _is_entry(ids: NDArray[np.int64], group: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each target is an entry of the same group."""
    found = _first_at(ids, group, target)
    there = np.minimum(found, ids.size - 1)
    return np.asarray((found < ids.size) & (group[there] == group) & (ids[there] == target))


def _first_at(ids: NDArray[np.int64], group: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry, the first entry of its group with an id of at least `target`, or one beyond the group's end."""
    wide = int(max(ids.max(initial=0), target.max(initial=0))) + 1
    numbers = np.cumsum(np.diff(group, prepend=group[:1]) != 0)
    return np.searchsorted(numbers * wide + ids, numbers * wide + target).astype(np.int64)


def _skipped(group: NDArray[np.int64], successor: NDArray[np.int64], last: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count = group.size
    skipped = np.zeros(count, np.bool_)
    begins = np.flatnonzero(np.diff(group, prepend=group[:1] - 1) != 0)
    ends = np.append(begins[1:], count)
    if not count:
        return skipped
    # Where every entry but a group's last leads to its neighbour there is nothing to follow.
    odd = last | (successor != np.arange(count) + 1)
    odd[ends - 1] = False
    strange = np.logical_or.reduceat(odd, begins)
    for begin, end in zip(begins[strange].tolist(), ends[strange].tolist(), strict=True):
        skipped[begin:end] = True
        entry = begin
        while entry < end:
            skipped[entry] = False
            entry = end if last[entry] else int(successor[entry])
    return skipped
