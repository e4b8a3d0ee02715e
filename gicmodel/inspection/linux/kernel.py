# SPDX-License-Identifier: Apache-2.0
"""The structures of a dumped kernel, by the names of their members."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Protocol

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.btf import Structure
from gicmodel.inspection.linux.nodes import ItsNode
from gicmodel.inspection.linux.pages import Pages, Unreadable
from gicmodel.inspection.linux.vmcoreinfo import Vmcoreinfo

_MOST_IN_LIST = 1 << 16


class Structures(Protocol):
    """Who knows a kernel's structures: its BTF, or its debug information."""

    def structure(self, name: str, *members: str) -> Structure | None:
        """The struct of that name which has these members, if there is one."""


class Kernel:
    """A kernel whose ITS is `node`, with who knows its structures.

    Every method raises Unreadable for what is not there.
    """

    def __init__(self, dump: Dump, node: ItsNode, note: Vmcoreinfo | None, structures: Structures) -> None:
        self.node = node
        self.memory = Pages(dump, node.linear, note)
        self._structures = cache(structures.structure)

    def structure(self, name: str, *members: str) -> Structure:
        """The struct of that name which has these members."""
        found = self._structures(name, *members)
        if found is None:
            raise Unreadable(f"the kernel has no struct {name} with {', '.join(members)}")
        return found

    def list_entries(self, head: int, offset: int) -> Iterator[int]:
        """The addresses of the structures in a `struct list_head` at `head`, which have theirs at `offset`."""
        before, entry, count = head, self.memory.number(head), 0
        while entry != head:
            # Each entry leads back to the one before it, so that a list that does not end leaves this one.
            if self.memory.number(entry + 8) != before or count == _MOST_IN_LIST:
                raise Unreadable(f"the list at {head:#x} breaks at {entry:#x}")
            yield entry - offset
            before, entry, count = entry, self.memory.number(entry), count + 1
        if self.memory.number(head + 8) != before:
            raise Unreadable(f"the list at {head:#x} ends at {before:#x}, and its `prev` is another")
