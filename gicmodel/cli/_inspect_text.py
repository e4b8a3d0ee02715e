# SPDX-License-Identifier: Apache-2.0
"""How decoded dumps are shown to people: tables, coloured on a terminal, plain in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import click

from gicmodel.inspection.views import View

_BATCH = 1 << 12
MOST_RICH = 2000
"""Longer tables are printed plain on terminals too: drawing them takes rich too long."""
_STYLES = {"error": "bold red", "warning": "yellow"}


def show(view: View) -> None:
    """Print one table; nothing for an empty one."""
    if not len(view):
        return
    if sys.stdout.isatty() and len(view) <= MOST_RICH:
        _show_rich(view)
        return
    click.echo(f"\n{view.title} ({len(view)})")
    print_lines(plain(view))


def print_lines(lines: Iterable[str]) -> None:
    """Print many lines; click flushes each time, so it gets many at once."""
    remaining = iter(lines)
    while batch := list(islice(remaining, _BATCH)):
        click.echo("\n".join(batch))


def plain(view: View) -> Iterator[str]:
    """A table as aligned text; widths are those of each batch of rows."""
    names = [column.name for column in view.columns]
    texts = [column.kind == "text" for column in view.columns]
    rows = view.rows()
    widths = [len(name) for name in names]
    header = True
    while batch := [[cell(value) for value in row] for row in islice(rows, _BATCH)]:
        widths = [max(width, *map(len, column)) for width, column in zip(widths, zip(*batch, strict=True), strict=True)]
        if header:
            yield _line(names, widths, texts)
            header = False
        for row in batch:
            yield _line(row, widths, texts)


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def write_csv(view: View) -> None:
    """Print one table as CSV."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in view.columns])
    for row in view.rows():
        writer.writerow(["" if value is None else cell(value) for value in row])


def _line(cells: list[str], widths: list[int], texts: list[bool]) -> str:
    columns = [
        text.ljust(width) if left else text.rjust(width) for text, width, left in zip(cells, widths, texts, strict=True)
    ]
    return "  ".join(["", *columns]).rstrip()


def _show_rich(view: View) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{view.title} ({len(view)})", title_justify="left", header_style="bold")
    for column in view.columns:
        table.add_column(column.name, justify="left" if column.kind == "text" else "right", overflow="fold")
    for row in view.rows():
        table.add_row(*(escape(cell(value)) for value in row), style=_STYLES.get(row[0]))
    Console().print(table)
