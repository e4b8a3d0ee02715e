# SPDX-License-Identifier: Apache-2.0
"""Rules of pending interrupts: will each be delivered?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection import gaps, lpis
from gicmodel.inspection.entries import UNKNOWN, among, interrupt_name
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.join import MOST_TABLES, pending_tables
from gicmodel.inspection.rules.rule import Broken, Finding, Group, Rule, error, warning
from gicmodel.layouts.lpi_tables import FIRST_LPI_BYTE, PENDING_ALIGNMENT, byte_of, table_bytes

PENDING_DISABLED = warning(
    "pending-disabled",
    "The interrupt is pending and its configuration says disabled: it is not delivered until that changes.",
    "IHI0069, LPI Configuration tables",
)
PENDING_UNCONFIGURED = warning(
    "pending-unconfigured",
    "The interrupt is pending and the dump lacks its configuration byte: whether it is enabled cannot be told.",
    "IHI0069, LPI Configuration tables",
)
PENDING_UNMAPPED = warning(
    "pending-unmapped",
    "The interrupt is pending and no event maps to it: its device is gone, or the bit is stale.",
    "IHI0069 DISCARD (clears the pending state); Linux vgic-v3.c leaves bits of unknown LPIs alone",
)
PENDING_BEYOND = warning(
    "pending-beyond-idbits",
    "The bit lies beyond the table's width, inside its 64 KiB: the GIC never looks at it.",
    "DDI0601 GICR_PROPBASER.IDbits, GICD_TYPER.IDbits",
)
PENDING_OFF = warning(
    "pending-lpis-off",
    "An LPI is pending for a redistributor whose LPIs are off: it is not delivered until they are on again.",
    "DDI0601 GICR_CTLR.EnableLPIs",
)
PENDING_RESERVED = warning(
    "pending-reserved",
    "The first KiB of a pending table belongs to the implementation; software keeps it zero and must not use it.",
    "IHI0069, LPI Pending tables",
)
RESIDENT_UNMAPPED = error(
    "resident-unmapped",
    "A vPE that is resident must be mapped.",
    "DDI0601 GICR_VPENDBASER; IHI0069 VMAPP",
)
RESIDENT_TWICE = error(
    "resident-twice",
    "A vPE is resident on one redistributor at most.",
    "IHI0069, vPE residency",
)


def check(found: Inspection) -> Iterator[Broken]:
    """What pending bits and residency break."""
    rows = found.pending
    known = rows["configuration"] != UNKNOWN
    enabled = lpis.enabled(rows["configuration"])
    yield Group(PENDING_DISABLED, rows[known & ~enabled], lambda row: f"{_name(row)} is pending and disabled")
    absent = ~known & _configured(found)
    yield Group(
        PENDING_UNCONFIGURED, rows[absent], lambda row: f"{_name(row)} is pending, its configuration byte is absent"
    )
    yield Group(
        PENDING_UNMAPPED, rows[_unmapped(found)], lambda row: f"{_name(row)} is pending and no event maps to it"
    )
    off = [one.processor_number for one in found.redistributors if one.enabled is False]
    stuck = ~rows["virtual"] & among(rows["target"], off)
    yield Group(PENDING_OFF, rows[stuck], lambda row: f"{_name(row)} is pending and the redistributor's LPIs are off")
    yield from _outside(found)
    yield from _resident(found)


def _name(row: np.void) -> str:
    return interrupt_name(row["virtual"], row["target"], row["INTID"])


def _configured(found: Inspection) -> NDArray[np.bool_]:
    """Of which pending interrupts the address of the configuration table is known."""
    physical = [one.processor_number for one in found.redistributors if one.configuration != UNKNOWN]
    virtual = found.vpes["vPEID"][found.vpes["VCONF_addr"] != UNKNOWN]
    rows = found.pending
    return np.where(rows["virtual"], among(rows["target"], virtual), among(rows["target"], physical))


def _unmapped(found: Inspection) -> NDArray[np.bool_]:
    """A default or individual doorbell needs no event: the redistributor makes it pending itself.

    Where a doorbell is not known any INTID may be it.
    """
    rows = found.pending
    doorbells = np.concatenate([found.events["Doorbell"], found.vpes["Default_Doorbell"]])
    return np.asarray(
        (rows["events"] == 0) & (rows["virtual"] | ~(among(rows["INTID"], doorbells) | (UNKNOWN in doorbells)))
    )


def _outside(found: Inspection) -> Iterator[Finding]:
    tables = pending_tables(found.redistributors, found.vpes[:MOST_TABLES])
    tables = tables[tables["address"] != UNKNOWN]
    for table in tables:
        yield from _reserved(found, table)
    known = tables["virtual"] | ~among(tables["target"], gaps.undeclared(found))
    for table in tables[known]:
        yield from _beyond(found, table)


def _reserved(found: Inspection, table: np.void) -> Iterator[Finding]:
    """Of a virtual table's first KiB the implementation may use bytes."""
    bits = lpis.bits_set(found.dump, int(table["address"]), 0, FIRST_LPI_BYTE, FIRST_LPI_BYTE * 8).intids
    storage = found.profile.vsgi if table["virtual"] else None
    if storage is not None:
        bits = bits[~among(byte_of(bits), storage.octets)]
    if bits.size:
        yield _bits_set(found, PENDING_RESERVED, table, bits, f"{bits.size} bits set in its reserved first KiB")


def _beyond(found: Inspection, table: np.void) -> Iterator[Finding]:
    start = max(FIRST_LPI_BYTE, table_bytes(int(table["id_bits"])))
    bits = lpis.bits_set(found.dump, int(table["address"]), start, PENDING_ALIGNMENT, 1)
    if bits.total:
        text = f"{bits.total} bits set beyond its {table['id_bits']} bits"
        yield _bits_set(found, PENDING_BEYOND, table, bits.intids, text)


def _bits_set(found: Inspection, rule: Rule, table: np.void, bits: NDArray[np.int64], text: str) -> Finding:
    owner = f"{'vPE' if table['virtual'] else 'redistributor'} {table['target']}"
    first = int(table["address"]) + int(byte_of(bits)[0])
    return Finding(rule, f"the pending table of {owner} has {text}", first, found.dump.pending.offset(first))


def _resident(found: Inspection) -> Iterator[Finding]:
    having = [one for one in found.redistributors if one.resident != UNKNOWN]
    column = "vPEID" if found.architecture == "4.1" else "VPT_addr"
    known = set(found.vpes[column].tolist())
    for one in having:
        gap = gaps.vpe(found, one.resident) if column == "vPEID" else gaps.vpes(found)
        if one.resident not in known and gap is None:
            text = f"{one.frame}_VPENDBASER has the vPE of {column} {one.resident:#x}, which is not mapped"
            yield Finding(RESIDENT_UNMAPPED, text)
    seen: set[int] = set()
    for one in having:
        if one.resident in seen:
            text = f"{one.frame}_VPENDBASER has the vPE of {column} {one.resident:#x}, as another redistributor has"
            yield Finding(RESIDENT_TWICE, text)
        seen.add(one.resident)
