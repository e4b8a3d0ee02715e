# SPDX-License-Identifier: Apache-2.0
"""The address map: every piece of memory that a register or a table entry gives to the GIC."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gicmodel.inspection.entries import UNKNOWN, among, is_first, table
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.join import vpt_id_bits
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes

REGIONS = np.dtype(
    [("kind", np.int8), ("owner", np.int64), ("address", np.int64), ("size", np.int64), ("offset", np.int64)]
)
"""`kind` is an index of KINDS; `owner` the number of the ITS, table, redistributor, vPE or device."""

QUEUE, TABLE, LEVEL2, CONFIGURATION, PENDING, VIRTUAL_CONFIGURATION, VPT, ITT = range(8)
KINDS = (
    "command queue of GITS{}",
    "{}",
    "level 2 page of {}",
    "LPI configuration table",
    "LPI pending table of GICR{}",
    "vLPI configuration table",
    "virtual pending table of vPE {}",
    "ITT of device {:#x}",
)
KIND_TITLES = ("queue", "tables", "level 2", "LPI config", "LPI pending", "vLPI config", "VPT", "ITT")
"""KINDS, short, for a picture."""
_SHARED = (TABLE, LEVEL2, CONFIGURATION, VIRTUAL_CONFIGURATION, VPT)
"""Kinds that several owners may name alike: then they are one piece of memory, not an overlap."""


class Regions:
    """The address map as a structured array by address, and the names of the tables in it."""

    def __init__(self, found: Inspection) -> None:
        self._found = found
        self._tables: list[str] = []
        self._parts: list[NDArray[np.void]] = []
        for queue in found.queues:
            self._add(QUEUE, queue.its, queue.address, queue.size)
        self._add_tables()
        self._add_lpi_tables()
        self._add_vpts()
        if found.profile.event is not None:
            sizes = np.int64(found.profile.event.layout.bytes) << found.devices["Size"].astype(np.int64) + 1
            self._add(ITT, found.devices["DeviceID"], found.devices["ITT_addr"], sizes)
        rows = np.concatenate([np.empty(0, REGIONS), *self._parts])
        rows["offset"] = found.dump.offsets(rows["address"])
        self.rows = _without_twins(rows[np.argsort(rows["address"], kind="stable")])

    def name(self, row: np.void) -> str:
        """What a region is."""
        kind, owner = int(row["kind"]), int(row["owner"])
        return KINDS[kind].format(self._tables[owner] if kind in (TABLE, LEVEL2) else owner)

    def overlaps(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Regions that begin inside an earlier one, and for each the earlier one that reaches furthest."""
        rows = self.rows
        ends = rows["address"] + rows["size"]
        furthest = np.maximum.accumulate(ends)
        reaches = np.maximum.accumulate(np.where(ends == furthest, np.arange(rows.size), 0))
        inside = np.flatnonzero(rows["address"][1:] < furthest[:-1]) + 1
        return rows[inside], rows[reaches[inside - 1]]

    def _add(self, kind: int, owner: ArrayLike, address: ArrayLike, size: ArrayLike) -> None:
        count = np.size(address)
        self._parts.append(table(REGIONS, count, kind=kind, owner=owner, address=address, size=size))

    def _add_tables(self) -> None:
        for found in self._found.tables:
            self._add(TABLE, len(self._tables), found.address, found.size)
            if found.level1 is not None:
                self._add(LEVEL2, len(self._tables), found.level1.pages, found.page_bytes)
            self._tables.append(f"{found.kind} table ({found.register})")

    def _add_lpi_tables(self) -> None:
        for one in self._found.redistributors:
            if one.configuration != UNKNOWN:
                self._add(CONFIGURATION, 0, one.configuration, max(0, (1 << one.id_bits) - FIRST_LPI))
            if one.pending != UNKNOWN:
                self._add(PENDING, one.number, one.pending, table_bytes(one.id_bits))

    def _add_vpts(self) -> None:
        vpes = self._found.vpes
        bits = vpt_id_bits(vpes)
        self._add(VPT, vpes["vPEID"], vpes["VPT_addr"], (1 << bits) // 8)
        known = vpes["VCONF_addr"] != UNKNOWN
        sizes = np.maximum(0, (1 << bits[known]) - FIRST_LPI)
        self._add(VIRTUAL_CONFIGURATION, 0, vpes["VCONF_addr"][known], sizes)


def _without_twins(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Without empty regions, and with each region of a kind that may be shared once."""
    rows = rows[rows["size"] > 0]
    shared = among(rows["kind"], _SHARED)
    return rows[~shared | is_first(rows["kind"], rows["address"], rows["size"])]
