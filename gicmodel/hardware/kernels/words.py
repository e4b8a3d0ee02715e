# SPDX-License-Identifier: Apache-2.0
"""Fields of 64-bit words and of command packets, addressed by the constants that `layouts` derives."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.state import Packet, Word
from gicmodel.jit import kernel
from gicmodel.layouts.layout import Field

ZERO, ONE = np.uint64(0), np.uint64(1)
ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
BYTES_SHIFT, BYTE_IN_WORD = np.uint64(3), np.uint64(7)
"""Byte n of an array is byte n & BYTE_IN_WORD of word n >> BYTES_SHIFT."""
BITS_SHIFT, BYTE_MASK = np.uint64(3), np.uint64(0xFF)
"""From bytes to bits."""


@kernel
def get(word: Word, field: Field) -> Word:
    """The field's value; an address field gives the whole address."""
    return ((word >> field.shift) & field.mask) << field.scale


@kernel
def put(value: Word, field: Field) -> Word:
    """The field's bits holding `value`, all other bits zero."""
    return ((value >> field.scale) & field.mask) << field.shift


@kernel
def replace(word: Word, field: Field, value: Word) -> Word:
    """`word` with the field replaced."""
    return (word & ~(field.mask << field.shift)) | put(value, field)


@kernel
def operand(packet: Packet, field: Field) -> Word:
    """A field of a 32-byte command."""
    return get(packet[field.word], field)


@kernel
def byte_of(word: Word, position: Word) -> Word:
    """Of an array of bytes the one at a position, from the word that it is in."""
    return (word >> ((position & BYTE_IN_WORD) << BITS_SHIFT)) & BYTE_MASK


@kernel
def bits_set(word: Word) -> Word:
    """Population count; LLVM turns the loop into one instruction."""
    count = ZERO
    while word != ZERO:
        word &= word - ONE
        count += ONE
    return count


@kernel
def lowest_bit(word: Word) -> Word:
    """Index of the lowest set bit of a nonzero word."""
    return bits_set((word & (~word + ONE)) - ONE)
