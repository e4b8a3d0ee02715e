# SPDX-License-Identifier: Apache-2.0
"""RAM: one window of physical addresses as NumPy arrays that alias the same bytes.

Addresses come from registers, tables and commands, hence from a guest: every access is checked, and one outside the
window is an external abort that touches nothing.
"""

import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PAGE_BYTES = 4096
ADDRESS_BITS = 52
"""The widest physical address that a GICv3 or GICv4 register or table entry holds."""

DIRTY = 1
"""Page state: written since the last `clear_dirty`."""
WRITTEN = 2
"""Page state: ever written."""
STORED = np.uint8(DIRTY | WRITTEN)
"""What a store adds to the state of its page."""

Data = bytes | bytearray | memoryview | NDArray[np.uint8]

_PAGEMAP = "/proc/self/pagemap"
_BACKED = np.uint64(3 << 62)
"""Linux, Documentation/admin-guide/mm/pagemap.rst: the page is in memory, or swapped out."""
_PART = 1 << 14
"""System pages looked at together: what is copied of them has 64 MiB, or 1 GiB where a page has 64 KiB."""

# Python names this flag of mmap(2) from 3.13 on. Without it Linux refuses a window larger than the machine's memory.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class ExternalAbort(Exception):
    """An access to physical addresses where there is no memory."""

    def __init__(self, address: int, length: int) -> None:
        super().__init__(f"external abort: no memory at {address:#x}, {length} bytes")
        self.address = address
        self.length = length


class GuestMemory:
    """A window [base, base + size) of physical addresses that costs nothing until it is touched.

    `words` (uint64, [size // 8], little-endian) and `octets` (uint8, [size]) are the same bytes, for kernels and bulk
    work; whoever writes through them, or through `view`, owes a `mark`. `page_state` (uint8, [size // PAGE_BYTES])
    holds the flags DIRTY and WRITTEN of each page.
    """

    def __init__(self, base: int, size: int) -> None:
        """Raise ValueError unless base and size are whole pages within the 52-bit physical address space."""
        if base % PAGE_BYTES or size % PAGE_BYTES:
            raise ValueError(f"window {base:#x} + {size:#x} is not a whole number of {PAGE_BYTES}-byte pages")
        if base < 0 or size <= 0 or base + size > 1 << ADDRESS_BITS:
            raise ValueError(f"window {base:#x} + {size:#x} is not in the {ADDRESS_BITS}-bit physical address space")
        self.base = base
        self.size = size
        mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        self._bytes = memoryview(mapping)
        self.words: NDArray[np.uint64] = np.frombuffer(mapping, "<u8")
        self.octets: NDArray[np.uint8] = self.words.view(np.uint8)
        self.page_state: NDArray[np.uint8] = np.zeros(size // PAGE_BYTES, np.uint8)

    @property
    def end(self) -> int:
        """The first address after the window."""
        return self.base + self.size

    def covers(self, address: int, length: int) -> bool:
        """Whether all of [address, address + length) is in the window."""
        # int(): the sum of two NumPy words would wrap at 2**64 back into the window.
        return length >= 0 and self.base <= int(address) and int(address) + int(length) <= self.end

    def read(self, address: int, length: int) -> bytes:
        """Return `length` bytes; raise ExternalAbort outside the window."""
        return self._octets_at(address, length).tobytes()

    def write(self, address: int, data: Data) -> None:
        """Store bytes; outside the window raise ExternalAbort and store none of them."""
        source = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8).data
        offset = self._offset(address, len(source))
        self._bytes[offset : offset + len(source)] = source
        self.mark(address, len(source))

    def read_u8(self, address: int) -> int:
        """Return the byte at any address; raise ExternalAbort outside the window."""
        return self._read_word(address, 1)

    def read_u64(self, address: int) -> int:
        """Return the little-endian 64-bit word at any address; raise ExternalAbort outside the window."""
        return self._read_word(address, 8)

    def write_u8(self, address: int, value: int) -> None:
        """Store a byte; raise ExternalAbort outside the window, OverflowError if the value is wider."""
        self.write(address, int(value).to_bytes(1, "little"))

    def write_u64(self, address: int, value: int) -> None:
        """Store 64 bits, little-endian; raise ExternalAbort outside the window, OverflowError if the value is wider."""
        self.write(address, int(value).to_bytes(8, "little"))

    def zero(self, address: int, length: int) -> None:
        """Store zeros; raise ExternalAbort outside the window."""
        self._octets_at(address, length)[:] = 0
        self.mark(address, length)

    def view(self, address: int, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of `count` elements that aliases the window's bytes; raise ExternalAbort outside it."""
        element = np.dtype(dtype)
        return self._octets_at(address, count * element.itemsize).view(element)

    def mark(self, address: int, length: int) -> None:
        """Record that [address, address + length) was written; raise ExternalAbort outside the window."""
        offset = self._offset(address, length)
        if length:
            self.page_state[offset // PAGE_BYTES : (offset + length - 1) // PAGE_BYTES + 1] = STORED

    def dirty_pages(self) -> NDArray[np.int64]:
        """Return the addresses of the pages written since the last `clear_dirty`, ascending."""
        return self._pages_with(DIRTY)

    def written_pages(self) -> NDArray[np.int64]:
        """Return the addresses of the pages ever written, ascending."""
        return self._pages_with(WRITTEN)

    def nonzero_pages(self) -> NDArray[np.int64]:
        """Return the addresses of the pages that hold anything but zeros, ascending, whether marked or not."""
        pages = self.words.reshape(-1, PAGE_BYTES // 8)
        parts = [part[pages[part].any(axis=1)] for part in self._backed_pages()]
        return np.concatenate(parts) * PAGE_BYTES + self.base

    def clear_dirty(self) -> None:
        """Forget what was written so far, for `dirty_pages` only."""
        # By index: to store into every page's state would make a large window's untouched part cost memory.
        self.page_state[np.flatnonzero(self.page_state & DIRTY)] &= WRITTEN

    def _pages_with(self, flag: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.page_state & flag) * PAGE_BYTES + self.base

    def _backed_pages(self) -> Iterator[NDArray[np.int64]]:
        """The pages that have been touched, in parts; all of them where Linux does not say. The others are zero.

        To look for itself would cost a large window memory: what is read is mapped.
        """
        first, count = self.octets.ctypes.data // mmap.PAGESIZE, -(-self.size // mmap.PAGESIZE)
        try:
            pagemap = os.open(_PAGEMAP, os.O_RDONLY)
        except OSError:
            pagemap = -1
        try:
            for start in range(0, count, _PART):
                entries = np.full(min(_PART, count - start), _BACKED)
                if pagemap >= 0:
                    told = os.pread(pagemap, entries.nbytes, (first + start) * entries.itemsize)
                    entries[: len(told) // entries.itemsize] = np.frombuffer(told, np.uint64)
                backed = np.repeat(entries & _BACKED != 0, mmap.PAGESIZE // PAGE_BYTES)
                numbers = np.flatnonzero(backed) + start * mmap.PAGESIZE // PAGE_BYTES
                yield numbers[numbers < len(self.page_state)]
        finally:
            if pagemap >= 0:
                os.close(pagemap)

    def _read_word(self, address: int, length: int) -> int:
        return int.from_bytes(self._octets_at(address, length).tobytes(), "little")

    def _octets_at(self, address: int, length: int) -> NDArray[np.uint8]:
        offset = self._offset(address, length)
        return self.octets[offset : offset + int(length)]

    def _offset(self, address: int, length: int) -> int:
        if not self.covers(address, length):
            raise ExternalAbort(int(address), int(length))
        return int(address) - self.base
