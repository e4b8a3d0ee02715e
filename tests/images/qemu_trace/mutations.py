# SPDX-License-Identifier: Apache-2.0
"""Traces with something wrong: lines lost, doubled, moved, cut, joined, with other numbers or other bytes in them."""

from hypothesis import strategies as st

INTERESTING = [0, 1, 3, 0x70, 0x78, 0x80, 0x88, 0x90, 0x100, 0x110, 0x20078, 0x2000, 0x4010_0000, 1 << 31, 1 << 63]
NOISE = [b"", b"\r", b"\0", b"\x1b[2J", b"gicv3_its_write GICv3 ", b"[ 1.0] foo ", b"2026-11-28T13:30:08Z ", b"\xff"]


@st.composite
def mutated(draw, text):
    """The bytes of a trace, changed in up to eight places."""
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(lines) - 1)) if lines else 0
        change = draw(st.sampled_from(CHANGES))
        lines[at : at + 1] = change(draw, lines[at] if lines else b"", lines)
    return b"".join(lines)


def _number(draw, line, lines):
    words = line.split(b" ")
    numbers = [index for index, word in enumerate(words) if word[:1].isdigit()]
    if numbers:
        value = draw(st.one_of(st.sampled_from(INTERESTING), st.integers(0, 2**65)))
        words[draw(st.sampled_from(numbers))] = hex(value).encode()
    return [b" ".join(words)]


def _cut(draw, line, lines):
    return [line[: draw(st.integers(0, len(line)))] + draw(st.sampled_from([b"", b"\n"]))]


def _noise(draw, line, lines):
    at = draw(st.integers(0, len(line)))
    return [line[:at] + draw(st.one_of(st.sampled_from(NOISE), st.binary(max_size=8))) + line[at:]]


def _moved(draw, line, lines):
    return [line, draw(st.sampled_from(lines))] if lines else []


CHANGES = [
    lambda draw, line, lines: [],
    lambda draw, line, lines: [line, line],
    lambda draw, line, lines: [line.rstrip(b"\n")],
    _moved,
    _number,
    _cut,
    _noise,
]
