# SPDX-License-Identifier: Apache-2.0
"""Named steps: each is timed, and what it wrote to guest RAM is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gicmodel.memory import PAGE_BYTES, GuestMemory

Progress = Callable[[str, int, int], None]
"""Called as (step, done, total); the unit of the two is the step's own."""


@dataclass(frozen=True)
class StepReport:
    """What one step took: `seconds`, and the `bytes` of guest RAM that it copied or, in whole pages, newly dirtied."""

    name: str
    seconds: float
    bytes: int


class Steps:
    """Takes steps over these guests' RAM and keeps a report of each."""

    def __init__(self, progress: Progress, *memories: GuestMemory) -> None:
        self.progress = progress
        self.reports: list[StepReport] = []
        self._memories = memories

    def take(self, name: str, step: Callable[[], int | None]) -> None:
        """Do a step; one that returns a number says itself how many bytes it copied. Its exceptions pass through."""
        self.progress(name, 0, 1)
        before = self._dirty_pages()
        start = time.perf_counter()
        copied = step()
        seconds = time.perf_counter() - start
        written = (self._dirty_pages() - before) * PAGE_BYTES if copied is None else copied
        self.reports.append(StepReport(name, seconds, written))
        self.progress(name, 1, 1)

    def _dirty_pages(self) -> int:
        return sum(len(memory.dirty_pages()) for memory in self._memories)


def no_progress(step: str, done: int, total: int) -> None:
    """For callers that do not watch."""
