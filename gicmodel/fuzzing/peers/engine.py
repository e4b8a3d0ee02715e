# SPDX-License-Identifier: Apache-2.0
"""The other engine as a peer: the same kernels as plain Python, where this process runs them compiled, or the reverse.

The other engine is a process. Both run the same steps; then every word that the hardware holds and every page of RAM
that was written must be the same. The oracle only decides, on both sides alike, which steps make sense.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import IO, Any, ClassVar

import numpy as np

from gicmodel.engine import VARIABLE, Engine
from gicmodel.fuzzing.peers.oracle import boot_pair, draw_machine
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.fuzzing.peers.peer import Divergence, HardwareComparison, HardwarePeer
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.program import Event, Step, runs
from gicmodel.hardware import Gic
from gicmodel.jit import COMPILED
from gicmodel.memory import PAGE_BYTES

State = dict[str, str]
"""A digest of each part of a machine, and what the steps said."""


def state(gic: Gic) -> State:
    """Digests of all that the hardware holds and of RAM."""
    parts: dict[str, Any] = {name: getattr(gic.machine, name) for name in ("chip", "slots", "configuration")}
    pages = np.flatnonzero(gic.memory.page_state)
    parts |= {"pages": gic.memory.page_state, "RAM": gic.memory.octets.reshape(-1, PAGE_BYTES)[pages]}
    return {
        name: hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=8).hexdigest()
        for name, array in parts.items()
    }


def run_steps(pair: Pair, steps: Sequence[Step]) -> str:
    """Run steps, and what the oracle has to say against them: the same on both engines."""
    said = []
    for step in runs(steps):
        try:
            if isinstance(step, Event):
                pair.perform(step)
            else:
                pair.push(*step)
        except Divergence as divergence:
            said.append(str(divergence))
    return "; ".join(said)


class AgainstEngine(HardwareComparison):
    """The hardware on both engines."""

    def __init__(self, machine: GicMachine) -> None:
        self.pair = boot_pair(machine)
        self.universe = self.pair.universe
        self.lab = self.pair.lab
        self.outcomes = self.pair.outcomes
        self._other = other_engine()
        self._other.ask(machine)
        self._compare("")

    def run(self, steps: Sequence[Step]) -> None:
        """Everything is compared after the steps."""
        self._other.ask(list(steps))
        self._compare(run_steps(self.pair, steps))

    def check(self) -> None:
        """`run` has compared everything."""
        return

    def _compare(self, said: str) -> None:
        here, there = state(self.pair.lab.gic) | {"steps": said}, self._other.answer()
        for part, digest in here.items():
            if digest != there[part]:
                raise Divergence(
                    f"{part} of the machine", f"{_name(COMPILED)} {digest}", f"{_name(not COMPILED)} {there[part]}"
                )


class EnginePeer(HardwarePeer):
    """Python beside machine code, or the reverse."""

    name: ClassVar[str] = "engine"
    chunk: ClassVar[int] = 500

    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        """The machines that are compared with the oracle."""
        return draw_machine(random, architecture)

    def start(self, machine: GicMachine) -> AgainstEngine:
        """Boot both."""
        return AgainstEngine(machine)


class OtherEngine:
    """The process that is the other engine. It ends when this one does, or at the end of its input."""

    def __init__(self) -> None:
        environment = os.environ | {VARIABLE: (Engine.PYTHON if COMPILED else Engine.COMPILED).value}
        # A process group of its own: Ctrl-C is for this process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, request: GicMachine | list[Step]) -> None:
        """Let it boot a machine, or run steps on that machine."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` says that the process has ended
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()

    def answer(self) -> State:
        """The state that it is in after the request. A process that has died is replaced for the next request."""
        assert self._process.stdout is not None
        try:
            answered: State = pickle.load(self._process.stdout)
        except EOFError:
            other_engine.cache_clear()
            raise RuntimeError(f"the other engine ended with status {self.close()}") from None
        return answered

    def close(self) -> int:
        """End its input, and so the process; its exit status."""
        atexit.unregister(self.close)
        self._process.communicate()
        return self._process.returncode


@cache
def other_engine() -> OtherEngine:
    """One for each process: to start it takes longer than most programs."""
    return OtherEngine()


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each request with the state after it, until there are no more."""
    pair: Pair | None = None
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        said = ""
        if isinstance(request, GicMachine):
            pair = boot_pair(request)
        elif pair is not None:
            said = run_steps(pair, request)
        assert pair is not None
        pickle.dump(state(pair.lab.gic) | {"steps": said}, answers)
        answers.flush()


def _name(compiled: bool) -> str:
    return "compiled" if compiled else "Python"


PEER = EnginePeer()

if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
