# SPDX-License-Identifier: Apache-2.0
"""The tables of an ITS, and the redistributors' vPE configuration table: who has which entry, and what it says.

Of vPE entries, in the ITS's vPE table (GITS_BASER2) and in GICv4.1 the redistributors' vPE configuration table, kernels
see one form, the four words of `layouts.its_tables.VPE_CONFIGURATION`; a GICv4.0 VTE is widened on reading and narrowed
on writing. With GITS_TYPER.SVPET != 0 both tables are the same bytes. `DoorbellArmed` and the group enables are kept in
the redistributors' copy only.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.entries import (
    FLAT,
    ITE_BYTES,
    KIND_CTE,
    KIND_DTE,
    KIND_ITE,
    KIND_VPE,
    KIND_VPE_CONFIGURATION,
    NOTHING,
    VPE_BYTES,
    Place,
    cache_tag,
    drop_device_events,
    drop_vpe,
    ite_identifier,
    read_entry,
    write_entry,
)
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.state import (
    CONFIG,
    RD,
    TABLE,
    Index,
    Machine,
    Packet,
    Truth,
    Word,
    collection_at,
    rd_at,
    retains,
    table_at,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.its_tables import CTE, DTE, ITE, NO_DOORBELL, VPE_CONFIGURATION, VTE
from gicmodel.layouts.registers.its import GITS_BASER

DEVICE_TABLE, COLLECTION_TABLE, VPE_TABLE = 0, 1, 2
"""GITS_BASER<n> by table, the allocation that GICv4.1 mandates."""

BASER_VALID = GITS_BASER["Valid"]
DTE_VALID, DTE_ITT_ADDR = DTE["Valid"], DTE["ITT_addr"]
CTE_VALID = CTE["Valid"]
ITE_VALID = ITE["Valid"]
VTE_VALID, VTE_VPT_SIZE, VTE_VPT_ADDR, VTE_RDBASE = VTE["Valid"], VTE["VPT_size"], VTE["VPT_addr"], VTE["RDbase"]
VPE_VALID, VPE_VPT_SIZE = VPE_CONFIGURATION["Valid"], VPE_CONFIGURATION["VPT_size"]
VPE_VPT_ADDR, VPE_RDBASE = VPE_CONFIGURATION["VPT_addr"], VPE_CONFIGURATION["RDbase"]
VPE_VCONF_ADDR, VPE_DOORBELL = VPE_CONFIGURATION["VCONF_addr"], VPE_CONFIGURATION["Default_Doorbell"]
VPE_ARMED, VPE_ITS_MAP = VPE_CONFIGURATION["DoorbellArmed"], VPE_CONFIGURATION["ITSMap"]
VPE_GROUP0, VPE_GROUP1 = VPE_CONFIGURATION["VGrp0En"], VPE_CONFIGURATION["VGrp1En"]

DTE_BYTES, CTE_BYTES, VTE_BYTES = (np.uint64(layout.bytes) for layout in (DTE, CTE, VTE))
NO_DOORBELL_ID = np.uint64(NO_DOORBELL)


@inlined
def place_of(m: Machine, table: Index, entry_bytes: Word) -> Place:
    """The table whose `TABLE` words begin at `table` in `chip`."""
    return m.chip[table + TABLE.base], m.chip[table + TABLE.page_shift], entry_bytes


@kernel
def device_out_of_range(m: Machine, its: Index, device_id: Word) -> Truth:
    """DeviceID beyond the device table or GITS_TYPER.Devbits."""
    return device_id >= m.chip[table_at(its, DEVICE_TABLE) + TABLE.entries]


@inlined
def read_dte(m: Machine, its: Index, device_id: Word) -> tuple[Word, Word]:
    """The DTE of a DeviceID in range."""
    place = place_of(m, table_at(its, DEVICE_TABLE), DTE_BYTES)
    reason, entry = read_entry(m, cache_tag(KIND_DTE, its, device_id), place, device_id)
    return reason, entry[0]


@kernel
def write_dte(m: Machine, its: Index, device_id: Word, dte: Word) -> Word:
    """Store a DTE."""
    if unlikely(retains(m)):
        drop_device_events(m, its, device_id)
    place = place_of(m, table_at(its, DEVICE_TABLE), DTE_BYTES)
    return write_entry(m, cache_tag(KIND_DTE, its, device_id), place, device_id, (dte, ZERO, ZERO, ZERO))


@kernel
def collection_out_of_range(m: Machine, its: Index, icid: Word) -> Truth:
    """ICID beyond HCC plus the collection table (GITS_TYPER.CCT = 1), or GITS_TYPER.CIDbits."""
    return icid >= m.chip[CONFIG.hcc] + m.chip[table_at(its, COLLECTION_TABLE) + TABLE.entries]


@inlined
def read_cte(m: Machine, its: Index, icid: Word) -> tuple[Word, Word]:
    """The CTE of an ICID in range; those below HCC are in the ITS."""
    hcc = m.chip[CONFIG.hcc]
    if icid < hcc:
        return OK, m.chip[collection_at(its, icid)]
    place = place_of(m, table_at(its, COLLECTION_TABLE), CTE_BYTES)
    reason, entry = read_entry(m, cache_tag(KIND_CTE, its, icid), place, icid - hcc)
    return reason, entry[0]


@kernel
def write_cte(m: Machine, its: Index, icid: Word, cte: Word) -> Word:
    """Store a CTE."""
    hcc = m.chip[CONFIG.hcc]
    if icid < hcc:
        m.chip[collection_at(its, icid)] = cte
        return OK
    place = place_of(m, table_at(its, COLLECTION_TABLE), CTE_BYTES)
    return write_entry(m, cache_tag(KIND_CTE, its, icid), place, icid - hcc, (cte, ZERO, ZERO, ZERO))


@inlined
def itt_of(dte: Word) -> Place:
    """The ITT of a device: a linear array indexed by EventID."""
    return get(dte, DTE_ITT_ADDR), FLAT, ITE_BYTES


@inlined
def read_ite(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word) -> tuple[Word, Word, Word]:
    """(reason, low 64 bits, high 32 bits) of an ITE."""
    tag = cache_tag(KIND_ITE, its, ite_identifier(device_id, event_id))
    reason, entry = read_entry(m, tag, itt_of(dte), event_id)
    return reason, entry[0], entry[1]


@inlined
def write_ite(m: Machine, its: Index, device_id: Word, dte: Word, event_id: Word, low: Word, high: Word) -> Word:
    """Store an ITE."""
    tag = cache_tag(KIND_ITE, its, ite_identifier(device_id, event_id))
    return write_entry(m, tag, itt_of(dte), event_id, (low, high, ZERO, ZERO))


@inlined
def vpe_out_of_range(m: Machine, its: Index, vpe_id: Word) -> Truth:
    """vPEID beyond the ITS's vPE table or the implemented width."""
    return vpe_id >= m.chip[table_at(its, VPE_TABLE) + TABLE.entries]


@inlined
def read_vpe(m: Machine, its: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The ITS's entry of a vPEID in range."""
    tag, table = cache_tag(KIND_VPE, its, vpe_id), table_at(its, VPE_TABLE)
    if m.chip[CONFIG.v41] == ONE:
        return read_entry(m, tag, place_of(m, table, VPE_BYTES), vpe_id)
    reason, vte = read_entry(m, tag, place_of(m, table, VTE_BYTES), vpe_id)
    return reason, vpe_of_vte(vte[0], its)


@inlined
def write_vpe(m: Machine, its: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the ITS's entry; a shared entry is also the other ITSs' and the redistributors'."""
    if unlikely(retains(m)):
        drop_vpe(m, vpe_id)
    tag, table = cache_tag(KIND_VPE, its, vpe_id), table_at(its, VPE_TABLE)
    if m.chip[CONFIG.v41] == ONE:
        return write_entry(m, tag, place_of(m, table, VPE_BYTES), vpe_id, entry)
    return write_entry(m, tag, place_of(m, table, VTE_BYTES), vpe_id, (vte_of_vpe(entry), ZERO, ZERO, ZERO))


@inlined
def vpe_of_vte(vte: Word, its: Index) -> Packet:
    """A GICv4.0 VTE in the form of a vPE configuration entry; one that is not valid is NOTHING."""
    if unlikely(get(vte, VTE_VALID) != ONE):
        return NOTHING
    word0 = put(get(vte, VTE_VPT_ADDR), VPE_VPT_ADDR) | put(get(vte, VTE_VPT_SIZE), VPE_VPT_SIZE) | put(ONE, VPE_VALID)
    word1 = put(get(vte, VTE_RDBASE), VPE_RDBASE)
    return word0, word1, put(NO_DOORBELL_ID, VPE_DOORBELL), put(ONE << np.uint64(its), VPE_ITS_MAP)


@kernel
def vte_of_vpe(entry: Packet) -> Word:
    """The GICv4.0 VTE with the same contents; an invalid one is all zero."""
    if get(entry[0], VPE_VALID) != ONE:
        return ZERO
    where = put(get(entry[0], VPE_VPT_ADDR), VTE_VPT_ADDR) | put(get(entry[1], VPE_RDBASE), VTE_RDBASE)
    return where | put(get(entry[0], VPE_VPT_SIZE), VTE_VPT_SIZE) | put(ONE, VTE_VALID)


@kernel
def mapped_here(entry: Packet, its: Index) -> Truth:
    """Whether the vPE is mapped on this ITS: a shared entry may belong to other ITSs only."""
    return get(entry[0], VPE_VALID) == ONE and (get(entry[3], VPE_ITS_MAP) >> np.uint64(its)) & ONE == ONE


@kernel
def in_configuration_table(m: Machine, rd: Index, vpe_id: Word) -> Truth:
    """Whether redistributor `rd` has a table with room for the vPE."""
    return vpe_id < m.chip[rd_at(rd) + RD.table + TABLE.entries]


@inlined
def read_vpe_configuration(m: Machine, rd: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The redistributor's entry of a vPEID (GICv4.1); NOTHING of one beyond its table."""
    if unlikely(not in_configuration_table(m, rd, vpe_id)):
        return OK, NOTHING
    place = place_of(m, rd_at(rd) + RD.table, VPE_BYTES)
    return read_entry(m, cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id), place, vpe_id)


@inlined
def write_vpe_configuration(m: Machine, rd: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the redistributors' entry, through redistributor `rd`'s GICR_VPROPBASER."""
    if unlikely(retains(m)):
        drop_vpe(m, vpe_id)
    if unlikely(not in_configuration_table(m, rd, vpe_id)):
        return OK
    place = place_of(m, rd_at(rd) + RD.table, VPE_BYTES)
    return write_entry(m, cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id), place, vpe_id, entry)
