# SPDX-License-Identifier: Apache-2.0
"""A chunk of a campaign: its program, its run, the first step after which two differ, and the smallest program.

No result depends on who runs which chunk. A program is run in bulk, and where the two differ once more, step by step.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.peer import Divergence, Outcomes, Peer
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.shrink import shrink

EXCEPTION = "exception"
"""What is said to differ when either side raises an exception that nobody expects."""

_PART = 500
"""Steps between two comparisons of everything."""


@dataclass(frozen=True)
class Plan:
    """What to do: about `commands` commands from `seed`, on one architecture or on each in turn."""

    seed: int
    commands: int
    architecture: str | None = None

    def chunks(self, peer: Peer) -> int:
        """How many chunks that are."""
        return -(-self.commands // peer.chunk)


@dataclass(frozen=True)
class Finding:
    """A divergence: the program up to it, or the smallest one that still shows it.

    `chunk` is where it was found, and `commands` how many commands a campaign in one process executes to get there;
    `file` is where the program has been saved.
    """

    against: str
    chunk: int
    commands: int
    kind: str
    difference: str
    program: Program
    file: str | None = None


@dataclass(frozen=True)
class ChunkResult:
    """What one chunk did: its commands, how often which of them ended how, and its first divergence.

    `outcomes` also counts the SYNCs that took the place of commands that stalled.
    """

    chunk: int
    commands: int
    outcomes: Outcomes
    finding: Finding | None


def generate(peer: Peer, plan: Plan, chunk: int) -> Program:
    """The program of a chunk: a function of its arguments and nothing else."""
    random = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(chunk,)))
    offered = [plan.architecture] if plan.architecture else peer.architectures
    commands = min(peer.chunk, plan.commands - chunk * peer.chunk)
    return peer.program(random, offered[chunk % len(offered)], commands)


@contextmanager
def _collected_at_its_end() -> Iterator[None]:
    """What a chunk makes is young until its end, and goes then. Before that a collection finds next to nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.collect(0)


@_collected_at_its_end()
def run_chunk(peer: Peer, plan: Plan, chunk: int) -> ChunkResult:
    """Generate and run a chunk, and find the first step after which the two differ."""
    program = generate(peer, plan, chunk)
    went, finding = run(peer, program), None
    if went.divergence is not None:
        divergence, program = locate(peer, program, went)
        before = chunk * peer.chunk + program.operations
        finding = Finding(peer.name, chunk, before, divergence.kind, str(divergence), program)
    return ChunkResult(chunk, program.operations, went.outcomes, finding)


def shrunk(peer: Peer, finding: Finding) -> Finding:
    """The finding with the smallest program that shows a difference, and that difference.

    One that only raises an exception stands for another that does, and for nothing else.
    """
    shown = finding.difference

    def fails(candidate: Program) -> bool:
        nonlocal shown
        try:
            divergence = divergence_of(peer, candidate)
        except UnusableInput:
            # The simpler machine is none that this peer can have.
            return False
        if divergence is None or (divergence.kind == EXCEPTION) != (finding.kind == EXCEPTION):
            return False
        # Of the smallest program in the end, which is the last that fails.
        shown = str(divergence)
        return True

    program = shrink(finding.program, fails)
    return replace(finding, difference=shown, program=program)


def hunt(peer: Peer, plan: Plan) -> Finding | None:
    """Run the chunks in order, in this process, until one finds a divergence; shrink that."""
    for chunk in range(plan.chunks(peer)):
        if finding := run_chunk(peer, plan, chunk).finding:
            return shrunk(peer, finding)
    return None


class Run(NamedTuple):
    """How a program went: what its commands ended with, and if there was one, the divergence after how many steps."""

    outcomes: Outcomes
    divergence: Divergence | None
    steps: int


def run(peer: Peer, program: Program, part_steps: int = _PART) -> Run:
    """Run a program until the end or a divergence, comparing everything after each part."""
    return _run(peer, program, range(part_steps, len(program.steps) + part_steps, part_steps))


def divergence_of(peer: Peer, program: Program) -> Divergence | None:
    """How a program ends in a divergence, if it does; everything is compared at its end only."""
    return run(peer, program, max(1, len(program.steps))).divergence


def locate(peer: Peer, program: Program, found: Run) -> tuple[Divergence, Program]:
    """The first divergence of a program whose run has ended with one, and the program up to the step that shows it."""
    before = (found.steps - 1) // _PART * _PART
    again = _run(peer, program, [*range(_PART, before + 1, _PART), *range(before + 1, found.steps + 1)])
    shown = again if again.divergence is not None else found
    assert shown.divergence is not None
    return shown.divergence, program.of(program.steps[: shown.steps])


def _run(peer: Peer, program: Program, ends: Iterable[int]) -> Run:
    """Run a program, comparing everything after so many steps each.

    An exception that nobody expects is a divergence, too, as a program shows it; a lack of memory is none.
    """
    done = 0
    with closing(peer.start(program.machine)) as comparison:
        for end in ends:
            steps = program.steps[done:end]
            done += len(steps)
            try:
                comparison.run(steps)
                comparison.check()
            except Divergence as divergence:
                return Run(comparison.outcomes, divergence, done)
            except (UnusableInput, MemoryError):
                raise
            except Exception as error:
                return Run(comparison.outcomes, Divergence(EXCEPTION, f"{type(error).__name__}: {error}"), done)
        return Run(comparison.outcomes, None, done)
