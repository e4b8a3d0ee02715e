# SPDX-License-Identifier: Apache-2.0
"""LPI configuration bytes: enable and priority, read from the table or retained from an earlier read.

A redistributor may keep a byte until INV, INVALL, INVLPIR, INVALLR or their virtual counterparts name it. A retained
byte is stored with its RES1 bit set, so that 0 means "not read yet".
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.pending import FIRST_LPI_ID, LPI_ID_BITS
from gicmodel.hardware.kernels.ram import covers_aligned, load8
from gicmodel.hardware.kernels.state import CONFIG, Index, Machine, Truth, Word, retains
from gicmodel.hardware.kernels.words import ONE, ZERO, get
from gicmodel.jit import inlined, kernel
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER

ENABLE, PRIORITY = LPI_CONFIGURATION["Enable"], LPI_CONFIGURATION["Priority"]
RETAINED = np.uint64(LPI_CONFIGURATION.pack())
PROPBASER_ADDRESS, PROPBASER_ID_BITS = GICR_PROPBASER["Physical_Address"], GICR_PROPBASER["IDbits"]


@kernel
def configuration_byte(m: Machine, slot: Index, table: Word, intid: Word) -> Word:
    """The byte of an LPI at or above 8192; one outside RAM reads as disabled."""
    index = np.int64(intid - FIRST_LPI_ID)
    retain = retains(m)
    if retain and m.configuration[slot, index] != 0:
        return np.uint64(m.configuration[slot, index])
    address = table + (intid - FIRST_LPI_ID)
    if not covers_aligned(m, address):
        return ZERO
    byte = load8(m, address)
    if retain:
        m.configuration[slot, index] = np.uint8(byte | RETAINED)
    return byte


@inlined
def forget_byte(m: Machine, slot: Index, intid: Word) -> None:
    """Read the byte anew on its next use."""
    if retains(m):
        m.configuration[slot, np.int64(intid - FIRST_LPI_ID)] = np.uint8(0)


@kernel
def is_enabled(byte: Word) -> Truth:
    """LPI configuration: Enable."""
    return get(byte, ENABLE) == ONE


@kernel
def priority_of(byte: Word) -> Word:
    """The 8-bit priority value; lower is more urgent."""
    return get(byte, PRIORITY)


@kernel
def id_bits_of(m: Machine, propbaser: Word) -> Word:
    """INTID bits in force: GICR_PROPBASER.IDbits limited by GICD_TYPER.IDbits; 0 when there are no LPIs."""
    bits = get(propbaser, PROPBASER_ID_BITS) + ONE
    if bits > m.chip[CONFIG.intid_bits]:
        bits = m.chip[CONFIG.intid_bits]
    if bits < LPI_ID_BITS:
        bits = ZERO
    return bits
