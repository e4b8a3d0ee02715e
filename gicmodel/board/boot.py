# SPDX-License-Identifier: Apache-2.0
"""A kernel on a board, from power-on to what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gicmodel.board.board import Board, Ending, new_gic
from gicmodel.board.image import place, read_initrd, read_program
from gicmodel.board.watch import Watch
from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.hardware.command_errors import CommandError

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
    """How a run of a board ended, after `seconds` of the host and `guest_seconds` of its own, and what its GIC saw.

    `why` is the ending in words; `pes` tell where the PEs are, as JSON and as text; `errors` are the latest 1024 ITS
    commands that failed.
    """

    ending: Ending
    why: str
    seconds: float
    guest_seconds: float
    instructions: int
    pes: tuple[tuple[dict[str, Any], str], ...]
    errors: tuple[CommandError, ...]
    watch: Watch

    @classmethod
    def of(cls, board: Board, ending: Ending, seconds: float) -> Self:
        """Of a board that `Board.run` has run."""
        pes = tuple((pe.to_json(), f"PE {pe.number}: {pe}") for pe in board.cpus)
        why = board.reason or ending.value
        return cls(ending, why, seconds, board.seconds, board.instructions, pes, tuple(board.gic.errors), board.watch)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ending": self.ending.name,
            "why": self.why,
            "seconds": round(self.seconds, 3),
            "guest_seconds": round(self.guest_seconds, 6),
            "instructions": self.instructions,
            "pes": [pe for pe, _ in self.pes],
            "command_errors": [str(error) for error in self.errors],
            **self.watch.to_json(),
        }
