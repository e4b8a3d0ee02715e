# SPDX-License-Identifier: Apache-2.0
"""Running a program against a peer: in bulk, and where the two differ once more, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.peer import Comparison, Divergence, Outcomes, Peer
from gicmodel.fuzzing.programs.program import Program, Step

EXCEPTION = "exception"
"""What is said to differ when either side raises an exception that nobody expects."""

_PART = 500
"""Steps between two comparisons of everything."""


class Run(NamedTuple):
    """How a program went: what its commands ended with, and if there was one, the divergence and its part, else -1."""

    outcomes: Outcomes
    divergence: Divergence | None
    part: int


def run(peer: Peer, program: Program, part_steps: int = _PART) -> Run:
    """Run a program until the end or a divergence, comparing everything after each part."""
    with _started(peer, program) as comparison:
        for part, steps in enumerate(_parts(program.steps, part_steps)):
            try:
                _run_and_check(comparison, steps)
            except Divergence as divergence:
                return Run(comparison.outcomes, divergence, part)
        return Run(comparison.outcomes, None, -1)


def divergence_of(peer: Peer, program: Program) -> Divergence | None:
    """How a program ends in a divergence, if it does; everything is compared at its end only."""
    return run(peer, program, max(1, len(program.steps))).divergence


def first_divergence(peer: Peer, program: Program) -> tuple[Divergence, Program] | None:
    """The first divergence of a program, and the program up to the step after which it can be seen."""
    found = run(peer, program)
    if found.divergence is None:
        return None
    return locate(peer, program, found)


def locate(peer: Peer, program: Program, found: Run) -> tuple[Divergence, Program]:
    """As `first_divergence`, for a run that has ended with one."""
    assert found.divergence is not None
    before = found.part * _PART
    with _started(peer, program) as comparison:
        for part in _parts(program.steps[:before], _PART):
            _run_and_check(comparison, part)
        for number, step in enumerate(program.steps[before : before + _PART], before + 1):
            try:
                _run_and_check(comparison, (step,))
            except Divergence as divergence:
                return divergence, program.of(program.steps[:number])
    return found.divergence, program.of(program.steps[: before + _PART])


@contextmanager
def _started(peer: Peer, program: Program) -> Iterator[Comparison]:
    comparison = peer.start(program.machine)
    try:
        yield comparison
    finally:
        comparison.close()


def _run_and_check(comparison: Comparison, steps: tuple[Step, ...]) -> None:
    """An exception that nobody expects is a divergence, too, as a program shows it; a lack of memory is none."""
    try:
        comparison.run(steps)
        comparison.check()
    except (Divergence, UnusableInput, MemoryError):
        raise
    except Exception as error:
        raise Divergence(EXCEPTION, f"{type(error).__name__}: {error}") from error


def _parts(steps: tuple[Step, ...], length: int) -> Iterator[tuple[Step, ...]]:
    for first in range(0, len(steps), length):
        yield steps[first : first + length]
