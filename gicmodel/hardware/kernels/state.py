# SPDX-License-Identifier: Apache-2.0
"""What the silicon holds, as arrays: `Machine`. Tables are not here; they are bytes in RAM.

Kernels take the machine first and numbers after it. It has few arrays because each is passed by value through every
call: registers, caches and the log share `chip`, a row of words in which the NamedTuples below give the places.
Index arithmetic is int64, words are uint64, and the two never meet in one operation (numba would make the result
signed, Python would not).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import FIRST_SPI, MOST_LIST_REGISTERS, GicConfig, power_of_two
from gicmodel.jit import kernel
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import BASERS
from gicmodel.layouts.table import Table
from gicmodel.memory import GuestMemory

Word = np.uint64
Index = int | np.int64
Truth = bool | np.bool_
Slot = NDArray[np.uint64]
Packet = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

IMMEDIATE, DESCHEDULE, UNMAP = np.uint64(0), np.uint64(1), np.uint64(2)
"""Values of `CONFIG.vpt_writeback`."""

STIRRED = np.uint64(1)
LINE_WORDS = 8
TABLE_LINE_WORDS = 8
LOG_ENTRIES = 1024
INTIDS = 1024
"""Those of SGIs, PPIs and SPIs are below."""
INTIDS_IN_WORD, PRIORITIES_IN_WORD = 64, 8
MOST_ITSS, MOST_REDISTRIBUTORS, MOST_HARDWARE_COLLECTIONS, MOST_VPES = 16, 512, 256, 1 << 16


class ConfigWords(NamedTuple):
    """`chip` words that hold the RAM window and the choices of `GicConfig`."""

    base: int
    size: int
    its: int
    redistributors: int
    virtual: int
    v41: int
    stall: int
    retain: int
    vpt_writeback: int
    doorbell_every: int
    discard_unmapped: int
    device_id_bits: int
    event_id_bits: int
    collection_id_bits: int
    vpe_id_bits: int
    intid_bits: int
    pta: int
    vmovp: int
    svpet: int
    nid: int
    hcc: int
    umsi: int
    redistributor_base: int
    redistributor_stride: int
    list_registers: int
    maintenance_intid: int
    spi_limit: int
    """The first INTID above those of SPIs."""
    stepping: int
    intid_limit: int
    event_id_limit: int
    """The first INTID, the first EventID of too many bits."""
    pending_words: int
    """64-bit words of a pending table with all INTIDs."""
    set_mask: int
    """Sets of the cache of VPTs, less one."""
    line_mask: int
    """Lines of the cache of table entries, less one."""
    log_count: int


class ItsWords(NamedTuple):
    """Words of one ITS, from `its_at`. `busy`: a write of Enabled is not in effect yet; `baser`: eight words.

    `tables`: the `TableWords` of GITS_BASER0 to 2, which follow from those registers. `ahead`: see `read_ahead`.
    """

    ctlr: int
    cbaser: int
    cwriter: int
    creadr: int
    statusr: int
    umsir: int
    partidr: int
    busy: int
    baser: int
    tables: int
    ahead: int


class DistributorWords(NamedTuple):
    """Words of the distributor, from `DIST_AT`: registers, and of the SPIs what `RedistributorWords` has of PPIs.

    Of each INTID below 1024 there is a bit, 64 in a word, or a byte of `priority`. `router`: the GICD_IROUTER<n>.
    `stirred`: what any PE is to see may have changed.
    """

    ctlr: int
    statusr: int
    stirred: int
    igroup: int
    enable: int
    pending: int
    level: int
    active: int
    edge: int
    priority: int
    router: int


class RedistributorWords(NamedTuple):
    """Words of one redistributor and its PE's CPU interface, from `rd_at`. `dirty`, `busy`, `rwp`: work that the next
    step ends.

    `lpi_limit`: the first INTID that is not taken for an LPI, 0 while LPIs are off; `table`: the `TableWords` of
    GICR_VPROPBASER in GICv4.1. Both follow from registers. `stirred`: what the PE is to see may have changed.

    Of SGIs and PPIs there is a bit each: their group, whether they are enabled, made pending (an edge, an SGI, a write
    of GICR_ISPENDR0), active, and edge-triggered; whether a PPI's input is high (`level`); and a byte of `priority`.
    """

    ctlr: int
    waker: int
    statusr: int
    partidr: int
    propbaser: int
    pendbaser: int
    vpropbaser: int
    vpendbaser: int
    vsgipendr: int
    group: int
    dirty: int
    busy: int
    rwp: int
    lpi_limit: int
    stirred: int
    table: int
    igroup: int
    enable: int
    pending: int
    level: int
    active: int
    edge: int
    priority: int
    icc_pmr: int
    icc_bpr0: int
    icc_bpr1: int
    icc_ctlr: int
    icc_igrpen0: int
    icc_igrpen1: int
    icc_ap0r: int
    icc_ap1r: int
    ich_hcr: int
    ich_vmcr: int
    ich_ap0r: int
    ich_ap1r: int
    ich_lr: int


class TableWords(NamedTuple):
    """Words of one table: its address, how many identifiers it serves, log2 of a level 2 page's entries (0: flat)."""

    base: int
    entries: int
    page_shift: int


class LogWords(NamedTuple):
    """Words of one command error, from `log_at`: ITS, CREADR offset, number, and the four words of the command."""

    its: int
    offset: int
    number: int
    words: int


class SlotWords(NamedTuple):
    """Columns of a slot: its table's address with bit 0 set, INTID bits, whether it holds the bits, the bits.

    `stray`: its vPE may be gone, for the table that had the vPE was taken away with the vPE in it.
    """

    tag: int
    id_bits: int
    held: int
    stray: int
    bits: int


Words = TypeVar("Words", bound=NamedTuple)


def _places(words: type[Words], /, **lengths: int) -> tuple[Words, int]:
    """The places of words that follow one another, some of them `lengths` long; and how far such rows lie apart."""
    ends = list(accumulate(lengths.get(name, 1) for name in words._fields))
    return words._make([0, *ends[:-1]]), power_of_two(ends[-1])


TABLE, TABLE_WORDS = _places(TableWords)
CONFIG, ITS_AT = _places(ConfigWords)
ITS, ITS_WORDS = _places(ItsWords, baser=BASERS, tables=3 * TABLE_WORDS)
RD, RD_WORDS = _places(
    RedistributorWords, table=TABLE_WORDS, priority=FIRST_SPI // PRIORITIES_IN_WORD, ich_lr=MOST_LIST_REGISTERS
)
DIST, DIST_WORDS = _places(
    DistributorWords,
    **dict.fromkeys(("igroup", "enable", "pending", "level", "active", "edge"), INTIDS // INTIDS_IN_WORD),
    priority=INTIDS // PRIORITIES_IN_WORD,
    router=INTIDS,
)
LOG, LOG_WORDS = _places(LogWords, words=COMMAND_BYTES // 8)
SLOT = _places(SlotWords)[0]._replace(bits=LINE_WORDS)

RD_AT = ITS_AT + MOST_ITSS * ITS_WORDS
LOG_AT = RD_AT + MOST_REDISTRIBUTORS * RD_WORDS
COLLECTIONS_AT = LOG_AT + LOG_ENTRIES * LOG_WORDS
RESIDENT_AT = COLLECTIONS_AT + MOST_ITSS * MOST_HARDWARE_COLLECTIONS
DIST_AT = RESIDENT_AT + MOST_VPES
TABLES_AT = DIST_AT + DIST_WORDS
"""Places in `chip`. The cached table entries come last, as many as `GicConfig.table_cache_lines` says."""


class Machine(NamedTuple):
    """All state of one `Gic`, beside its RAM. Slot r for r < redistributors is redistributor r's LPI pending table."""

    ram: NDArray[np.uint64]
    halves: NDArray[np.uint32]
    """The same bytes, for entries of 12 bytes: every other one begins in the middle of a word."""
    pages: NDArray[np.uint8]
    chip: NDArray[np.uint64]
    slots: NDArray[np.uint64]
    """[slots, SLOT.bits + words + lines / 64]: `SLOT`, the pending bits, and which 64-byte lines differ from RAM."""
    configuration: NDArray[np.uint8]
    """[slots, LPIs]: configuration bytes read so far, 0 = not read (only with `caching="retain"`)."""


@kernel
def retains(m: Machine) -> Truth:
    """Whether table entries and configuration bytes are cached (`GicConfig.caching`); most machines do without."""
    return bool(m.chip[CONFIG.retain])


@kernel
def its_at(its: Index) -> Index:
    """Where an ITS's words begin. The mask spares numba the question whether an index is negative."""
    return ITS_AT + (its & (MOST_ITSS - 1)) * ITS_WORDS


@kernel
def rd_at(rd: Index) -> Index:
    """Where a redistributor's words begin."""
    return RD_AT + rd * RD_WORDS


@kernel
def stir(m: Machine, rd: Index) -> None:
    """Note that what the PE is to see may have changed."""
    m.chip[rd_at(rd) + RD.stirred] = STIRRED


@kernel
def stir_all(m: Machine) -> None:
    """Note that what any PE is to see may have changed."""
    m.chip[DIST_AT + DIST.stirred] = STIRRED


@kernel
def table_at(its: Index, baser: Index) -> Index:
    """Where the words of the table of a GITS_BASER<n> begin."""
    return its_at(its) + ITS.tables + baser * TABLE_WORDS


@kernel
def log_at(entry: Index) -> Index:
    """Where an entry of the error log begins."""
    return LOG_AT + entry * LOG_WORDS


@kernel
def resident_on(m: Machine, vpe_id: Word) -> Index:
    """The redistributor on which the vPE is resident, or -1 (GICv4.1)."""
    return np.int64(m.chip[RESIDENT_AT + np.int64(vpe_id)]) - 1


@kernel
def set_resident(m: Machine, vpe_id: Word, rd: Index) -> None:
    """Note where a vPE is resident; -1 for nowhere."""
    m.chip[RESIDENT_AT + np.int64(vpe_id)] = np.uint64(rd + 1)


@kernel
def collection_at(its: Index, icid: Word) -> Index:
    """Where the CTE of a collection that the ITS holds itself is kept."""
    return COLLECTIONS_AT + its * MOST_HARDWARE_COLLECTIONS + np.int64(icid)


def new_machine(config: GicConfig, memory: GuestMemory) -> Machine:
    """The machine at reset: all bits that the architecture leaves UNKNOWN are zero."""
    words = (1 << config.intid_bits) // 64
    lines = max(words // LINE_WORDS // 64, 1)
    retain = config.caching == "retain"
    machine = Machine(
        ram=memory.words,
        halves=memory.words.view(np.uint32),
        pages=memory.page_state,
        chip=np.zeros(TABLES_AT + table_lines(config) * TABLE_LINE_WORDS, np.uint64),
        slots=np.zeros((config.cache_slots, SLOT.bits + words + lines), np.uint64),
        configuration=np.zeros((config.cache_slots, (1 << config.intid_bits) - FIRST_LPI if retain else 1), np.uint8),
    )
    _fill_config(machine.chip, config, memory)
    machine.slots[: config.redistributors, SLOT.held] = config.pending_writeback == "disable"
    return machine


def table_words(table: Table, entry_bytes: int, identifiers: int) -> TableWords:
    """What lookups need of a table of entries of `entry_bytes` for that many identifiers at most."""
    table = replace(table, entry_bytes=entry_bytes)
    page_shift = table.per_page.bit_length() - 1 if table.indirect else 0
    return TableWords(table.address, min(table.capacity, identifiers) if table.valid else 0, page_shift)


def table_lines(config: GicConfig) -> int:
    """Lines of the cache of table entries, a power of two."""
    return power_of_two(config.table_cache_lines) if config.caching == "retain" else 1


def _fill_config(chip: NDArray[np.uint64], config: GicConfig, memory: GuestMemory) -> None:
    writeback = {"immediate": IMMEDIATE, "deschedule": DESCHEDULE, "unmap": UNMAP}[config.vpt_writeback]
    values: dict[str, Any] = {
        "base": memory.base,
        "size": memory.size,
        "stall": config.command_errors == "stall",
        "retain": config.caching == "retain",
        "vpt_writeback": writeback,
        "doorbell_every": config.individual_doorbell == "every",
        "discard_unmapped": config.discard_unmapped == "remove",
        "stepping": config.commands_per_step is not None,
        "intid_limit": 1 << config.intid_bits,
        "spi_limit": FIRST_SPI + config.spis,
        "event_id_limit": 1 << config.event_id_bits,
        "pending_words": (1 << config.intid_bits) // 64,
        "set_mask": power_of_two(config.vpt_cache_sets) - 1,
        "line_mask": table_lines(config) - 1,
        "log_count": 0,
    }
    for name, word in CONFIG._asdict().items():
        chip[word] = values[name] if name in values else getattr(config, name)
