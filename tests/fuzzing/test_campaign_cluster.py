# SPDX-License-Identifier: Apache-2.0
"""A campaign on a real dask scheduler with two worker processes on this machine."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.engine import Engine
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.campaign import CampaignResult
from gicmodel.fuzzing.finding import ChunkResult, Plan, run_chunk
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.workers import Workers, cluster, local
from gicmodel.jit import COMPILED
from tests.conftest import needed

distributed = needed("distributed")

PLAN = Plan(seed=3, commands=6 * PEER.chunk, architecture="4.1")
TASK = partial(run_chunk, PEER, PLAN)
CHUNKS = range(PLAN.chunks(PEER))

pytestmark = [
    pytest.mark.skipif(
        not COMPILED, reason="a scheduler does not depend on the engine, and a chunk takes long on this one"
    ),
    # Of distributed's own: sockets and tasks that are still there when a worker is killed.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[object]:
    """A scheduler whose workers stay."""
    with two_workers() as started:
        yield started


@pytest.fixture
def scheduler_for_one_test() -> Iterator[object]:
    """A scheduler of which a test may kill a worker: the one that comes in its place has settled for nothing yet."""
    with two_workers() as started:
        yield started


def two_workers() -> AbstractContextManager[object]:
    """A scheduler with two workers of one thread."""
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    )


@pytest.fixture(scope="module")
def expected() -> dict[str, object]:
    """What one process finds."""
    with local(1) as workers:
        return collected(workers.run(TASK, CHUNKS))


def collected(chunks: Iterator[ChunkResult]) -> dict[str, object]:
    result = CampaignResult(PLAN.seed)
    for chunk in chunks:
        result.add(chunk)
    return result.to_json()


def test_the_same_results_as_in_one_process(scheduler, expected):
    with cluster(scheduler.scheduler_address) as workers:
        assert workers.width == 2
        assert collected(workers.run(TASK, CHUNKS)) == expected


def test_a_killed_worker_loses_nothing(scheduler_for_one_test, expected):
    with cluster(scheduler_for_one_test.scheduler_address) as workers:
        assert collected(with_a_killed_worker(scheduler_for_one_test, workers)) == expected


def with_a_killed_worker(scheduler, workers: Workers) -> Iterator[ChunkResult]:
    """The chunks' results; after the first one a worker is killed."""
    chunks = workers.run(TASK, CHUNKS)
    yield next(chunks)
    victim = next(iter(scheduler.workers.values())).pid
    os.kill(victim, signal.SIGKILL)
    yield from chunks


def test_workers_with_other_sources(scheduler, monkeypatch):
    monkeypatch.setattr("gicmodel.fuzzing.workers.sources", lambda: "others")
    with pytest.raises(UnusableInput, match="have another gicmodel"), cluster(scheduler.scheduler_address):
        pass


def test_workers_on_the_other_engine(scheduler, monkeypatch):
    """What they have settled for stays."""
    with cluster(scheduler.scheduler_address):
        pass
    monkeypatch.setattr("gicmodel.fuzzing.workers.settled", lambda: Engine.PYTHON)
    with pytest.raises(UnusableInput, match="do not run the python engine"), cluster(scheduler.scheduler_address):
        pass


def test_the_command_line(scheduler):
    arguments = ["fuzz", "--commands", "8000", "--seed", "3", "--json"]
    there = CliRunner().invoke(main, [*arguments, "--cluster", scheduler.scheduler_address])
    here = CliRunner().invoke(main, [*arguments, "--jobs", "1"])
    assert (there.exit_code, here.exit_code) == (0, 0), there.output
    assert json.loads(there.stdout) | {"seconds": 0} == json.loads(here.stdout) | {"seconds": 0}


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr("gicmodel.fuzzing.workers._CONNECT_SECONDS", "1s")
    with pytest.raises(UnusableInput, match="no dask scheduler answers"), cluster("tcp://127.0.0.1:1"):
        pass


def test_no_address():
    with pytest.raises(UnusableInput, match="no dask scheduler answers"), cluster("nonsense://"):
        pass
