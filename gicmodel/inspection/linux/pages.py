# SPDX-License-Identifier: Apache-2.0
"""A dumped kernel's memory by its own addresses: the linear map, the image, and what the page tables say.

And its structures there, by the names of their members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.btf import Structure
from gicmodel.inspection.linux.vmcoreinfo import Vmcoreinfo
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES

_ADDRESS = (1 << 64) - 1
_WORD = 8
_MOST_OCTETS = 1 << 24
_DESCRIPTOR_ADDRESS = (1 << 48) - 1 & ~0xFFF
_MOST_PAGES = 1 << 12
_VALID, _TABLE = 1, 2
_MOST_IN_LIST = 1 << 16

Structures = Callable[..., Structure | None]
"""Who knows a kernel's structures, its BTF or its debug information: (name, *members), None if there is no such one."""


class Unreadable(Exception):
    """What the dump does not hold, or that makes no sense; the message says where."""


class HeldPages:
    """A dump by pages, of which the last are kept: structures are read word by word, many of the same page."""

    def __init__(self, dump: Dump) -> None:
        self._page = lru_cache(_MOST_PAGES)(lambda page: self._read(dump, page))

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes from a physical address on; None if the dump lacks one."""
        found = b""
        while len(found) < size:
            page, first = divmod(address + len(found), PAGE_BYTES)
            octets, held = self._page(page)
            part = slice(first, min(PAGE_BYTES, first + size - len(found)))
            if not (held is None or held[part].all()):
                return None
            found += octets[part]
        return found

    @staticmethod
    def _read(dump: Dump, page: int) -> tuple[bytes, NDArray[np.bool_] | None]:
        octets, held = dump.read(page * PAGE_BYTES, PAGE_BYTES)
        return octets.tobytes(), None if held.all() else held


class Pages:
    """The memory of a kernel that adds `linear` to a physical address to reach it.

    Without VMCOREINFO nothing else of it can be followed. Every method raises Unreadable for what is not there.
    """

    def __init__(
        self, dump: Dump, linear: int, note: Vmcoreinfo | None, structures: Structures = lambda *_: None
    ) -> None:
        self._held = HeldPages(dump)
        self._linear = linear
        self._note = note
        self._pages: dict[int, int] = {}
        self._structures = cache(structures)

    def physical(self, address: int) -> int:
        """Where a kernel address lies."""
        if self._note is None:
            return self._in_linear_map(address)
        bits = self._note.number("NUMBER(VA_BITS)")
        # The lower half of the kernel's addresses maps all of RAM (Documentation/arch/arm64/memory.rst).
        if bits is not None and 16 < bits < 64 and self._linear and not address >> bits - 1 & 1:
            return self._in_linear_map(address)
        return self.walk(address)

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a kernel address, page by page."""
        if not 0 <= address <= _ADDRESS - size or size > _MOST_OCTETS:
            raise Unreadable(f"{size} bytes at {address & _ADDRESS:#x} are no memory")
        found = bytearray()
        while len(found) < size:
            at = address + len(found)
            many = min(size - len(found), 0x1000 - at % 0x1000)
            found += self._octets(self.physical(at), many, f"at {at:#x}")
        return bytes(found)

    def number(self, address: int, size: int = _WORD) -> int:
        """The unsigned number of `size` bytes at a kernel address."""
        return int.from_bytes(self.read(address, size), "little")

    def array(self, address: int, count: int, dtype: str) -> NDArray[np.unsignedinteger]:
        """`count` numbers from a kernel address on."""
        found: NDArray[np.unsignedinteger] = np.frombuffer(self.read(address, count * np.dtype(dtype).itemsize), dtype)
        return found

    def structure(self, name: str, *members: str) -> Structure:
        """The struct of that name which has these members."""
        found = self._structures(name, *members)
        if found is None:
            raise Unreadable(f"the kernel has no struct {name} with {', '.join(members)}")
        return found

    def list_entries(self, head: int, offset: int) -> Iterator[int]:
        """The addresses of the structures in a `struct list_head` at `head`, which have theirs at `offset`."""
        before, entry, count = head, self.number(head), 0
        while entry != head:
            # Each entry leads back to the one before it, so that a list that does not end leaves this one.
            if self.number(entry + 8) != before or count == _MOST_IN_LIST:
                raise Unreadable(f"the list at {head:#x} breaks at {entry:#x}")
            yield entry - offset
            before, entry, count = entry, self.number(entry), count + 1
        if self.number(head + 8) != before:
            raise Unreadable(f"the list at {head:#x} ends at {before:#x}, and its `prev` is another")

    def wanted(self, name: str) -> int:
        """A number of the kernel's VMCOREINFO."""
        value = None if self._note is None else self._note.number(name)
        if value is None:
            raise Unreadable(f"there is no VMCOREINFO that has {name}")
        return value

    def page_address(self, page: int) -> int:
        """The physical address of what a `struct page` describes (arm64 `page_to_phys`)."""
        first, base = self._vmemmap()
        size = self.wanted("SIZE(page)")
        number, rest = divmod(page - first, size) if size > 0 else (-1, 0)
        if rest or number < 0:
            raise Unreadable(f"{page:#x} is no struct page")
        # Where KASLR moves the linear map, PHYS_OFFSET is below 0, printed without its sign.
        return number * self.wanted("PAGESIZE") + base & _ADDRESS

    def _vmemmap(self) -> tuple[int, int]:
        """A `struct page` and the physical address that it is of: `vmemmap` is of 0 (since Linux 6.9)."""
        if self._note is not None and (first := self._note.number("SYMBOL(vmemmap)")) is not None:
            return first, 0
        return self.wanted("NUMBER(VMEMMAP_START)") & _ADDRESS, self.wanted("NUMBER(PHYS_OFFSET)")

    def walk(self, address: int) -> int:
        """Where a kernel address lies by the page tables, from `swapper_pg_dir` down (DDI0487 D8, VMSAv8-64)."""
        page = self.wanted("PAGESIZE")
        if page not in (0x1000, 0x4000, 0x1_0000):
            raise Unreadable(f"VMCOREINFO's PAGESIZE is {page}")
        if (number := address // page) not in self._pages:
            self._pages[number] = self._walk(address & -page, page)
        return self._pages[number] + address % page

    def _walk(self, address: int, page: int) -> int:
        table = self.wanted("SYMBOL(swapper_pg_dir)") - self.wanted("NUMBER(kimage_voffset)") & _ADDRESS
        shift = page.bit_length() - 1
        stride, bits = shift - 3, 64 - self.wanted("NUMBER(TCR_EL1_T1SZ)")
        levels = -(-(bits - shift) // stride)
        for level in reversed(range(levels)):
            low = shift + level * stride
            index = address >> low & (1 << (bits - low if level == levels - 1 else stride)) - 1
            where = f"of the page tables of {address:#x}"
            entry = int.from_bytes(self._octets(table + index * _WORD, _WORD, where), "little")
            if not entry & _VALID:
                break
            if not entry & _TABLE or level == 0:
                return entry & _DESCRIPTOR_ADDRESS & -(1 << low) | address & (1 << low) - 1
            table = entry & _DESCRIPTOR_ADDRESS & -page
        raise Unreadable(f"{address:#x} is not mapped")

    def _in_linear_map(self, address: int) -> int:
        physical = address - self._linear & _ADDRESS
        if physical >> ADDRESS_BITS:
            raise Unreadable(f"{address:#x} is not in the linear map")
        return physical

    def _octets(self, physical: int, size: int, where: str) -> bytes:
        if not physical >> ADDRESS_BITS:
            octets = self._held.read(physical, size)
            if octets is not None:
                return octets
        raise Unreadable(f"{size} bytes {where} are not in the dump")
