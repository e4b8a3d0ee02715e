# SPDX-License-Identifier: Apache-2.0
"""The output lines of a GIC: who listens is told of each change, and nothing is worked out while nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from enum import IntEnum
from functools import wraps
from typing import Any

import numpy as np

from gicmodel.hardware.kernels.lines import changed_lines, lines_of
from gicmodel.hardware.kernels.state import Machine
from gicmodel.jit import bound


class Line(IntEnum):
    """What a GIC drives at a PE."""

    IRQ = 0
    FIQ = 1
    VIRQ = 2
    VFIQ = 3


MOST_CHANGES = 1 << 16
"""Of what callbacks do that one change has called, and of what those changes call: more are a circle."""

LineCallback = Callable[[int, Line, bool], None]
"""Called with the PE, its line, and the new level."""


class Lines:
    """The lines of all PEs of a machine.

    Kernels note the PEs to which something happens (`stir`); `tell` looks at those. What software and devices do goes
    through methods of register frames and CPU interfaces: `follow` has `tell` come after each call of one.
    """

    _changed = bound(changed_lines)

    def __init__(self, machine: Machine, redistributors: int) -> None:
        self._machine = machine
        self._callbacks: list[LineCallback] = []
        self._told = np.array([lines_of(machine, pe) for pe in range(redistributors)], np.uint64)
        self._place = machine, self._told
        self._telling = False

    def add(self, callback: LineCallback) -> None:
        """Tell it of changes from now on."""
        self._callbacks.append(callback)

    def follow(self, owner: object, *names: str, stirs: int | None = None) -> None:
        """After each call of these methods changes are told; `stirs` is a word of the machine to set before."""
        for name in names:
            setattr(owner, name, self._followed(getattr(owner, name), stirs))

    def tell(self) -> None:
        """Tell all changes, one by one. One that comes of what a callback does is told after it, not inside it."""
        if self._telling:
            return
        pe, bit = self._changed()
        if pe < 0:
            return
        self._telling = True
        try:
            for _ in range(MOST_CHANGES):
                self._tell_one(int(pe), int(bit))
                pe, bit = self._changed()
                if pe < 0:
                    return
        finally:
            self._telling = False
        raise RuntimeError(f"Gic.on_line: callbacks go on changing lines: {MOST_CHANGES} changes came of one")

    def _tell_one(self, pe: int, bit: int) -> None:
        self._told[pe] ^= np.uint64(bit)
        line, level = Line(bit.bit_length() - 1), bool(int(self._told[pe]) & bit)
        with ExitStack() as told:
            # Whatever one of them raises, the others are told, the first of them first.
            for callback in reversed(self._callbacks):
                told.callback(callback, pe, line, level)

    def _followed(self, method: Callable[..., Any], stirs: int | None) -> Callable[..., Any]:
        words = self._machine.chip.data

        @wraps(method)
        def followed(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            if stirs is not None:
                words[stirs] = 1
            self.tell()
            return result

        return followed
