# SPDX-License-Identifier: Apache-2.0
"""A kernel on a board, from power-on to what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gicmodel.board.board import Board, Ending, new_gic
from gicmodel.board.image import place, read_initrd, read_program
from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput

APPEND = "earlycon console=ttyAMA0"
MEMORY_BYTES = 512 << 20


def powered_on(
    image: Path,
    config: GicConfig,
    *,
    initrd: Path | bytes | None = None,
    append: str = APPEND,
    memory_bytes: int = MEMORY_BYTES,
    el2: bool = False,
    send: Callable[[int], None] = lambda octet: None,
    trace: Callable[[str], object] | None = None,
) -> Board:
    """A board with an image in its RAM, whose first PE is on; what is not of the image is as `Board` has it.

    `initrd` is an archive, or the file of one or of a program that becomes its /init; `append` the command line of the
    kernel.

    Raises:
        UnusableInput: a file cannot be read or has no room, or the board cannot be made.
    """
    archive = read_initrd(initrd) if isinstance(initrd, Path) else initrd
    try:
        board = Board(new_gic(config, memory_bytes), el2=el2, send=send, trace=trace)
    except ValueError as error:
        raise UnusableInput(str(error)) from None
    program = read_program(image, board.memory.base)
    tree, start, end = place(program, board.memory, archive)
    board.memory.write(tree, board.device_tree(append, None if archive is None else (start, end)))
    board.power_on(program.entry, tree)
    return board


@dataclass(frozen=True)
class Result:
    """How the latest run of a board ended, after `seconds` of the host, and what its GIC saw."""

    board: Board
    ending: Ending
    seconds: float

    @property
    def why(self) -> str:
        """The ending in words."""
        return self.board.reason or self.ending.value

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ending": self.ending.name,
            "why": self.why,
            "seconds": round(self.seconds, 3),
            "guest_seconds": round(self.board.seconds, 6),
            "instructions": self.board.instructions,
            "pes": [cpu.to_json() for cpu in self.board.cpus],
            "command_errors": [str(error) for error in self.board.gic.errors],
            **self.board.watch.to_json(),
        }
