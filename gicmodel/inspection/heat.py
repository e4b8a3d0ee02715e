# SPDX-License-Identifier: Apache-2.0
"""Pending and enabled interrupts counted for a picture: a row for each redistributor and vPE, a bin for some INTIDs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection import lpis
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.join import pending_tables
from gicmodel.layouts.lpi_tables import FIRST_LPI

BINS = 128
ROWS = 64
"""How many rows a picture can show; the first ones are."""


class Heat(NamedTuple):
    """`pending` and `enabled` count interrupts, int64 [rows, bins]; bin n begins at INTID FIRST_LPI + n * width.

    The name of a row says if the dump lacks a part of its pending table.
    """

    rows: list[str]
    width: int
    pending: NDArray[np.int64]
    enabled: NDArray[np.int64]


def heat(found: Inspection) -> Heat:
    """Count the pending interrupts, and the events whose interrupt is enabled."""
    tables = pending_tables(found.redistributors, found.vpes[:ROWS])[:ROWS].tolist()
    owners = [(virtual, number) for virtual, number, *_ in tables]
    events = found.events[lpis.enabled(found.events["configuration"])]
    target = np.where(events["virtual"], events["vPEID"], events["RDbase"])
    highest = max(int(rows["INTID"].max(initial=FIRST_LPI)) for rows in (events, found.pending))
    width = -(-(highest + 1 - FIRST_LPI) // BINS)
    whole = [lpis.is_whole(found.dump, address, id_bits) for _, _, address, id_bits, _ in tables]
    names = [
        f"{'vPE' if virtual else 'RD'} {number}{'' if known else ' (not all known)'}"
        for (virtual, number), known in zip(owners, whole, strict=True)
    ]
    pending = [_count(found.pending, found.pending["target"], owner, width) for owner in owners]
    enabled = [_count(events, target, owner, width) for owner in owners]
    shape = (len(owners), BINS)
    return Heat(names, width, np.reshape(pending, shape).astype(np.int64), np.reshape(enabled, shape).astype(np.int64))


def _count(rows: NDArray[np.void], target: NDArray[np.int64], owner: tuple[bool, int], width: int) -> NDArray[np.int64]:
    virtual, number = owner
    intids = rows["INTID"][(rows["virtual"] == virtual) & (target == number)].astype(np.int64)
    bins = (intids[intids >= FIRST_LPI] - FIRST_LPI) // width
    return np.bincount(bins, minlength=BINS)[:BINS].astype(np.int64)
