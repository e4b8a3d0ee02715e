# SPDX-License-Identifier: Apache-2.0
"""How anything is measured here: two sides in turn, the results proved equal first, medians with their spread.

The machine may be busy with other things, so a time says little and a ratio of two runs next to each other says a lot.
The sides alternate, and the order within a round too; each round gives one ratio, and the quartiles of the rounds'
ratios are the result.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple

Work = Callable[[], object]


class PeerMissing(Exception):
    """What the model is compared with is not on this machine; the message says what, and why."""


class Unproven(AssertionError):
    """The two sides did not compute the same: there is nothing to compare."""


class Goal(NamedTuple):
    """`speed`: the model is at least `bound` times as fast as the peer; `cost`: it takes at most `bound` times as long.

    Either is per unit of work.
    """

    kind: Literal["speed", "cost"]
    bound: float

    def margin(self, measured: Measured) -> float:
        """How far the median ratio is beyond the bound: just met is 1, and more is better for both kinds."""
        ratio = measured.ratio.median
        return ratio / self.bound if self.kind == "speed" else self.bound / ratio


@dataclass(frozen=True)
class Side:
    """One contender. A run does `work` units; `prepare` comes before each run and is not timed.

    `overhead` is timed too, and taken off: the way to a peer in another process. `prepare_overhead` comes before it, or
    `prepare` if there is none: each is measured as warm as its own preparation leaves it.
    """

    name: str
    run: Work
    work: float = 1
    prepare: Work | None = None
    overhead: Work | None = None
    prepare_overhead: Work | None = None


@dataclass(frozen=True)
class Case:
    """What a benchmark has built: both sides, the unit of their work, and the proof, which raises Unproven."""

    model: Side
    peer: Side
    unit: str
    prove: Work


class Point(NamedTuple):
    """Where a benchmark stands on a scaling curve: the name of the curve, its axis, the place on it."""

    curve: str
    axis: str
    value: float


@dataclass(frozen=True)
class Benchmark:
    """A named comparison. `build(quick)` sets it up, small if quick, and raises PeerMissing if there is no peer."""

    name: str
    build: Callable[[bool], AbstractContextManager[Case]]
    goal: Goal | None = None
    point: Point | None = None
    once: bool = False
    """Measured in one round: it takes very long."""


class Spread(NamedTuple):
    """First quartile, median, third quartile."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Measured:
    """Seconds a unit of work for both sides, and the goal's ratio: peer / model for speed, model / peer for cost."""

    model: Spread
    peer: Spread
    ratio: Spread
    rounds: int


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds until `seconds` have passed, but at least `fewest` and at most `most`.

    What takes so long that `fewest` rounds are not done in `longest` seconds has PATIENCE rounds at least.
    """

    seconds: float
    fewest: int
    most: int
    longest: float = 10.0


class PeakMemory:
    """How much RAM this process has held at most since the object was made, Python and machine code included.

    Linux counts it (proc(5), VmHWM), and begins anew when asked: one object at a time.
    """

    def __init__(self) -> None:
        self._begun = False
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
            self._begun = True

    def octets(self) -> int | None:
        """In bytes; None where nobody counts it."""
        if not self._begun:
            return None
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), None)


PATIENCE = 3
THOROUGH = Effort(seconds=2.0, fewest=9, most=201)
ONCE = QUICK = Effort(seconds=0.0, fewest=1, most=1)


def measure(case: Case, kind: Literal["speed", "cost"], effort: Effort) -> Measured:
    """Prove a case, warm both sides up, and time them in turn."""
    case.prove()
    if effort.most > 1:
        _seconds(case.model)
        _seconds(case.peer)
    model: list[float] = []
    peer: list[float] = []
    start = perf_counter()
    with no_collection():
        while not _enough(effort, len(model), perf_counter() - start):
            turns = [(case.model, model), (case.peer, peer)]
            for side, times in turns if len(model) % 2 else reversed(turns):
                times.append(_seconds(side))
    over, under = (peer, model) if kind == "speed" else (model, peer)
    ratio = spread_of([a / b for a, b in zip(over, under, strict=True)])
    return Measured(spread_of(model), spread_of(peer), ratio, len(model))


def _enough(effort: Effort, rounds: int, elapsed: float) -> bool:
    if rounds < effort.fewest:
        return rounds >= PATIENCE and elapsed > effort.longest
    return rounds >= effort.most or elapsed > effort.seconds


def _seconds(side: Side) -> float:
    """Seconds that one unit of work takes."""
    elapsed = timed(side.prepare, side.run)
    if side.overhead is not None:
        # At least the clock's own resolution: a difference of two times may come out as nothing, or less.
        elapsed = max(elapsed - timed(side.prepare_overhead or side.prepare, side.overhead), 1e-9)
    return elapsed / side.work


def timed(prepare: Work | None, work: Work) -> float:
    """The seconds that `work` takes, after `prepare`."""
    if prepare is not None:
        prepare()
    start = perf_counter()
    work()
    return perf_counter() - start


def spread_of(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


@contextmanager
def no_collection() -> Iterator[None]:
    """Garbage is not collected in the middle of a run."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def require(equal: bool, what: str) -> None:
    """Raise Unproven, naming what differs."""
    if not equal:
        raise Unproven(f"{what}: the two sides differ")
