# SPDX-License-Identifier: Apache-2.0
"""Flushes of small VMs: the tables are proved, the parts add up. Never how fast anything is."""

from functools import partial
from pathlib import Path

import pytest

from gicmodel.benchmarks.flush import Flushing, measure_flush
from gicmodel.benchmarks.flush_points import PARTS, SPREADS, FlushPoint, devices_of, points
from gicmodel.benchmarks.harness import Unproven
from gicmodel.migration.host import Host

SMALL = FlushPoint(3, 64, 16, 0.5, "in-turn", "unmap", "4.1", "none")


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("architecture", ["4.1", "3"])
def test_tables_are_proved_however_interrupts_are_spread(spread, architecture):
    flush = measure_flush(SMALL._replace(spread=spread, architecture=architecture), 2, lambda done: None)
    parts = set(PARTS) if architecture == "4.1" else {"tables"}
    assert set(flush.seconds) == {"whole", "loop", "memcpy"} | parts


@pytest.mark.parametrize("writeback", ["unmap", "deschedule", "immediate"])
@pytest.mark.parametrize("caching", ["none", "retain"])
def test_every_gic_writes_the_same(writeback, caching):
    Flushing(SMALL._replace(writeback=writeback, caching=caching, vpt_bits=17)).prove()


def test_parts_are_of_the_whole():
    flushing = Flushing(SMALL)
    flushing.prepare()
    times = flushing.flush(lpi_by_lpi=False)
    assert times["whole"] == times["unmap"] + times["tables"] + times["map"]
    assert 0 < times["clean"] < times["unmap"]
    assert 0 < times["read"] < times["map"]


def test_a_table_that_is_wrong_is_not_measured(monkeypatch):
    monkeypatch.setattr("gicmodel.benchmarks.machines.write_pending_tables", lambda *arguments: None)
    with pytest.raises(Unproven, match="vlpis=64"):
        measure_flush(SMALL, 1, lambda done: None)


def test_random_is_neither_in_turn_nor_in_runs():
    targets = [Flushing(SMALL._replace(spread=spread))._workload.targets for spread in SPREADS]
    assert targets[0] != targets[1] != targets[2] != targets[0]


def test_points_are_every_combination():
    lists = {name: (value,) for name, value in SMALL._asdict().items()} | {"vcpus": (1, 2), "vlpis": (4, 8)}
    assert [(point.vcpus, point.vlpis) for point in points(**lists)] == [(1, 4), (1, 8), (2, 4), (2, 8)]


def test_devices_make_up_the_vlpis():
    assert devices_of(64) == (1, 64)
    assert devices_of(384) == (3, 128)
    with pytest.raises(ValueError, match="130 vLPIs"):
        devices_of(130)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts what a process holds")
def test_the_peak_does_not_grow_with_the_address_space(monkeypatch):
    peaks = []
    for size in (4 << 30, 4 << 30, 1 << 40):
        monkeypatch.setattr("gicmodel.benchmarks.flush.Host", partial(Host, ram_bytes=size))
        peaks.append(measure_flush(SMALL, 1).peak_bytes)
    assert peaks[2] < peaks[1] + (16 << 20)
