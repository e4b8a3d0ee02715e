# SPDX-License-Identifier: Apache-2.0
"""Rules of the mapping: what devices, events, collections and vPEs point to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection import gaps
from gicmodel.inspection.entries import UNKNOWN, among, distinct, first_of, interrupt_keys, is_first
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.its import Its
from gicmodel.inspection.join import most_id_bits, out_of_range
from gicmodel.inspection.rules.rule import MOST, Broken, Finding, Group, error, warning
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI, ID_BITS
from gicmodel.layouts.registers.identification import KVM

DEVICE_OUT_OF_RANGE = error(
    "device-out-of-range",
    "A mapped DeviceID must fit GITS_TYPER.Devbits: commands and messages with a wider one are refused.",
    "DDI0601 GITS_TYPER.Devbits",
)
ITT_SIZE = error(
    "itt-size",
    "A device's EventIDs must fit GITS_TYPER.ID_bits; KVM refuses to restore more than 16 bits.",
    "DDI0601 GITS_TYPER.ID_bits; IHI0069 MAPD; Linux vgic-its.c vgic_its_restore_dte",
)
INTID_OUT_OF_RANGE = error(
    "intid-out-of-range",
    "An event must map to an LPI: an INTID from 8192 up, inside the width of the configuration and pending tables.",
    "IHI0069 MAPTI, VMAPTI; DDI0601 GICR_PROPBASER.IDbits",
)
UNMAPPED_COLLECTION = error(
    "event-unmapped-collection",
    "An event's collection must be mapped, else its interrupts go nowhere; KVM refuses to restore such an entry.",
    "IHI0069 MAPC, MAPTI; Linux vgic-its.c vgic_its_restore_ite",
)
UNMAPPED_VPE = error(
    "event-unmapped-vpe",
    "An event's vPE must be mapped by VMAPP, else its interrupts go nowhere.",
    "IHI0069 VMAPP, VMAPTI",
)
SHARED_INTID = warning(
    "intid-shared",
    "Two events map to one interrupt: it has one pending bit, so whoever handles it cannot tell which event it was.",
    "IHI0069 MAPTI; Linux allocates an LPI for one event only",
)
COLLECTION_RDBASE = error(
    "collection-rdbase",
    "A collection's RDbase must be the Processor_Number of a redistributor; KVM refuses a vCPU that does not exist.",
    "IHI0069 MAPC; DDI0601 GICR_TYPER.Processor_Number; Linux vgic-its.c vgic_its_restore_cte",
)
COLLECTION_LPIS_OFF = warning(
    "collection-lpis-off",
    "A collection that events use is mapped to a redistributor whose LPIs are off: their interrupts are dropped.",
    "DDI0601 GICR_CTLR.EnableLPIs",
)
COLLECTION_TWICE = error(
    "collection-duplicate",
    "A saved collection table lists each ICID once; KVM refuses the second with EEXIST.",
    "Linux vgic-its.c vgic_its_restore_cte",
)
VPE_RDBASE = error(
    "vpe-rdbase",
    "A vPE's RDbase must be the Processor_Number of a redistributor, which is where its doorbells go.",
    "IHI0069 VMAPP, VMOVP",
)
VPT_SIZE = error(
    "vpt-size",
    "A virtual pending table has 14 to 24 vINTID bits: with fewer there is no vLPI.",
    "IHI0069 VMAPP VPT_size; DDI0601 GICD_TYPER.IDbits",
)
VPT_SHARED = error(
    "vpt-shared",
    "Each vPE has a virtual pending table of its own: two that share one take each other's interrupts.",
    "IHI0069 VMAPP VPT_addr",
)
DOORBELL = error(
    "doorbell-no-lpi",
    "A doorbell must be a physical LPI, or 1023 for none: another number wakes nobody.",
    "IHI0069 VMAPTI Doorbell, VMAPP Default_Doorbell",
)
TABLE_INVALID = warning(
    "table-invalid",
    "The ITS is enabled and a table that it needs is not valid: messages are discarded.",
    "DDI0601 GITS_BASER<n>.Valid",
)

NOT_SAVED = warning(
    "tables-not-saved",
    "KVM keeps what a guest's ITS maps to itself, and writes the guest's tables when it is told to save them: this "
    "dump was made before that, and shows none of it.",
    "Linux Documentation/virt/kvm/devices/arm-vgic-its.rst, KVM_DEV_ARM_ITS_SAVE_TABLES; vgic.h PRODUCT_ID_KVM",
)


KVM_EVENT_ID_BITS = 16


def check(found: Inspection) -> Iterator[Broken]:
    """What the mapping breaks."""
    for unit in found.its:
        yield from _devices(found, unit)
        yield from _collections(found, unit)
        yield from _invalid_tables(unit)
        yield from _not_saved(found, unit)
    yield from _events(found)
    yield from _vpes(found)
    yield from _doorbells(found)


def event_name(row: np.void) -> str:
    """How a sentence names an event."""
    return f"device {row['DeviceID']:#x} event {row['EventID']}"


def _devices(found: Inspection, unit: Its) -> Iterator[Group]:
    rows = unit.devices
    if unit.device_id_bits is not None:
        bits = unit.device_id_bits
        wide = rows["DeviceID"].astype(np.int64) >> bits > 0
        yield Group(
            DEVICE_OUT_OF_RANGE,
            rows[wide],
            lambda row: f"device {row['DeviceID']:#x} is mapped, and {unit.frame} has DeviceIDs of {bits} bits",
        )
    most = unit.event_id_bits or KVM_EVENT_ID_BITS
    if unit.event_id_bits is not None or found.profile.collection_list:
        yield Group(
            ITT_SIZE,
            rows[rows["Size"] + 1 > most],
            lambda row: f"device {row['DeviceID']:#x} has EventIDs of {row['Size'] + 1} bits; {unit.frame} has {most}",
        )


def _collections(found: Inspection, unit: Its) -> Iterator[Group]:
    rows, known = unit.collections, found.rdbases.known
    mapped = rows["RDbase"] != UNKNOWN
    if known is not None:
        lost = mapped & ~among(rows["RDbase"], known)
        yield Group(
            COLLECTION_RDBASE,
            rows[lost],
            lambda row: f"collection {row['ICID']} is mapped to RDbase {row['RDbase']:#x}; no redistributor is that",
        )
    off = [one.processor_number for one in found.redistributors if one.enabled is False]
    used = distinct(unit.events.rows["ICID"][~unit.events.rows["virtual"]])
    yield Group(
        COLLECTION_LPIS_OFF,
        rows[among(rows["RDbase"], off) & among(rows["ICID"], used)],
        lambda row: (
            f"collection {row['ICID']}, which events use, is on redistributor {row['RDbase']}: its LPIs are off"
        ),
    )
    again = rows[~is_first(rows["ICID"])]
    yield Group(COLLECTION_TWICE, again, lambda row: f"collection {row['ICID']} is listed more than once")


def _invalid_tables(unit: Its) -> Iterator[Finding]:
    for table in unit.tables.values() if unit.enabled else ():
        needed = table.kind != "collection" or not unit.collections_in_hardware
        if needed and not table.valid:
            yield Finding(TABLE_INVALID, f"{unit.frame} is enabled and {table.register} is not valid")


def _not_saved(found: Inspection, unit: Its) -> Iterator[Finding]:
    """Linux maps a collection first of all, so commands were executed and no table has an entry only before a save."""
    iidr = found.frames.fields(unit.frame, "IIDR")
    is_kvm = iidr is not None and iidr | KVM == iidr
    executed = any(queue.its == unit.number and queue.creadr for queue in found.queues)
    tables = unit.valid_tables.values()
    empty = not found.truncated and not any(entries.ids.size or entries.absent for entries in tables)
    if is_kvm and executed and tables and empty:
        yield Finding(NOT_SAVED, f"{unit.frame} is KVM's, has executed commands, and its tables in RAM are empty")


def _events(found: Inspection) -> Iterator[Group]:
    rows = found.events
    yield Group(
        INTID_OUT_OF_RANGE,
        rows[out_of_range(rows, found.vpes, most_id_bits(found.redistributors))],
        lambda row: (
            f"{event_name(row)} maps to {'vINTID' if row['virtual'] else 'INTID'} {row['INTID']}, no LPI of its table"
        ),
    )
    for unit in found.its:
        mine = rows[(rows["its"] == unit.number) & ~rows["virtual"]]
        mapped = unit.collections["ICID"][(unit.collections["RDbase"] != UNKNOWN) | gaps.placeless(found, unit)]
        # One that is listed without a redistributor is known not to be mapped.
        listed = among(mine["ICID"], unit.collections["ICID"])
        sure = listed | ~gaps.unsure(found, unit, "collection", mine["ICID"])
        lost = ~among(mine["ICID"], mapped) & (mine["ICID"] >= unit.collections_in_hardware) & sure
        yield Group(
            UNMAPPED_COLLECTION,
            mine[lost],
            lambda row: f"{event_name(row)} (INTID {row['INTID']}) is of collection {row['ICID']}, which is not mapped",
        )
    virtual = rows[rows["virtual"] & ~among(rows["vPEID"], found.vpes["vPEID"])]
    yield Group(
        UNMAPPED_VPE,
        virtual[~gaps.unsure_vpes(found, virtual["vPEID"])],
        lambda row: f"{event_name(row)} (vINTID {row['INTID']}) is of vPE {row['vPEID']}, which is not mapped",
    )
    yield _shared_intids(rows)


def _shared_intids(rows: NDArray[np.void]) -> Group:
    """Every event after the first of one interrupt: physical by INTID, virtual by vPE and vINTID."""
    first = first_of(interrupt_keys(rows["virtual"], rows["vPEID"], rows["INTID"]))
    again = first != np.arange(rows.size)
    others = {int(row): int(first[row]) for row in np.flatnonzero(again)[:MOST]}
    shared = rows[again]
    names = {_identity(rows[row]): event_name(rows[other]) for row, other in others.items()}
    return Group(
        SHARED_INTID,
        shared,
        lambda row: f"{event_name(row)} maps to INTID {row['INTID']}, as does {names[_identity(row)]}",
    )


def _identity(row: np.void) -> tuple[int, int, int]:
    """What tells an event from others: its entry need not have a place that is known."""
    return int(row["its"]), int(row["DeviceID"]), int(row["EventID"])


def _vpes(found: Inspection) -> Iterator[Group]:
    rows, known = found.vpes, found.rdbases.known
    if known is not None:
        yield Group(
            VPE_RDBASE,
            rows[(rows["RDbase"] != UNKNOWN) & ~among(rows["RDbase"], known)],
            lambda row: f"vPE {row['vPEID']} is mapped to RDbase {row['RDbase']:#x}; no redistributor is that",
        )
    yield Group(
        VPT_SIZE,
        rows[~among(rows["VPT_size"].astype(np.int64) + 1, ID_BITS)],
        lambda row: f"vPE {row['vPEID']} has vINTIDs of {row['VPT_size'] + 1} bits",
    )
    by_vpe = rows[np.argsort(rows["vPEID"], kind="stable")]
    lowest = by_vpe["vPEID"][first_of(by_vpe["VPT_addr"])]
    yield Group(
        VPT_SHARED,
        by_vpe[by_vpe["vPEID"] != lowest],
        lambda row: f"vPE {row['vPEID']} has the virtual pending table {row['VPT_addr']:#x}, as a lower vPEID has",
    )


def _doorbells(found: Inspection) -> Iterator[Group]:
    bits = most_id_bits(found.redistributors)

    def wrong(intids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(~among(intids, (NO_DOORBELL, UNKNOWN)) & ((intids < FIRST_LPI) | (intids >> bits > 0)))

    yield Group(
        DOORBELL,
        found.events[wrong(found.events["Doorbell"])],
        lambda row: f"{event_name(row)} has the doorbell INTID {row['Doorbell']}, which is no LPI",
    )
    yield Group(
        DOORBELL,
        found.vpes[wrong(found.vpes["Default_Doorbell"])],
        lambda row: f"vPE {row['vPEID']} has the default doorbell INTID {row['Default_Doorbell']}, which is no LPI",
    )
