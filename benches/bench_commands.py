# SPDX-License-Identifier: Apache-2.0
"""See gicmodel.benchmarks.commands."""

from collections.abc import Callable

import pytest

from gicmodel.benchmarks.commands import BENCHMARKS
from gicmodel.benchmarks.harness import Benchmark


@pytest.mark.parametrize("comparison", BENCHMARKS, ids=lambda comparison: comparison.name)
def bench_commands(comparison: Benchmark, time_side: Callable[[Benchmark], None]) -> None:
    time_side(comparison)
