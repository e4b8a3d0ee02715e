# SPDX-License-Identifier: Apache-2.0
"""One ITS: its tables, decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Addresses, Dump
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import COLLECTIONS, DEVICES, UNKNOWN, VPES, table
from gicmodel.inspection.frames import Frames
from gicmodel.inspection.itt import Events, read_events
from gicmodel.inspection.profiles import Entry, Profile
from gicmodel.inspection.table import ItsTable, its_table, read_table
from gicmodel.layouts.registers.its import BASERS


class Subject(NamedTuple):
    """What something is said of: a device, an event of it, or a vPE; the ITS as a whole if it is none of them."""

    device: int | None = None
    event: int | None = None
    vpe: int | None = None

    def __str__(self) -> str:
        numbers = (("device", self.device, "#x"), ("event", self.event, ""), ("vPE", self.vpe, ""))
        return " ".join(f"{what} {number:{form}}" for what, number, form in numbers if number is not None)


@dataclass
class Its:
    """The tables of ITS `number` by kind, and the addresses of entries that have a RES0 bit set.

    `devices`, `events`, `collections` and `vpes` are what the entries mean in the profile's formats (none, where the
    format is not known).
    """

    number: int
    typer: dict[str, int] | None
    enabled: bool | None
    tables: dict[str, ItsTable] = field(default_factory=dict)
    reserved: dict[str, Addresses] = field(default_factory=dict)
    devices: NDArray[np.void] = field(default_factory=lambda: np.empty(0, DEVICES))
    collections: NDArray[np.void] = field(default_factory=lambda: np.empty(0, COLLECTIONS))
    vpes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, VPES))
    events: Events = field(default_factory=Events)
    lists_collections: bool = False
    """Whether an entry of the collection table names its ICID, and the first that is not in use ends the table."""
    told: dict[str, str] = field(default_factory=dict)
    """Who told all that the tables do not (`inspection.witness`), by kind of entry."""
    doubts: dict[Subject, str] = field(default_factory=dict)
    """What contradicts what was told (`inspection.doubts`)."""

    def doubt(self, device: int | None = None, event: int | None = None, vpe: int | None = None) -> str:
        """Why what was told of a device, an event or a vPE need not be so; empty if nothing speaks against it."""
        return self.doubts.get(Subject(device, event, vpe), "")

    @property
    def frame(self) -> str:
        """The name of its registers' frame."""
        return f"GITS{self.number}"

    @property
    def device_id_bits(self) -> int | None:
        """The width of a DeviceID, if GITS_TYPER was given."""
        return None if self.typer is None else self.typer["Devbits"] + 1

    @property
    def event_id_bits(self) -> int | None:
        """The width of an EventID, if GITS_TYPER was given."""
        return None if self.typer is None else self.typer["ID_bits"] + 1

    @property
    def pta(self) -> bool | None:
        """GITS_TYPER.PTA, if it was given: whether RDbase is an address in commands."""
        return None if self.typer is None else bool(self.typer["PTA"])

    @property
    def may_map_vpes(self) -> bool:
        """Whether it has vLPIs, as far as is known (GITS_TYPER.Virtual)."""
        return self.typer is None or bool(self.typer["Virtual"])

    @property
    def collections_in_hardware(self) -> int:
        """GITS_TYPER.HCC: collections below it are not in memory."""
        return 0 if self.typer is None else self.typer["HCC"]

    @property
    def valid_tables(self) -> dict[str, ItsTable]:
        """The tables that have memory, by kind."""
        return {kind: found for kind, found in self.tables.items() if found.valid}

    def maps(self, kind: str) -> bool:
        """Whether the table of that kind is there and was decoded."""
        return kind in self.reserved

    def shows(self, kind: str) -> bool:
        """Whether the dump shows all that the table of that kind maps."""
        found = self.tables.get(kind)
        return found is not None and (not found.valid or (self.maps(kind) and not found.absent))

    def lacking(self, dump: Dump, kind: str, ids: NDArray[np.int64]) -> Addresses:
        """Where the dump lacks the entry of each identifier ([n]) in a table that was decoded; ABSENT elsewhere."""
        if kind == "collection" and self.lists_collections:
            ids = np.full(ids.size, self.collections.size, np.int64)
        return self.tables[kind].lacking(dump, ids)


def open_its(dump: Dump, frames: Frames, number: int, budget: Budget) -> Its:
    """An ITS with the entries of its tables, none of them decoded."""
    frame = f"GITS{number}"
    typer = frames.want(frame, "TYPER", "DeviceID and EventID widths are not checked")
    ctlr = frames.want(frame, "CTLR", "whether the ITS is enabled")
    its = Its(number, typer, None if ctlr is None else bool(ctlr["Enabled"]))
    frames.want(frame, "BASER0", "devices and events cannot be decoded")
    frames.want(frame, "BASER1", "collections cannot be decoded")
    for n in range(BASERS):
        baser = frames.value(frame, f"BASER{n}")
        found = None if baser is None else its_table(f"{frame}_BASER{n}", baser)
        if found is not None and found.kind not in its.tables:
            its.tables[found.kind] = read_table(dump, found, budget)
    return its


def decode_its(dump: Dump, its: Its, profile: Profile) -> None:
    """Decode the tables of an ITS.

    Raises UnusableInput if the profile's entries are not of the size that the registers give.
    """
    its.lists_collections = profile.collection_list
    known = {kind: entry for kind, entry in profile.entries.items() if entry is not None and kind in its.valid_tables}
    for kind, entry in known.items():
        rows, its.reserved[kind] = decode_table(dump, its.tables[kind], entry, its.number)
        if kind == "device":
            its.devices = rows
        elif kind == "collection":
            rows["RDbase"][rows["RDbase"] == profile.not_mapped] = UNKNOWN
            its.collections = rows
        else:
            its.vpes = rows


def decode_itts(dump: Dump, its: Its, entry: Entry, budget: Budget) -> None:
    """Decode the tables of an ITS's devices, as far as the budget goes. Raises UnusableInput as `decode_its`."""
    if its.devices.size:
        if its.typer is not None:
            check_size(f"{its.frame}_TYPER.ITT_entry_size", its.typer["ITT_entry_size"] + 1, entry)
        its.events = read_events(dump, its.devices, entry, budget)


def check_size(where: str, entry_bytes: int, entry: Entry) -> None:
    """Raise UnusableInput if the registers give another size of entry than the format has."""
    if entry_bytes != entry.layout.bytes:
        raise UnusableInput(f"{where}: entries are {entry_bytes} bytes; {entry.layout.name} has {entry.layout.bytes}")


def decode_table(dump: Dump, found: ItsTable, entry: Entry, its: int) -> tuple[NDArray[np.void], Addresses]:
    """The entries in use of a table, and the addresses of those with a RES0 bit set.

    Raises UnusableInput if the entries are not of the size that the registers give.
    """
    check_size(found.register, found.entry_bytes, entry)
    used, reserved, columns = entry.decode(found.octets)
    dtype, identifier = KINDS[found.kind]
    addresses = found.addresses[used]
    place = {"address": addresses, "offset": dump.offsets(addresses)}
    ids = found.ids[used]
    rows = table(dtype, addresses.size, **{identifier: ids, **columns}, its=its, **place)
    if identifier in columns:
        # A list, which ends at the first entry that is not in use, and a zero entry is such a one.
        rows = rows[ids == np.arange(ids.size)]
    return rows, found.addresses[reserved]


KINDS = {"device": (DEVICES, "DeviceID"), "collection": (COLLECTIONS, "ICID"), "vpe": (VPES, "vPEID")}
"""What the entries of a table become, and the identifier that its index is."""
