# SPDX-License-Identifier: Apache-2.0
"""Bugs of delivery: pending bits, priorities, acknowledgement, and configuration that is retained too long."""

import numpy as np

from gicmodel.hardware.kernels.cpu import highest_lpi
from gicmodel.hardware.kernels.pending import BIT_MASK, WORD_SHIFT, pending_word, write_pending_word
from gicmodel.hardware.kernels.words import ONE
from tests.fuzzing.mutants.planting import mutant

BYTE = np.uint64(0xFF)
BIT_IN_BYTE = np.uint64(7)


@mutant("highest.priority_of", "gem5 7ad6c8031a")
def priority_without_its_mask(original, byte):
    """The priority is the whole configuration byte, so that Enable makes an LPI less urgent"""
    return byte


@mutant("cpu.acknowledge", "QEMU 101f27f3c8")
def acknowledged_stays_pending(original, m, rd):
    """An LPI that was acknowledged is still the most urgent one"""
    return highest_lpi(m, rd)


@mutant("pending.clear_pending", "Linux KVM ca185b260951")
def byte_of_eight_lpis(original, m, slot, base, intid):
    """The pending bits of LPIs that share a byte are taken for one LPI's"""
    index = np.int64(intid >> WORD_SHIFT)
    word = pending_word(m, slot, base, index)
    was = original(m, slot, base, intid)
    if was:
        write_pending_word(m, slot, base, index, word & ~(BYTE << (intid & BIT_MASK & ~BIT_IN_BYTE)))
    return was


@mutant("highest.table_bytes", "gem5 bc300d3112")
def last_lpis_are_not_looked_at(original, id_bits):
    """The search for the most urgent LPI stops before the last word of the pending table"""
    return original(id_bits) - np.uint64(8)


@mutant("configuration.configuration_byte", "gem5 a4f30167f6", caching="retain")
def retained_is_disabled(original, m, slot, table, intid):
    """Where configuration is retained, an LPI is seen as disabled"""
    return original(m, slot, table, intid) & ~ONE


@mutant("entries.drop", "VirtualBox GITSAll.cpp", within=8000, caching="retain")
def remapping_keeps_the_cache(original, m, tag):
    """MAPTI, MAPC and MAPD over a mapping leave the old one in the cache"""
