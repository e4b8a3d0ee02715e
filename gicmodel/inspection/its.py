# SPDX-License-Identifier: Apache-2.0
"""One ITS: its tables, decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Addresses, Dump
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import COLLECTIONS, DEVICES, UNKNOWN, VPES, table
from gicmodel.inspection.frames import Frames
from gicmodel.inspection.itt import Events, read_events
from gicmodel.inspection.profiles import Entry, Profile
from gicmodel.inspection.table import ItsTable, Occupied, its_table, occupied
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.registers.its import BASERS


@dataclass
class Its:
    """The tables of ITS `number` by kind, what is in them, and the entries that have a RES0 bit set.

    `occupied` has a table's entries as they are in memory; `devices`, `events`, `collections` and `vpes` what they mean
    in the profile's formats (none, where the format is not known).
    """

    number: int
    typer: dict[str, int] | None
    enabled: bool | None
    tables: dict[str, ItsTable] = field(default_factory=dict)
    occupied: dict[str, Occupied] = field(default_factory=dict)
    reserved: dict[str, Addresses] = field(default_factory=dict)
    devices: NDArray[np.void] = field(default_factory=lambda: np.empty(0, DEVICES))
    collections: NDArray[np.void] = field(default_factory=lambda: np.empty(0, COLLECTIONS))
    vpes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, VPES))
    events: Events = field(default_factory=Events)

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
    def collections_in_hardware(self) -> int:
        """GITS_TYPER.HCC: collections below it are not in memory."""
        return 0 if self.typer is None else self.typer["HCC"]

    @property
    def tells_devices(self) -> bool:
        """Whether its device table was decoded, or GITS_BASER<n>.Valid says that there is none."""
        return self.maps("device") or ("device" in self.tables and not self.tables["device"].valid)

    def maps(self, kind: str) -> bool:
        """Whether the table of that kind is there and was decoded."""
        return kind in self.reserved


def find_tables(frames: Frames, number: int) -> dict[str, ItsTable]:
    """The tables that an ITS's GITS_BASER<n> describe, by kind."""
    frame = f"GITS{number}"
    frames.want(frame, "BASER0", "devices and events cannot be decoded")
    frames.want(frame, "BASER1", "collections cannot be decoded")
    tables: dict[str, ItsTable] = {}
    for n in range(BASERS):
        baser = frames.value(frame, f"BASER{n}")
        found = None if baser is None else its_table(f"{frame}_BASER{n}", baser)
        if found is not None:
            tables.setdefault(found.kind, found)
    return tables


def open_its(dump: Dump, frames: Frames, number: int, budget: Budget) -> Its:
    """An ITS with the entries of its tables, none of them decoded."""
    frame = f"GITS{number}"
    typer = frames.want(frame, "TYPER", "DeviceID and EventID widths are not checked")
    ctlr = frames.want(frame, "CTLR", "whether the ITS is enabled")
    its = Its(number, typer, None if ctlr is None else bool(ctlr["Enabled"]))
    its.tables = find_tables(frames, number)
    its.occupied = {kind: occupied(dump, found, budget) for kind, found in its.tables.items() if found.valid}
    return its


def decode_its(dump: Dump, its: Its, profile: Profile, budget: Budget) -> None:
    """Decode the tables of an ITS, as far as the budget goes.

    Raises UnusableInput if the profile's entries are not of the size that the registers give.
    """
    if fits(profile.device, its, "device"):
        its.devices = _devices(dump, its, profile)
    if fits(profile.collection, its, "collection"):
        its.collections = _collections(dump, its, profile)
    if fits(profile.vpe, its, "vpe"):
        its.vpes, its.reserved["vpe"] = decode_vpes(dump, its.occupied["vpe"], profile, its.number)
    if profile.event is not None and its.devices.size:
        if its.typer is not None:
            check_size(f"{its.frame}_TYPER.ITT_entry_size", its.typer["ITT_entry_size"] + 1, profile.event)
        its.events = read_events(dump, its.devices, profile.event, budget)


def fits(entry: Entry | None, its: Its, kind: str) -> bool:
    """Whether the ITS has the table and the profile its format; raises UnusableInput if their sizes differ."""
    if entry is None or kind not in its.occupied:
        return False
    check_size(its.tables[kind].register, its.tables[kind].entry_bytes, entry)
    return True


def check_size(where: str, entry_bytes: int, entry: Entry) -> None:
    """Raise UnusableInput if the registers give another size of entry than the format has."""
    if entry_bytes != entry.layout.bytes:
        raise UnusableInput(f"{where}: entries are {entry_bytes} bytes; {entry.layout.name} has {entry.layout.bytes}")


def _devices(dump: Dump, its: Its, profile: Profile) -> NDArray[np.void]:
    entry, found = profile.device, its.occupied["device"]
    assert entry is not None
    used, reserved, columns = entry.decode(found.octets)
    its.reserved["device"] = found.addresses[reserved]
    addresses = found.addresses[used]
    return table(
        DEVICES,
        addresses.size,
        its=its.number,
        DeviceID=found.ids[used],
        **columns,
        address=addresses,
        offset=dump.offsets(addresses),
    )


def _collections(dump: Dump, its: Its, profile: Profile) -> NDArray[np.void]:
    entry, found = profile.collection, its.occupied["collection"]
    assert entry is not None
    used, reserved, columns = entry.decode(found.octets)
    its.reserved["collection"] = found.addresses[reserved]
    ids, addresses = found.ids[used], found.addresses[used]
    rows = table(
        COLLECTIONS,
        addresses.size,
        its=its.number,
        **{"ICID": ids, **columns},
        address=addresses,
        offset=dump.offsets(addresses),
    )
    if profile.not_mapped is not None:
        rows["RDbase"][rows["RDbase"] == profile.not_mapped] = UNKNOWN
    # A list ends at the first entry that is not in use, and a zero entry is such a one.
    return rows[ids == np.arange(ids.size)] if profile.collection_list else rows


def decode_vpes(dump: Dump, found: Occupied, profile: Profile, its: int) -> tuple[NDArray[np.void], Addresses]:
    """The vPEs of a vPE table or vPE configuration table, and the addresses of entries with a RES0 bit set."""
    entry = profile.vpe
    assert entry is not None
    used, reserved, columns = entry.decode(found.octets)
    addresses = found.addresses[used]
    vpes = table(
        VPES,
        addresses.size,
        its=its,
        vPEID=found.ids[used],
        resident=UNKNOWN,
        RDbase=columns["RDbase"],
        VPT_addr=columns["VPT_addr"],
        VPT_size=columns["VPT_size"],
        VCONF_addr=columns.get("VCONF_addr", UNKNOWN),
        Default_Doorbell=columns.get("Default_Doorbell", NO_DOORBELL),
        DoorbellArmed=columns.get("DoorbellArmed", 0),
        address=addresses,
        offset=dump.offsets(addresses),
    )
    return vpes, found.addresses[reserved]
