# SPDX-License-Identifier: Apache-2.0
"""A campaign beside the specification, and the one of an earlier tree, whose checkout GICMODEL_EARLIER names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import gicmodel
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, PeerMissing, Side, Unproven, require
from gicmodel.engine import VARIABLE, Engine

EARLIER = "GICMODEL_EARLIER"
CHUNKS = 20
"""Of so many programs one has interrupts of all kinds."""
SEED, QUICK_COMMANDS = 1, 200

CAMPAIGN = """
import sys
try:
    from gicmodel.fuzzing.finding import Plan, run_chunk
except ImportError:
    from gicmodel.fuzzing.campaign import Plan, run_chunk
from gicmodel.fuzzing.peers.oracle import PEER
for line in sys.stdin:
    seed, commands, chunks = map(int, line.split())
    results = [run_chunk(PEER, Plan(seed, commands), chunk) for chunk in range(chunks)]
    print(sum(result.commands for result in results), sum(result.finding is not None for result in results), flush=True)
"""
"""What runs in either tree: for each line the chunks of a campaign. It answers with commands and divergences."""


class Campaigns:
    """A process that runs campaigns, one after another, with the package of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._process = subprocess.Popen(
            [sys.executable, "-c", CAMPAIGN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {VARIABLE: Engine.COMPILED.value, "PYTHONPATH": str(checkout)},
        )

    def run(self, commands: int, chunks: int) -> int:
        """Run the chunks of a campaign of so many commands; how many commands that were. Unproven: they diverged."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(SEED, commands, chunks, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise Unproven(f"the campaign of {self._checkout} ended with {self._process.wait()}")
        require(answer[1] == "0", f"hardware and specification of {self._checkout}")
        return int(answer[0])

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextmanager
def campaign(quick: bool) -> Iterator[Case]:
    """The same seed in both trees. Programs are not the same, their commands are as many."""
    earlier = Path(os.environ.get(EARLIER) or os.devnull)
    if not (earlier / "gicmodel" / "fuzzing").is_dir():
        raise PeerMissing(f"no earlier tree: {EARLIER} names no checkout")
    asked = (QUICK_COMMANDS, 1) if quick else (1_000_000, CHUNKS)
    with ExitStack() as stack:
        ours, theirs = (Campaigns(tree) for tree in (Path(gicmodel.__file__).parents[1], earlier))
        stack.callback(ours.close)
        stack.callback(theirs.close)
        commands = ours.run(*asked)

        def prove() -> None:
            require(commands == theirs.run(*asked), "commands of the two campaigns")

        model = Side("this tree", partial(ours.run, *asked), commands)
        yield Case(model, Side("earlier tree", partial(theirs.run, *asked), commands), "command", prove)


BENCHMARKS = (Benchmark("a campaign, beside an earlier tree", campaign, Goal("speed", 3.0)),)
