# SPDX-License-Identifier: Apache-2.0
"""How far long work is, on standard error: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Watcher:
    """A progress bar on a terminal's stderr; nothing elsewhere."""

    def __init__(self, enabled: bool) -> None:
        self._bar = _progress_bar() if enabled and sys.stderr.isatty() else None
        self._task: TaskID | None = None
        self._step = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""
        if self._bar is None:
            return
        if self._task is None or step != self._step:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._step = self._bar.add_task(step, total=total), step
        self._bar.update(self._task, completed=done, total=total)


def _progress_bar() -> Progress:
    # rich takes as long to import as click and all of this package's layouts.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)
