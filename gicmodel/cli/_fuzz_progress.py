# SPDX-License-Identifier: Apache-2.0
"""How far a campaign is, on standard error: a line that changes on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from gicmodel.fuzzing.results import Results, distinct

Report = Callable[[Results], None]

_PLAIN_SECONDS = 10.0


@contextmanager
def progress() -> Iterator[Report]:
    """A function to call after each chunk."""
    console, started = Console(stderr=True), time.monotonic()
    if not console.is_terminal:
        yield _Plain(console, started)
        return
    with console.status("fuzzing") as status:
        yield lambda results: status.update(_said(results, started))


class _Plain:
    """Prints a line for the first chunk, and then whenever the last line is some time ago."""

    def __init__(self, console: Console, started: float) -> None:
        self._console = console
        self._started = started
        self._last = started - _PLAIN_SECONDS

    def __call__(self, results: Results) -> None:
        if time.monotonic() - self._last > _PLAIN_SECONDS:
            self._last = time.monotonic()
            self._console.print(f"gicmodel: {_said(results, self._started)}", highlight=False, soft_wrap=True)


def _said(results: Results, started: float) -> str:
    rate = results.commands / (time.monotonic() - started)
    outcomes, errors = distinct(results.outcomes)
    seen = f"{outcomes} outcomes seen, {errors} of them errors"
    return f"{results.commands} commands, {rate:.0f}/s, {seen}; {len(results.findings)} programs differ"
