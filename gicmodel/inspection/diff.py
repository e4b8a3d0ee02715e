# SPDX-License-Identifier: Apache-2.0
"""Two dumps compared: what was mapped, configured and pending before, and is now.

Two hosts, or two guests, compare event by event. A host and a guest's saved tables compare as a migration of vLPIs
needs it: the interrupts of vPE n's virtual pending table against those of vCPU n, whatever the formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.inspection import things
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.things import Things

UNTOLD = "unknown"
"""What happened to something of which one dump does not tell."""
MOST = 1000
"""How many changes of one kind are told one by one."""


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

    `compared` is how many things of each kind there were before and are after.
    """

    told: list[Change]
    counts: dict[tuple[str, str], int]
    compared: dict[str, tuple[int, int]]

    @property
    def differs(self) -> bool:
        """Whether anything but the place of tables is different."""
        return any(kind != "table" for kind, _ in self.counts)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        counts = {f"{kind} {what}": count for (kind, what), count in self.counts.items()}
        compared = {kind: {"before": had, "after": has} for kind, (had, has) in self.compared.items()}
        changes = [change._asdict() for change in self.told]
        return {"differs": self.differs, "compared": compared, "counts": counts, "changes": changes}


_WORDS = {"pending": ("invented", "lost", "changed"), "table": ("added", "removed", "moved")}
_ORDINARY = ("added", "removed", "changed")


def compare(before: Inspection, after: Inspection, vpes: Sequence[int] | None = None) -> Comparison:
    """Compare two dumps; `vpes` are a host's vPEIDs in the order of the guest's vCPUs, by default all of them.

    Raises UnusableInput if a host and a guest do not have as many vPEs as vCPUs.
    """
    comparison = Comparison([], {}, {})
    for one, two in _pairs(before, after, vpes):
        had, has = comparison.compared.get(one.kind, (0, 0))
        comparison.compared[one.kind] = had + one.keys.size, has + two.keys.size
        added, removed, changed = _WORDS.get(one.kind, _ORDINARY)
        _tell_missing(comparison, removed, one, two)
        _tell_missing(comparison, added, two, one, backwards=True)
        _, here, there = np.intersect1d(one.keys, two.keys, return_indices=True)
        differ = np.zeros(one.keys.size, np.bool_)
        differ[here[one.values[here] != two.values[there]]] = True
        _tell(comparison, changed, one, two, differ)
    return comparison


def is_host(found: Inspection) -> bool:
    """Whether a dump is of a machine with vPEs, and not of a guest."""
    return found.vpes.size > 0


def _pairs(before: Inspection, after: Inspection, vpes: Sequence[int] | None) -> Iterator[tuple[Things, Things]]:
    if is_host(before) != is_host(after):
        host, guest = (before, after) if is_host(before) else (after, before)
        both = zip(*things.vlpis(host, guest, _order(host, guest, vpes)), strict=True)
        yield from both if host is before else ((two, one) for one, two in both)
        return
    for number in sorted({unit.number for unit in (*before.its, *after.its)}):
        yield things.events(before, number), things.events(after, number)
        yield things.collections(before, number), things.collections(after, number)
    for each in (things.vpes, things.configuration, things.pending, things.tables):
        yield each(before), each(after)


def _tell_missing(comparison: Comparison, what: str, side: Things, other: Things, backwards: bool = False) -> None:
    """Note the things of `side` that `other` lacks, or of which its dump does not tell whether it does."""
    missing = ~np.isin(side.keys, other.keys)
    sure = missing.copy()
    sure[missing] = other.tells(side.keys[missing])
    _tell(comparison, what, side, other, sure, backwards)
    _tell(comparison, UNTOLD, side, other, missing & ~sure, backwards)


def _tell(
    comparison: Comparison,
    what: str,
    side: Things,
    other: Things,
    chosen: NDArray[np.bool_],
    backwards: bool = False,
) -> None:
    """Note the chosen of `side`, which `other` lacks or has with another value; `backwards` if `other` was before."""
    count = int(chosen.sum())
    key = (side.kind, what)
    already = comparison.counts.get(key, 0)
    if count:
        comparison.counts[key] = already + count
    values = dict(zip(other.keys.tolist(), other.values.tolist(), strict=True)) if count else {}
    absent = "?" if what == UNTOLD else "-"
    for row in np.flatnonzero(chosen)[: max(0, MOST - already)].tolist():
        name, mine = int(side.keys[row]), side.value(int(side.values[row]))
        theirs = other.value(values[name]) if name in values else absent
        one, two = (theirs, mine) if backwards else (mine, theirs)
        comparison.told.append(Change(side.kind, what, side.subject(name), one, two))


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
