# SPDX-License-Identifier: Apache-2.0
"""Errors of input and of Linux, how text from outside is shown, the bounds of numbers, and the end of long work."""

import re
from operator import index
from typing import Any

WORD = (1 << 64) - 1
"""The largest number that a register or an argument of a kernel holds."""

_NUMBER = re.compile("0[xX][0-9a-fA-F]{1,64}|0[bB][01]{1,256}|0|[1-9][0-9]{0,77}")
_HEAD, _TAIL = 1500, 500
"""How much of a longer text is shown: the place and the value are at its front, the rule is at its end."""


class UnusableInput(Exception):
    """Input from outside (a dump, registers, a trace, commands) that breaks a rule.

    The message names the value, its place and the rule; as text it is one line, of bounded length and printable. The
    command line prints it on stderr and exits with 2.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class MissingExtra(UnusableInput):
    """What was asked for needs a library that `extra`, a name in brackets of pyproject.toml, brings."""

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(f"{what} needs {library}: pip install 'gicmodel[{extra}]'")


class LinuxError(Exception):
    """A request that Linux refuses, or that the hardware did not complete.

    `errno` is the name of the error number ("EACCES", "EBUSY", ...), `cause` one line that names what was refused and
    why.
    """

    def __init__(self, errno: str, cause: str) -> None:
        super().__init__(f"{errno}: {cause}")
        self.errno = errno
        self.cause = cause


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of long work: `so_far` is what that had come to, the cause the KeyboardInterrupt itself."""

    def __init__(self, so_far: Any) -> None:
        super().__init__()
        self.so_far = so_far


def whole(value: object, what: str, low: int = 0, high: int = WORD) -> int:
    """A number that a caller gives, as an int.

    ValueError, which begins with `what`: it is no whole number from `low` to `high`.
    """
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{what} is {one_line(repr(value))}, not a whole number") from None
    if not low <= number <= high:
        raise ValueError(f"{what} is {_number(number)}, not from {_number(low)} to {_number(high)}")
    return number


def _number(number: int) -> str:
    return str(number) if abs(number) < 1 << 16 else one_line(hex(number))


def number_in(text: str) -> int:
    """A number as people type it, decimal or with 0x or 0b. Raises ValueError; also for 1_0, which Python takes."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return int(text, 0)


def one_line(text: str) -> str:
    """Text of anybody's in one printable line of at most some 2,000 characters."""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]} ... {text[-_TAIL:]}"
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Text with a backslash escape for what does not print: a terminal obeys control characters, even in a name."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def utf8(text: str) -> str:
    """A file's name for JSON: what is no UTF-8 in it, which Python holds as surrogates (PEP 383), as escapes."""
    return text.encode(errors="backslashreplace").decode()


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
