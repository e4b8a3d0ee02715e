# SPDX-License-Identifier: Apache-2.0
"""Bugs of tables and queues: bounds, indices, sizes of entries, and caches that are not told."""

import numpy as np

from gicmodel.hardware.kernels.entries import FLAT, ITE_BYTES
from gicmodel.hardware.kernels.lookup import DTE_SIZE
from gicmodel.hardware.kernels.state import CONFIG, ITS, TABLE, its_at, table_at
from gicmodel.hardware.kernels.tables import COLLECTION_TABLE, DEVICE_TABLE
from gicmodel.hardware.kernels.words import ONE, ZERO, get
from tests.fuzzing.mutants.planting import mutant

MASK32 = np.uint64(0xFFFF_FFFF)
HIGH = np.uint64(32)
EIGHT = np.uint64(8)


@mutant("lookup.event_out_of_range", "QEMU 8f809f6992, gem5 gic_v3_its.cc:992")
def one_event_too_many(original, m, dte, event_id):
    """EventID 2^(Size+1) is accepted"""
    return event_id != ONE << (get(dte, DTE_SIZE) + ONE) and original(m, dte, event_id)


@mutant("tables.device_out_of_range", "QEMU 80dcd37feb")
def one_device_too_many(original, m, its, device_id):
    """The DeviceID that is the size of the table is accepted"""
    return device_id > m.chip[table_at(its, DEVICE_TABLE) + TABLE.entries]


@mutant("tables.collection_out_of_range", "QEMU 80dcd37feb")
def one_collection_too_many(original, m, its, icid):
    """The ICID that is the size of the table is accepted"""
    return icid > m.chip[table_at(its, COLLECTION_TABLE) + TABLE.entries]


@mutant("tables.device_out_of_range", "gem5 gic_v3_its.cc:1000", within=8000, device_id_bits=16)
def devices_not_bounded_by_baser(original, m, its, device_id):
    """A DeviceID is bounded by GITS_TYPER.Devbits only, not by the table's size"""
    return device_id >= ONE << m.chip[CONFIG.device_id_bits]


@mutant("tables.collection_out_of_range", "QEMU 8b8bb0146b", within=8000, collection_id_bits=16)
def collections_not_bounded_by_baser(original, m, its, icid):
    """An ICID is bounded by GITS_TYPER.CIDbits only, not by the table's size"""
    return icid >= ONE << m.chip[CONFIG.collection_id_bits]


@mutant("lookup.redistributor_of", "QEMU a120157b24")
def one_redistributor_too_many(original, m, rdbase):
    """RDbase may be the number of redistributors"""
    return np.int64(rdbase) if rdbase == m.chip[CONFIG.redistributors] else original(m, rdbase)


@mutant("entries.entry_address", "VirtualBox GITSAll.cpp")
def level_1_index_by_remainder(original, m, place, identifier):
    """The level 1 index is the remainder by the entries of a page, not the quotient"""
    _, page_shift, _ = place
    if page_shift != FLAT:
        remainder = identifier & ((ONE << page_shift) - ONE)
        identifier = (remainder << page_shift) | remainder
    return original(m, place, identifier)


@mutant("entries.entry_address", "gem5 3126e84db7")
def itt_index_without_entry_size(original, m, place, identifier):
    """The index into the ITT is not multiplied by the size of an ITE"""
    base, page_shift, entry_bytes = place
    if entry_bytes == ITE_BYTES:
        base, identifier = base + identifier * EIGHT, ZERO
    return original(m, (base, page_shift, entry_bytes), identifier)


@mutant("ram.store96", "QEMU a1ce993da6")
def ite_high_word_at_4(original, m, address, low, high):
    """The upper 32 bits of an ITE are written at byte 4, not at byte 8"""
    original(m, address, (low & MASK32) | (high << HIGH), high)


@mutant("queue.can_run", "VirtualBox GITSAll.cpp", within=8000)
def runs_while_disabled(original, m, its):
    """Commands are executed though GITS_CTLR.Enabled is 0"""
    s = its_at(its)
    was = m.chip[s + ITS.ctlr]
    m.chip[s + ITS.ctlr] = was | ONE
    ready = original(m, its)
    m.chip[s + ITS.ctlr] = was
    return ready


@mutant("queue.log_error", "Xen vgic-v3-its.c:959")
def errors_are_lost(original, m, its, offset, number, packet):
    """A command that fails is not reported"""
