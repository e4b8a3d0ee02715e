# SPDX-License-Identifier: Apache-2.0
"""A campaign: programs from a seed, each a chunk of its own, so that no result depends on who runs which chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gicmodel.config import ARCHITECTURES
from gicmodel.fuzzing.execution import divergence_of, locate, run
from gicmodel.fuzzing.peers.peer import Outcomes, Peer, peer
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.shrink import minimal


@dataclass(frozen=True)
class Plan:
    """What to do: about `commands` commands from `seed`, on one architecture or on each in turn.

    `linux_source` is what peers are made of that are Linux' code; without it they find one.
    """

    seed: int
    commands: int
    architecture: str | None = None
    linux_source: Path | None = None

    def chunks(self, peer: Peer) -> int:
        """How many chunks that are."""
        return -(-self.commands // peer.chunk)


@dataclass(frozen=True)
class Finding:
    """A divergence: the program up to it, or the smallest one that still shows it.

    `chunk` is where it was found, and `commands` how many commands a campaign in one process executes to get there.
    """

    against: str
    chunk: int
    commands: int
    kind: str
    difference: str
    program: Program


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
    offered = (
        [plan.architecture] if plan.architecture else [each for each in ARCHITECTURES if each in peer.architectures]
    )
    commands = min(peer.chunk, plan.commands - chunk * peer.chunk)
    return peer.program(random, offered[chunk % len(offered)], commands)


def run_chunk(peer: Peer, plan: Plan, chunk: int) -> ChunkResult:
    """Generate and run a chunk, and find the first step after which the two differ."""
    program = generate(peer, plan, chunk)
    went, count = run(peer, program), peer.notation.operations
    if went.divergence is None:
        return ChunkResult(chunk, count(program), went.outcomes, None)
    divergence, shown = locate(peer, program, went)
    before = chunk * peer.chunk + count(shown)
    finding = Finding(peer.name, chunk, before, divergence.kind, str(divergence), shown)
    return ChunkResult(chunk, count(shown), went.outcomes, finding)


def shrunk(peer: Peer, finding: Finding) -> Finding:
    """The finding with the smallest program that shows a difference, and that difference."""
    program = minimal(peer, finding.program)
    divergence = divergence_of(peer, program)
    if divergence is None:
        return finding
    return Finding(finding.against, finding.chunk, finding.commands, finding.kind, str(divergence), program)


def chunk_against(name: str, plan: Plan, chunk: int) -> ChunkResult:
    """`run_chunk` for the peer of a name: what a worker is asked to do."""
    return run_chunk(peer(name).made_of(plan.linux_source), plan, chunk)


def shrunk_of(findings: Sequence[Finding], plan: Plan, number: int) -> Finding:
    """`shrunk` for one of some findings: what a worker is asked to do."""
    return shrunk(peer(findings[number].against).made_of(plan.linux_source), findings[number])


def hunt(peer: Peer, plan: Plan) -> Finding | None:
    """Run the chunks in order, in this process, until one finds a divergence; shrink that."""
    for chunk in range(plan.chunks(peer)):
        if finding := run_chunk(peer, plan, chunk).finding:
            return shrunk(peer, finding)
    return None
