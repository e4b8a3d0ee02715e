# SPDX-License-Identifier: Apache-2.0
"""vPE entries: the ITS's vPE table (GITS_BASER2) and, in GICv4.1, the redistributors' vPE configuration table.

Kernels see one form, the four words of `layouts.its_tables.VPE_CONFIGURATION`; a GICv4.0 VTE is widened on reading and
narrowed on writing. With GITS_TYPER.SVPET != 0 both tables are the same bytes. `DoorbellArmed` and the group enables
are kept in the redistributors' copy only.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.ram import load64, load256, store64, store256
from gicmodel.hardware.kernels.state import (
    CONFIG,
    RD,
    TABLE,
    Index,
    Machine,
    Packet,
    Truth,
    Word,
    rd_at,
    retains,
    table_at,
)
from gicmodel.hardware.kernels.table_cache import (
    KIND_VPE,
    KIND_VPE_CONFIGURATION,
    cache_line,
    cache_tag,
    cached,
    drop,
    keep,
)
from gicmodel.hardware.kernels.tables import VPE_TABLE, entry_address, unless_absent
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.its_tables import NO_DOORBELL, VPE_CONFIGURATION, VTE

VTE_VALID, VTE_VPT_SIZE, VTE_VPT_ADDR, VTE_RDBASE = VTE["Valid"], VTE["VPT_size"], VTE["VPT_addr"], VTE["RDbase"]
VPE_VALID, VPE_VPT_SIZE = VPE_CONFIGURATION["Valid"], VPE_CONFIGURATION["VPT_size"]
VPE_VPT_ADDR, VPE_RDBASE = VPE_CONFIGURATION["VPT_addr"], VPE_CONFIGURATION["RDbase"]
VPE_VCONF_ADDR, VPE_DOORBELL = VPE_CONFIGURATION["VCONF_addr"], VPE_CONFIGURATION["Default_Doorbell"]
VPE_ARMED, VPE_ITS_MAP = VPE_CONFIGURATION["DoorbellArmed"], VPE_CONFIGURATION["ITSMap"]
VPE_GROUP0, VPE_GROUP1 = VPE_CONFIGURATION["VGrp0En"], VPE_CONFIGURATION["VGrp1En"]

VTE_SHIFT, VPE_SHIFT = (np.uint64(layout.bytes.bit_length() - 1) for layout in (VTE, VPE_CONFIGURATION))
NO_DOORBELL_ID = np.uint64(NO_DOORBELL)
NOTHING: Packet = (ZERO, ZERO, ZERO, ZERO)


@inlined
def vpe_out_of_range(m: Machine, its: Index, vpe_id: Word) -> Truth:
    """vPEID beyond the ITS's vPE table or the implemented width."""
    return vpe_id >= m.chip[table_at(its, VPE_TABLE) + TABLE.entries]


@kernel
def vpe_of_vte(vte: Word, its: Index) -> Packet:
    """A GICv4.0 VTE in the form of a vPE configuration entry."""
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
def cached_entry(m: Machine, tag: Word) -> Packet:
    """A vPE entry that `cached` has found."""
    line = cache_line(m, tag)
    return m.chip[line + 1], m.chip[line + 2], m.chip[line + 3], m.chip[line + 4]


@kernel
def keep_entry(m: Machine, tag: Word, entry: Packet) -> None:
    """Hold a valid vPE entry."""
    if get(entry[0], VPE_VALID) == ONE:
        keep(m, tag, entry[0], entry[1], entry[2], entry[3])


@inlined
def read_vpe(m: Machine, its: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The ITS's entry of a vPEID in range."""
    if unlikely(retains(m)):
        return read_vpe_retained(m, its, vpe_id)
    return walk_to_vpe(m, its, vpe_id)


@inlined
def read_vpe_retained(m: Machine, its: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The same from the cache, or kept there if it is valid."""
    tag = cache_tag(KIND_VPE, its, vpe_id)
    if cached(m, tag):
        return OK, cached_entry(m, tag)
    reason, entry = walk_to_vpe(m, its, vpe_id)
    keep_entry(m, tag, entry)
    return reason, entry


@inlined
def walk_to_vpe(m: Machine, its: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The ITS's entry in RAM; an error, or none, reads as NOTHING."""
    if m.chip[CONFIG.v41] == ONE:
        return entry_in(m, table_at(its, VPE_TABLE), vpe_id)
    reason, address = entry_address(m, table_at(its, VPE_TABLE), vpe_id, VTE_SHIFT)
    if unlikely(reason != OK):
        return unless_absent(reason), NOTHING
    vte = load64(m, address)
    if unlikely(get(vte, VTE_VALID) != ONE):
        return OK, NOTHING
    return OK, vpe_of_vte(vte, its)


@inlined
def entry_in(m: Machine, table: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The vPE configuration entry in a table in RAM; an error, or none, reads as NOTHING."""
    reason, address = entry_address(m, table, vpe_id, VPE_SHIFT)
    if unlikely(reason != OK):
        return unless_absent(reason), NOTHING
    return OK, load256(m, address)


@inlined
def write_vpe(m: Machine, its: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the ITS's entry; a shared entry is also the other ITSs' and the redistributors'."""
    if unlikely(retains(m)):
        drop_vpe(m, vpe_id)
    if m.chip[CONFIG.v41] == ONE:
        return write_entry_in(m, table_at(its, VPE_TABLE), vpe_id, entry)
    reason, address = entry_address(m, table_at(its, VPE_TABLE), vpe_id, VTE_SHIFT)
    if reason == OK:
        store64(m, address, vte_of_vpe(entry))
    return unless_absent(reason)


@inlined
def write_entry_in(m: Machine, table: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the vPE configuration entry in a table."""
    reason, address = entry_address(m, table, vpe_id, VPE_SHIFT)
    if reason == OK:
        store256(m, address, entry)
    return unless_absent(reason)


@kernel
def in_configuration_table(m: Machine, rd: Index, vpe_id: Word) -> Truth:
    """Whether redistributor `rd` has a table with room for the vPE."""
    return vpe_id < m.chip[rd_at(rd) + RD.table + TABLE.entries]


@inlined
def read_vpe_configuration(m: Machine, rd: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The redistributor's entry of a vPEID (GICv4.1)."""
    if unlikely(retains(m)):
        return read_configuration_retained(m, rd, vpe_id)
    return walk_to_configuration(m, rd, vpe_id)


@inlined
def read_configuration_retained(m: Machine, rd: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The same from the cache, or kept there if it is valid."""
    tag = cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id)
    if cached(m, tag):
        return OK, cached_entry(m, tag)
    reason, entry = walk_to_configuration(m, rd, vpe_id)
    keep_entry(m, tag, entry)
    return reason, entry


@inlined
def walk_to_configuration(m: Machine, rd: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The redistributor's entry in RAM; an error, or none, reads as NOTHING."""
    if unlikely(not in_configuration_table(m, rd, vpe_id)):
        return OK, NOTHING
    return entry_in(m, rd_at(rd) + RD.table, vpe_id)


@inlined
def write_vpe_configuration(m: Machine, rd: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the redistributors' entry, through redistributor `rd`'s GICR_VPROPBASER."""
    if unlikely(retains(m)):
        drop_vpe(m, vpe_id)
    if unlikely(not in_configuration_table(m, rd, vpe_id)):
        return OK
    return write_entry_in(m, rd_at(rd) + RD.table, vpe_id, entry)


@kernel
def drop_vpe(m: Machine, vpe_id: Word) -> None:
    """Forget every cached copy of a vPE's entry: the hardware that writes one knows of all."""
    for its in range(np.int64(m.chip[CONFIG.its])):
        drop(m, cache_tag(KIND_VPE, its, vpe_id))
    for rd in range(np.int64(m.chip[CONFIG.redistributors])):
        drop(m, cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id))
