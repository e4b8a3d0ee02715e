# SPDX-License-Identifier: Apache-2.0
"""Priority grouping, preemption and the running priority: the same for physical and for virtual interrupts."""

from __future__ import annotations

from gicmodel.spec.state import LEAST_BINARY_POINTS, LEAST_PRIORITY_STEP, PRIORITY_BITS, Interface, Pending

IDLE = 0xFF
"""The running priority while no interrupt is active."""


def implemented(priority: int) -> int:
    """What is stored of a priority that software writes: the lowest bits do not exist."""
    return priority - priority % LEAST_PRIORITY_STEP


def set_binary_point(interface: Interface, group: int, value: int) -> None:
    """Less than the least value is the least."""
    interface.binary_points[group] = max(value, LEAST_BINARY_POINTS[group])


def binary_point(interface: Interface, group: int) -> int:
    """What ICC_BPR<n> or ICV_BPR<n> reads as: for Group 1 with CBPR = 1 that of Group 0 and one, 7 at most."""
    if group == 1 and interface.common:
        return min(interface.binary_points[0] + 1, 7)
    return interface.binary_points[group]


def group_priority(interface: Interface, priority: int, group: int) -> int:
    """The part of a priority that decides about preemption.

    Binary point n leaves n low bits to the subpriority of Group 1, and n + 1 to that of Group 0.
    """
    common = group == 0 or interface.common
    bits = interface.binary_points[0] + 1 if common else interface.binary_points[1]
    return priority - priority % (1 << bits)


def running_priority(interface: Interface) -> int:
    """That of the most urgent interrupt that is active and not ended."""
    return min(interface.active[0] | interface.active[1], default=IDLE)


def is_signalled(interface: Interface, interrupt: Pending) -> bool:
    """Whether an interrupt reaches the PE: it is more urgent than the mask, and preempts what is active."""
    urgency = group_priority(interface, interrupt.priority, interrupt.group)
    return interrupt.priority < interface.mask and urgency < running_priority(interface)


def activate(interface: Interface, interrupt: Pending) -> None:
    """Its group priority becomes the running priority. An LPI's does, too."""
    interface.active[interrupt.group].add(group_priority(interface, interrupt.priority, interrupt.group))


def running_group(interface: Interface) -> int | None:
    """The group of the most urgent active priority, None while idle. Open: of both groups at one it is Group 0."""
    running = running_priority(interface)
    return next((group for group in (0, 1) if running in interface.active[group]), None)


def drop(interface: Interface) -> int:
    """Priority drop: the most urgent active priority, which is returned, is no longer active."""
    running, group = running_priority(interface), running_group(interface)
    if group is not None:
        interface.active[group].discard(running)
    return running


def active_register(interface: Interface, group: int) -> int:
    """The Active Priorities Register of a group: a bit for each priority."""
    return sum(1 << priority // LEAST_PRIORITY_STEP for priority in interface.active[group])


def set_active_register(interface: Interface, group: int, value: int) -> None:
    """Software restores an Active Priorities Register."""
    levels = (level for level in range(1 << PRIORITY_BITS) if value >> level & 1)
    interface.active[group] = {level * LEAST_PRIORITY_STEP for level in levels}
