# SPDX-License-Identifier: Apache-2.0
"""Every benchmark builds, proves its result, and runs; how long anything takes is never a test."""

import pytest

from gicmodel.benchmarks.harness import QUICK, Benchmark, PeerMissing, measure
from gicmodel.benchmarks.report import GROUPS, benchmarks
from gicmodel.jit import COMPILED
from tests.conftest import missing

pytestmark = pytest.mark.skipif(not COMPILED, reason="what is measured is compiled")

# Start-up, campaigns and boots are measured in processes of their own, see tests/cli/test_bench.py, test_fuzz.py and
# tests/board/test_linux.py; curves repeat a benchmark at other sizes.
IN_PROCESS = [
    pytest.param(benchmark, id=f"{group}: {benchmark.name}")
    for group in GROUPS
    if group not in ("startup", "boot", "fuzz")
    for benchmark in benchmarks(group)
    if benchmark.point is None or benchmark.goal is not None
]


@pytest.mark.parametrize("comparison", IN_PROCESS)
def test_both_sides_compute_the_same(comparison: Benchmark):
    try:
        with comparison.build(True) as case:
            measured = measure(case, "speed", QUICK)
    except PeerMissing as reason:
        missing(str(reason))
    assert measured.rounds == 1
    assert measured.model.median > 0
    assert measured.peer.median > 0


def test_names_are_unique():
    for group in GROUPS:
        names = [benchmark.name for benchmark in benchmarks(group)]
        assert len(set(names)) == len(names), group


def test_a_curve_has_points_to_draw():
    curves: dict[tuple[str, str], list[float]] = {}
    for group in GROUPS:
        for benchmark in benchmarks(group):
            if benchmark.point is not None:
                curves.setdefault((benchmark.point.curve, benchmark.point.axis), []).append(benchmark.point.value)
    assert len(curves) >= 3
    for points in curves.values():
        assert len(points) >= 4
        assert points == sorted(points)
