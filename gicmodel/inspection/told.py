# SPDX-License-Identifier: Apache-2.0
"""Whether a dump tells that something is not there: only where it has the memory that would say so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection import lpis
from gicmodel.inspection.distinct import among
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its
from gicmodel.inspection.join import vpt_id_bits

Told = NDArray[np.bool_]


def of_events(found: Inspection, its: int, device_ids: NDArray[np.uint64]) -> Told:
    """Of each device, whether an event of it that is not among the decoded ones is not mapped."""
    unit = next((unit for unit in found.its if unit.number == its), None)
    if unit is None or not _is_whole(found, unit, "device", also_absent=True):
        return np.zeros(device_ids.size, np.bool_)
    told = ~among(device_ids, unit.devices["DeviceID"][unit.events.absent].tolist())
    if unit.occupied["device"].absent:
        told &= among(device_ids, unit.devices["DeviceID"].tolist())
    return told


def of_all_events(found: Inspection) -> bool:
    """Whether an event that is not among the decoded ones, of any device, is not mapped."""
    return bool(found.its) and all(
        _is_whole(found, unit, "device") and _is_whole(found, unit, "collection") and not unit.events.absent.size
        for unit in found.its
    )


def of_collections(found: Inspection, its: int) -> bool:
    """Whether a collection that is not among the decoded ones is not mapped."""
    return any(unit.number == its and _is_whole(found, unit, "collection") for unit in found.its)


def of_vpes(found: Inspection) -> bool:
    """Whether a vPE that is not among the decoded ones is not mapped."""
    units = [unit for unit in found.its if "vpe" in unit.tables]
    own = [entries.absent for _, entries in found.vpe_tables]
    return bool(units or own) and all(_is_whole(found, unit, "vpe") for unit in units) and not any(own)


def of_pending(found: Inspection, virtual: Told, target: NDArray[np.int64], intids: NDArray[np.int64]) -> Told:
    """Of each interrupt of a vPE, if `virtual`, or redistributor `target`, whether its bit can be read ([n] each).

    That of a vPE that is not mapped has none to be read, which tells as much; nor has an INTID beyond its table.
    """
    if found.truncated:
        return np.zeros(intids.size, np.bool_)
    tables = {(True, int(vpe["vPEID"])): (int(vpe["VPT_addr"]), vpt_id_bits(vpe)) for vpe in found.vpes}
    tables |= {(False, one.processor_number): (one.pending, one.id_bits) for one in found.redistributors}
    places = [tables.get(interrupt, (UNKNOWN, 0)) for interrupt in zip(virtual.tolist(), target.tolist(), strict=True)]
    address, bits = np.array(places, np.int64).reshape(-1, 2).T
    unmapped = virtual & (address == UNKNOWN) & of_vpes(found)
    beyond = (address != UNKNOWN) & (intids >> bits > 0)
    return np.asarray(unmapped | beyond | (lpis.pending(found.dump, address, intids) != UNKNOWN))


def _is_whole(found: Inspection, unit: Its, kind: str, also_absent: bool = False) -> bool:
    """Whether a table was decoded to its end and, unless bytes of it may be absent, the dump has all of it."""
    return unit.maps(kind) and not found.truncated and (also_absent or not unit.occupied[kind].absent)
