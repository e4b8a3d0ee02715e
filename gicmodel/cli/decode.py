# SPDX-License-Identifier: Apache-2.0
"""`gicmodel decode`: a register, a table entry or a command by its value."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from gicmodel.cli.output import Results, json_options, say
from gicmodel.config import ARCHITECTURES
from gicmodel.errors import UnusableInput
from gicmodel.inspection.values import Decoded, decode, field_lines, words_text

MOST_LINES = 1 << 12
LONGEST = 1 << 12


@click.command()
@click.argument("words", nargs=-1, metavar="[NAME] WORD...")
@click.option(
    "--gic", "architecture", default="4.1", show_default=True, type=click.Choice(ARCHITECTURES), help="GICv3..."
)
@json_options
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], architecture: str, results: Results) -> None:
    """Decode the register or table entry NAME, or a command of four words.

    Numbers are hexadecimal, with or without 0x. One argument may be a whole line of a log; without arguments each line
    of standard input is one value.

    Exit status: 0 nothing wrong with it, 1 something, 2 unusable input.
    """
    decoded = [decode(words, architecture)] if words else [*_piped(architecture)]
    results.publish([each.to_json() for each in decoded], lambda: say("\n".join(_text(decoded))))
    ctx.exit(1 if any(each.wrong for each in decoded) else 0)


def _piped(architecture: str) -> Iterator[Decoded]:
    """The values of the lines of standard input that are not empty."""
    if sys.stdin.isatty():
        raise UnusableInput("nothing to decode: give NAME WORD..., or four words of a command")
    number = 0
    for at, octets in enumerate(iter(lambda: sys.stdin.buffer.readline(LONGEST + 1), b""), 1):
        if at > MOST_LINES or len(octets) > LONGEST:
            raise UnusableInput(f"standard input has more than {MOST_LINES} lines, or one longer than {LONGEST}")
        line = octets.decode(errors="surrogateescape").strip()
        if line:
            number += 1
            try:
                yield decode([line], architecture)
            except UnusableInput as error:
                raise UnusableInput(f"standard input, line {at}: {error}") from error
    if not number:
        raise UnusableInput("nothing to decode: standard input is empty")


def _text(decoded: list[Decoded]) -> Iterator[str]:
    for number, each in enumerate(decoded):
        if number:
            yield ""
        yield f"{each.name} {words_text(each.layout, each.words)}: {each.layout.doc}"
        yield from field_lines(each.layout, each.fields)
        yield from (f"  Linux: {sentence}" for sentence in each.linux)
        yield from (f"  wrong: {sentence}" for sentence in each.wrong)
