# SPDX-License-Identifier: Apache-2.0
"""LPI configuration and pending tables, physical and virtual: bytes and bits by INTID, all of them architected.

And the vSGIs of GICv4.1 vPEs, in a virtual pending table's first KiB, which is IMPLEMENTATION DEFINED (IHI0069, "LPI
Pending tables"): a profile says where they are, if that is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Addresses, Dump
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import UNKNOWN, VSGIS, table
from gicmodel.inspection.profiles import VsgiStorage
from gicmodel.layouts import lpi_tables
from gicmodel.layouts.lpi_tables import FIRST_LPI, FIRST_LPI_BYTE, LPI_CONFIGURATION, bit_of, byte_of, intids_of

_BATCH = 1 << 24
VSGIS_OF_VPES = "vSGIs"


class Bits(NamedTuple):
    """The bits set in a pending table, ascending; `total` is their number even where not all were kept."""

    intids: NDArray[np.int64]
    total: int


def configuration(dump: Dump, tables: Addresses, intids: NDArray[np.int64]) -> NDArray[np.int16]:
    """The configuration byte of each INTID in the table at the same place of `tables` (UNKNOWN: none), or UNKNOWN."""
    return _bytes(dump, tables, intids - FIRST_LPI, (tables >= 0) & (intids >= FIRST_LPI))


def pending(dump: Dump, tables: Addresses, intids: NDArray[np.int64]) -> NDArray[np.int8]:
    """The pending bit of each INTID in the table at the same place of `tables` (UNKNOWN: none), or UNKNOWN."""
    octets = _bytes(dump.pending, tables, byte_of(intids).astype(np.int64), tables >= 0)
    return np.where(octets >= 0, octets >> bit_of(intids) & 1, UNKNOWN).astype(np.int8)


def bits_set(dump: Dump, address: int, start: int, end: int, limit: int) -> Bits:
    """The bits set in bytes [start, end) of the pending table at `address`, at most `limit` of them."""
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    total = kept = 0
    for piece in dump.pending.pieces(address + start, end - start):
        for first in range(0, piece.octets.size, _BATCH):
            octets = piece.octets[first : first + _BATCH]
            places = np.flatnonzero(octets)
            total += int(np.bitwise_count(octets[places]).sum(dtype=np.int64))
            places = places[: max(0, limit - kept)]
            intids = intids_of(octets[places], piece.address + first + places - address)[: max(0, limit - kept)]
            kept += intids.size
            found.append(intids)
    return Bits(np.concatenate(found), total)


def whole(dump: Dump, tables: Addresses, id_bits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of which tables ([n], UNKNOWN: none) the dump has the bit of every LPI: else their number is not known."""
    sizes = np.maximum(0, byte_of(np.int64(1) << id_bits) - FIRST_LPI_BYTE)
    return np.asarray((tables != UNKNOWN) & (dump.pending.held_each(tables + FIRST_LPI_BYTE, sizes) == sizes))


def enabled(configuration: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which configuration bytes have Enable set; UNKNOWN ones count as not."""
    return np.asarray((configuration >= 0) & (LPI_CONFIGURATION.column(configuration.astype(np.uint64), "Enable") != 0))


def priority(configuration: NDArray[np.int16]) -> NDArray[np.int16]:
    """The priority of each configuration byte, or UNKNOWN."""
    values = LPI_CONFIGURATION.column(configuration.astype(np.uint64), "Priority")
    return np.where(configuration >= 0, values.astype(np.int16), np.int16(UNKNOWN))


def _bytes(dump: Dump, tables: Addresses, places: NDArray[np.int64], wanted: NDArray[np.bool_]) -> NDArray[np.int16]:
    octets = np.full(places.size, UNKNOWN, np.int16)
    found, held = dump.gather((tables + places)[wanted], 1)
    octets[wanted] = np.where(held, found[:, 0].astype(np.int16), np.int16(UNKNOWN))
    return octets


def read_vsgis(dump: Dump, vpes: NDArray[np.void], storage: VsgiStorage, budget: Budget) -> NDArray[np.void]:
    """The vSGIs that are configured, pending, or absent from the dump; `address` is the configuration byte's."""
    most = budget.keep(vpes.size * lpi_tables.VSGIS, VSGIS_OF_VPES) // lpi_tables.VSGIS
    vpes, dump = vpes[:most], dump.pending
    words, pending_held = dump.gather(vpes["VPT_addr"] + storage.pending_byte, lpi_tables.VSGIS // 8)
    octets, held = dump.gather(vpes["VPT_addr"] + storage.configuration_byte, lpi_tables.VSGIS)
    pending = np.unpackbits(words, axis=1, bitorder="little").astype(np.int8)
    pending[~pending_held] = UNKNOWN
    configuration = octets.astype(np.int16)
    configuration[~held] = UNKNOWN
    of_vpe, vintid = np.nonzero((pending != 0) | (configuration != 0))
    address = vpes["VPT_addr"][of_vpe] + storage.configuration_byte + vintid
    return table(
        VSGIS,
        of_vpe.size,
        vPEID=vpes["vPEID"][of_vpe],
        vINTID=vintid,
        pending=pending[of_vpe, vintid],
        configuration=configuration[of_vpe, vintid],
        address=address,
        offset=dump.offsets(address),
    )
