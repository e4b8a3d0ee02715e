# SPDX-License-Identifier: Apache-2.0
"""Accesses to RAM. Every address is a guest's: `covers` is asked before each access, and a no is an external abort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.kernels.state import CONFIG, Index, Machine, Packet, Truth, Word
from gicmodel.hardware.kernels.words import BYTES_SHIFT, ONE, ZERO, byte_of
from gicmodel.jit import kernel
from gicmodel.memory import PAGE_BYTES, STORED

PAGE_SHIFT = np.uint64(PAGE_BYTES.bit_length() - 1)
HALF_SHIFT, HALF_BITS = np.uint64(2), np.uint64(32)
TWO, THREE, EIGHT = np.uint64(2), np.uint64(3), np.uint64(8)
MASK32 = np.uint64(0xFFFF_FFFF)


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
def covers_aligned(m: Machine, address: Word) -> Truth:
    """The same for what is aligned to its size, a power of two: like RAM, it ends where a page does or before."""
    return address - m.chip[CONFIG.base] < m.chip[CONFIG.size]


@kernel
def load64(m: Machine, address: Word) -> Word:
    """The 64-bit word at an 8-byte aligned address that `covers` has passed."""
    return m.ram[(address - m.chip[CONFIG.base]) >> BYTES_SHIFT]


@kernel
def store64(m: Machine, address: Word, value: Word) -> None:
    """Write a 64-bit word and mark its page."""
    offset = address - m.chip[CONFIG.base]
    m.ram[offset >> BYTES_SHIFT] = value
    m.pages[offset >> PAGE_SHIFT] = STORED


@kernel
def load256(m: Machine, address: Word) -> Packet:
    """The four words at a 32-byte aligned address that `covers` has passed."""
    first = (address - m.chip[CONFIG.base]) >> BYTES_SHIFT
    return m.ram[first], m.ram[first + ONE], m.ram[first + TWO], m.ram[first + THREE]


@kernel
def store256(m: Machine, address: Word, words: Packet) -> None:
    """Write four words at a 32-byte aligned address and mark their page."""
    offset = address - m.chip[CONFIG.base]
    first = offset >> BYTES_SHIFT
    m.ram[first], m.ram[first + ONE], m.ram[first + TWO], m.ram[first + THREE] = words
    m.pages[offset >> PAGE_SHIFT] = STORED


@kernel
def load96(m: Machine, address: Word) -> tuple[Word, Word]:
    """(low 64 bits, high 32 bits) of the 12 bytes at a 4-byte aligned address."""
    first = half_index(m, address)
    low = np.uint64(m.halves[first]) | (np.uint64(m.halves[first + ONE]) << HALF_BITS)
    return low, np.uint64(m.halves[first + TWO])


@kernel
def store96(m: Machine, address: Word, low: Word, high: Word) -> None:
    """Write 12 bytes at a 4-byte aligned address and mark their pages.

    To keep the other half of a word that they share it would have to be read first, which takes longer than the rest
    of many a command.
    """
    first = half_index(m, address)
    m.halves[first] = np.uint32(low & MASK32)
    m.halves[first + ONE] = np.uint32(low >> HALF_BITS)
    m.halves[first + TWO] = np.uint32(high & MASK32)
    m.pages[(address - m.chip[CONFIG.base]) >> PAGE_SHIFT] = STORED
    m.pages[(address - m.chip[CONFIG.base] + EIGHT) >> PAGE_SHIFT] = STORED


@kernel
def half_index(m: Machine, address: Word) -> Word:
    """Index of the 32 bits at a 4-byte aligned address in RAM as halves of words."""
    return (address - m.chip[CONFIG.base]) >> HALF_SHIFT


@kernel
def load8(m: Machine, address: Word) -> Word:
    """The byte at any address."""
    return byte_of(load64(m, address), address)


@kernel
def ram_index(m: Machine, address: Word) -> Index:
    """Index in `m.ram` of the word at `address`."""
    return np.int64((address - m.chip[CONFIG.base]) >> BYTES_SHIFT)


@kernel
def copy_words(source: NDArray[np.uint64], target: NDArray[np.uint64]) -> None:
    """Copy words between two views; without any index arithmetic in it the loop is as fast as memcpy."""
    for word in range(source.shape[0]):
        target[word] = source[word]


@kernel
def first_nonzero(words: NDArray[np.uint64], index: Index, end: Index) -> Index:
    """The first place from `index` on, up to `end`, of a word that is not zero; eight at a time."""
    while index + 8 <= end:
        line = words[index : index + 8]
        if (line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7]) != ZERO:
            break
        index += 8
    while index < end and words[index] == ZERO:
        index += 1
    return index


@kernel
def mark(m: Machine, address: Word, length: Word) -> None:
    """Mark the pages of a range that was written without `store64`."""
    first = (address - m.chip[CONFIG.base]) >> PAGE_SHIFT
    last = (address - m.chip[CONFIG.base] + length - ONE) >> PAGE_SHIFT
    for page in range(np.int64(first), np.int64(last) + 1):
        m.pages[page] = STORED
