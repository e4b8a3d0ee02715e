# SPDX-License-Identifier: Apache-2.0
"""The terminal as a guest's console: raw, as long as the guest has it, and as it was afterwards, however that ends."""

from __future__ import annotations

import math
import os
import select
import sys
import termios
import tty
from typing import IO, Any, Self

ESCAPE, LEAVE = 0x01, b"xX"
"""Ctrl-A, and what leaves after it, as in QEMU."""
_MOST = 4096
_LONG = 3600.0


class Console:
    """Standard input and `output` as a console.

    `text` is all that the guest has shown; `left`: the user wants to go; `is_shown`: `output` is a terminal. A terminal
    is raw in the block, so that Ctrl-C is the guest's; what is no terminal is read as it comes, until its end.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self.text = bytearray()
        self.left = False
        self.is_shown = output.isatty()
        self._output = output
        self._shown = 0
        self._input = _standard_input()
        self._is_terminal = self._input is not None and os.isatty(self._input)
        self._saved: list[Any] | None = None
        self._escaped = self._ended = False

    def __enter__(self) -> Self:
        if self._is_terminal and self._input is not None:
            self._saved = termios.tcgetattr(self._input)
            tty.setraw(self._input)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None and self._input is not None:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._saved)
        self.flush()

    def send(self, octet: int) -> None:
        """The guest shows an octet."""
        self.text.append(octet)

    def flush(self) -> None:
        """Let the user see what the guest has shown."""
        if self._shown < len(self.text):
            self._output.write(self.text[self._shown :])
            self._output.flush()
            self._shown = len(self.text)

    def typed(self, seconds: float) -> bytes:
        """What has been typed; on a terminal wait for it so long: a guest that waits shall cost nothing."""
        if self._input is None or self._ended:
            return b""
        wait = min(seconds, _LONG) if self._is_terminal or seconds == math.inf else 0
        if not select.select([self._input], [], [], wait)[0]:
            return b""
        octets = os.read(self._input, _MOST)
        self._ended = not octets
        return self._unescaped(octets) if self._is_terminal else octets

    def _unescaped(self, octets: bytes) -> bytes:
        """Ctrl-A X leaves, Ctrl-A twice is one, and with anything else it is nothing."""
        kept = bytearray()
        for octet in octets:
            if self._escaped:
                self._escaped = False
                self.left = self.left or octet in LEAVE
                if octet == ESCAPE:
                    kept.append(octet)
            elif octet == ESCAPE:
                self._escaped = True
            else:
                kept.append(octet)
        return bytes(kept)


def _standard_input() -> int | None:
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError):
        return None  # what stands for it is no file
