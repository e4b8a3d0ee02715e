# SPDX-License-Identifier: Apache-2.0
"""Two threads beside one: kernels run without the GIL, so that GICs work at the same time. Each thread has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from gicmodel.benchmarks.harness import Benchmark, Case, Side
from gicmodel.benchmarks.translater import MESSAGES, QUICK_MESSAGES, Messages
from gicmodel.benchmarks.vpt import Cleaning, Vpes

THREADS = 2
BURSTS = 20


def messages(quick: bool) -> AbstractContextManager[Case]:
    """The messages of two GICs, many times over."""
    count = QUICK_MESSAGES if quick else MESSAGES // THREADS

    def translate(gic: Messages) -> None:
        for _ in range(BURSTS):
            gic.translate()

    return in_threads([Messages("none", count) for _ in range(THREADS)], translate, count * BURSTS, "message")


def cleaning(vpes: Vpes, quick: bool) -> AbstractContextManager[Case]:
    """The dirty VPTs of two GICs cleaned."""
    gics = [Cleaning(vpes.smaller(quick)) for _ in range(THREADS)]
    return in_threads(gics, Cleaning.clean, gics[0].expected.nbytes, "byte")


@contextmanager
def in_threads(gics: Sequence[Any], work: Callable[[Any], None], size: int, unit: str) -> Iterator[Case]:
    """The work of the GICs, of `size` each, in a thread each, and one GIC's after the other's."""

    def prepare() -> None:
        for gic in gics:
            gic.prepare()

    def prove() -> None:
        for gic in gics:
            gic.prove()

    with ThreadPoolExecutor(THREADS) as pool:
        two = Side("two threads", lambda: list(pool.map(work, gics)), size * THREADS, prepare)
        one = Side("one thread", lambda: list(map(work, gics)), size * THREADS, prepare)
        yield Case(two, one, unit, prove)


BENCHMARKS = (
    Benchmark("GITS_TRANSLATER, two GICs", messages),
    Benchmark("VPT clean, two GICs", partial(cleaning, Vpes(32, 20))),
)
