# SPDX-License-Identifier: Apache-2.0
"""The measurements of `gicmodel.benchmarks` under pytest-benchmark: each side of each a benchmark of its own."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gicmodel.benchmarks.harness import Benchmark, PeerMissing
from tests.conftest import missing

SIDES = ("model", "peer")
ROUNDS = 20


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> str:
    """Which of the two is timed."""
    return str(request.param)


@pytest.fixture
def time_side(benchmark: BenchmarkFixture, side: str) -> Callable[[Benchmark], None]:
    """Prove a benchmark's result, then time one side of it. What is subtracted is in the extra information."""

    def time(comparison: Benchmark) -> None:
        quick = bool(benchmark.disabled)
        try:
            with comparison.build(quick) as case:
                case.prove()
                chosen = case.model if side == "model" else case.peer
                benchmark.group = comparison.name
                benchmark.extra_info.update(side=chosen.name, unit=case.unit, work=chosen.work)
                prepare = chosen.prepare or (lambda: None)
                # pytest-benchmark takes what setup returns for arguments.
                benchmark.pedantic(
                    chosen.run, setup=lambda: prepare() and None, rounds=1 if comparison.once else ROUNDS
                )
        except PeerMissing as reason:
            missing(str(reason))

    return time
