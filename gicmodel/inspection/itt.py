# SPDX-License-Identifier: Apache-2.0
"""The interrupt translation tables of many devices at once.

Tables of one size are copied together, a table a row, and decoded as one array; only those that the dump lacks in part,
or that are very large, are read one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Addresses, Dump, Octets
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import EVENTS, distinct, event_keys, table
from gicmodel.inspection.profiles import Entry
from gicmodel.inspection.table import nonzero, used_of
from gicmodel.layouts.its_tables import NO_DOORBELL

_BATCH = 1 << 20
"""Bytes of tables decoded at once: what is made of them on the way stays in the processor's caches."""
_LARGE = 1 << 20

EVENTS_OF_DEVICES = "events of devices"


@dataclass
class Events:
    """The events in use, by DeviceID and EventID; the addresses of entries with a RES0 bit set.

    `absent` holds the rows of devices whose table the dump lacks in part or whole, `told` the DeviceIDs of those of
    which a witness told all events.
    """

    rows: NDArray[np.void] = field(default_factory=lambda: np.empty(0, EVENTS))
    reserved: Addresses = field(default_factory=lambda: np.empty(0, np.int64))
    absent: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    told: set[int] = field(default_factory=set)


class _Block(NamedTuple):
    """Entries that are not zero: the row of their device, their EventID, their bytes."""

    device: NDArray[np.intp]
    event: NDArray[np.int64]
    octets: Octets


def read_events(dump: Dump, devices: NDArray[np.void], entry: Entry, budget: Budget) -> Events:
    """The events of the devices, as far as the budget goes."""
    reader = _Reader(dump, devices, entry.layout.bytes, budget)
    parts: list[NDArray[np.void]] = [np.empty(0, EVENTS)]
    reserved: list[Addresses] = [np.empty(0, np.int64)]
    for block in reader.blocks():
        rows, broken = _decode(dump, devices, entry, block)
        parts.append(rows[: budget.keep(rows.size, EVENTS_OF_DEVICES)])
        reserved.append(broken)
        if parts[-1].size < rows.size:
            break
    events = np.concatenate(parts)
    keys = event_keys(events)
    if (keys[1:] < keys[:-1]).any():
        events = events[np.argsort(keys, kind="stable")]
    return Events(events, np.concatenate(reserved), np.sort(np.array(reader.absent, np.intp)))


class _Reader:
    """Walks the tables of devices, largest tables last."""

    def __init__(self, dump: Dump, devices: NDArray[np.void], size: int, budget: Budget) -> None:
        self.dump = dump
        self.devices = devices
        self.size = size
        self.budget = budget
        self.absent: list[int] = []

    def blocks(self) -> Iterator[_Block]:
        for bits in distinct(self.devices["Size"]).tolist():
            chosen = np.flatnonzero(self.devices["Size"] == bits)
            if (self.size << bits + 1) > _LARGE:
                yield from self._one_by_one(chosen, bits)
                continue
            for batch in np.array_split(chosen, 1 + (chosen.size * self.size << bits + 1) // _BATCH):
                yield from self._together(batch, bits)

    def _together(self, chosen: NDArray[np.intp], bits: int) -> Iterator[_Block]:
        if self.budget.read(chosen.size * self.size << bits + 1, EVENTS_OF_DEVICES):
            octets, held = self.dump.gather(self.devices["ITT_addr"][chosen], self.size << bits + 1)
            entries = used_of(octets[held].reshape(-1, self.size))
            index = entries.numbers()
            yield _Block(chosen[held][index >> bits + 1], index & (1 << bits + 1) - 1, entries.octets)
            yield from self._one_by_one(chosen[~held], bits)

    def _one_by_one(self, chosen: NDArray[np.intp], bits: int) -> Iterator[_Block]:
        length = self.size << bits + 1
        held = self.dump.held_each(self.devices["ITT_addr"][chosen], np.full(chosen.size, length))
        self.absent += chosen[held < length].tolist()
        for device, octets in zip(chosen[held > 0].tolist(), held[held > 0].tolist(), strict=True):
            address = int(self.devices["ITT_addr"][device])
            if self.budget.read(octets, EVENTS_OF_DEVICES):
                entries = nonzero(self.dump, address, length, self.size)
                event = entries.numbers()
                yield _Block(np.full(event.size, device, np.intp), event, entries.octets)


def _decode(dump: Dump, devices: NDArray[np.void], entry: Entry, block: _Block) -> tuple[NDArray[np.void], Addresses]:
    used, broken, columns = entry.decode(block.octets)
    addresses = devices["ITT_addr"][block.device] + block.event * entry.layout.bytes
    reserved = addresses[broken]
    addresses, device = addresses[used], block.device[used]
    physical = np.asarray(columns.get("physical", 1)) != 0
    events = table(
        EVENTS,
        addresses.size,
        its=devices["its"][device],
        DeviceID=devices["DeviceID"][device],
        EventID=block.event[used],
        INTID=columns["INTID"],
        virtual=~physical,
        ICID=np.where(physical, columns["ICID"], 0),
        # Physical entries written by QEMU before 7.0 can hold anything in these two.
        vPEID=np.where(physical, 0, columns.get("vPEID", 0)),
        Doorbell=np.where(physical, NO_DOORBELL, columns.get("Doorbell", NO_DOORBELL)),
        next=columns.get("next", 0),
        address=addresses,
        offset=dump.offsets(addresses),
    )
    return events, reserved
