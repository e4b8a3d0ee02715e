# SPDX-License-Identifier: Apache-2.0
"""A dump and its registers, decoded: which interrupt goes where, and is it enabled, and is it pending."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.inspection import lpis
from gicmodel.inspection.architecture import architecture_of
from gicmodel.inspection.detection import detect
from gicmodel.inspection.dump import Dump
from gicmodel.inspection.entries import COLLECTIONS, DEVICES, EVENTS, PENDING, UNKNOWN, VPES, table
from gicmodel.inspection.frames import Frames, Missing
from gicmodel.inspection.its import Its, check_size, decode_its, decode_vpes, open_its
from gicmodel.inspection.profiles import Profile
from gicmodel.inspection.queue import Queue, read_queue
from gicmodel.inspection.redistributors import (
    DEFAULT_ID_BITS,
    Redistributor,
    read_redistributors,
    vpe_configuration_table,
)
from gicmodel.inspection.table import ItsTable, Occupied, occupied
from gicmodel.layouts.vpt import FIRST_LPI, byte_of
from gicmodel.registers_file import Registers

LIMIT = 1 << 22
"""How many events, and how many pending bits of a table, are kept if not told otherwise."""


@dataclass
class Inspection:
    """Everything that was decoded, as structured arrays (`inspection.entries`) and, where there are few, objects."""

    dump: Dump
    frames: Frames
    architecture: str
    profile: Profile
    evidence: list[str]
    its: list[Its]
    redistributors: list[Redistributor]
    queues: list[Queue]
    devices: NDArray[np.void]
    events: NDArray[np.void]
    collections: NDArray[np.void]
    vpes: NDArray[np.void]
    vpe_tables: list[tuple[ItsTable, Occupied]] = field(default_factory=list)
    """The vPE configuration tables of redistributors that are no ITS's vPE table too."""
    pending: NDArray[np.void] = field(default_factory=lambda: np.empty(0, PENDING))
    truncated: list[str] = field(default_factory=list)
    """What was not read to its end, because a limit was reached."""

    @property
    def missing(self) -> list[Missing]:
        """The registers that were not given, and what that disables."""
        return self.frames.missing

    @property
    def processor_numbers(self) -> set[int]:
        """What RDbase may be: the Processor_Number of each redistributor, or the vCPUs of a guest."""
        vcpus = self.frames.value("guest", "vcpus") or 0
        return {redistributor.processor_number for redistributor in self.redistributors} | set(
            range(min(vcpus, 1 << 16))
        )

    def redistributor(self, rdbase: int) -> Redistributor | None:
        """The redistributor that an RDbase means (GITS_TYPER.PTA = 0)."""
        return next((one for one in self.redistributors if one.processor_number == rdbase), None)

    def vpt_id_bits(self, vpe: np.void) -> int:
        """The width of a vPE's vINTIDs."""
        return min(int(vpe["VPT_size"]) + 1, 32)


def inspect(dump: Dump, registers: Registers, profile: Profile | None = None, limit: int = LIMIT) -> Inspection:
    """Decode a dump; the profile is detected if not given.

    Raises UnusableInput without the registers of any ITS or redistributor, and for a profile whose entries have another
    size than the registers say.
    """
    frames = Frames(registers)
    if not frames.numbers("GITS") and not frames.numbers("GICR"):
        raise UnusableInput("no register of an ITS or a redistributor is given: nothing tells where the tables are")
    units = [open_its(dump, frames, number) for number in frames.numbers("GITS")]
    if not units:
        frames.want("GITS0", "BASER0", "devices, events, collections and vPEs cannot be decoded")
    evidence = ["given"]
    if profile is None:
        profile, evidence = detect(dump, units)
    for unit in units:
        decode_its(dump, unit, profile, limit)
    architecture = architecture_of(frames)
    redistributors = read_redistributors(frames, architecture)
    queues = [read_queue(dump, frames, number, architecture) for number in frames.numbers("GITS")]
    found = Inspection(
        dump,
        frames,
        architecture,
        profile,
        evidence,
        units,
        redistributors,
        [queue for queue in queues if queue is not None],
        _joined(DEVICES, [unit.devices for unit in units]),
        _joined(EVENTS, [unit.events.rows for unit in units]),
        _joined(COLLECTIONS, [unit.collections for unit in units]),
        _joined(VPES, [unit.vpes for unit in units]),
    )
    _add_vpes(found)
    _place_vpes(found)
    _join_events(found)
    _read_pending(found, limit)
    found.truncated += [f"{unit.frame}: events" for unit in units if not unit.events.complete]
    found.truncated += [
        f"{unit.frame}: {kind} table" for unit in units for kind, one in unit.occupied.items() if not one.complete
    ]
    return found


def _joined(dtype: np.dtype[np.void], parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    return np.concatenate([np.empty(0, dtype), *parts])


def _add_vpes(found: Inspection) -> None:
    """The vPEs of GICR_VPROPBASER's table, where it is not the ITS's own (GITS_TYPER.SVPET)."""
    known = {unit.tables["vpe"].address for unit in found.its if "vpe" in unit.occupied}
    for redistributor in found.redistributors:
        table = vpe_configuration_table(found.frames, redistributor)
        if table is None or table.address in known or found.profile.vpe is None:
            continue
        known.add(table.address)
        check_size(table.register, table.entry_bytes, found.profile.vpe)
        entries = occupied(found.dump, table)
        found.vpe_tables.append((table, entries))
        vpes, _ = decode_vpes(found.dump, entries, found.profile, UNKNOWN)
        found.vpes = np.concatenate([found.vpes, vpes])
    # ITSs that share the table show each vPE once.
    _, first = np.unique(found.vpes["address"], return_index=True)
    found.vpes = found.vpes[np.sort(first)]


def _place_vpes(found: Inspection) -> None:
    """Which redistributor has each vPE; in GICv4.0, where the vPE's vLPI configuration table is."""
    for redistributor in found.redistributors:
        if redistributor.architecture == "4.1":
            found.vpes["resident"][found.vpes["vPEID"] == redistributor.resident] = redistributor.number
        elif redistributor.last_vpt != UNKNOWN:
            mine = found.vpes["VPT_addr"] == redistributor.last_vpt
            found.vpes["VCONF_addr"][mine] = redistributor.virtual_configuration
            if redistributor.resident != UNKNOWN:
                found.vpes["resident"][mine] = redistributor.number


def _join_events(found: Inspection) -> None:
    """Give each event its redistributor, its configuration byte and its pending bit."""
    events, redistributors = found.events, found.redistributors
    target = np.where(events["virtual"], _vpe_of(found, events), UNKNOWN)
    rdbase = _collection_rdbase(found, events)
    has_vpe = target >= 0
    rdbase[has_vpe] = found.vpes["RDbase"][target[has_vpe]]
    rdbase[events["virtual"] & ~has_vpe] = UNKNOWN
    events["RDbase"] = rdbase
    shared = next((one.configuration for one in redistributors if one.configuration != UNKNOWN), UNKNOWN)
    configuration = np.where(events["virtual"], UNKNOWN, _per_redistributor(found, rdbase, "configuration", shared))
    pending = np.where(events["virtual"], UNKNOWN, _per_redistributor(found, rdbase, "pending", UNKNOWN))
    configuration[has_vpe] = found.vpes["VCONF_addr"][target[has_vpe]]
    pending[has_vpe] = found.vpes["VPT_addr"][target[has_vpe]]
    intids = events["INTID"].astype(np.int64)
    # An INTID too wide for the table has no bit there: what lies beyond is other memory.
    bits = np.full(events.size, max((one.id_bits for one in redistributors), default=DEFAULT_ID_BITS), np.int64)
    bits[has_vpe] = found.vpes["VPT_size"][target[has_vpe]].astype(np.int64) + 1
    outside = (intids < FIRST_LPI) | (intids >> bits > 0)
    events["configuration"] = lpis.configuration(found.dump, np.where(outside, UNKNOWN, configuration), intids)
    events["pending"] = lpis.pending(found.dump, np.where(outside, UNKNOWN, pending), intids)


def _per_redistributor(found: Inspection, rdbase: NDArray[np.int64], name: str, otherwise: int) -> NDArray[np.int64]:
    addresses = np.full(rdbase.size, otherwise, np.int64)
    for redistributor in found.redistributors:
        if getattr(redistributor, name) != UNKNOWN:
            addresses[rdbase == redistributor.processor_number] = getattr(redistributor, name)
    return addresses


def _vpe_of(found: Inspection, events: NDArray[np.void]) -> NDArray[np.int64]:
    """The row of each event's vPE in `vpes`, or UNKNOWN. vPEIDs are the same on all ITSs."""
    rows = np.full(1 << 16, UNKNOWN, np.int64)
    fitting = np.flatnonzero(found.vpes["vPEID"] < rows.size)[::-1]
    rows[found.vpes["vPEID"][fitting]] = fitting
    return rows.take(events["vPEID"])


def _collection_rdbase(found: Inspection, events: NDArray[np.void]) -> NDArray[np.int64]:
    rdbase = np.full(events.size, UNKNOWN, np.int64)
    for unit in found.its:
        by_icid = np.full(1 << 16, UNKNOWN, np.int64)
        fitting = unit.collections[unit.collections["ICID"] < by_icid.size]
        by_icid[fitting["ICID"]] = fitting["RDbase"]
        mine = events["its"] == unit.number
        rdbase[mine] = by_icid[events["ICID"][mine]]
    return rdbase


def _read_pending(found: Inspection, limit: int) -> None:
    """Every pending LPI and vLPI, whether an event maps to it or not."""
    parts: list[NDArray[np.void]] = []
    for redistributor in found.redistributors:
        if redistributor.pending != UNKNOWN:
            place = redistributor.pending, redistributor.configuration, redistributor.id_bits
            parts.append(_pending_of(found, False, redistributor.processor_number, place, limit))
    for vpe in found.vpes:
        place = int(vpe["VPT_addr"]), int(vpe["VCONF_addr"]), found.vpt_id_bits(vpe)
        parts.append(_pending_of(found, True, int(vpe["vPEID"]), place, limit))
    found.pending = _joined(PENDING, parts)
    _count_events(found)


def _pending_of(
    found: Inspection, virtual: bool, target: int, place: tuple[int, int, int], limit: int
) -> NDArray[np.void]:
    address, configuration, id_bits = place
    bits = lpis.lpis_set(found.dump, address, id_bits, limit)
    if bits.total > bits.intids.size:
        found.truncated.append(f"pending bits of {'vPE' if virtual else 'redistributor'} {target}")
    addresses = (address + byte_of(bits.intids)).astype(np.int64)
    return table(
        PENDING,
        bits.intids.size,
        virtual=virtual,
        target=target,
        INTID=bits.intids,
        configuration=lpis.configuration(found.dump, np.full(bits.intids.size, configuration), bits.intids),
        address=addresses,
        offset=found.dump.offsets(addresses),
    )


def _count_events(found: Inspection) -> None:
    """How many events map to each pending interrupt."""
    events = found.events
    target = np.where(events["virtual"], events["vPEID"].astype(np.int64), events["RDbase"])
    keys = np.sort(_key(events["virtual"], target, events["INTID"]))
    wanted = _key(found.pending["virtual"], found.pending["target"], found.pending["INTID"])
    found.pending["events"] = np.searchsorted(keys, wanted, "right") - np.searchsorted(keys, wanted, "left")


def _key(virtual: NDArray[np.bool_], target: NDArray[np.int64], intid: NDArray[np.uint32]) -> NDArray[np.int64]:
    """One number for kind, target and INTID; targets have at most 16 bits, apart from UNKNOWN."""
    return (virtual.astype(np.int64) << 52) + (target << 32) + intid.astype(np.int64)
