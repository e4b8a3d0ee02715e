# SPDX-License-Identifier: Apache-2.0
"""How the lines of a program say things: words `name=value`, numbers in decimal or hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}", re.ASCII)


def assignments(words: list[str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of each word `name=text`; a name must be known and come once, else ValueError."""
    seen = set()
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known or name in seen:
            raise ValueError(f"{word!r:.60} is not one of {', '.join(known)}, '=' and a value, given once")
        seen.add(name)
        yield name, text


def numbers(line: str, words: list[str], known: Mapping[str, range]) -> dict[str, int]:
    """The numbers of a line that gives one to each name. ValueError if it does not, or if one is not in its range."""
    values = {name: within(name, number(text), known[name]) for name, text in assignments(words, known)}
    if len(values) != len(known):
        raise ValueError(f"{line} needs {', '.join(known)}")
    return values


def number(text: str) -> int:
    """A number in decimal or hexadecimal. ValueError if the text is none."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r:.60} is not a number")
    return int(text, 16 if text.startswith("0x") else 10)


def within(name: str, value: int, allowed: range) -> int:
    """The value, if it is allowed. ValueError that names it if not."""
    if value not in allowed:
        raise ValueError(f"{name}={value:#x} is not from {allowed.start:#x} to {allowed.stop - 1:#x}")
    return value
