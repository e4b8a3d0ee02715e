# SPDX-License-Identifier: Apache-2.0
"""What a board is made of besides its processors, RAM and GIC: devices, each at an address of its own."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Protocol

from gicmodel.board.device_tree import DeviceTree
from gicmodel.errors import UnusableInput
from gicmodel.memory import PAGE_BYTES


class Device(Protocol):
    """Registers at [base, base + size), whole pages. Accesses have 1, 2 or 4 bytes: 64 bits come in two halves."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def base(self) -> int: ...

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> int: ...

    def write(self, offset: int, value: int, size: int) -> None: ...

    def describe(self, tree: DeviceTree) -> None:
        """Add the device's node."""


def check_map(places: Iterable[tuple[str, int, int]]) -> None:
    """Raise UnusableInput unless (name, base, size) are whole pages that do not overlap."""
    ordered = sorted(places, key=lambda place: place[1])
    for name, base, size in ordered:
        if base % PAGE_BYTES or size % PAGE_BYTES or size <= 0:
            raise UnusableInput(f"{name} at {base:#x} + {size:#x} is not a whole number of pages")
    for (name, base, size), (after, above, _) in pairwise(ordered):
        if base + size > above:
            raise UnusableInput(f"{after} at {above:#x} lies in {name}, {base:#x} to {base + size:#x}")
