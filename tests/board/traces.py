# SPDX-License-Identifier: Apache-2.0
"""A board's trace, replayed, beside what the board has come to."""

from __future__ import annotations

from pathlib import Path

from gicmodel.board import Board
from gicmodel.images.dump import Dump
from gicmodel.images.segments import Segment
from gicmodel.replay import Outcome, replay


def replayed(board: Board, lines: list[str], path: Path) -> Outcome:
    """What `gicmodel replay --compare --registers` finds at the end of a run."""
    path.write_text("".join(f"{line}\n" for line in lines))
    memory = board.memory
    return replay(path, Dump([Segment(memory.base, memory.octets)]), board.gic.registers())


def assert_equal(board: Board, lines: list[str], path: Path) -> None:
    """Without a processor the model does what it did with one: tables and registers, byte for byte."""
    outcome = replayed(board, lines, path)
    differences = {name: compared.first for name, compared in outcome.compared.items() if compared.different}
    assert (differences, outcome.not_pending, outcome.partial, outcome.unknown) == ({}, (), (), {})
    assert outcome.compared["registers"].bytes
    assert outcome.commands_by_kind == board.watch.commands
    assert outcome.msis == board.watch.messages.total()
