# SPDX-License-Identifier: Apache-2.0
"""A dump and its registers, decoded: which interrupt goes where, and is it enabled, and is it pending."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.registers import Registers
from gicmodel.inspection import gaps, join
from gicmodel.inspection.budget import ENTRIES, Budget
from gicmodel.inspection.detection import detect
from gicmodel.inspection.entries import COLLECTIONS, DEVICES, EVENTS, PENDING, UNKNOWN, VPES, VSGIS, is_first
from gicmodel.inspection.frames import Frames, architecture_of
from gicmodel.inspection.its import Its, decode_its, decode_itts, decode_table, open_its
from gicmodel.inspection.linux.devices import KernelView
from gicmodel.inspection.lpis import read_vsgis
from gicmodel.inspection.profiles import OPAQUE, Profile
from gicmodel.inspection.queue import Queue, read_queue
from gicmodel.inspection.redistributors import RDbases, Redistributor, read_redistributors, vpe_configuration_table
from gicmodel.inspection.table import ItsTable, joined, read_table
from gicmodel.inspection.witness import Witnesses

UNPUBLISHED = {"vSGIs": "which are configured or pending: this format of a VPT's first KiB is not known"}

MOST = {"GITS": 64, "GICR": 4096}
"""How many ITSs and redistributors a machine may have here."""


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
    rdbases: RDbases
    """What RDbase may be: each redistributor, or the vCPUs of a guest."""
    queues: list[Queue]
    truncated: list[str]
    """What was not read to its end, because a limit was reached."""
    kernel: KernelView = field(default_factory=KernelView)
    """What the structures of the dumped kernel say."""
    devices: NDArray[np.void] = field(default_factory=lambda: np.empty(0, DEVICES))
    events: NDArray[np.void] = field(default_factory=lambda: np.empty(0, EVENTS))
    collections: NDArray[np.void] = field(default_factory=lambda: np.empty(0, COLLECTIONS))
    vpes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, VPES))
    vpe_tables: list[ItsTable] = field(default_factory=list)
    """The vPE configuration tables of redistributors that are no ITS's vPE table too."""
    pending: NDArray[np.void] = field(default_factory=lambda: np.empty(0, PENDING))
    vsgis: NDArray[np.void] = field(default_factory=lambda: np.empty(0, VSGIS))

    @property
    def tables(self) -> list[ItsTable]:
        """Every table that has memory, of ITSs and of redistributors."""
        return [table for unit in self.its for table in unit.valid_tables.values()] + self.vpe_tables

    @property
    def missing(self) -> dict[str, str]:
        """The registers that were not given and formats that are not known, and what that disables."""
        unknown = self.architecture == "4.1" and self.vpes.size and self.profile.vsgi is None
        return self.frames.missing | (UNPUBLISHED if unknown else {}) | self.kernel.absent


def inspect(
    dump: Dump,
    registers: Registers,
    profile: Profile | None = None,
    limit: int = ENTRIES,
    kernel: KernelView | None = None,
) -> Inspection:
    """Decode a dump; the profile is detected if not given, and at most `limit` entries are kept.

    What is mapped where the dump lacks a table, or its entries' format is private, is what `kernel` says, or else the
    command queue.

    Raises UnusableInput without the registers of any ITS or redistributor, with those of too many, and for a profile
    whose entries have another size than the registers say.
    """
    budget = Budget(limit)
    found = _opened(dump, Frames(registers), profile, budget, kernel or KernelView())
    witnesses = Witnesses(found)
    for unit in found.its:
        _decode(found, unit, budget, witnesses)
    _decode_vpes(found, budget)
    if found.architecture != "3":
        _tell_vpes(found, witnesses)
    found.evidence = [*found.evidence, *_told(found, witnesses)]
    _join(found, budget)
    return found


def _opened(dump: Dump, frames: Frames, profile: Profile | None, budget: Budget, kernel: KernelView) -> Inspection:
    """The tables, redistributors and queues that registers describe, and the format of entries; none is decoded."""
    _check(frames)
    units = [open_its(dump, frames, number, budget) for number in frames.numbers("GITS")]
    if not units:
        frames.want("GITS0", "BASER0", "devices, events, collections and vPEs cannot be decoded")
    evidence = ["given"]
    if profile is None:
        itts = {its: [one.itt for one in told] for its, told in kernel.devices.items()}
        profile, evidence = detect(dump, units, itts)
    architecture = architecture_of(frames)
    redistributors = read_redistributors(frames, architecture)
    rdbases = RDbases(redistributors, frames.value("guest", "vcpus"))
    queues = [read_queue(dump, frames, number, architecture) for number in frames.numbers("GITS")]
    read = [queue for queue in queues if queue is not None]
    return Inspection(
        dump, frames, architecture, profile, evidence, units, redistributors, rdbases, read, budget.ended, kernel
    )


def _decode(found: Inspection, unit: Its, budget: Budget, witnesses: Witnesses) -> None:
    """Decode what an ITS's tables show; what they do not is what a witness says."""
    dump, profile = found.dump, found.profile
    decode_its(dump, unit, profile)
    if not (unit.shows("device") and unit.shows("collection")) and (witness := witnesses.of(unit)) is not None:
        witness.tell_tables(dump, unit)
    if profile.event is not None:
        decode_itts(dump, unit, profile.event, budget)
    asked = unit.number in witnesses.heard or unit.events.absent.size
    if asked and (witness := witnesses.of(unit)) is not None:
        witness.tell_events(dump, unit, None if profile.event is None else profile.event.layout.bytes)


def _decode_vpes(found: Inspection, budget: Budget) -> None:
    """The vPEs of the ITSs' tables, and of GICR_VPROPBASER's where it is none of them (GITS_TYPER.SVPET)."""
    known = {unit.tables["vpe"].address for unit in found.its if "vpe" in unit.valid_tables}
    parts = [unit.vpes for unit in found.its]
    for redistributor in found.redistributors if found.architecture == "4.1" else ():
        table = vpe_configuration_table(found.frames, redistributor)
        if table is None or table.address in known or found.profile.vpe is None:
            continue
        known.add(table.address)
        found.vpe_tables.append(read_table(found.dump, table, budget))
        parts.append(decode_table(found.dump, found.vpe_tables[-1], found.profile.vpe, UNKNOWN)[0])
    vpes = joined(parts, np.empty(0, VPES))
    # ITSs that share the table show each vPE once.
    found.vpes = vpes[is_first(vpes["address"])]


def _tell_vpes(found: Inspection, witnesses: Witnesses) -> None:
    """Add the vPEs that the tables do not show."""
    tables = [unit.tables["vpe"] for unit in found.its if unit.maps("vpe")] + found.vpe_tables
    if not tables or any(table.absent for table in tables):
        for unit in found.its:
            if (witness := witnesses.of(unit)) is not None:
                found.vpes = witness.tell_vpes(found.dump, unit, found.vpes, tables)


def _told(found: Inspection, witnesses: Witnesses) -> list[str]:
    """Who was heard, and of what."""
    what = "mapped in {}" if found.profile is OPAQUE else "what the dump lacks of the tables of {}"
    heard = [(unit.frame, witnesses.heard[unit.number]) for unit in found.its if unit.number in witnesses.heard]
    return [f"{what.format(frame)}: as told by {witness.source}" for frame, witness in heard]


def _join(found: Inspection, budget: Budget) -> None:
    """Say of all events where they go, and find what is pending there."""
    join.place_vpes(found)
    found.devices = joined([unit.devices for unit in found.its], np.empty(0, DEVICES))
    found.events = joined([unit.events.rows for unit in found.its], np.empty(0, EVENTS))
    found.collections = joined([unit.collections for unit in found.its], np.empty(0, COLLECTIONS))
    join.join_events(found)
    found.pending = join.read_pending(found, budget)
    if found.profile.vsgi is not None and found.architecture == "4.1":
        found.vsgis = read_vsgis(found.dump, found.vpes, found.profile.vsgi, budget)
    found.pending["events"][~gaps.events_known(found)] = UNKNOWN


def _check(frames: Frames) -> None:
    for unit, most in MOST.items():
        if len(frames.numbers(unit)) > most:
            raise UnusableInput(
                f"registers of {len(frames.numbers(unit))} frames {unit}0, {unit}1, ...: at most {most}"
            )
    if not any(frames.numbers(unit) for unit in MOST):
        raise UnusableInput("no register of an ITS or a redistributor is given: nothing tells where the tables are")
