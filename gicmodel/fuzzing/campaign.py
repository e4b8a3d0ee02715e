# SPDX-License-Identifier: Apache-2.0
"""A campaign from its first chunk to its result, by whoever runs it: how commands ended, one finding of each kind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from gicmodel.errors import UnusableInput, utf8
from gicmodel.fuzzing.finding import ChunkResult, Finding, Plan, chunk_against, shrunk_of
from gicmodel.fuzzing.peers.peer import Outcomes, Peer, peer
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.programs.text import format_program, write_program
from gicmodel.fuzzing.workers import Workers, WorkersLost, cluster, local
from gicmodel.hardware import error_name
from gicmodel.layouts.commands import OPCODES

OK, UNKNOWN = "OK", "UNKNOWN_COMMAND"


@dataclass
class Results:
    """The chunks of a campaign so far, in whatever order they came."""

    seed: int
    commands: int = 0
    outcomes: Outcomes = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, result: ChunkResult) -> None:
        """One more chunk."""
        self.commands += result.commands
        self.outcomes += result.outcomes
        if result.finding is not None:
            self.findings.append(result.finding)

    @property
    def distinct(self) -> tuple[int, int]:
        """How many different pairs of a command and its end have been seen, and how many of them are errors."""
        ends = [end for ends in named_outcomes(self.outcomes).values() for end in ends]
        return len(ends), len(ends) - ends.count(OK)

    def first_of_each_kind(self) -> list[Finding]:
        """The finding of each kind that a campaign in one process meets first."""
        first: dict[tuple[str, str], Finding] = {}
        for finding in sorted(self.findings, key=lambda finding: (finding.against, finding.chunk)):
            first.setdefault((finding.against, finding.kind), finding)
        return list(first.values())


def without_copies(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding with each program."""
    first: dict[Program, Finding] = {}
    for finding in findings:
        first.setdefault(finding.program, finding)
    return list(first.values())


def named_outcomes(outcomes: Outcomes) -> dict[str, dict[str, int]]:
    """By mnemonic, how many commands were OK or ended with which error, all in alphabetical order."""
    named: dict[str, Counter[str]] = {}
    for (mnemonic, end), count in outcomes.items():
        name, outcome = (mnemonic, _named(end)) if isinstance(end, str) or mnemonic in OPCODES else (UNKNOWN, UNKNOWN)
        named.setdefault(name, Counter())[outcome] += count
    return {mnemonic: dict(sorted(named[mnemonic].items())) for mnemonic in sorted(named)}


def _named(end: int | str) -> str:
    if isinstance(end, str):
        return end
    return error_name(end) if end else OK


Report = Callable[[Results], None]


@dataclass(frozen=True, kw_only=True)
class Campaign(Plan):
    """What was asked for: the plan, or what `seconds` allow of it, against each of some peers."""

    seed: int = 0
    seconds: float | None = None
    against: tuple[str, ...] = ("oracle",)
    jobs: int = 1
    cluster: str | None = None

    @property
    def share(self) -> float:
        """The seconds for each peer."""
        return float("inf") if self.seconds is None else self.seconds / len(self.against)

    def workers(self) -> AbstractContextManager[Workers]:
        """Who does it."""
        return local(self.jobs) if self.cluster is None else cluster(self.cluster)


@dataclass
class CampaignResult:
    """What a campaign came to: one finding of each kind.

    If it did not come to its end it is `early`, with a `reason`, or what stopped it in `stop`.
    """

    results: Results
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    early: bool = False
    reason: str = ""
    stop: BaseException | None = None

    def save(self, directory: Path) -> None:
        """Write each finding's program to a file. UnusableInput if that fails, once all were tried."""
        unsaved = None
        for number, finding in enumerate(self.findings):
            try:
                self.findings[number] = _saved(directory, self.results.seed, finding)
            except UnusableInput as reason:
                unsaved = reason
        if unsaved is not None:
            raise unsaved

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        found = self.results
        return {
            "commands": found.commands,
            "seconds": round(self.seconds, 3),
            "seed": found.seed,
            "interrupted": self.early,
            "divergences": [_divergence(found, finding) for finding in self.findings],
            "outcomes": named_outcomes(found.outcomes),
        }


def run_campaign(campaign: Campaign, report: Report = lambda results: None) -> CampaignResult:
    """Run it, and shrink what it finds; `report` is told the results after each chunk.

    UnusableInput if a peer cannot be had; whatever else ends the campaign is in its result, with what it found.
    """
    peers = [_able(peer(name).made_of(campaign.linux_source), campaign) for name in campaign.against]
    started = time.monotonic()
    result = CampaignResult(Results(campaign.seed))
    with _kept(result), campaign.workers() as workers:
        for each in peers:
            _run(campaign, each, workers, result.results, report)
        result.findings = _shrink(campaign, workers, result.results)
    if result.early:
        result.findings = result.results.first_of_each_kind()
    result.seconds = time.monotonic() - started
    return result


def _able(peer: Peer, campaign: Campaign) -> Peer:
    if campaign.architecture not in (None, *peer.architectures):
        raise UnusableInput(f"--against {peer.name} has no GICv{campaign.architecture}")
    peer.require()
    return peer


class _NothingRun(Exception):
    """There was no time for any program against a peer, so that nothing can be said about it."""


@contextmanager
def _kept(result: CampaignResult) -> Iterator[None]:
    """What the block has found until Ctrl-C, or until it cannot go on for whatever reason, is kept."""
    try:
        yield
    except (WorkersLost, _NothingRun) as reason:
        result.early, result.reason = True, str(reason)
    except (KeyboardInterrupt, Exception) as stop:
        result.early, result.stop = True, stop


def _run(campaign: Campaign, peer: Peer, workers: Workers, results: Results, report: Report) -> None:
    task, chunks = partial(chunk_against, peer.name, campaign), range(campaign.chunks(peer))
    before = results.commands
    for result in workers.run(task, chunks, time.monotonic() + campaign.share):
        results.add(result)
        report(results)
    if results.commands == before:
        raise _NothingRun(f"--seconds {campaign.seconds}: no program against {peer.name} began in time")


def _shrink(campaign: Campaign, workers: Workers, results: Results) -> list[Finding]:
    """One small program for each kind of divergence, in the order of the chunks that found them."""
    found = results.first_of_each_kind()
    small = workers.run(partial(shrunk_of, found, campaign), range(len(found)))
    return without_copies(sorted(small, key=lambda finding: (finding.against, finding.chunk)))


def _saved(directory: Path, seed: int, finding: Finding) -> Finding:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{directory}: cannot be made: {error.strerror or error}") from error
    path = directory / f"{finding.against}-{seed}-{finding.chunk}.gicfuzz"
    write_program(path, finding.program, finding.difference)
    return replace(finding, file=utf8(str(path)))


def _divergence(results: Results, finding: Finding) -> dict[str, Any]:
    alike = [other for other in results.findings if (other.against, other.kind) == (finding.against, finding.kind)]
    return {
        "against": finding.against,
        "kind": finding.kind,
        "difference": finding.difference,
        "commands": finding.commands,
        "chunk": finding.chunk,
        "chunks": len(alike),
        "program": format_program(finding.program, finding.difference).splitlines(),
        "file": finding.file,
    }
