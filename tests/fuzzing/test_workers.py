# SPDX-License-Identifier: Apache-2.0
"""Who runs chunks, and what the chunks come to."""

import operator
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from itertools import count, islice

import pytest

from gicmodel.fuzzing import workers
from gicmodel.fuzzing.campaign import Results, named_outcomes, without_copies
from gicmodel.fuzzing.finding import ChunkResult, Finding, Plan, generate
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.workers import WorkersLost, cluster, local
from tests.conftest import needed


def finding(chunk: int, kind: str, program: Program) -> Finding:
    return Finding("oracle", chunk, chunk * PEER.chunk, kind, f"{kind}: hardware, oracle", program)


@pytest.fixture
def program() -> Program:
    return generate(PEER, Plan(seed=1, commands=1, architecture="3"), 0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_number_is_done_once(jobs: int):
    with local(jobs) as those:
        assert sorted(those.run(operator.neg, range(20))) == sorted(range(0, -20, -1))


def test_only_a_few_are_handed_out_ahead():
    taken = []
    with local(1) as workers:
        list(islice(workers.run(taken.append, count()), 5))
    assert len(taken) < 10


def test_nothing_is_begun_after_the_deadline():
    with local(1) as workers:
        assert list(workers.run(operator.neg, range(20), deadline=time.monotonic() - 1)) == []


def test_an_exception_of_a_chunk_is_raised():
    with local(1) as workers, pytest.raises(TypeError):
        list(workers.run(len, range(3)))


def test_a_process_that_dies_is_told():
    with pytest.raises(WorkersLost, match="ended before its time"), local(2) as workers:
        list(workers.run(os._exit, range(3)))


def test_one_finding_of_each_kind_whatever_the_order(program: Program):
    results = Results(seed=1)
    for chunk, kind in [(7, "ITT n"), (3, "ITT n"), (5, "MAPD_ID_OOR")]:
        results.add(ChunkResult(chunk, 10, Counter(), finding(chunk, kind, program)))
    assert [each.chunk for each in results.first_of_each_kind()] == [3, 5]
    assert results.commands == 30


def test_findings_with_one_program_are_one(program: Program):
    other = program.of(program.steps[:1])
    found = [finding(0, "a", program), finding(1, "b", other), finding(2, "c", program)]
    assert [each.chunk for each in without_copies(found)] == [0, 1]


def test_outcomes_have_names():
    outcomes = Counter({("MAPD", 0): 3, ("MAPD", 0x010802): 2, ("0x7f", 0x017FFD): 1, ("0x60", 0x0160FD): 1})
    named = {"MAPD": {"MAPD_ITTSIZE_OOR": 2, "OK": 3}, "UNKNOWN_COMMAND": {"UNKNOWN_COMMAND": 2}}
    assert named_outcomes(outcomes) == named
    assert Results(1, outcomes=outcomes).distinct == (3, 2)


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a dask scheduler, without workers."""
    distributed = needed("distributed")
    monkeypatch.setattr(workers, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.1)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as started:
        yield started.scheduler_address


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_whose_only_worker_died_is_told(scheduler: str):
    """The scheduler is there and waits for another one, for ever."""
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--nthreads", "1"]
    with subprocess.Popen([*worker, "--no-dashboard"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_a_worker(scheduler)
            with pytest.raises(WorkersLost, match="no worker has been there for 1 s"):
                deque(results_until_killed(scheduler, process), maxlen=0)
        finally:
            process.kill()


def results_until_killed(scheduler: str, worker: subprocess.Popen[bytes]) -> Iterator[tuple[int, int]]:
    with cluster(scheduler) as those:
        results = those.run(partial(divmod, 7), count(1))
        yield next(results)
        worker.kill()
        yield from results


def wait_for_a_worker(scheduler: str) -> None:
    with needed("distributed").Client(scheduler) as client:
        client.wait_for_workers(1, timeout=60)
