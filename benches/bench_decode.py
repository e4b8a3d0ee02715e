# SPDX-License-Identifier: Apache-2.0
"""See gicmodel.benchmarks.decode."""

from collections.abc import Callable

import pytest

from gicmodel.benchmarks.decode import BENCHMARKS
from gicmodel.benchmarks.harness import Benchmark


@pytest.mark.parametrize("comparison", BENCHMARKS, ids=lambda comparison: comparison.name)
def bench_decode(comparison: Benchmark, time_side: Callable[[Benchmark], None]) -> None:
    time_side(comparison)
