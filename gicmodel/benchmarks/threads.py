# SPDX-License-Identifier: Apache-2.0
"""Two threads beside one: kernels run without the GIL, so that GICs work at the same time. Each thread has its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.harness import Benchmark, Case, Side, require
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


@contextmanager
def build(quick: bool) -> Iterator[Case]:
    """The messages of two GICs in two threads, and one GIC's after the other's."""
    gics = [Messages(QUICK_MESSAGES if quick else MESSAGES // THREADS, seed) for seed in range(THREADS)]
    count = sum(DEVICES * gic.events * BURSTS for gic in gics)

    def prove() -> None:
        for gic in gics:
            gic.prove()

    with ThreadPoolExecutor(THREADS) as pool:
        yield Case(
            Side("two threads", lambda: list(pool.map(Messages.translate, gics)), count),
            Side("one thread", lambda: list(map(Messages.translate, gics)), count),
            "message",
            prove,
        )


@contextmanager
def clean(vpes: Vpes, quick: bool) -> Iterator[Case]:
    """The dirty VPTs of two GICs cleaned in two threads, and one GIC's after the other's."""
    gics = [Cleaning(vpes.smaller(quick)) for _ in range(THREADS)]
    size = sum(gic.expected.nbytes for gic in gics)

    def prepare() -> None:
        for gic in gics:
            gic.prepare()

    def prove() -> None:
        for gic in gics:
            gic.prove()

    with ThreadPoolExecutor(THREADS) as pool:
        yield Case(
            Side("two threads", lambda: list(pool.map(Cleaning.clean, gics)), size, prepare),
            Side("one thread", lambda: list(map(Cleaning.clean, gics)), size, prepare),
            "byte",
            prove,
        )


BENCHMARKS = (
    Benchmark("GITS_TRANSLATER, two GICs", build),
    Benchmark("VPT clean, two GICs", partial(clean, Vpes(32, 20))),
)
