# SPDX-License-Identifier: Apache-2.0
"""The generic timers of a PE (DDI0487, D11): their state is in the cells, their outputs are PPIs."""

from __future__ import annotations

from collections.abc import Callable

from gicmodel.board.addresses import HYP_TIMER_INTID, PHYSICAL_TIMER_INTID, VIRTUAL_TIMER_INTID
from gicmodel.board.cells import BOARD, PE, Cells
from gicmodel.board.device_tree import DeviceTree, interrupt
from gicmodel.board.encodings import CTL_ENABLE, CTL_IMASK

SECURE_PHYSICAL_INTID = 29
WORD = 1 << 64


TIMERS = {
    PE.virtual_ctl: VIRTUAL_TIMER_INTID,
    PE.physical_ctl: PHYSICAL_TIMER_INTID,
    PE.hyp_ctl: HYP_TIMER_INTID,
}
"""Where each timer's control word is in a PE's row, its compare value behind it; its PPI."""


class Timers:
    """The timers of one PE, whose PPIs are `set_line(intid, level)`."""

    def __init__(self, cells: Cells, row: int, set_line: Callable[[int, bool], None]) -> None:
        self._cells = cells
        self._row = row
        self._set_line = set_line

    def update(self) -> None:
        """Drive the PPIs as they are now."""
        now, driven = int(self._cells[BOARD.now]), int(self._cells[self._row + PE.outputs])
        for number, (control, intid) in enumerate(TIMERS.items()):
            due = self._due(control)
            level = due is not None and now >= due
            if level != bool(driven >> number & 1):
                self._cells[self._row + PE.outputs] ^= 1 << number
                self._set_line(intid, level)

    def next(self) -> int | None:
        """When the next output rises; None: not before software sets a timer."""
        now = int(self._cells[BOARD.now])
        return min((due for timer in TIMERS if (due := self._due(timer)) is not None and due > now), default=None)

    def _due(self, control: int) -> int | None:
        """When its output is high; None while it is off or masked."""
        at = self._row + control
        if int(self._cells[at]) & (CTL_ENABLE | CTL_IMASK) != CTL_ENABLE:
            return None
        due = int(self._cells[at + 1])
        if control == PE.virtual_ctl:
            due = (due + int(self._cells[self._row + PE.cntvoff])) % WORD
        return due


def describe(tree: DeviceTree) -> None:
    """The node of the timers."""
    intids = (SECURE_PHYSICAL_INTID, PHYSICAL_TIMER_INTID, VIRTUAL_TIMER_INTID, HYP_TIMER_INTID)
    cells = [cell for intid in intids for cell in interrupt(intid)]
    tree.node("/timer", {"compatible": "arm,armv8-timer", "interrupts": cells, "always-on": True})
