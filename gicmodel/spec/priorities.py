# SPDX-License-Identifier: Apache-2.0
"""A CPU interface, physical or virtual: priority grouping, preemption and the running priority."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

NO_PLACE = 16
"""More than any list register has."""
PRIORITY_BITS = 5
LEAST_PRIORITY_STEP = 1 << (8 - PRIORITY_BITS)
"""With five bits, priorities are multiples of it."""
LEAST_BINARY_POINTS = {0: 7 - PRIORITY_BITS, 1: 8 - PRIORITY_BITS}
"""By group. That of Group 1 is one more, as it is for Non-secure Group 1 (DDI0601 ICC_BPR1_EL1)."""
IDLE = 0xFF
"""The running priority while no interrupt is active."""


def implemented(priority: int) -> int:
    """What is stored of a priority that software writes: the lowest bits do not exist."""
    return priority - priority % LEAST_PRIORITY_STEP


class Pending(NamedTuple):
    """An interrupt that may be signalled; the least comes first. `place`: its list register, `NO_PLACE` without."""

    priority: int
    intid: int
    place: int
    group: int


@dataclass
class Interface:
    """A CPU interface, physical or virtual: what its registers say, and at which priorities interrupts are active.

    `mask` is the Priority Mask Register. `common`: the binary point of Group 0 is for Group 1 too (CBPR). `split`: an
    EOI drops the priority only (EOImode).
    """

    mask: int = 0
    binary_points: dict[int, int] = field(default_factory=lambda: dict(LEAST_BINARY_POINTS))
    common: bool = False
    split: bool = False
    groups: set[int] = field(default_factory=set)
    active: dict[int, set[int]] = field(default_factory=lambda: {0: set(), 1: set()})

    def set_binary_point(self, group: int, value: int) -> None:
        """Less than the least value is the least."""
        self.binary_points[group] = max(value, LEAST_BINARY_POINTS[group])

    def binary_point(self, group: int) -> int:
        """What ICC_BPR<n> or ICV_BPR<n> reads as: for Group 1 with CBPR = 1 that of Group 0 and one, 7 at most."""
        if group == 1 and self.common:
            return min(self.binary_points[0] + 1, 7)
        return self.binary_points[group]

    def group_priority(self, priority: int, group: int) -> int:
        """The part of a priority that decides about preemption.

        Binary point n leaves n low bits to the subpriority of Group 1, and n + 1 to that of Group 0.
        """
        common = group == 0 or self.common
        bits = self.binary_points[0] + 1 if common else self.binary_points[1]
        return priority - priority % (1 << bits)

    def running_priority(self) -> int:
        """That of the most urgent interrupt that is active and not ended."""
        return min(self.active[0] | self.active[1], default=IDLE)

    def signals(self, interrupt: Pending) -> bool:
        """Whether an interrupt reaches the PE: it is more urgent than the mask, and preempts what is active."""
        urgency = self.group_priority(interrupt.priority, interrupt.group)
        return interrupt.priority < self.mask and urgency < self.running_priority()

    def activate(self, interrupt: Pending) -> None:
        """Its group priority becomes the running priority. An LPI's does, too."""
        self.active[interrupt.group].add(self.group_priority(interrupt.priority, interrupt.group))

    def running_group(self) -> int | None:
        """The group of the most urgent active priority, None while idle. Open: of both groups at one it is Group 0."""
        running = self.running_priority()
        return next((group for group in (0, 1) if running in self.active[group]), None)

    def drop(self) -> int:
        """Priority drop: the most urgent active priority, which is returned, is no longer active."""
        running, group = self.running_priority(), self.running_group()
        if group is not None:
            self.active[group].discard(running)
        return running

    def active_register(self, group: int) -> int:
        """The Active Priorities Register of a group: a bit for each priority."""
        return sum(1 << priority // LEAST_PRIORITY_STEP for priority in self.active[group])

    def set_active_register(self, group: int, value: int) -> None:
        """Software restores an Active Priorities Register."""
        levels = (level for level in range(1 << PRIORITY_BITS) if value >> level & 1)
        self.active[group] = {level * LEAST_PRIORITY_STEP for level in levels}
