# SPDX-License-Identifier: Apache-2.0
"""The harness: order, preparation, what is subtracted, ratios and goals."""

import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from gicmodel.benchmarks.harness import (
    Benchmark,
    Case,
    Effort,
    Goal,
    Measured,
    PeakMemory,
    PeerMissing,
    Side,
    Spread,
    Unproven,
    measure,
    require,
)
from gicmodel.benchmarks.report import document, run, run_all

THREE = Effort(seconds=0.0, fewest=3, most=3)


def case(events, model_work=1.0, prove=lambda: None, overhead=None):
    def side(name, seconds, work):
        def timed():
            events.append(name)
            time.sleep(seconds)

        return Side(name, timed, work, prepare=lambda: events.append(f"prepare {name}"), overhead=overhead)

    return Case(side("model", 0.001, model_work), side("peer", 0.02, 1.0), "unit", prove)


def measured(ratio):
    spread = Spread(ratio, ratio, ratio)
    return Measured(spread, spread, spread, 1)


def test_sides_alternate_and_each_is_prepared():
    events = []
    measure(case(events), "speed", THREE)
    warm_up, rounds = events[:4], events[4:]
    assert warm_up == ["prepare model", "model", "prepare peer", "peer"]
    assert rounds[::2] == [f"prepare {name}" for name in rounds[1::2]]
    assert rounds[1::2] == ["peer", "model", "model", "peer", "peer", "model"]


def test_a_ratio_is_peer_to_model_for_speed_and_the_other_way_for_cost():
    speed = measure(case([]), "speed", THREE).ratio.median
    cost = measure(case([]), "cost", THREE).ratio.median
    assert speed > 1 > cost


def test_a_ratio_is_per_unit_of_work():
    whole = measure(case([]), "speed", THREE)
    assert measure(case([], model_work=1000), "speed", THREE).ratio.median > 10 * whole.ratio.median


def test_overhead_is_taken_off_and_nothing_is_less_than_nothing():
    found = measure(case([], overhead=lambda: time.sleep(0.03)), "speed", THREE)
    assert 0 < found.model.median < 0.001
    assert 0 < found.peer.median < 0.001


def test_quartiles_are_in_order():
    ratio = measure(case([]), "speed", Effort(seconds=0.0, fewest=5, most=5)).ratio
    assert ratio.low <= ratio.median <= ratio.high


def test_what_is_slow_has_fewer_rounds():
    assert measure(case([]), "speed", Effort(seconds=0.0, fewest=50, most=50, longest=0.0)).rounds == 3


def test_a_wrong_result_is_not_timed():
    events = []
    with pytest.raises(Unproven, match="tables"):
        measure(case(events, prove=lambda: require(False, "tables")), "speed", THREE)
    assert events == []


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (Goal("speed", 10), 10.0, True),
        (Goal("speed", 10), 9.9, False),
        (Goal("cost", 0.03), 0.03, True),
        (Goal("cost", 0.03), 0.031, False),
    ],
)
def test_a_goal_is_met_at_its_bound(goal, ratio, met):
    assert (goal.margin(measured(ratio)) >= 1) is met


def test_a_missing_peer_is_an_outcome():
    @contextmanager
    def build(quick):
        raise PeerMissing("no such emulator")
        yield

    outcome = run("group", Benchmark("name", build, Goal("speed", 2)), True, THREE)
    assert (outcome.verdict, outcome.missing) == ("missing", "no such emulator")
    (entry,) = document([outcome])["benchmarks"]
    assert entry["missing"] == "no such emulator"
    assert entry["measured"] is None


def test_once_means_one_round():
    @contextmanager
    def build(quick):
        yield case([])

    outcome = run("group", Benchmark("name", build, once=True), False, THREE)
    assert outcome.measured.rounds == 1
    assert outcome.verdict == ""


def test_what_takes_very_long_is_left_out_of_a_quick_run(monkeypatch):
    @contextmanager
    def build(quick):
        yield case([])

    monkeypatch.setattr("gicmodel.benchmarks.report.benchmarks", lambda group: (Benchmark("name", build, once=True),))
    assert run_all(["vpt"], quick=True) == []


def test_what_is_taken_off_has_a_preparation_of_its_own():
    events = []
    prepare, other = (partial(events.append, name) for name in ("prepare", "prepare other"))
    run, overhead = (partial(events.append, name) for name in ("run", "overhead"))
    model = Side("model", run, 1, prepare, overhead, other)
    measure(Case(model, Side("peer", lambda: None), "unit", lambda: None), "speed", Effort(0.0, 1, 1))
    assert events == ["prepare", "run", "prepare other", "overhead"]


def test_a_run_says_what_it_measures_and_how_much_there_is(monkeypatch):
    @contextmanager
    def build(quick):
        yield case([])

    found = (Benchmark("first", build), Benchmark("long", build, once=True), Benchmark("second", build))
    monkeypatch.setattr("gicmodel.benchmarks.report.benchmarks", lambda group: found)
    told = []
    outcomes = run_all(["a", "b"], True, lambda *progress: told.append(progress))
    assert told == [("a: first", 0, 4), ("a: second", 1, 4), ("b: first", 2, 4), ("b: second", 3, 4)]
    assert [outcome.to_json()["name"] for outcome in outcomes] == ["first", "second"] * 2


linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts what a process holds")


def octets(statements: str) -> list[int]:
    """What is printed by a process of its own: in this one the garbage of other tests comes and goes."""
    imports = "import numpy as np\nfrom gicmodel.benchmarks.harness import Benchmark, PeakMemory\n"
    return [*map(int, subprocess.check_output([sys.executable, "-c", imports + dedent(statements)], text=True).split())]


@linux
def test_a_peak_is_of_its_own_row_and_what_was_freed_is_in_it():
    # Each more than 32 MiB: less may come from what the heap still holds (mallopt(3), M_MMAP_THRESHOLD).
    first, before, after = octets("""
        first = PeakMemory()
        np.ones(200 << 20, np.uint8)
        second = PeakMemory()
        np.ones(50 << 20, np.uint8)
        print(first.octets(), second.octets(), PeakMemory().octets())
    """)
    assert after + (45 << 20) < before < after + (100 << 20)
    assert abs(first - before) < 1 << 20, "it has begun anew"


@linux
def test_an_outcome_has_its_peak():
    peak, after = octets("""
        from contextlib import contextmanager
        from gicmodel.benchmarks.harness import Case, Effort, Side
        from gicmodel.benchmarks.report import run

        @contextmanager
        def build(quick):
            np.ones(100 << 20, np.uint8)
            yield Case(Side("model", list, 1.0), Side("peer", list, 1.0), "unit", list)

        outcome = run("group", Benchmark("name", build), True, Effort(seconds=0.0, fewest=3, most=3))
        print(outcome.to_json()["peak_bytes"], PeakMemory().octets())
    """)
    assert peak > after + (90 << 20)


def test_a_peak_that_nobody_counts_is_unknown(monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    assert PeakMemory().octets() is None
