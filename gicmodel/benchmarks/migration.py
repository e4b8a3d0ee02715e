# SPDX-License-Identifier: Apache-2.0
"""A whole migration, save path and resume path: beside the memcpy it cannot do without, and beside a smaller one.

A VM moves from host to host, each new; between two measurements its devices raise interrupts again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Point, Side, require
from gicmodel.benchmarks.machines import PENDING, new_host, running_machine, size_of
from gicmodel.memory import PAGE_BYTES
from gicmodel.migration.machine import pending_interrupts
from gicmodel.migration.migrate import Migration
from gicmodel.migration.trial import raise_some

VCPUS = 16
LARGE, SMALL, QUICK = 57_344, 1024, 32


class Journey:
    """A VM that migrates again and again."""

    def __init__(self, vlpis: int) -> None:
        self.size = size_of(vlpis, VCPUS)
        self.vlpis = self.size.devices * self.size.vectors
        self.vm = running_machine(self.size)
        self._rng = np.random.default_rng(2)
        self._migration: Migration | None = None

    def prepare(self) -> None:
        """The VM runs where it has arrived, some interrupts are pending, and there is another host."""
        if self._migration is not None:
            self.vm.destroy()
            self.vm = self._migration.target
            self.vm.run_vcpus()
        raise_some(self.vm, PENDING, self._rng)
        self._migration = Migration(self.vm, new_host("next", self.size))

    def migrate(self) -> None:
        """What is measured."""
        assert self._migration is not None
        self._migration.run()

    def prove(self) -> None:
        """Raise Unproven unless the same interrupts are pending on the other side."""
        self.prepare()
        assert self._migration is not None
        before = pending_interrupts(self.vm)
        self.migrate()
        require(bool(before) and pending_interrupts(self._migration.target) == before, "pending interrupts")


@contextmanager
def growth(vlpis: int, quick: bool) -> Iterator[Case]:
    """Per vLPI, many of them and few."""
    large, small = Journey(2 * QUICK if quick else vlpis), Journey(QUICK if quick else SMALL)
    many, few = (
        Side(f"{journey.vlpis} vLPIs", journey.migrate, journey.vlpis, journey.prepare) for journey in (large, small)
    )
    yield Case(many, few, "vLPI", large.prove)


@contextmanager
def beside_memcpy(quick: bool) -> Iterator[Case]:
    """The migration, and numpy.copyto of the guest RAM that it has to move."""
    journey = Journey(QUICK if quick else LARGE)
    source = np.ones(len(journey.vm.memory.written_pages()) * PAGE_BYTES, np.uint8)
    model = Side(f"{journey.vlpis} vLPIs", journey.migrate, 1, journey.prepare)
    yield Case(model, Side("numpy.copyto", partial(np.copyto, source.copy(), source), 1), "migration", journey.prove)


BENCHMARKS = (
    Benchmark("57,344 vLPIs beside memcpy", beside_memcpy),
    *(
        Benchmark(f"{vlpis} vLPIs", partial(growth, vlpis), point=Point("migration", "vLPIs", vlpis))
        for vlpis in (1024, 4096, 16_384)
    ),
    Benchmark(
        "growth, 57,344 beside 1024", partial(growth, LARGE), Goal("cost", 1.2), Point("migration", "vLPIs", LARGE)
    ),
)
