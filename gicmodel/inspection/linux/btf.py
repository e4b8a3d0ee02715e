# SPDX-License-Identifier: Apache-2.0
"""The kernel's own description of its structures: BTF, where CONFIG_DEBUG_INFO_BTF has it in the image.

The format is Documentation/bpf/btf.rst and include/uapi/linux/btf.h: a header, types one behind the other, strings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.scan import Places

_HEADER = struct.Struct("<HBBIIIII")
"""magic, version, flags, hdr_len, type_off, type_len, str_off, str_len."""
_SMALLEST_KERNEL = 1 << 20
"""Bytes of types: a kernel has several millions, a module or a program thousands."""
_LARGEST = 1 << 25
_MOST = 8
"""Kernels whose BTF is looked at."""
_STRUCT, _UNION = 4, 5
_TYPE_WORDS, _MEMBER_WORDS = 3, 3
_MORE_WORDS = {1: 1, 3: 3, 14: 1, 17: 1}
_WORDS_EACH = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
"""Words behind a type of a kind: fixed, and for each of its `vlen` elements."""
_MOST_NESTED = 8


class Structure(NamedTuple):
    """A struct: its size in bytes, and the offset of each member, those of anonymous structs in it included."""

    size: int
    offsets: dict[str, int]

    def at(self, address: int) -> dict[str, int]:
        """Where the members of the one at an address are."""
        return {name: address + offset for name, offset in self.offsets.items()}


class Btf:
    """The structures of one kernel: several may have one name, as that is of the file that declares it."""

    def __init__(self, words: memoryview, strings: bytes) -> None:
        self._words, self._strings = words, strings
        self._at: list[int] = [0]
        """Where each type begins, by its number."""
        self._named: dict[int, list[int]] = {}
        self._index()

    def structure(self, name: str, *members: str) -> Structure | None:
        """The first struct of that name which has these members, as `struct its_device` is two in a kernel with KVM.

        Without a name, the first of those that are declared without one.
        """
        offset = self._strings.find(b"\0" + name.encode() + b"\0") + 1 if name else 0
        found = (self._structure(number) for number in self._named.get(offset, []) if offset or not name)
        return next((each for each in found if all(member in each.offsets for member in members)), None)

    def _index(self) -> None:
        words, at, end = self._words, 0, len(self._words)
        while at + _TYPE_WORDS <= end:
            name, info = words[at], words[at + 1]
            kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
            following = at + _TYPE_WORDS + _MORE_WORDS.get(kind, 0) + _WORDS_EACH.get(kind, 0) * vlen
            if following > end:
                return
            if kind == _STRUCT:
                self._named.setdefault(name, []).append(len(self._at))
            self._at.append(at)
            at = following

    def _structure(self, number: int) -> Structure:
        return Structure(self._words[self._at[number] + 2], dict(self._members(number, 0, 0)))

    def _members(self, number: int, base: int, depth: int) -> Iterator[tuple[str, int]]:
        """(name, offset) of every member that a C program could name; `base` is the offset of the whole."""
        first = self._at[number] + _TYPE_WORDS
        info = self._words[first - 2]
        for at in range(first, first + (info & 0xFFFF) * _MEMBER_WORDS, _MEMBER_WORDS):
            name, kind, place = self._words[at], self._words[at + 1], self._words[at + 2]
            offset = base + (place & 0xFF_FFFF if info >> 31 else place) // 8
            if name:
                yield self._string(name), offset
            elif depth < _MOST_NESTED and 0 < kind < len(self._at) and self._is_compound(kind):
                yield from self._members(kind, offset, depth + 1)

    def _is_compound(self, number: int) -> bool:
        return self._words[self._at[number] + 1] >> 24 & 0x1F in (_STRUCT, _UNION)

    def _string(self, offset: int) -> str:
        return self._strings[offset : self._strings.find(b"\0", offset)].decode("ascii", "replace")


def read_btf(dump: Dump, places: Places) -> Iterator[tuple[int, Btf]]:
    """Each BTF of a whole kernel that the dump holds whole, and the physical address that it begins at."""
    sizes = ((place, *_size(dump, place)) for place in places.btf)
    for place, types, strings, end in islice((each for each in sizes if each[-1]), _MOST):
        octets, held = dump.gather(np.array([place], np.int64), end)
        if held[0]:
            words = octets[0][types : types + (strings - types) // 4 * 4].view("<u4")
            yield place, Btf(memoryview(words), octets[0][strings:].tobytes())


def _size(dump: Dump, place: int) -> tuple[int, int, int]:
    """Where the types, the strings and the end of a kernel's BTF are, counted from its header; 0 if it is none."""
    octets, held = dump.gather(np.array([place], np.int64), _HEADER.size)
    _, _, flags, length, type_at, type_len, str_at, str_len = _HEADER.unpack(octets[0].tobytes())
    end = length + str_at + str_len
    if not held[0] or flags or type_at or str_at != type_len or not _SMALLEST_KERNEL < type_len < end < _LARGEST:
        return 0, 0, 0
    return length, length + str_at, end
