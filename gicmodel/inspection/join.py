# SPDX-License-Identifier: Apache-2.0
"""Where each event's interrupt goes, and whether it is enabled and pending there; and every pending interrupt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection import lpis
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.distinct import distinct
from gicmodel.inspection.entries import PENDING, PENDING_TABLE, UNKNOWN, count_of, interrupt_keys, table
from gicmodel.inspection.redistributors import DEFAULT_ID_BITS, Redistributor
from gicmodel.layouts.lpi_tables import FIRST_LPI, FIRST_LPI_BYTE, ID_BITS, byte_of, table_bytes

_ID16 = 1 << 16
"""ICIDs, vPEIDs and processor numbers have at most 16 bits."""

PENDING_TABLES = "pending tables"
MOST_TABLES = 1 << 14
"""How many vPEs' virtual pending tables are read."""


@dataclass(frozen=True)
class Targets:
    """The redistributors, collections and vPEs that events can go to."""

    dump: Dump
    redistributors: list[Redistributor]
    collections: NDArray[np.void]
    vpes: NDArray[np.void]

    def join(self, events: NDArray[np.void]) -> None:
        """Fill the columns RDbase, configuration and pending of events."""
        vpe = np.where(events["virtual"], _row_of_vpe(self.vpes).take(events["vPEID"]), UNKNOWN)
        virtual = vpe >= 0
        rdbase = np.where(events["virtual"], UNKNOWN, self._collection_rdbase(events))
        configuration = self._of_redistributor(rdbase, "configuration", self._any_configuration())
        pending = self._of_redistributor(rdbase, "pending", UNKNOWN)
        configuration[events["virtual"]] = pending[events["virtual"]] = UNKNOWN
        rdbase[virtual] = self.vpes["RDbase"][vpe[virtual]]
        configuration[virtual] = self.vpes["VCONF_addr"][vpe[virtual]]
        pending[virtual] = self.vpes["VPT_addr"][vpe[virtual]]
        # An INTID too wide for its table has no byte and no bit there: what lies beyond is other memory.
        outside = out_of_range(events, self.vpes, physical_id_bits(self.redistributors))
        configuration[outside] = pending[outside] = UNKNOWN
        intids = events["INTID"].astype(np.int64)
        events["RDbase"] = rdbase
        events["configuration"] = lpis.configuration(self.dump, configuration, intids)
        events["pending"] = lpis.pending(self.dump, pending, intids)

    def pending(self, events: NDArray[np.void], budget: Budget) -> NDArray[np.void]:
        """Every pending LPI and vLPI, whether an event maps to it or not, as far as the budget goes."""
        tables = pending_tables(self.redistributors, self.vpes[:MOST_TABLES])
        parts = [self._bits(one, budget) for one in tables[tables["address"] != UNKNOWN]]
        if self.vpes.size > MOST_TABLES:
            budget.keep(budget.entries + 1, PENDING_TABLES)
        found = np.concatenate([np.empty(0, PENDING), *parts])
        found["events"] = _events_of(found, events)
        return found

    def _collection_rdbase(self, events: NDArray[np.void]) -> NDArray[np.int64]:
        rdbase = np.full(events.size, UNKNOWN, np.int64)
        for its in distinct(self.collections["its"]).tolist():
            collections = self.collections[self.collections["its"] == its]
            mine = events["its"] == its
            by_icid = _by_id(collections["ICID"], collections["RDbase"])
            rdbase[mine] = by_icid[events["ICID"][mine]]
        return rdbase

    def _of_redistributor(self, rdbase: NDArray[np.int64], name: str, otherwise: int) -> NDArray[np.int64]:
        """An address that the redistributor of each RDbase holds, where it is known."""
        numbers = np.array([one.processor_number for one in self.redistributors], np.int64)
        addresses = _by_id(numbers, np.array([getattr(one, name) for one in self.redistributors], np.int64))
        found = np.where((rdbase >= 0) & (rdbase < _ID16), addresses[rdbase & _ID16 - 1], UNKNOWN)
        return np.where(found == UNKNOWN, otherwise, found)

    def _any_configuration(self) -> int:
        """Redistributors of a CommonLPIAff group share it, so it holds for an event whose target is not known."""
        return next((one.configuration for one in self.redistributors if one.configuration != UNKNOWN), UNKNOWN)

    def _bits(self, one: np.void, budget: Budget) -> NDArray[np.void]:
        """The bits set in a pending table (PENDING_TABLE)."""
        address, id_bits = int(one["address"]), int(one["id_bits"])
        end = table_bytes(id_bits)
        held = self.dump.pending.held(address + FIRST_LPI_BYTE, end - FIRST_LPI_BYTE)
        if end <= FIRST_LPI_BYTE or not budget.read(held, PENDING_TABLES):
            return np.empty(0, PENDING)
        bits = lpis.bits_set(self.dump, address, FIRST_LPI_BYTE, end, budget.entries)
        budget.keep(bits.total, PENDING_TABLES)
        addresses = (address + byte_of(bits.intids)).astype(np.int64)
        configuration = np.full(addresses.size, one["configuration"])
        return table(
            PENDING,
            addresses.size,
            virtual=one["virtual"],
            target=one["target"],
            INTID=bits.intids,
            configuration=lpis.configuration(self.dump, configuration, bits.intids),
            address=addresses,
            offset=self.dump.pending.offsets(addresses),
        )


def place_vpes(vpes: NDArray[np.void], redistributors: list[Redistributor], architecture: str) -> None:
    """Which redistributor has each vPE; in GICv4.0, where the vPE's vLPI configuration table is."""
    for redistributor in redistributors:
        if architecture == "4.1":
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
