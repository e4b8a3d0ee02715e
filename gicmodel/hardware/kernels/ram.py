# SPDX-License-Identifier: Apache-2.0
"""Accesses to RAM. Every address is a guest's: `covers` is asked before each access, and a no is an external abort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.kernels.state import CONFIG, Index, Machine, Truth, Word
from gicmodel.hardware.kernels.words import ALL_ONES, ONE
from gicmodel.jit import kernel
from gicmodel.memory import DIRTY, PAGE_BYTES, WRITTEN

STORED = np.uint8(DIRTY | WRITTEN)
PAGE_SHIFT = np.uint64(PAGE_BYTES.bit_length() - 1)
WORD_SHIFT = np.uint64(3)
BYTE_IN_WORD = np.uint64(7)
HIGH_HALF = np.uint64(4)
EIGHT, HALF_BITS = np.uint64(8), np.uint64(32)
BITS_SHIFT = np.uint64(3)
LAST_BIT = np.uint64(63)
MASK32 = np.uint64(0xFFFF_FFFF)
MASK8 = np.uint64(0xFF)


@kernel
def covers(m: Machine, address: Word, length: Word) -> Truth:
    """Whether [address, address + length) lies in the RAM window; below its base the offset wraps, and is too large."""
    size = m.chip[CONFIG.size]
    return length <= size and address - m.chip[CONFIG.base] <= size - length


@kernel
def covers_entry(m: Machine, address: Word, length: Word) -> Truth:
    """The same for the few bytes of an entry: no window is smaller than a page."""
    return address - m.chip[CONFIG.base] <= m.chip[CONFIG.size] - length


@kernel
def load64(m: Machine, address: Word) -> Word:
    """The 64-bit word at an 8-byte aligned address that `covers` has passed."""
    return m.ram[(address - m.chip[CONFIG.base]) >> WORD_SHIFT]


@kernel
def store64(m: Machine, address: Word, value: Word) -> None:
    """Write a 64-bit word and mark its page."""
    offset = address - m.chip[CONFIG.base]
    m.ram[offset >> WORD_SHIFT] = value
    m.pages[offset >> PAGE_SHIFT] = STORED


@kernel
def load96(m: Machine, address: Word) -> tuple[Word, Word]:
    """(low 64 bits, high 32 bits) of the 12 bytes at a 4-byte aligned address.

    Every other entry of 12 bytes begins in the middle of a word: shifts, for a branch would be mispredicted.
    """
    first, second = load64(m, address), load64(m, address + EIGHT)
    shift = (address & HIGH_HALF) << BITS_SHIFT
    return (first >> shift) | ((second << ONE) << (LAST_BIT - shift)), (second >> shift) & MASK32


@kernel
def store96(m: Machine, address: Word, low: Word, high: Word) -> None:
    """Write 12 bytes at a 4-byte aligned address; the 4 bytes that share a word with them stay."""
    shift = (address & HIGH_HALF) << BITS_SHIFT
    kept, replaced = ~(ALL_ONES << shift), ALL_ONES >> (HALF_BITS - shift)
    store64(m, address, (load64(m, address) & kept) | (low << shift))
    word = ((low >> ONE) >> (LAST_BIT - shift)) | ((high & MASK32) << shift)
    store64(m, address + EIGHT, (load64(m, address + EIGHT) & ~replaced) | word)


@kernel
def load8(m: Machine, address: Word) -> Word:
    """The byte at any address."""
    return (load64(m, address) >> ((address & BYTE_IN_WORD) << BITS_SHIFT)) & MASK8


@kernel
def ram_index(m: Machine, address: Word) -> Index:
    """Index in `m.ram` of the word at `address`."""
    return np.int64((address - m.chip[CONFIG.base]) >> WORD_SHIFT)


@kernel
def copy_words(source: NDArray[np.uint64], target: NDArray[np.uint64]) -> None:
    """Copy words between two views; without any index arithmetic in it the loop is as fast as memcpy."""
    for word in range(source.shape[0]):
        target[word] = source[word]


@kernel
def mark(m: Machine, address: Word, length: Word) -> None:
    """Mark the pages of a range that was written without `store64`."""
    first = (address - m.chip[CONFIG.base]) >> PAGE_SHIFT
    last = (address - m.chip[CONFIG.base] + length - ONE) >> PAGE_SHIFT
    for page in range(np.int64(first), np.int64(last) + 1):
        m.pages[page] = STORED
