# SPDX-License-Identifier: Apache-2.0
"""Campaigns: programs from a seed, and the smallest one that shows a mistake."""

from gicmodel.fuzzing.campaign import CampaignResult
from gicmodel.fuzzing.finding import ChunkResult, Finding, Plan, divergence_of, generate, hunt, run_chunk
from gicmodel.fuzzing.peers.oracle import OraclePeer
from gicmodel.fuzzing.workers import local
from gicmodel.jit import COMPILED
from gicmodel.spec import AbstractGic


class ClearsNothing(AbstractGic):
    """CLEAR and DISCARD leave the pending bit."""

    def clear(self, target: object) -> None:
        pass


class Breaks(AbstractGic):
    """CLEAR and DISCARD raise what nobody expects."""

    def clear(self, target: object) -> None:
        raise RuntimeError("no such thing")


def chunk_with_the_mistake(chunk: int) -> ChunkResult:
    """What a worker is asked to do here."""
    return run_chunk(OraclePeer(ClearsNothing), Plan(seed=1, commands=3 * OraclePeer.chunk), chunk)


def findings(jobs: int) -> list[Finding]:
    results = CampaignResult(seed=1)
    with local(jobs) as workers:
        for result in workers.run(chunk_with_the_mistake, range(3 if COMPILED else 1)):
            results.add(result)
    return results.first_of_each_kind()


def test_findings_do_not_depend_on_jobs():
    alone = findings(1)
    assert alone
    assert findings(2) == alone


def test_a_chunk_is_a_function_of_its_seed():
    peer, plan = OraclePeer(), Plan(seed=1, commands=300)
    assert generate(peer, plan, 0) == generate(peer, plan, 0)
    assert generate(peer, plan, 0) != generate(peer, Plan(seed=2, commands=300), 0)
    assert generate(peer, plan, 0).commands >= 300


def test_hardware_and_oracle_agree():
    result = run_chunk(OraclePeer(), Plan(seed=1, commands=300, architecture="4.1"), 0)
    assert result.finding is None
    assert result.commands >= 300


def test_a_mistake_is_found_and_shrunk():
    peer = OraclePeer(ClearsNothing)
    finding = hunt(peer, Plan(seed=1, commands=2000, architecture="3"))
    assert finding is not None
    assert finding.program.commands <= 5
    assert divergence_of(peer, finding.program) is not None
    assert divergence_of(OraclePeer(), finding.program) is None


def test_an_exception_is_a_divergence():
    finding = hunt(OraclePeer(Breaks), Plan(seed=1, commands=2000, architecture="3"))
    assert finding is not None
    assert finding.difference == "exception: RuntimeError: no such thing"
    assert finding.program.commands <= 5
