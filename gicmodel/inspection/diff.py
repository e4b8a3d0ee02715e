# SPDX-License-Identifier: Apache-2.0
"""Two dumps compared: what was mapped, configured and pending before, and is now.

Two hosts, or two guests, compare event by event. A host and a guest's saved tables compare as a migration of vLPIs
needs it: the interrupts of vPE n's virtual pending table against those of vCPU n, whatever the formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.regions import LEVEL2, Regions
from gicmodel.layouts.lpi_configuration import LPI_CONFIGURATION

MOST = 1000
"""How many changes of one kind are told one by one."""


class Change(NamedTuple):
    """One difference: `kind` is mapping, configuration, pending or table, `what` happened to `subject`."""

    kind: str
    what: str
    subject: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """The changes, at most MOST of a kind, and how many there are of each (kind, what)."""

    told: list[Change]
    counts: dict[tuple[str, str], int]

    @property
    def differs(self) -> bool:
        """Whether anything but the place of tables is different."""
        return any(kind != "table" for kind, _ in self.counts)


class _Column(NamedTuple):
    """Things by key (uint64, [n], no key twice), the value of each (int64, [n]), and how both are told."""

    kind: str
    keys: NDArray[np.uint64]
    values: NDArray[np.int64]
    subject: Callable[[int], str]
    value: Callable[[int], str]


_WORDS = {"pending": ("invented", "lost", "changed"), "table": ("added", "removed", "moved")}
_ORDINARY = ("added", "removed", "changed")


def compare(before: Inspection, after: Inspection, vpes: Sequence[int] | None = None) -> Comparison:
    """Compare two dumps; `vpes` are a host's vPEIDs in the order of the guest's vCPUs, by default all of them.

    Raises UnusableInput if a host and a guest do not have as many vPEs as vCPUs.
    """
    comparison = Comparison([], {})
    for one, two in _pairs(before, after, vpes):
        added, removed, changed = _WORDS.get(one.kind, _ORDINARY)
        _tell(comparison, removed, one, two, ~np.isin(one.keys, two.keys))
        _tell(comparison, added, two, one, ~np.isin(two.keys, one.keys))
        _, here, there = np.intersect1d(one.keys, two.keys, return_indices=True)
        differ = np.zeros(one.keys.size, np.bool_)
        differ[here[one.values[here] != two.values[there]]] = True
        _tell(comparison, changed, one, two, differ)
    return comparison


def is_host(found: Inspection) -> bool:
    """Whether a dump is of a machine with vPEs, and not of a guest."""
    return found.vpes.size > 0


def _pairs(before: Inspection, after: Inspection, vpes: Sequence[int] | None) -> Iterator[tuple[_Column, _Column]]:
    if is_host(before) != is_host(after):
        host, guest = (before, after) if is_host(before) else (after, before)
        both = zip(*_vlpis(host, guest, _order(host, guest, vpes)), strict=True)
        yield from both if host is before else ((two, one) for one, two in both)
        return
    for number in sorted({unit.number for unit in (*before.its, *after.its)}):
        yield _events(before, number), _events(after, number)
        yield _collections(before, number), _collections(after, number)
    for column in (_vpes, _configuration, _pending, _tables):
        yield column(before), column(after)


def _tell(comparison: Comparison, what: str, side: _Column, other: _Column, chosen: NDArray[np.bool_]) -> None:
    """Note the chosen things of `side`, which `other` lacks or has with another value."""
    count = int(chosen.sum())
    key = (side.kind, what)
    already = comparison.counts.get(key, 0)
    if count:
        comparison.counts[key] = already + count
    values = dict(zip(other.keys.tolist(), other.values.tolist(), strict=True)) if count else {}
    is_added = what == _WORDS.get(side.kind, _ORDINARY)[0]
    for row in np.flatnonzero(chosen)[: max(0, MOST - already)].tolist():
        name, mine = int(side.keys[row]), side.value(int(side.values[row]))
        theirs = other.value(values[name]) if name in values else "-"
        one, two = (theirs, mine) if is_added else (mine, theirs)
        comparison.told.append(Change(side.kind, what, side.subject(name), one, two))


def _events(found: Inspection, its: int) -> _Column:
    rows = found.events[found.events["its"] == its]
    target = np.where(rows["virtual"], rows["vPEID"], rows["ICID"]).astype(np.int64)
    values = rows["virtual"].astype(np.int64) << 48 | target << 32 | rows["INTID"].astype(np.int64)
    keys = rows["DeviceID"].astype(np.uint64) << np.uint64(32) | rows["EventID"].astype(np.uint64)
    return _Column("mapping", keys, values, lambda key: f"device {key >> 32:#x} event {key & _LOW}", _event_value)


def _event_value(value: int) -> str:
    target = value >> 32 & 0xFFFF
    return f"vINTID {value & _LOW} of vPE {target}" if value >> 48 else f"INTID {value & _LOW} of collection {target}"


def _collections(found: Inspection, its: int) -> _Column:
    rows = found.collections[found.collections["its"] == its]
    _, first = np.unique(rows["ICID"], return_index=True)
    rows = rows[first]
    keys = rows["ICID"].astype(np.uint64)
    return _Column("mapping", keys, rows["RDbase"], lambda key: f"collection {key}", _rdbase)


def _vpes(found: Inspection) -> _Column:
    _, first = np.unique(found.vpes["vPEID"], return_index=True)
    rows = found.vpes[first]
    keys = rows["vPEID"].astype(np.uint64)
    return _Column("mapping", keys, rows["RDbase"], lambda key: f"vPE {key}", _rdbase)


def _rdbase(value: int) -> str:
    return "RDbase unknown" if value == UNKNOWN else f"RDbase {value}"


def _configuration(found: Inspection) -> _Column:
    rows = found.events[found.events["configuration"] >= 0]
    keys = _interrupt(rows["virtual"], np.where(rows["virtual"], rows["vPEID"], 0), rows["INTID"])
    keys, first = np.unique(keys, return_index=True)
    values = rows["configuration"][first].astype(np.int64)
    return _Column("configuration", keys, values, _interrupt_name, _configuration_value)


def _pending(found: Inspection) -> _Column:
    rows = found.pending
    keys = np.unique(_interrupt(rows["virtual"], rows["target"], rows["INTID"]))
    return _Column("pending", keys, np.ones(keys.size, np.int64), _interrupt_name, lambda value: "pending")


def _tables(found: Inspection) -> _Column:
    regions = Regions(found)
    rows = regions.rows[regions.rows["kind"] != LEVEL2]
    keys = rows["kind"].astype(np.uint64) << np.uint64(40) | rows["owner"].astype(np.uint64)
    keys, first = np.unique(keys, return_index=True)
    rows = rows[first]
    names = dict(zip(keys.tolist(), map(regions.name, rows), strict=True))
    return _Column("table", keys, rows["address"], lambda key: names[key], hex)


def _vlpis(host: Inspection, guest: Inspection, order: dict[int, int]) -> tuple[list[_Column], list[_Column]]:
    """The vLPIs of a host's vPEs and of a guest's vCPUs: mapping, configuration and pending state.

    A guest has interrupts that are not forwarded; they are none of the host's business and left out.
    """
    forwarded = host.events[host.events["virtual"] & np.isin(host.events["vPEID"], list(order))]
    vcpus = _vcpus(order, forwarded["vPEID"])
    mapped, first = np.unique(_interrupt(True, vcpus, forwarded["INTID"]), return_index=True)
    bits = host.pending[host.pending["virtual"] & np.isin(host.pending["target"], list(order))]
    set_in_vpts = _interrupt(True, _vcpus(order, bits["target"]), bits["INTID"])
    own = _interrupt(True, guest.events["RDbase"], guest.events["INTID"])
    own, second = np.unique(own, return_index=True)
    mine = np.isin(own, mapped)
    saved = _interrupt(True, guest.pending["target"], guest.pending["INTID"])
    saved = saved[np.isin(saved, np.concatenate([mapped, set_in_vpts]))]
    return (
        _sides(mapped, forwarded["configuration"][first], set_in_vpts),
        _sides(own[mine], guest.events["configuration"][second][mine], saved),
    )


def _sides(mapped: NDArray[np.uint64], configuration: NDArray[np.int16], pending: NDArray[np.uint64]) -> list[_Column]:
    pending = np.unique(pending)
    known = configuration >= 0
    ones = np.ones(mapped.size, np.int64), np.ones(pending.size, np.int64)
    values = configuration[known].astype(np.int64)
    return [
        _Column("mapping", mapped, ones[0], _vlpi_name, lambda value: "mapped"),
        _Column("configuration", mapped[known], values, _vlpi_name, _configuration_value),
        _Column("pending", pending, ones[1], _vlpi_name, lambda value: "pending"),
    ]


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


def _vcpus(order: dict[int, int], vpe_ids: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.array([order[vpe] for vpe in vpe_ids.tolist()], np.int64)


_LOW = 0xFFFF_FFFF


def _interrupt(
    virtual: NDArray[np.bool_] | bool, target: NDArray[np.integer], intid: NDArray[np.uint32]
) -> NDArray[np.uint64]:
    """One key for kind, target and INTID."""
    kind = np.asarray(virtual).astype(np.uint64) << np.uint64(60)
    low = (target.astype(np.uint64) & np.uint64(0xFFF_FFFF)) << np.uint64(32) | intid.astype(np.uint64)
    return np.asarray(kind | low, np.uint64)


def _interrupt_name(key: int) -> str:
    target, intid = key >> 32 & 0xFFF_FFFF, key & _LOW
    return f"vINTID {intid} of vPE {target}" if key >> 60 else f"INTID {intid} of redistributor {target}"


def _vlpi_name(key: int) -> str:
    return f"vLPI {key & _LOW} of vCPU {key >> 32 & 0xFFF_FFFF}"


def _configuration_value(value: int) -> str:
    fields = LPI_CONFIGURATION.unpack(value)
    return f"{'enabled' if fields['Enable'] else 'disabled'}, priority {fields['Priority']:#x}"
