# SPDX-License-Identifier: Apache-2.0
"""Where a driver's memory and INTIDs come from: ranges of numbers, taken first fit and given back."""

from __future__ import annotations

from bisect import bisect_left

from gicmodel.driver.errors import DriverError
from gicmodel.memory import PAGE_BYTES, GuestMemory


class FreeRanges:
    """The free numbers of [start, end), as sorted disjoint ranges that never touch."""

    def __init__(self, start: int, end: int) -> None:
        self._ranges = [(start, end)] if start < end else []

    def take(self, count: int, align: int = 1) -> int | None:
        """The lowest aligned start of `count` free numbers, which are free no longer; None if there are none."""
        for index, (low, high) in enumerate(self._ranges):
            start = -(-low // align) * align
            if start + count <= high:
                rest = [(low, start), (start + count, high)]
                self._ranges[index : index + 1] = [piece for piece in rest if piece[0] < piece[1]]
                return start
        return None

    def give(self, start: int, count: int) -> None:
        """Make [start, start + count) free. ValueError if part of it already is."""
        if not count:
            return
        end = start + count
        index = bisect_left(self._ranges, (start, end))
        before, after = self._ranges[:index], self._ranges[index:]
        if (before and before[-1][1] > start) or (after and after[0][0] < end):
            raise ValueError(f"{start:#x}..{end:#x} is already free in part")
        if before and before[-1][1] == start:
            start = before.pop()[0]
        if after and after[0][0] == end:
            end = after.pop(0)[1]
        self._ranges = [*before, (start, end), *after]

    @property
    def free(self) -> int:
        """How many numbers are free."""
        return sum(high - low for low, high in self._ranges)


class PageAllocator:
    """Zeroed pages of [start, end) of `memory`, which nobody else hands out."""

    def __init__(self, memory: GuestMemory, start: int, end: int) -> None:
        if start % PAGE_BYTES or end % PAGE_BYTES or not memory.covers(start, end - start):
            raise ValueError(f"{start:#x}..{end:#x} is not a run of whole pages of RAM")
        self.memory = memory
        self._ranges = FreeRanges(start, end)
        self._sizes: dict[int, int] = {}

    def alloc(self, size: int, align: int = PAGE_BYTES) -> int:
        """The address of `size` zeroed bytes, rounded up to whole pages. DriverError ENOMEM if there are none.

        Zeroed, because a table that the ITS or a redistributor is handed must be (IHI0069, as Linux does it).
        """
        size = -(-size // PAGE_BYTES) * PAGE_BYTES
        address = self._ranges.take(size, max(align, PAGE_BYTES))
        if address is None:
            raise DriverError("ENOMEM", f"no {size:#x} bytes of RAM aligned to {align:#x} are free")
        self.memory.zero(address, size)
        self._sizes[address] = size
        return address

    def free(self, address: int) -> None:
        """Take back what `alloc` returned. KeyError for any other address."""
        self._ranges.give(address, self._sizes.pop(address))

    @property
    def free_bytes(self) -> int:
        """How many bytes are left."""
        return self._ranges.free
