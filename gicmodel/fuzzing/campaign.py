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
from gicmodel.fuzzing.finding import ChunkResult, Finding, Plan, run_chunk, shrunk
from gicmodel.fuzzing.peers.peer import Outcomes, Peer, peer
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.programs.text import format_program, write_program
from gicmodel.fuzzing.workers import Workers, WorkersLost, cluster, local
from gicmodel.hardware import error_name
from gicmodel.layouts.commands import OPCODES

OK, UNKNOWN = "OK", "UNKNOWN_COMMAND"


@dataclass
class CampaignResult:
    """What a campaign has come to so far: what its chunks did, in whatever order they came; `found` is what they found.

    `findings` are one of each kind, at its end. If it did not come to that it is `early`, with a `reason`, or what
    stopped it in `stop`.
    """

    seed: int
    commands: int = 0
    outcomes: Outcomes = field(default_factory=Counter)
    found: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    early: bool = False
    reason: str = ""
    stop: BaseException | None = None

    def add(self, result: ChunkResult) -> None:
        """One more chunk."""
        self.commands += result.commands
        self.outcomes += result.outcomes
        if result.finding is not None:
            self.found.append(result.finding)

    @property
    def distinct(self) -> tuple[int, int]:
        """How many different pairs of a command and its end have been seen, and how many of them are errors."""
        ends = [end for ends in named_outcomes(self.outcomes).values() for end in ends]
        return len(ends), len(ends) - ends.count(OK)

    def first_of_each_kind(self) -> list[Finding]:
        """The finding of each kind that a campaign in one process meets first."""
        first: dict[tuple[str, str], Finding] = {}
        for finding in sorted(self.found, key=_place):
            first.setdefault((finding.against, finding.kind), finding)
        return list(first.values())

    def save(self, directory: Path) -> None:
        """Write each finding's program to a file. UnusableInput if that fails, once all were tried."""
        unsaved = None
        for number, finding in enumerate(self.findings):
            try:
                self.findings[number] = _saved(directory, self.seed, finding)
            except UnusableInput as reason:
                unsaved = reason
        if unsaved is not None:
            raise unsaved

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "commands": self.commands,
            "seconds": round(self.seconds, 3),
            "seed": self.seed,
            "interrupted": self.early,
            "divergences": list(map(self._divergence, self.findings)),
            "outcomes": named_outcomes(self.outcomes),
        }

    def _divergence(self, finding: Finding) -> dict[str, Any]:
        return {
            "against": finding.against,
            "kind": finding.kind,
            "difference": finding.difference,
            "commands": finding.commands,
            "chunk": finding.chunk,
            "chunks": sum((other.against, other.kind) == (finding.against, finding.kind) for other in self.found),
            "program": format_program(finding.program, finding.difference).splitlines(),
            "file": finding.file,
        }


Report = Callable[[CampaignResult], None]


def _place(finding: Finding) -> tuple[str, int]:
    return finding.against, finding.chunk


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


@dataclass(frozen=True, kw_only=True)
class Campaign(Plan):
    """What was asked for: the plan, or what `seconds` allow of it, against each of some peers.

    `linux_source` is what peers are made of that are Linux' code; without it they find one.
    """

    seed: int = 0
    seconds: float | None = None
    against: tuple[str, ...] = ("oracle",)
    jobs: int = 1
    cluster: str | None = None
    linux_source: Path | None = None

    @property
    def share(self) -> float:
        """The seconds for each peer."""
        return float("inf") if self.seconds is None else self.seconds / len(self.against)

    def workers(self) -> AbstractContextManager[Workers]:
        """Who does it."""
        return local(self.jobs) if self.cluster is None else cluster(self.cluster)


def run_campaign(campaign: Campaign, report: Report = lambda result: None) -> CampaignResult:
    """Run it, and shrink what it finds; `report` is told the result so far after each chunk.

    UnusableInput if a peer cannot be had; whatever else ends the campaign is in its result, with what it found.
    """
    peers = {name: _able(peer(name).made_of(campaign.linux_source), campaign) for name in campaign.against}
    started = time.monotonic()
    result = CampaignResult(campaign.seed)
    with _kept(result), campaign.workers() as workers:
        for each in peers.values():
            _run(campaign, each, workers, result, report)
        result.findings = _shrink(peers, workers, result.first_of_each_kind())
    if result.early:
        result.findings = result.first_of_each_kind()
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


def _run(campaign: Campaign, peer: Peer, workers: Workers, result: CampaignResult, report: Report) -> None:
    task, chunks = partial(run_chunk, peer, campaign), range(campaign.chunks(peer))
    before = result.commands
    for chunk in workers.run(task, chunks, time.monotonic() + campaign.share):
        result.add(chunk)
        report(result)
    if result.commands == before:
        raise _NothingRun(f"--seconds {campaign.seconds}: no program against {peer.name} began in time")


def _shrink(peers: dict[str, Peer], workers: Workers, found: list[Finding]) -> list[Finding]:
    """One small program for each finding, in the order of the chunks that found them."""
    small = workers.run(partial(_shrunk, peers, found), range(len(found)))
    return without_copies(sorted(small, key=_place))


def _shrunk(peers: dict[str, Peer], found: list[Finding], number: int) -> Finding:
    return shrunk(peers[found[number].against], found[number])


def _saved(directory: Path, seed: int, finding: Finding) -> Finding:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{directory}: cannot be made: {error.strerror or error}") from error
    path = directory / f"{finding.against}-{seed}-{finding.chunk}.gicfuzz"
    write_program(path, finding.program, finding.difference)
    return replace(finding, file=utf8(str(path)))
