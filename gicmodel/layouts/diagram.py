# SPDX-License-Identifier: Apache-2.0
"""Bit diagrams in plain text: one row of boxes per 32 bits, as the Arm manuals draw them."""

from collections.abc import Iterable, Iterator, Sequence

from gicmodel.layouts.declaration import Span

ROW_BITS = 32
_TO_ASCII = str.maketrans("┌┬┐├┼┤└┴┘─│", "+++++++++-|")


def draw(spans: Sequence[Span], words: Sequence[int]) -> str:
    """The rows of boxes of every word, then the table of the named fields."""
    lines: list[str] = []
    for word, width in enumerate(words):
        if len(words) > 1:
            lines.append(f"dw{word}")
        for low in reversed(range(0, width, ROW_BITS)):
            row = range(min(width, low + ROW_BITS) - 1, low - 1, -1)
            lines += _row([span for span in spans if span.word == word], row)
        lines.append("")
    return "\n".join(lines + _table(spans, len(words) > 1))


def to_ascii(text: str) -> str:
    """The same diagram for an output that has no box characters."""
    return text.translate(_TO_ASCII)


def place(span: Span, in_words: bool) -> str:
    """`[51:16]`, `[63]` or, in a structure of several words, `dw1[47:32]`."""
    bits = f"[{span.high}]" if span.high == span.low else f"[{span.high}:{span.low}]"
    return f"dw{span.word}{bits}" if in_words else bits


def _row(spans: Iterable[Span], row: range) -> Iterator[str]:
    """Ruler, box and leader lines of the bits of `row`, which counts down."""
    cells = [(span, min(span.high, row[0]), max(span.low, row[-1])) for span in spans]
    cells = [cell for cell in cells if cell[1] >= cell[2]]
    widths = [2 * (high - low + 1) - 1 for _, high, low in cells]
    labels = [_label(*cell, width) for cell, width in zip(cells, widths, strict=True)]
    leaders: list[tuple[int, str]] = []
    column = 1
    for (span, _, _), width, label in zip(cells, widths, labels, strict=True):
        if not label:
            leaders.append((column + width // 2, span.reserved or span.name))
        column += width + 1
    yield from _ruler(row)
    yield "┌" + "┬".join("─" * width for width in widths) + "┐"
    yield "│" + "│".join(label.center(width) for label, width in zip(labels, widths, strict=True)) + "│"
    yield _with("└" + "┴".join("─" * width for width in widths) + "┘", [column for column, _ in leaders], "┬")
    for count in range(len(leaders) - 1, -1, -1):
        column, name = leaders[count]
        bars = _with(" " * column, [column for column, _ in leaders[:count]], "│")
        yield f"{bars}└ {name}"


def _ruler(row: range) -> Iterator[str]:
    """The number of each bit, written downwards above its box."""
    if row[0] >= 10:
        yield "".join(f" {bit // 10 or ' '}" for bit in row).rstrip()
    yield "".join(f" {bit % 10}" for bit in row)


def _label(span: Span, high: int, low: int, width: int) -> str:
    """The longest name of a field's part [high:low] that its box can hold, or nothing."""
    if span.reserved in ("RES0", "RES1"):
        return span.reserved if width >= 4 else span.reserved[-1]
    name = span.reserved or span.name
    whole = (high, low) == (span.high, span.low)
    raised = span.scale - span.low
    part = name if whole and not span.scale else f"{name}[{high + raised}:{low + raised}]"
    return next((label for label in (part, name) if len(label) <= width), "")


def _with(line: str, columns: Iterable[int], mark: str) -> str:
    marked = list(line)
    for column in columns:
        marked[column] = mark
    return "".join(marked)


def _table(spans: Sequence[Span], in_words: bool) -> list[str]:
    """Bits, name and meaning of every field that is not RES0 or RES1."""
    shown = [span for span in spans if span.reserved not in ("RES0", "RES1")]
    rows = [(place(span, in_words), _title(span), span.doc) for span in shown]
    bits_width = max((len(bits) for bits, _, _ in rows), default=0)
    name_width = max((len(name) for _, name, _ in rows), default=0)
    return [f"{bits:>{bits_width}}  {name:<{name_width}}  {doc}".rstrip() for bits, name, doc in rows]


def _title(span: Span) -> str:
    """The name; with the bits of the value that are held, where the lowest are implied zero."""
    if span.reserved:
        return span.reserved
    return f"{span.name}[{span.scale + span.bits - 1}:{span.scale}]" if span.scale else span.name
