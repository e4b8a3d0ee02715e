# SPDX-License-Identifier: Apache-2.0
"""Rules of memory: tables where they may be, entries with their reserved bits zero, nothing in two roles, all there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection.entries import among, is_first
from gicmodel.inspection.entries import table as rows_of
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.regions import CONFIGURATION, PENDING, VIRTUAL_CONFIGURATION, VPT, Regions
from gicmodel.inspection.rules.rule import Broken, Finding, Group, Rule, error, warning
from gicmodel.inspection.table import ItsTable, Level1
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.lpi_tables import ID_BITS
from gicmodel.layouts.registers.its import QUEUE_ALIGNMENT

OVERLAP = error(
    "overlap",
    "Memory is given to the GIC for one purpose: where two tables overlap, each change of one corrupts the other.",
    "IHI0069: software must not give one region to two tables",
)
RES0 = warning(
    "res0",
    "A reserved bit of an entry is set: the entry was written by something else, or is damaged.",
    "the format of the entry (gicmodel layouts NAME)",
)
LEVEL1_RES0 = warning(
    "level1-res0",
    "A level 1 entry has a reserved bit set, or is not valid and not zero.",
    "DDI0601 GITS_BASER<n>.Indirect",
)
LEVEL1_MISALIGNED = error(
    "level1-misaligned",
    "A level 2 page lies at a multiple of the page size; the lower bits of its address are ignored or corrupt it.",
    "DDI0601 GITS_BASER<n>.Indirect, Page_Size",
)
LEVEL1_SHARED = error(
    "level1-shared",
    "Two level 1 entries name one level 2 page: two ranges of identifiers share their mappings.",
    "DDI0601 GITS_BASER<n>.Indirect",
)
TABLE_MISALIGNED = error(
    "table-misaligned",
    "A table begins at a multiple of its page size, and the command queue at one of 64 KiB.",
    "DDI0601 GITS_BASER<n>.Physical_Address, GITS_CBASER.Physical_Address",
)
TABLE_ABSENT = warning(
    "table-absent",
    "Bytes of a table are not in the dump: what they map cannot be told.",
    "absent is not zero",
)
ITT_ABSENT = warning(
    "itt-absent",
    "A device's interrupt translation table, or a part of it, is not in the dump: its events cannot be told.",
    "absent is not zero",
)
PENDING_ABSENT = warning(
    "pending-absent",
    "A pending table, or a part of it, is not in the dump: what is pending there cannot be told.",
    "absent is not zero",
)
CONFIGURATION_ABSENT = warning(
    "configuration-absent",
    "An LPI configuration table, or a part of it, is not in the dump: which of its interrupts are enabled, and with "
    "which priority, cannot be told.",
    "absent is not zero",
)
NO_LPIS = error(
    "idbits-too-small",
    "With fewer than 14 INTID bits every LPI is out of range.",
    "DDI0601 GICR_PROPBASER.IDbits",
)
PROPBASER_DIFFERS = warning(
    "propbaser-differs",
    "Redistributors have different LPI configuration tables: which copy counts is up to the implementation.",
    "DDI0601 GICR_TYPER.CommonLPIAff; IHI0069, LPI Configuration tables",
)

_PLACES = np.dtype([("address", np.int64), ("offset", np.int64)])
_OVERLAPS = np.dtype([("number", np.int64), *_PLACES.descr])
_LEVEL1_ENTRIES = np.dtype([("index", np.int64), ("word", np.uint64), *_PLACES.descr])


def check(found: Inspection) -> Iterator[Broken]:
    """What the memory breaks."""
    regions = Regions(found)
    yield from _overlaps(regions)
    # Of registers without any RAM nothing is said to be absent.
    for table in found.tables if found.dump.octets else ():
        yield from _table(table)
    for unit in found.its:
        reserved = unit.reserved | {"event": unit.events.reserved}
        yield from (_reserved(found, kind, addresses) for kind, addresses in reserved.items())
        yield Group(
            ITT_ABSENT,
            unit.devices[unit.events.absent],
            lambda row: f"the ITT of device {row['DeviceID']:#x} at {row['ITT_addr']:#x} is not wholly in the dump",
        )
    yield from _misaligned(found)
    yield from _redistributors(found)
    if found.dump.octets:
        yield from _absent(PENDING_ABSENT, found.dump.pending, regions, (PENDING, VPT))
        yield from _absent(CONFIGURATION_ABSENT, found.dump, regions, (CONFIGURATION, VIRTUAL_CONFIGURATION))


def _overlaps(regions: Regions) -> Iterator[Group]:
    later, earlier = regions.overlaps()
    # Several tables may begin at one address: a row says which of all it is.
    rows = rows_of(
        _OVERLAPS, later.size, number=np.arange(later.size), address=later["address"], offset=later["offset"]
    )
    yield Group(
        OVERLAP,
        rows,
        lambda row: f"{_at(regions, later[row['number']])} overlaps {_at(regions, earlier[row['number']])}",
    )


def _at(regions: Regions, region: np.void) -> str:
    return f"{regions.name(region)} at {region['address']:#x}"


def _table(table: ItsTable) -> Iterator[Broken]:
    if table.absent:
        text = f"{table.absent:#x} bytes of the {table.kind} table of {table.register} are absent"
        yield Finding(TABLE_ABSENT, text, table.address)
    if table.level1 is not None:
        yield from _level1(table, table.level1)


def _level1(table: ItsTable, level1: Level1) -> Iterator[Group]:
    columns = {"index": level1.indices, "word": level1.words, "address": level1.addresses, "offset": level1.offsets}
    rows = rows_of(_LEVEL1_ENTRIES, level1.words.size, **columns)
    low = LEVEL1.decode(level1.words)["Physical_Address"].astype(np.int64) % table.page_bytes != 0
    broken = ~level1.used
    for _, mask in LEVEL1.res0_masks:
        broken |= level1.words & mask != 0
    yield Group(
        LEVEL1_RES0,
        rows[broken],
        lambda row: f"level 1 entry {row['index']} of {table.register} is {row['word']:#x}",
    )
    yield Group(
        LEVEL1_MISALIGNED,
        rows[level1.used & low],
        lambda row: (
            f"level 1 entry {row['index']} of {table.register} is {row['word']:#x}: no page of {table.page_bytes:#x}"
        ),
    )
    again = level1.used.copy()
    again[again] = ~is_first(level1.pages)
    yield Group(
        LEVEL1_SHARED,
        rows[again],
        lambda row: f"level 1 entry {row['index']} of {table.register} names a page that an earlier one names",
    )


def _reserved(found: Inspection, kind: str, addresses: NDArray[np.int64]) -> Group:
    rows = rows_of(_PLACES, addresses.size, address=addresses, offset=found.dump.offsets(addresses))
    return Group(RES0, rows, lambda row: f"the {kind} entry at {row['address']:#x} has a reserved bit set")


def _misaligned(found: Inspection) -> Iterator[Finding]:
    tables = [(table.register, table.address, table.page_bytes) for table in found.tables]
    tables += [(f"GITS{queue.its}_CBASER", queue.address, QUEUE_ALIGNMENT) for queue in found.queues]
    for name, address, of in tables:
        if address % of:
            text = f"{name} is at {address:#x}, no multiple of {of:#x}"
            yield Finding(TABLE_MISALIGNED, text, address, found.dump.offset(address))


def _redistributors(found: Inspection) -> Iterator[Finding]:
    # Without EnableLPIs the registers need not be set up yet.
    having = [one for one in found.redistributors if one.declared_id_bits is not None and one.enabled is not False]
    for one in having:
        if one.id_bits < ID_BITS[0]:
            yield Finding(NO_LPIS, f"{one.frame} has INTIDs of {one.id_bits} bits")
    tables = {(one.configuration, one.declared_id_bits) for one in having}
    if len(tables) > 1:
        text = f"redistributors have {len(tables)} different LPI configuration tables or widths"
        yield Finding(PROPBASER_DIFFERS, text)


def _absent(rule: Rule, dump: Dump, regions: Regions, kinds: tuple[int, ...]) -> Iterator[Finding]:
    rows = regions.rows[among(regions.rows["kind"], kinds)]
    missing = rows["size"] - dump.held_each(rows["address"], rows["size"])
    for row, absent in zip(rows[missing > 0], missing[missing > 0].tolist(), strict=True):
        text = f"{absent:#x} of {row['size']:#x} bytes of the {_at(regions, row)} are absent"
        yield Finding(rule, text, int(row["address"]), int(row["offset"]))
