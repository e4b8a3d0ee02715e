# SPDX-License-Identifier: Apache-2.0
"""Two dumps compared: what was mapped, configured and pending before, and is now.

Two hosts, or two guests, compare event by event. A host and a guest's saved tables compare as a migration of vLPIs
needs it: the interrupts of vPE n's virtual pending table against those of vCPU n, whatever the formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.inspection import things
from gicmodel.inspection.entries import Keys
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.things import Things
from gicmodel.layouts.registers.identification import KVM

UNTOLD = "unknown"
"""What happened to something of which one dump does not tell."""
MOST = 1000
"""How many changes of one kind are told one by one."""


HOST, GUEST, MACHINE = "host", "guest", "machine"


class Role(NamedTuple):
    """What a dump was taken for, and why: a host of vPEs, a guest of KVM, or a machine that is neither."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"a {self.name} ({self.why})"


class Change(NamedTuple):
    """One difference: `kind` is mapping, configuration, pending or table, `what` happened to `subject`.

    It is "unknown" where one dump has something and the other lacks the memory that would tell whether it does too.
    """

    kind: str
    what: str
    subject: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """The changes, at most MOST of a kind, and how many there are of each (kind, what).

    `compared` is how many things of each kind there were before and are after; `untold` is what one dump does not tell,
    so that it was not compared. `before` and `after` are what each was taken for; `unlike` is what two dumps of one
    machine would have in common.
    """

    before: Role
    after: Role
    told: list[Change] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    compared: dict[str, tuple[int, int]] = field(default_factory=dict)
    untold: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything but the place of tables is different, or not known to be the same."""
        return bool(self.untold) or any(kind != "table" for kind, _ in self.counts)

    @property
    def is_migration(self) -> bool:
        """Whether a host's vPEs were compared with a guest's vCPUs."""
        return {self.before.name, self.after.name} == {HOST, GUEST}

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        counts = {f"{kind} {what}": count for (kind, what), count in self.counts.items()}
        compared = {kind: {"before": had, "after": has} for kind, (had, has) in self.compared.items()}
        changes = [change._asdict() for change in self.told]
        roles = {"before": self.before._asdict(), "after": self.after._asdict()}
        untold = {"untold": self.untold, "unlike": self.unlike}
        return {"differs": self.differs, **roles, **untold, "compared": compared, "counts": counts, "changes": changes}


_WORDS = {"pending": ("invented", "lost", "changed"), "table": ("added", "removed", "moved")}
_ORDINARY = ("added", "removed", "changed")


def compare(before: Inspection, after: Inspection, vpes: Sequence[int] | None = None) -> Comparison:
    """Compare two dumps; `vpes` are a host's vPEIDs in the order of the guest's vCPUs, by default all of them.

    A host and a guest compare as a migration of vLPIs needs it, all others as one machine at two times. Raises
    UnusableInput if a host and a guest do not have as many vPEs as vCPUs, and for `vpes` where they are not these.
    """
    comparison = Comparison(role_of(before), role_of(after))
    if vpes is not None and not comparison.is_migration:
        raise UnusableInput(
            f"vPEs are named for a host and its guest: BEFORE is {comparison.before}, AFTER {comparison.after}"
        )
    if not comparison.is_migration:
        comparison.unlike.extend(_unlike(before, after))
    for one, two in _pairs(comparison, before, after, vpes):
        for side, things_of in (("BEFORE", one), ("AFTER", two)):
            if things_of.lacks and (text := f"{side}: {things_of.lacks}") not in comparison.untold:
                comparison.untold.append(text)
        had, has = comparison.compared.get(one.kind, (0, 0))
        comparison.compared[one.kind] = had + one.keys.size, has + two.keys.size
        for what, keys in _changes(one, two):
            _tell(comparison, what, keys, one, two)
    return comparison


def role_of(found: Inspection) -> Role:
    """What a dump is of. KVM gives its guests a GIC without vPEs, and saves their tables in a format of its own."""
    iidrs = [found.frames.fields(unit.frame, "IIDR") for unit in found.its]
    if found.frames.value("guest", "vcpus") is not None:
        return Role(GUEST, "its registers tell how many vCPUs it has")
    if found.profile.collection_list:
        return Role(GUEST, f"its tables are {found.profile.name}, as KVM saves them")
    if any(iidr is not None and iidr | KVM == iidr for iidr in iidrs):
        return Role(GUEST, "its GITS_IIDR is KVM's")
    if found.vpes.size:
        return Role(HOST, f"{found.vpes.size} vPEs are mapped")
    return Role(MACHINE, "no vPE is known, and nothing of it is KVM's")


def _unlike(before: Inspection, after: Inspection) -> Iterator[str]:
    """What is not the same of two machines, and does not change while one runs."""
    typers = [(unit.frame, *(one.frames.value(unit.frame, "TYPER") for one in (before, after))) for unit in before.its]
    for what, one, two in (
        ("generation", f"GICv{before.architecture}", f"GICv{after.architecture}"),
        ("ITSs", str(len(before.its)), str(len(after.its))),
        ("redistributors", str(len(before.redistributors)), str(len(after.redistributors))),
        *((f"{frame}_TYPER", f"{one:#x}", f"{two:#x}") for frame, one, two in typers if None not in (one, two)),
    ):
        if one != two:
            yield f"{what}: {one} and {two}"


def _pairs(
    comparison: Comparison, before: Inspection, after: Inspection, vpes: Sequence[int] | None
) -> Iterator[tuple[Things, Things]]:
    if comparison.is_migration:
        host, guest = (before, after) if comparison.before.name == HOST else (after, before)
        both = zip(*things.vlpis(host, guest, _order(host, guest, vpes)), strict=True)
        yield from both if host is before else ((two, one) for one, two in both)
        return
    for number in sorted({unit.number for unit in (*before.its, *after.its)}):
        yield things.events(before, number), things.events(after, number)
        yield things.collections(before, number), things.collections(after, number)
    for each in (things.vpes, things.configuration, things.pending, things.tables):
        yield each(before), each(after)


def _changes(one: Things, two: Things) -> Iterator[tuple[str, Keys]]:
    """What happened, to which keys: to those that a side lacks, or of which its dump does not tell whether it does."""
    added, removed, changed = _WORDS.get(one.kind, _ORDINARY)
    for what, side, other in ((removed, one, two), (added, two, one)):
        missing = side.keys[~np.isin(side.keys, other.keys)]
        sure = other.tells(missing)
        yield what, missing[sure]
        yield UNTOLD, missing[~sure]
    both, here, there = np.intersect1d(one.keys, two.keys, return_indices=True)
    yield changed, both[one.values[here] != two.values[there]]


def _tell(comparison: Comparison, what: str, keys: Keys, one: Things, two: Things) -> None:
    """Note what happened to the things of these keys, as far as there is room."""
    already = comparison.counts.get((one.kind, what), 0)
    if keys.size:
        comparison.counts[one.kind, what] = already + keys.size
    absent = "?" if what == UNTOLD else "-"
    for key in keys[: max(0, MOST - already)].tolist():
        before, after = (side.value_of(key) for side in (one, two))
        subject = two.subject(key) if before is None else one.subject(key)
        comparison.told.append(Change(one.kind, what, subject, before or absent, after or absent))


def _order(host: Inspection, guest: Inspection, vpes: Sequence[int] | None) -> dict[int, int]:
    """The vCPU of each vPEID."""
    known = sorted(set(host.vpes["vPEID"].tolist()))
    vcpus = len(guest.rdbases.numbers)
    chosen = known if vpes is None else list(vpes)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise UnusableInput(f"vPE {unknown[0]} is not mapped on the host; its vPEs are {known[:16]}")
    if len(chosen) != vcpus or len(set(chosen)) != len(chosen):
        raise UnusableInput(
            f"the guest has {vcpus} vCPUs and the host {len(chosen)} vPEs: name them in order with --vpes"
        )
    return {vpe: vcpu for vcpu, vpe in enumerate(chosen)}
