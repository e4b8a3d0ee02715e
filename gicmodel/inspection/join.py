# SPDX-License-Identifier: Apache-2.0
"""Where each event's interrupt goes, and whether it is enabled and pending there; and every pending interrupt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection import lpis
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import PENDING, PENDING_TABLE, UNKNOWN, count_of, distinct, interrupt_keys, table
from gicmodel.inspection.redistributors import DEFAULT_ID_BITS, Redistributor
from gicmodel.layouts.lpi_tables import FIRST_LPI, FIRST_LPI_BYTE, ID_BITS, byte_of, table_bytes

if TYPE_CHECKING:
    from gicmodel.inspection.inspection import Inspection

_ID16 = 1 << 16
"""ICIDs, vPEIDs and processor numbers have at most 16 bits."""

PENDING_TABLES = "pending tables"
MOST_TABLES = 1 << 14
"""How many vPEs' virtual pending tables are read."""


def join_events(found: Inspection) -> None:
    """Fill the columns RDbase, configuration and pending of events."""
    events = found.events
    vpe = np.where(events["virtual"], _row_of_vpe(found.vpes).take(events["vPEID"]), UNKNOWN)
    virtual = vpe >= 0
    rdbase = np.where(events["virtual"], UNKNOWN, _collection_rdbase(found))
    configuration = _of_redistributor(found, rdbase, "configuration", _any_configuration(found))
    pending = _of_redistributor(found, rdbase, "pending", UNKNOWN)
    configuration[events["virtual"]] = pending[events["virtual"]] = UNKNOWN
    rdbase[virtual] = found.vpes["RDbase"][vpe[virtual]]
    configuration[virtual] = found.vpes["VCONF_addr"][vpe[virtual]]
    pending[virtual] = found.vpes["VPT_addr"][vpe[virtual]]
    # An INTID too wide for its table has no byte and no bit there: what lies beyond is other memory.
    outside = out_of_range(events, found.vpes, physical_id_bits(found.redistributors))
    configuration[outside] = pending[outside] = UNKNOWN
    intids = events["INTID"].astype(np.int64)
    events["RDbase"] = rdbase
    events["configuration"] = lpis.configuration(found.dump, configuration, intids)
    events["pending"] = lpis.pending(found.dump, pending, intids)


def read_pending(found: Inspection, budget: Budget) -> NDArray[np.void]:
    """Every pending LPI and vLPI, whether an event maps to it or not, as far as the budget goes."""
    tables = pending_tables(found.redistributors, found.vpes[:MOST_TABLES])
    parts = [_bits(found.dump, one, budget) for one in tables[tables["address"] != UNKNOWN]]
    if found.vpes.size > MOST_TABLES:
        budget.keep(budget.entries + 1, PENDING_TABLES)
    rows = np.concatenate([np.empty(0, PENDING), *parts])
    rows["events"] = _events_of(rows, found.events)
    return rows


def _collection_rdbase(found: Inspection) -> NDArray[np.int64]:
    events = found.events
    rdbase = np.full(events.size, UNKNOWN, np.int64)
    for its in distinct(found.collections["its"]).tolist():
        collections = found.collections[found.collections["its"] == its]
        mine = events["its"] == its
        by_icid = _by_id(collections["ICID"], collections["RDbase"])
        rdbase[mine] = by_icid[events["ICID"][mine]]
    return rdbase


def _of_redistributor(found: Inspection, rdbase: NDArray[np.int64], name: str, otherwise: int) -> NDArray[np.int64]:
    """An address that the redistributor of each RDbase holds, where it is known."""
    numbers = np.array([one.processor_number for one in found.redistributors], np.int64)
    addresses = _by_id(numbers, np.array([getattr(one, name) for one in found.redistributors], np.int64))
    held = np.where((rdbase >= 0) & (rdbase < _ID16), addresses[rdbase & _ID16 - 1], UNKNOWN)
    return np.where(held == UNKNOWN, otherwise, held)


def _any_configuration(found: Inspection) -> int:
    """Redistributors of a CommonLPIAff group share it, so it holds for an event whose target is not known."""
    return next((one.configuration for one in found.redistributors if one.configuration != UNKNOWN), UNKNOWN)


def _bits(dump: Dump, one: np.void, budget: Budget) -> NDArray[np.void]:
    """The bits set in a pending table (PENDING_TABLE)."""
    address, id_bits = int(one["address"]), int(one["id_bits"])
    end = table_bytes(id_bits)
    held = dump.pending.held(address + FIRST_LPI_BYTE, end - FIRST_LPI_BYTE)
    if end <= FIRST_LPI_BYTE or not budget.read(held, PENDING_TABLES):
        return np.empty(0, PENDING)
    bits = lpis.bits_set(dump, address, FIRST_LPI_BYTE, end, budget.entries)
    budget.keep(bits.total, PENDING_TABLES)
    addresses = (address + byte_of(bits.intids)).astype(np.int64)
    configuration = np.full(addresses.size, one["configuration"])
    return table(
        PENDING,
        addresses.size,
        virtual=one["virtual"],
        target=one["target"],
        INTID=bits.intids,
        configuration=lpis.configuration(dump, configuration, bits.intids),
        address=addresses,
        offset=dump.pending.offsets(addresses),
    )


def place_vpes(found: Inspection) -> None:
    """Which redistributor has each vPE; in GICv4.0, where the vPE's vLPI configuration table is."""
    vpes = found.vpes
    for redistributor in found.redistributors:
        if found.architecture == "4.1":
            vpes["resident"][vpes["vPEID"] == redistributor.resident] = redistributor.number
        elif redistributor.last_vpt != UNKNOWN:
            mine = vpes["VPT_addr"] == redistributor.last_vpt
            vpes["VCONF_addr"][mine] = redistributor.virtual_configuration
            if redistributor.resident != UNKNOWN:
                vpes["resident"][mine] = redistributor.number


def physical_id_bits(redistributors: list[Redistributor]) -> int:
    """The width of physical INTIDs, or what it is taken for."""
    return max((one.id_bits for one in redistributors), default=DEFAULT_ID_BITS)


def most_id_bits(redistributors: list[Redistributor]) -> int:
    """What physical INTIDs are not wider than, as far as registers tell."""
    told = (ID_BITS[-1] if one.declared_id_bits is None else one.id_bits for one in redistributors)
    return max(told, default=ID_BITS[-1])


def vpt_id_bits(vpes: NDArray[np.void]) -> NDArray[np.int64]:
    """The width of each vPE's vINTIDs."""
    return np.minimum(vpes["VPT_size"].astype(np.int64) + 1, ID_BITS[-1])


def pending_tables(redistributors: list[Redistributor], vpes: NDArray[np.void]) -> NDArray[np.void]:
    """The pending tables (PENDING_TABLE) of redistributors, then of vPEs; an address may be UNKNOWN."""
    physical = [(False, one.processor_number, one.pending, one.id_bits, one.configuration) for one in redistributors]
    columns = (vpes["vPEID"], vpes["VPT_addr"], vpt_id_bits(vpes), vpes["VCONF_addr"])
    virtual = [(True, *vpe) for vpe in zip(*(column.tolist() for column in columns), strict=True)]
    return np.array(physical + virtual, PENDING_TABLE)


def out_of_range(events: NDArray[np.void], vpes: NDArray[np.void], id_bits: int) -> NDArray[np.bool_]:
    """Which events' INTIDs are no LPI, or wider than `id_bits` or, for virtual ones, than their vPE has, if known."""
    bits = np.where(events["virtual"], np.int64(ID_BITS[-1]), np.int64(id_bits))
    vpe = np.where(events["virtual"], _row_of_vpe(vpes).take(events["vPEID"]), UNKNOWN)
    bits[vpe >= 0] = vpt_id_bits(vpes[vpe[vpe >= 0]])
    intids = events["INTID"].astype(np.int64)
    return np.asarray((intids < FIRST_LPI) | (intids >> bits > 0))


def _row_of_vpe(vpes: NDArray[np.void]) -> NDArray[np.int64]:
    """The row of each vPEID, or UNKNOWN; vPEIDs are the same on all ITSs."""
    return _by_id(vpes["vPEID"][::-1], np.arange(vpes.size)[::-1])


def _by_id(ids: NDArray[np.integer], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of each 16-bit identifier, the last one given, or UNKNOWN."""
    found = np.full(_ID16, UNKNOWN, np.int64)
    fitting = ids < _ID16
    found[ids[fitting]] = values[fitting]
    return found


def _events_of(pending: NDArray[np.void], events: NDArray[np.void]) -> NDArray[np.int64]:
    """How many events map to each pending interrupt."""
    if not pending.size:
        return np.zeros(0, np.int64)
    target = np.where(events["virtual"], events["vPEID"].astype(np.int64), events["RDbase"])
    keys = interrupt_keys(events["virtual"], target, events["INTID"])
    return count_of(interrupt_keys(pending["virtual"], pending["target"], pending["INTID"]), keys)
