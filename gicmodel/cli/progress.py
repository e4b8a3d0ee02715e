# SPDX-License-Identifier: Apache-2.0
"""How far long work is, on standard error: a bar on a terminal; elsewhere nothing, or a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS = 10.0


class Watcher:
    """A bar for a step after the other, if it is `enabled`.

    `lines` are wanted where there is no terminal; `instead` is one that is printed at once where there is no bar.
    """

    def __init__(self, enabled: bool = True, lines: bool = False, instead: str = "") -> None:
        is_terminal = sys.stderr.isatty()
        self._enabled = enabled and is_terminal
        self._instead = instead
        self._bar: Progress | None = None
        self._lines = lines and not is_terminal
        self._last_line = -_LINE_SECONDS
        self._task: TaskID | None = None
        self._step = ""

    def __enter__(self) -> Self:
        if self._instead and not self._enabled:
            click.echo(f"gicmodel: {self._instead}", err=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, step: str, done: float, total: float | None, note: str = "") -> None:
        """Show how far a step is, in whatever unit; a line is for its note."""
        if self._lines and time.monotonic() - self._last_line > _LINE_SECONDS:
            self._last_line = time.monotonic()
            click.echo(f"gicmodel: {note}", err=True)
        if not self._enabled:
            return
        if self._bar is None:
            self._bar = _progress_bar()
            self._bar.start()
        if self._task is None or step != self._step:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._step = self._bar.add_task(step, total=total, note=note), step
        self._bar.update(self._task, completed=done, total=total, note=note)


def _progress_bar() -> Progress:
    # rich takes as long to import as click and all of this package's layouts.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}")
    return Progress(*columns, console=Console(stderr=True), transient=True)
