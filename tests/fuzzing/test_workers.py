# SPDX-License-Identifier: Apache-2.0
"""Who runs chunks, and what the chunks come to."""

import operator
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest

import gicmodel
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing import workers
from gicmodel.fuzzing.campaign import CampaignResult, named_outcomes, without_copies
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
    results = CampaignResult(seed=1)
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
    assert CampaignResult(1, outcomes=outcomes).distinct == (3, 2)


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a dask scheduler, without workers."""
    distributed = needed("distributed")
    monkeypatch.setattr(workers, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.1)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as started:
        yield started.scheduler_address


@contextmanager
def worker(scheduler: str, package: Path, number: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has the gicmodel of a directory, when it is there as the scheduler's first or another one."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--nthreads", "1"]
    environment = os.environ | {"PYTHONPATH": str(package)}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--no-dashboard"], cwd=package, env=environment, **silent) as process:
        try:
            with needed("distributed").Client(scheduler) as client:
                client.wait_for_workers(number, timeout=60)
            yield process
        finally:
            process.kill()


HERE = Path(gicmodel.__file__).parents[1]


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_whose_only_worker_died_is_told(scheduler: str):
    """The scheduler is there and waits for another one, for ever."""
    with worker(scheduler, HERE) as process, pytest.raises(WorkersLost, match="no worker has been there for 1 s"):
        deque(results_until_killed(scheduler, process), maxlen=0)


@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_comes_late_with_other_sources_adds_nothing(scheduler: str, tmp_path: Path):
    shutil.copytree(HERE / "gicmodel", tmp_path / "gicmodel", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "gicmodel" / "errors.py").open("a") as source:
        source.write("# Another one.\n")
    with worker(scheduler, HERE) as good:
        results = results_of_a_late_worker(scheduler, good, tmp_path)
        with pytest.raises(UnusableInput, match="have another gicmodel than this one"):
            next(results)


def results_of_a_late_worker(scheduler: str, good: subprocess.Popen[bytes], package: Path) -> Iterator[tuple[int, int]]:
    """Those of a worker that comes when the campaign has begun, and whose place nobody else is left to take."""
    with cluster(scheduler) as those, worker(scheduler, package, number=2):
        good.kill()
        good.wait()
        yield from those.run(partial(divmod, 7), range(1, 4))


def results_until_killed(scheduler: str, worker: subprocess.Popen[bytes]) -> Iterator[tuple[int, int]]:
    with cluster(scheduler) as those:
        results = those.run(partial(divmod, 7), count(1))
        yield next(results)
        worker.kill()
        yield from results
