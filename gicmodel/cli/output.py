# SPDX-License-Identifier: Apache-2.0
"""How verbs show results: JSON, tables, lines and figures, the same in all of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

from gicmodel.cli.options import ResultFile, as_one, refuse_overwriting
from gicmodel.images.files import replacing

if TYPE_CHECKING:
    from gicmodel.inspection.views import View

Document = Callable[[], Iterable[str]] | dict[str, Any] | list[Any]
"""What JSON is made of, or what makes its lines, where it is too large to be held."""
_BATCH = 1 << 12
_GAP = "  "
_DEEPER = "    "
_STYLES: dict[str, dict[str, Any]] = {"error": {"fg": "red", "bold": True}, "warning": {"fg": "yellow"}}


@dataclass(frozen=True)
class Results:
    """What --json and --json-file ask for."""

    as_json: bool
    json_file: Path | None

    def publish(self, document: Document, show: Callable[[], None]) -> None:
        """Print the document, or show the results as text, and write it to the file, if one is named.

        One of the two that fails does not keep the other from it: the work may have taken hours. Raises UnusableInput,
        or OSError of standard output.
        """
        try:
            if self.as_json:
                print_lines(_lines(document))
            else:
                show()
        finally:
            if self.json_file is not None:
                with replacing(self.json_file) as target:
                    target.writelines(f"{line}\n".encode() for line in _lines(document))


def _results(as_json: bool, json_file: Path | None) -> Results:
    refuse_overwriting(click.get_current_context())
    return Results(as_json, json_file)


json_options = as_one(
    "results",
    _results,
    as_json=click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else."),
    json_file=click.option(
        "--json-file", type=ResultFile(), metavar="FILE", help="Write the result as JSON to FILE, too."
    ),
)
"""--json and --json-file, which the command gets as one argument `results`."""


def save_figure(file: Path, figure: Any) -> None:
    """Write a figure of matplotlib; UnusableInput if it cannot be written."""
    with replacing(file) as target:
        figure.savefig(target, format=file.suffix.removeprefix("."))


def print_lines(lines: Iterable[str]) -> None:
    """Print many lines as they are; click flushes each time, so it gets many at once."""
    remaining = iter(lines)
    while batch := list(islice(remaining, _BATCH)):
        click.echo("\n".join(batch))


def say(text: str) -> None:
    """Print text; lines longer than a terminal are broken between words."""
    print_lines(folded for line in text.split("\n") for folded in _folded(line, room()))


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print `table_lines`."""
    print_lines(table_lines(names, rows, right))


def table_lines(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Collection[int] = (),
    indent: str = "",
    styles: dict[str, dict[str, Any]] | None = None,
) -> Iterator[str]:
    """Rows in columns, those of `right` aligned to the right; `styles` by the text of the first column.

    A row is one line; on a terminal too narrow for it, it goes on below, from a column on: no value is broken. The
    columns are as wide as each batch of rows needs them.
    """
    styles, coloured, columns = styles or {}, is_coloured(), room()
    widths = [len(name) for name in names]
    remaining = iter(rows)
    batch = [names, *islice(remaining, _BATCH)]
    heading = True
    while batch:
        widths = [max(width, *map(len, column)) for width, column in zip(widths, zip(*batch, strict=True), strict=True)]
        bands = _bands(widths, indent, columns)
        for row in batch:
            style = {"bold": True} if heading else styles.get(row[0], {})
            cells = [
                text.rjust(width) if column in right else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            for number, band in enumerate(bands):
                line = indent + _DEEPER * bool(number) + _GAP.join(cells[column] for column in band).rstrip()
                for folded in _folded(line, columns):
                    yield click.style(folded, **style) if coloured and style else folded
            heading = False
        batch = list(islice(remaining, _BATCH))


def print_view(view: View) -> None:
    """Print one table of a dump, without the columns of which nothing is known; nothing for one known to be empty."""
    if len(view) or view.gap is not None:
        say(f"\n{view.heading}")
        if view.lines is not None:
            say("\n".join(f"  {line}" for line in view.lines))
        else:
            print_lines(view_lines(view))


def view_lines(view: View) -> Iterator[str]:
    """The lines of a table of a dump; none of an empty one."""
    if not len(view):
        return iter(())
    known = view.known()
    right = {number for number, column in enumerate(known.columns) if column.kind != "text"}
    rows = ([cell(value) for value in row] for row in known.rows())
    return table_lines([column.name for column in known.columns], rows, right, "  ", _STYLES)


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def print_csv(view: View) -> None:
    """Print one table of a dump as CSV, with all of its columns."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in view.columns])
    for row in view.rows():
        writer.writerow(["" if value is None else cell(value) for value in row])


def is_coloured() -> bool:
    """Whether standard output is a terminal whose user has nothing against colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def room() -> int:
    """The columns of a terminal; elsewhere lines are as long as they are."""
    return get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _bands(widths: Sequence[int], indent: str, room: int) -> list[list[int]]:
    """The columns of each line of a row."""
    bands: list[list[int]] = [[]]
    used = len(indent)
    for column, width in enumerate(widths):
        if bands[-1] and used + width > room:
            bands.append([])
            used = len(indent + _DEEPER)
        bands[-1].append(column)
        used += width + len(_GAP)
    return bands


def _folded(line: str, room: int) -> list[str]:
    """A line broken between words, none of which is broken; its indent gives way to a word that needs the room."""
    if len(line) <= room:
        return [line]
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    spare = max(0, room - max(map(len, text.split())))
    first, further = indent[:spare], f"{indent}  "[:spare]
    return wrap(
        text,
        room,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(document: Document) -> Iterable[str]:
    return document() if callable(document) else json.dumps(document, indent=2).split("\n")
