# SPDX-License-Identifier: Apache-2.0
"""The measurements of `gicmodel.benchmarks` under pytest-benchmark: each side of each a benchmark of its own.

`pytest benches -k vpt` measures one group. Those whose peer an environment variable names are not among them.
"""

from typing import Literal

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gicmodel.benchmarks.harness import Benchmark, PeerMissing
from gicmodel.benchmarks.report import GROUPS, benchmarks
from tests.conftest import missing

ROUNDS = 20
NAMED = ("fuzz", "boot")
COMPARISONS = [
    pytest.param(comparison, id=f"{group}: {comparison.name}")
    for group in GROUPS
    if group not in NAMED
    for comparison in benchmarks(group)
]


@pytest.mark.parametrize("side", ["model", "peer"])
@pytest.mark.parametrize("comparison", COMPARISONS)
def bench_side(comparison: Benchmark, side: Literal["model", "peer"], benchmark: BenchmarkFixture) -> None:
    """Prove a benchmark's result, then time one side of it. What is subtracted is in the extra information."""
    try:
        with comparison.build(bool(benchmark.disabled)) as case:
            case.prove()
            chosen = case.model if side == "model" else case.peer
            benchmark.group = comparison.name
            benchmark.extra_info.update(side=chosen.name, unit=case.unit, work=chosen.work)
            prepare = chosen.prepare or (lambda: None)
            # pytest-benchmark takes what setup returns for arguments.
            benchmark.pedantic(chosen.run, setup=lambda: prepare() and None, rounds=1 if comparison.once else ROUNDS)
    except PeerMissing as reason:
        missing(str(reason))
