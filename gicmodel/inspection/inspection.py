# SPDX-License-Identifier: Apache-2.0
"""A dump and its registers, decoded: which interrupt goes where, and is it enabled, and is it pending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.registers import Registers
from gicmodel.inspection import gaps, join
from gicmodel.inspection.budget import ENTRIES, Budget
from gicmodel.inspection.detection import detect
from gicmodel.inspection.distinct import is_first
from gicmodel.inspection.entries import COLLECTIONS, DEVICES, EVENTS, UNKNOWN, VPES, VSGIS
from gicmodel.inspection.frames import Frames, Missing, architecture_of
from gicmodel.inspection.its import Its, decode_its, decode_itts, decode_table, open_its
from gicmodel.inspection.lpis import read_vsgis
from gicmodel.inspection.profiles import OPAQUE, Profile
from gicmodel.inspection.queue import Queue, read_queue
from gicmodel.inspection.redistributors import RDbases, Redistributor, read_redistributors, vpe_configuration_table
from gicmodel.inspection.table import ItsTable, read_table
from gicmodel.inspection.witness import Witnesses

UNPUBLISHED = Missing("vSGIs", "which are configured or pending: this format of a VPT's first KiB is not known")
if TYPE_CHECKING:
    from gicmodel.inspection.linux.devices import KernelView

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
    devices: NDArray[np.void]
    events: NDArray[np.void]
    collections: NDArray[np.void]
    vpes: NDArray[np.void]
    vpe_tables: list[ItsTable]
    """The vPE configuration tables of redistributors that are no ITS's vPE table too."""
    pending: NDArray[np.void]
    vsgis: NDArray[np.void]
    truncated: list[str]
    """What was not read to its end, because a limit was reached."""
    kernel: KernelView | None = None
    """What the structures of the dumped kernel say."""

    @property
    def tables(self) -> list[ItsTable]:
        """Every table that has memory, of ITSs and of redistributors."""
        return [table for unit in self.its for table in unit.valid_tables.values()] + self.vpe_tables

    @property
    def missing(self) -> list[Missing]:
        """The registers that were not given and formats that are not known, and what that disables."""
        unknown = self.architecture == "4.1" and self.vpes.size and self.profile.vsgi is None
        absent = self.kernel.absent if self.kernel is not None else {}
        unread = [Missing(what, why) for what, why in absent.items()]
        return [*self.frames.missing, *([UNPUBLISHED] if unknown else []), *unread]


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
    frames, budget = Frames(registers), Budget(limit)
    _check(frames)
    units = [open_its(dump, frames, number, budget) for number in frames.numbers("GITS")]
    if not units:
        frames.want("GITS0", "BASER0", "devices, events, collections and vPEs cannot be decoded")
    evidence = ["given"]
    if profile is None:
        devices = kernel.devices if kernel is not None else {}
        profile, evidence = detect(dump, units, {its: [one.itt for one in told] for its, told in devices.items()})
    architecture = architecture_of(frames)
    redistributors = read_redistributors(frames, architecture)
    rdbases = RDbases(redistributors, frames.value("guest", "vcpus"))
    queues = [read_queue(dump, frames, number, architecture) for number in frames.numbers("GITS")]
    read = [queue for queue in queues if queue is not None]
    witnesses = Witnesses(dump, units, architecture, read, redistributors, rdbases, kernel)
    for unit in units:
        _decode(dump, unit, profile, budget, witnesses)
    vpes, vpe_tables = _vpes(dump, frames, profile, units, redistributors, budget)
    if architecture != "3":
        vpes = _told_vpes(dump, vpes, units, vpe_tables, witnesses)
    join.place_vpes(vpes, redistributors)
    evidence = [*evidence, *_told(profile, units, witnesses)]
    events = _joined(EVENTS, [unit.events.rows for unit in units])
    targets = join.Targets(dump, redistributors, _joined(COLLECTIONS, [unit.collections for unit in units]), vpes)
    targets.join(events)
    found = Inspection(
        dump,
        frames,
        architecture,
        profile,
        evidence,
        units,
        redistributors,
        rdbases,
        read,
        _joined(DEVICES, [unit.devices for unit in units]),
        events,
        targets.collections,
        vpes,
        vpe_tables,
        targets.pending(events, budget),
        _vsgis(dump, vpes, profile, architecture, budget),
        budget.ended,
        kernel,
    )
    found.pending["events"][~gaps.events_known(found)] = UNKNOWN
    return found


def _decode(dump: Dump, unit: Its, profile: Profile, budget: Budget, witnesses: Witnesses) -> None:
    """Decode what an ITS's tables show; what they do not is what a witness says."""
    decode_its(dump, unit, profile)
    if not (unit.shows("device") and unit.shows("collection")) and (witness := witnesses.of(unit)) is not None:
        witness.tell_tables(dump, unit)
    if profile.event is not None:
        decode_itts(dump, unit, profile.event, budget)
    asked = unit.number in witnesses.heard or unit.events.absent.size
    if asked and (witness := witnesses.of(unit)) is not None:
        witness.tell_events(dump, unit, None if profile.event is None else profile.event.layout.bytes)


def _told_vpes(
    dump: Dump, vpes: NDArray[np.void], units: list[Its], own: list[ItsTable], witnesses: Witnesses
) -> NDArray[np.void]:
    """The vPEs, with those that the tables do not show."""
    tables = [unit.tables["vpe"] for unit in units if unit.maps("vpe")] + own
    if not tables or any(table.absent for table in tables):
        for unit in units:
            if (witness := witnesses.of(unit)) is not None:
                vpes = witness.tell_vpes(dump, unit, vpes, tables)
    return vpes


def _told(profile: Profile, units: list[Its], witnesses: Witnesses) -> list[str]:
    """Who was heard, and of what."""
    what = "mapped in {}" if profile is OPAQUE else "what the dump lacks of the tables of {}"
    return [
        f"{what.format(unit.frame)}: as told by {witnesses.heard[unit.number].source}"
        for unit in units
        if unit.number in witnesses.heard
    ]


def _vsgis(dump: Dump, vpes: NDArray[np.void], profile: Profile, architecture: str, budget: Budget) -> NDArray[np.void]:
    if profile.vsgi is None or architecture != "4.1":
        return np.empty(0, VSGIS)
    return read_vsgis(dump, vpes, profile.vsgi, budget)


def _check(frames: Frames) -> None:
    for unit, most in MOST.items():
        if len(frames.numbers(unit)) > most:
            raise UnusableInput(
                f"registers of {len(frames.numbers(unit))} frames {unit}0, {unit}1, ...: at most {most}"
            )
    if not any(frames.numbers(unit) for unit in MOST):
        raise UnusableInput("no register of an ITS or a redistributor is given: nothing tells where the tables are")


def _joined(dtype: np.dtype[np.void], parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def _vpes(
    dump: Dump,
    frames: Frames,
    profile: Profile,
    units: list[Its],
    redistributors: list[Redistributor],
    budget: Budget,
) -> tuple[NDArray[np.void], list[ItsTable]]:
    """The vPEs of the ITSs' tables, and of GICR_VPROPBASER's where it is none of them (GITS_TYPER.SVPET)."""
    known = {unit.tables["vpe"].address for unit in units if "vpe" in unit.valid_tables}
    parts = [unit.vpes for unit in units]
    own: list[ItsTable] = []
    for redistributor in redistributors:
        table = vpe_configuration_table(frames, redistributor)
        if table is None or table.address in known or profile.vpe is None:
            continue
        known.add(table.address)
        own.append(read_table(dump, table, budget))
        parts.append(decode_table(dump, own[-1], profile.vpe, UNKNOWN)[0])
    vpes = _joined(VPES, parts)
    # ITSs that share the table show each vPE once.
    return vpes[is_first(vpes["address"])], own
