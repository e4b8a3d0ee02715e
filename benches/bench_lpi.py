# SPDX-License-Identifier: Apache-2.0
"""See gicmodel.benchmarks.lpi."""

from collections.abc import Callable

import pytest

from gicmodel.benchmarks.harness import Benchmark
from gicmodel.benchmarks.lpi import BENCHMARKS


@pytest.mark.parametrize("comparison", BENCHMARKS, ids=lambda comparison: comparison.name)
def bench_lpi(comparison: Benchmark, time_side: Callable[[Benchmark], None]) -> None:
    time_side(comparison)
