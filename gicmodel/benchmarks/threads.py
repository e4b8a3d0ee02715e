# SPDX-License-Identifier: Apache-2.0
"""Two threads beside one: kernels run without the GIL, so that GICs work at the same time. Each thread has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.harness import Benchmark, Case, Side, Work, require
from gicmodel.benchmarks.translater import MESSAGES, QUICK_MESSAGES
from gicmodel.benchmarks.vpt import Cleaning, Vpes
from gicmodel.config import GicConfig
from gicmodel.hardware.observe import pending_physical
from gicmodel.migration.host import Host

THREADS = 2
DEVICES = 64
BURSTS = 20


class Messages:
    """A host with a redistributor, and a burst of messages for its ITS."""

    def __init__(self, messages: int, seed: int) -> None:
        self.host = Host("bench", GicConfig(redistributors=1, intid_bits=17))
        self.events = messages // DEVICES
        self.burst = self._burst(seed)

    def _burst(self, seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        driver = self.host.driver
        for device_id in range(DEVICES):
            driver.lpis.activate(driver.lpis.create_device(device_id, self.events), np.arange(self.events))
        number = np.random.default_rng(seed).permutation(DEVICES * self.events).astype(np.uint64)
        return number % np.uint64(DEVICES), number // np.uint64(DEVICES)

    def translate(self) -> None:
        """The messages, many times over."""
        for _ in range(BURSTS):
            self.host.gic.its[0].translate_many(*self.burst)

    def prove(self) -> None:
        """Raise Unproven unless every message's LPI is pending."""
        self.translate()
        require(len(pending_physical(self.host.gic, 0)) == DEVICES * self.events, "pending LPIs")


def messages(quick: bool) -> AbstractContextManager[Case]:
    """The messages of two GICs."""
    gics = [Messages(QUICK_MESSAGES if quick else MESSAGES // THREADS, seed) for seed in range(THREADS)]
    return in_threads(gics, Messages.translate, sum(DEVICES * gic.events * BURSTS for gic in gics), "message")


def cleaning(vpes: Vpes, quick: bool) -> AbstractContextManager[Case]:
    """The dirty VPTs of two GICs cleaned."""
    gics = [Cleaning(vpes.smaller(quick)) for _ in range(THREADS)]

    def prepare() -> None:
        for gic in gics:
            gic.prepare()

    return in_threads(gics, Cleaning.clean, sum(gic.expected.nbytes for gic in gics), "byte", prepare)


@contextmanager
def in_threads(
    gics: Sequence[Any], work: Callable[[Any], None], size: int, unit: str, prepare: Work | None = None
) -> Iterator[Case]:
    """The work of the GICs in a thread each, and one GIC's after the other's."""

    def prove() -> None:
        for gic in gics:
            gic.prove()

    with ThreadPoolExecutor(THREADS) as pool:
        yield Case(
            Side("two threads", lambda: list(pool.map(work, gics)), size, prepare),
            Side("one thread", lambda: list(map(work, gics)), size, prepare),
            unit,
            prove,
        )


BENCHMARKS = (
    Benchmark("GITS_TRANSLATER, two GICs", messages),
    Benchmark("VPT clean, two GICs", partial(cleaning, Vpes(32, 20))),
)
