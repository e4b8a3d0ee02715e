# SPDX-License-Identifier: Apache-2.0
"""The highest priority pending interrupt: what IAR returns and what PendingLast and doorbells ask about.

Nothing is remembered between questions: pending bits and configuration decide each time. Of equal priorities the lowest
INTID wins, which is IMPLEMENTATION DEFINED and QEMU's choice too.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import configuration_byte, is_enabled, priority_of
from gicmodel.hardware.kernels.pending import FIRST_LPI_WORD, next_pending, pending_word, table_bytes
from gicmodel.hardware.kernels.ram import covers
from gicmodel.hardware.kernels.state import SLOT, Index, Machine, Truth, Word
from gicmodel.hardware.kernels.words import BYTES_SHIFT, ONE, ZERO, byte_of, get, lowest_bit
from gicmodel.jit import kernel
from gicmodel.layouts import lpi_tables
from gicmodel.layouts.lpi_tables import VSGI_CONFIGURATION, VSGI_CONFIGURATION_BYTE, VSGIS

SPURIOUS = np.uint64(lpi_tables.SPURIOUS)
NO_PRIORITY = np.uint64(0x100)
"""Less urgent than any."""
NO_GROUP = np.uint64(2)
NO_INTERRUPT = SPURIOUS, NO_PRIORITY, NO_GROUP
"""(INTID, priority, group) where there is none."""

VSGI_ENABLE, VSGI_GROUP, VSGI_PRIORITY = (VSGI_CONFIGURATION[name] for name in ("Enable", "Group", "Priority"))
VSGI_COUNT = np.uint64(VSGIS)
VSGI_MASK = np.uint64((1 << VSGIS) - 1)
VSGI_FIRST_BYTE = np.uint64(VSGI_CONFIGURATION_BYTE)


@kernel
def table_readable(m: Machine, slot: Index, base: Word, id_bits: Word) -> Truth:
    """Whether the pending table exists: held, or in RAM as a whole."""
    return m.slots[slot, SLOT.held] == ONE or covers(m, base, table_bytes(id_bits))


@kernel
def best_lpi(m: Machine, slot: Index, base: Word, table: Word, id_bits: Word) -> tuple[Word, Word]:
    """(INTID, priority) of the most urgent enabled pending LPI of a table, or (1023, 0x100)."""
    best, best_priority = SPURIOUS, NO_PRIORITY
    end = np.int64(table_bytes(id_bits) >> BYTES_SHIFT)
    index = next_pending(m, slot, base, np.int64(FIRST_LPI_WORD), end)
    while index < end:
        word = pending_word(m, slot, base, index)
        while word != ZERO:
            intid = np.uint64(index * 64) + lowest_bit(word)
            word &= word - ONE
            byte = configuration_byte(m, slot, table, intid)
            if is_enabled(byte) and priority_of(byte) < best_priority:
                best, best_priority = intid, priority_of(byte)
        index = next_pending(m, slot, base, index + 1, end)
    return best, best_priority


@kernel
def any_enabled_lpi(m: Machine, slot: Index, base: Word, table: Word, id_bits: Word) -> Truth:
    """Whether some pending LPI of a table is enabled."""
    end = np.int64(table_bytes(id_bits) >> BYTES_SHIFT)
    index = next_pending(m, slot, base, np.int64(FIRST_LPI_WORD), end)
    while index < end:
        word = pending_word(m, slot, base, index)
        while word != ZERO:
            intid = np.uint64(index * 64) + lowest_bit(word)
            word &= word - ONE
            if is_enabled(configuration_byte(m, slot, table, intid)):
                return True
        index = next_pending(m, slot, base, index + 1, end)
    return False


@kernel
def vsgi_configuration(m: Machine, slot: Index, base: Word, vsgi: Word) -> Word:
    """The configuration byte of a vSGI, from the first KiB of the VPT."""
    position = VSGI_FIRST_BYTE + vsgi
    return byte_of(pending_word(m, slot, base, np.int64(position >> BYTES_SHIFT)), position)


@kernel
def vsgi_forwardable(byte: Word, group0: Word, group1: Word) -> Truth:
    """Whether an enabled vSGI's group is enabled too."""
    enabled = group0
    if get(byte, VSGI_GROUP) == ONE:
        enabled = group1
    return get(byte, VSGI_ENABLE) == ONE and enabled == ONE


@kernel
def best_vsgi(m: Machine, slot: Index, base: Word, group0: Word, group1: Word) -> tuple[Word, Word, Word]:
    """(INTID, priority, group) of the most urgent forwardable pending vSGI, or (1023, 0x100, 2)."""
    best, best_priority, best_group = NO_INTERRUPT
    word = pending_word(m, slot, base, 0) & VSGI_MASK
    while word != ZERO:
        vsgi = lowest_bit(word)
        word &= word - ONE
        byte = vsgi_configuration(m, slot, base, vsgi)
        priority = get(byte, VSGI_PRIORITY)
        if vsgi_forwardable(byte, group0, group1) and priority < best_priority:
            best, best_priority, best_group = vsgi, priority, get(byte, VSGI_GROUP)
    return best, best_priority, best_group
