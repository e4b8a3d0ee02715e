# SPDX-License-Identifier: Apache-2.0
"""What two dumps are compared by: things by key, with their values, and whether a dump tells that one is not there.

It does so only where it has the memory that would say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection import gaps, lpis
from gicmodel.inspection.entries import UNKNOWN, Keys, among, event_keys, interrupt_keys, interrupt_name, interrupts_of
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its
from gicmodel.inspection.join import pending_tables
from gicmodel.inspection.regions import LEVEL2, Regions
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION

_LOW = 0xFFFF_FFFF


class Things(NamedTuple):
    """Things by key (uint64, [n], no key twice), the value of each (int64, [n]), and how both are told.

    `lacks` is what keeps the dump from telling of every key that there is no such thing; None if nothing does. `tells`
    says of keys (any of them not in the column) whether the dump shows that.
    """

    kind: str
    keys: Keys
    values: NDArray[np.int64]
    subject: Callable[[int], str]
    value: Callable[[int], str]
    lacks: gaps.Gap
    tells: Callable[[Keys], NDArray[np.bool_]]

    def value_of(self, key: int) -> str | None:
        """How the value of a key is told; None if it is not among them."""
        row = int(np.searchsorted(self.keys, np.uint64(key)))
        there = row < self.keys.size and int(self.keys[row]) == key
        return self.value(int(self.values[row])) if there else None


def _things(
    kind: str,
    keys: Keys,
    values: NDArray[np.integer],
    subject: Callable[[int], str],
    value: Callable[[int], str],
    lacks: gaps.Gap = None,
    tells: Callable[[Keys], NDArray[np.bool_]] | None = None,
) -> Things:
    """Things, of those with one key the first; of every other one the dump tells alike, unless `tells` is given."""
    keys, first = np.unique(keys.astype(np.uint64), return_index=True)
    return Things(kind, keys, values[first].astype(np.int64), subject, value, lacks, tells or _alike(lacks is None))


def _alike(tells: bool) -> Callable[[Keys], NDArray[np.bool_]]:
    return lambda missing: np.full(missing.size, tells)


def events(found: Inspection, its: int) -> Things:
    """The events of an ITS, by device and event: what each maps to."""
    rows = found.events[found.events["its"] == its]
    target = np.where(rows["virtual"], rows["vPEID"], rows["ICID"]).astype(np.int64)
    return _things(
        "mapping",
        event_keys(rows),
        rows["virtual"].astype(np.int64) << 48 | target << 32 | rows["INTID"].astype(np.int64),
        lambda key: f"device {key >> 32:#x} event {key & _LOW}",
        _event_value,
        _lacks_events(found, its),
        lambda missing: _tells_events(found, its, missing >> np.uint64(32)),
    )


def _event_value(value: int) -> str:
    target = value >> 32 & 0xFFFF
    return f"vINTID {value & _LOW} of vPE {target}" if value >> 48 else f"INTID {value & _LOW} of collection {target}"


def collections(found: Inspection, its: int) -> Things:
    """The collections of an ITS: the redistributor of each."""
    rows, unit = found.collections[found.collections["its"] == its], _its(found, its)
    lacks = f"no register of GITS{its} is known" if unit is None else gaps.table(found, unit, "collection")
    return _things("mapping", rows["ICID"], rows["RDbase"], lambda key: f"collection {key}", _rdbase, lacks)


def vpes(found: Inspection) -> Things:
    """The vPEs: the redistributor of each."""
    # KVM gives no guest vPEs of its own.
    lacks = None if found.profile.collection_list else gaps.vpes(found)
    return _things("mapping", found.vpes["vPEID"], found.vpes["RDbase"], lambda key: f"vPE {key}", _rdbase, lacks)


def _rdbase(value: int) -> str:
    return "RDbase unknown" if value == UNKNOWN else f"RDbase {value}"


def configuration(found: Inspection) -> Things:
    """The interrupts that events map to: the configuration byte of each."""
    rows = found.events
    keys = interrupt_keys(rows["virtual"], np.where(rows["virtual"], rows["vPEID"], 0), rows["INTID"])
    return _configured(found, keys, rows["configuration"], _interrupt_name)


def _configured(
    found: Inspection, mapped: Keys, configuration: NDArray[np.int16], subject: Callable[[int], str]
) -> Things:
    """Of mapped interrupts those whose configuration byte is known.

    An interrupt without an event has no configuration; one with an event and none lacks its byte.
    """
    known, every = configuration >= 0, _tells_all_events(found)
    return _things(
        "configuration",
        mapped[known],
        configuration[known],
        subject,
        _configuration_value,
        None if known.all() else f"the configuration of {int((~known).sum())} interrupts is not known",
        lambda missing: every & ~np.isin(missing, mapped),
    )


def pending(found: Inspection) -> Things:
    """The pending interrupts."""
    rows = found.pending
    keys = interrupt_keys(rows["virtual"], rows["target"], rows["INTID"])
    return _pending(found, keys, _interrupt_name, lambda missing: _tells_pending(found, *interrupts_of(missing)))


def _pending(
    found: Inspection, keys: Keys, subject: Callable[[int], str], tells: Callable[[Keys], NDArray[np.bool_]]
) -> Things:
    ones = np.ones(keys.size, np.int64)
    return _things("pending", keys, ones, subject, lambda value: "pending", gaps.pending(found), tells)


def tables(found: Inspection) -> Things:
    """The tables: where each is."""
    regions = Regions(found)
    rows = regions.rows[regions.rows["kind"] != LEVEL2]
    keys = rows["kind"].astype(np.uint64) << np.uint64(40) | rows["owner"].astype(np.uint64)
    names = dict(zip(keys.tolist()[::-1], map(regions.name, rows[::-1]), strict=True))
    return _things("table", keys, rows["address"], lambda key: names[key], hex)


def vlpis(host: Inspection, guest: Inspection, order: dict[int, int]) -> tuple[list[Things], list[Things]]:
    """The vLPIs of a host's vPEs and of a guest's vCPUs: mapping, configuration and pending state.

    A guest has interrupts that are not forwarded; they are none of the host's business and left out.
    """
    forwarded = host.events[host.events["virtual"] & np.isin(host.events["vPEID"], list(order))]
    vcpus = _numbers(order, forwarded["vPEID"])
    mapped, first = np.unique(interrupt_keys(True, vcpus, forwarded["INTID"]), return_index=True)
    bits = host.pending[host.pending["virtual"] & np.isin(host.pending["target"], list(order))]
    set_in_vpts = interrupt_keys(True, _numbers(order, bits["target"]), bits["INTID"])
    own = interrupt_keys(True, guest.events["RDbase"], guest.events["INTID"])
    own, second = np.unique(own, return_index=True)
    mine = np.isin(own, mapped)
    saved = interrupt_keys(True, guest.pending["target"], guest.pending["INTID"])
    saved = saved[np.isin(saved, np.concatenate([mapped, set_in_vpts]))]
    vpe_of = {vcpu: vpe for vpe, vcpu in order.items()}

    def in_vpts(missing: Keys) -> NDArray[np.bool_]:
        virtual, target, intids = interrupts_of(missing)
        return _tells_pending(host, virtual, _numbers(vpe_of, target), intids)

    def in_tables(missing: Keys) -> NDArray[np.bool_]:
        virtual, target, intids = interrupts_of(missing)
        return _tells_pending(guest, ~virtual, target, intids)

    return (
        _sides(host, mapped, forwarded["configuration"][first], set_in_vpts, in_vpts),
        _sides(guest, own[mine], guest.events["configuration"][second][mine], saved, in_tables),
    )


def _sides(
    found: Inspection,
    mapped: Keys,
    configuration: NDArray[np.int16],
    pending: Keys,
    tells: Callable[[Keys], NDArray[np.bool_]],
) -> list[Things]:
    ones, every = np.ones(mapped.size, np.int64), _alike(_tells_all_events(found))
    lacks = "; ".join(filter(None, (_lacks_events(found, unit.number) for unit in found.its)))
    return [
        _things("mapping", mapped, ones, _vlpi_name, lambda value: "mapped", lacks, every),
        _configured(found, mapped, configuration, _vlpi_name),
        _pending(found, pending, _vlpi_name, tells),
    ]


def _numbers(of: dict[int, int], ids: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.array([of[number] for number in ids.tolist()], np.int64)


def _interrupt_name(key: int) -> str:
    return interrupt_name(*interrupts_of(np.array(key, np.uint64)))


def _vlpi_name(key: int) -> str:
    _, target, intid = interrupts_of(np.array(key, np.uint64))
    return f"vLPI {intid} of vCPU {target}"


def _configuration_value(value: int) -> str:
    fields = LPI_CONFIGURATION.unpack(value)
    return f"{'enabled' if fields['Enable'] else 'disabled'}, priority {fields['Priority']:#x}"


def _its(found: Inspection, its: int) -> Its | None:
    return next((unit for unit in found.its if unit.number == its), None)


def _tells_events(found: Inspection, its: int, device_ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Of each device, whether an event of it that is not among the decoded ones is not mapped."""
    unit, ids = _its(found, its), device_ids.astype(np.int64)
    if unit is None or unit.doubts:
        return np.zeros(ids.size, np.bool_)
    mapped = among(ids, unit.devices["DeviceID"].tolist())
    unread = among(ids, gaps.unread(found, unit)["DeviceID"].tolist())
    return ~np.where(mapped, unread, gaps.unsure(found, unit, "device", ids))


def _lacks_events(found: Inspection, its: int) -> gaps.Gap:
    """What keeps a dump from telling every event of an ITS."""
    unit = _its(found, its)
    if unit is None:
        return f"no register of GITS{its} is known"
    if unit.doubts:
        return f"what is told of {unit.frame} is doubtful (mapping-doubtful)"
    return gaps.table(found, unit, "device") or gaps.events_of(found, unit)


def _tells_all_events(found: Inspection) -> bool:
    """Whether an event that is not among the decoded ones, of any device, is not mapped."""
    return gaps.events(found) is None and gaps.collections(found) is None


def _tells_pending(
    found: Inspection, virtual: NDArray[np.bool_], target: NDArray[np.int64], intids: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Of each interrupt of a vPE, if `virtual`, or redistributor `target`, whether its bit can be read ([n] each).

    That of a vPE that is not mapped has none to be read, which tells as much; nor has an INTID beyond its table.
    """
    if found.truncated:
        return np.zeros(intids.size, np.bool_)
    rows = pending_tables(found.redistributors, found.vpes).tolist()
    tables = {(of_vpe, number): (address, id_bits) for of_vpe, number, address, id_bits, _ in rows}
    places = [tables.get(interrupt, (UNKNOWN, 0)) for interrupt in zip(virtual.tolist(), target.tolist(), strict=True)]
    address, bits = np.array(places, np.int64).reshape(-1, 2).T
    unmapped = virtual & (address == UNKNOWN) & (gaps.vpes(found) is None)
    beyond = (address != UNKNOWN) & (intids >> bits > 0)
    return np.asarray(unmapped | beyond | (lpis.pending(found.dump, address, intids) != UNKNOWN))
