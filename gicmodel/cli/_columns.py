# SPDX-License-Identifier: Apache-2.0
"""Rows of text in columns: tables short and plain enough to do without the time that importing rich takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click


def show(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows, the first of them a header, bold on a terminal; the columns `right` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.secho("  ".join(cells).rstrip(), bold=number == 0)
