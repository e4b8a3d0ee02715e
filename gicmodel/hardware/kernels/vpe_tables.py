# SPDX-License-Identifier: Apache-2.0
"""vPE entries: the ITS's vPE table (GITS_BASER2) and, in GICv4.1, the redistributors' vPE configuration table.

Kernels see one form, the four words of `layouts.vpe.VPE_CONFIGURATION`; a GICv4.0 VTE is widened on reading and
narrowed on writing. With GITS_TYPER.SVPET != 0 both tables are the same bytes. `DoorbellArmed` and the group enables
are kept in the redistributors' copy only.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.ram import load64, store64
from gicmodel.hardware.kernels.state import CONFIG, RD, TABLE, Index, Machine, Packet, Truth, Word, rd_at, table_at
from gicmodel.hardware.kernels.table_cache import (
    KIND_VPE,
    KIND_VPE_CONFIGURATION,
    cache_line,
    cache_tag,
    cached,
    drop,
    keep,
)
from gicmodel.hardware.kernels.tables import ABSENT, VPE_TABLE, entry_address, unless_absent
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put
from gicmodel.jit import inlined, kernel
from gicmodel.layouts.itt import NO_DOORBELL
from gicmodel.layouts.vpe import VPE_CONFIGURATION, VTE

VTE_VALID, VTE_VPT_SIZE, VTE_VPT_ADDR, VTE_RDBASE = VTE["Valid"], VTE["VPT_size"], VTE["VPT_addr"], VTE["RDbase"]
VPE_VALID, VPE_VPT_SIZE = VPE_CONFIGURATION["Valid"], VPE_CONFIGURATION["VPT_size"]
VPE_VPT_ADDR, VPE_RDBASE = VPE_CONFIGURATION["VPT_addr"], VPE_CONFIGURATION["RDbase"]
VPE_VCONF_ADDR, VPE_DOORBELL = VPE_CONFIGURATION["VCONF_addr"], VPE_CONFIGURATION["Default_Doorbell"]
VPE_ARMED, VPE_ITS_MAP = VPE_CONFIGURATION["DoorbellArmed"], VPE_CONFIGURATION["ITSMap"]
VPE_GROUP0, VPE_GROUP1 = VPE_CONFIGURATION["VGrp0En"], VPE_CONFIGURATION["VGrp1En"]

VTE_SHIFT, VPE_SHIFT = (np.uint64(layout.bytes.bit_length() - 1) for layout in (VTE, VPE_CONFIGURATION))
NO_DOORBELL_ID = np.uint64(NO_DOORBELL)
WORD1, WORD2, WORD3 = np.uint64(8), np.uint64(16), np.uint64(24)
NOTHING: Packet = (ZERO, ZERO, ZERO, ZERO)


@kernel
def vpe_entry_shift(m: Machine) -> Word:
    """log2 of the bytes of an entry of GITS_BASER2's table."""
    if m.chip[CONFIG.v41] == ONE:
        return VPE_SHIFT
    return VTE_SHIFT


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
def load_entry(m: Machine, address: Word) -> Packet:
    """The four words of a vPE configuration entry."""
    words = (load64(m, address), load64(m, address + WORD1), load64(m, address + WORD2), load64(m, address + WORD3))
    return words


@kernel
def store_entry(m: Machine, address: Word, entry: Packet) -> None:
    """Store the four words of a vPE configuration entry."""
    store64(m, address, entry[0])
    store64(m, address + WORD1, entry[1])
    store64(m, address + WORD2, entry[2])
    store64(m, address + WORD3, entry[3])


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
    tag = cache_tag(KIND_VPE, its, vpe_id)
    if cached(m, tag):
        return OK, cached_entry(m, tag)
    reason, address = entry_address(m, table_at(its, VPE_TABLE), vpe_id, vpe_entry_shift(m))
    if reason != OK:
        return unless_absent(reason), NOTHING
    entry = NOTHING
    if m.chip[CONFIG.v41] == ONE:
        entry = load_entry(m, address)
    elif get(load64(m, address), VTE_VALID) == ONE:
        entry = vpe_of_vte(load64(m, address), its)
    keep_entry(m, tag, entry)
    return OK, entry


@inlined
def write_vpe(m: Machine, its: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the ITS's entry; a shared entry is also the other ITSs' and the redistributors'."""
    if m.chip[CONFIG.retain] == ONE:
        drop_vpe(m, vpe_id)
    reason, address = entry_address(m, table_at(its, VPE_TABLE), vpe_id, vpe_entry_shift(m))
    if reason == OK:
        if m.chip[CONFIG.v41] == ONE:
            store_entry(m, address, entry)
        else:
            store64(m, address, vte_of_vpe(entry))
    return unless_absent(reason)


@inlined
def configuration_address(m: Machine, rd: Index, vpe_id: Word) -> tuple[Word, Word]:
    """(reason, address) where redistributor `rd` finds the vPE's entry; ABSENT where it has no table for it."""
    table = rd_at(rd) + RD.table
    if vpe_id >= m.chip[table + TABLE.entries]:
        return ABSENT, ZERO
    return entry_address(m, table, vpe_id, VPE_SHIFT)


@inlined
def read_vpe_configuration(m: Machine, rd: Index, vpe_id: Word) -> tuple[Word, Packet]:
    """The redistributor's entry of a vPEID (GICv4.1)."""
    tag = cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id)
    if cached(m, tag):
        return OK, cached_entry(m, tag)
    reason, address = configuration_address(m, rd, vpe_id)
    if reason != OK:
        return unless_absent(reason), NOTHING
    entry = load_entry(m, address)
    keep_entry(m, tag, entry)
    return OK, entry


@inlined
def write_vpe_configuration(m: Machine, rd: Index, vpe_id: Word, entry: Packet) -> Word:
    """Store the redistributors' entry, through redistributor `rd`'s GICR_VPROPBASER."""
    if m.chip[CONFIG.retain] == ONE:
        drop_vpe(m, vpe_id)
    reason, address = configuration_address(m, rd, vpe_id)
    if reason == OK:
        store_entry(m, address, entry)
    return unless_absent(reason)


@kernel
def drop_vpe(m: Machine, vpe_id: Word) -> None:
    """Forget every cached copy of a vPE's entry: the hardware that writes one knows of all."""
    for its in range(np.int64(m.chip[CONFIG.its])):
        drop(m, cache_tag(KIND_VPE, its, vpe_id))
    for rd in range(np.int64(m.chip[CONFIG.redistributors])):
        drop(m, cache_tag(KIND_VPE_CONFIGURATION, rd, vpe_id))
