# SPDX-License-Identifier: Apache-2.0
"""Two threads beside one: kernels run without the GIL, so that ITSs with nothing in common work at the same time.

Messages: each ITS has devices and a redistributor of its own; what they share is RAM. VPTs: each thread has a GIC.
"""

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
from gicmodel.hardware import GicConfig
from gicmodel.hardware.observe import pending_physical
from gicmodel.migration.host import Host

THREADS = ITSS = 2
DEVICES = 64
BURSTS = 20


class Itss:
    """A host with ITSs whose events all go to redistributor n for ITS n, and a burst of messages for each."""

    def __init__(self, messages: int) -> None:
        self.host = Host("bench", GicConfig(its=ITSS, redistributors=ITSS, intid_bits=17))
        self.events = messages // DEVICES
        self.bursts = [self._burst(its) for its in range(ITSS)]
        self.pool = ThreadPoolExecutor(ITSS)

    def _burst(self, its: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        driver = self.host.driver
        for device_id in range(DEVICES):
            device = driver.its_create_device(device_id, self.events, its=its)
            driver.activate_events(device, 0, self.events, np.full(self.events, its))
        number = np.random.default_rng(its).permutation(DEVICES * self.events).astype(np.uint64)
        return number % np.uint64(DEVICES), number // np.uint64(DEVICES)

    def translate(self, its: int) -> None:
        """The messages of one ITS, many times over."""
        for _ in range(BURSTS):
            self.host.gic.its[its].translate_many(*self.bursts[its])

    def one_thread(self) -> None:
        """One ITS after the other."""
        for its in range(ITSS):
            self.translate(its)

    def two_threads(self) -> None:
        """A thread an ITS."""
        list(self.pool.map(self.translate, range(ITSS)))

    def prove(self) -> None:
        """Raise Unproven unless every message's LPI is pending at its redistributor."""
        self.two_threads()
        for rd in range(ITSS):
            require(len(pending_physical(self.host.gic, rd)) == DEVICES * self.events, "pending LPIs")


@contextmanager
def build(quick: bool) -> Iterator[Case]:
    """The same bursts in two threads and in one."""
    itss = Itss(QUICK_MESSAGES if quick else MESSAGES // ITSS)
    count = ITSS * DEVICES * itss.events * BURSTS
    with itss.pool:
        yield Case(
            Side("two threads", itss.two_threads, count),
            Side("one thread", itss.one_thread, count),
            "message",
            itss.prove,
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
    Benchmark("GITS_TRANSLATER, two ITSs", build),
    Benchmark("VPT clean, two GICs", partial(clean, Vpes(32, 20))),
)
