# SPDX-License-Identifier: Apache-2.0
"""A campaign from its first chunk to its report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from gicmodel.cli import UNUSABLE
from gicmodel.cli._fuzz_progress import Report, progress
from gicmodel.cli.output import Results as Output
from gicmodel.errors import UnusableInput, printable, utf8
from gicmodel.fuzzing.campaign import Finding, Plan, chunk_against, shrunk_of
from gicmodel.fuzzing.comparison import Peer, peer
from gicmodel.fuzzing.results import Results, distinct, document, named_outcomes, without_copies
from gicmodel.fuzzing.text import format_program, write_program
from gicmodel.fuzzing.workers import Workers, WorkersLost, cluster, local

AGREED, DIFFERENT = 0, 1
_SHOWN_STEPS = 30


@dataclass(frozen=True)
class Campaign:
    """What was asked for: about `commands` commands, or what `seconds` allow, against each of some peers."""

    commands: int
    seconds: float | None
    seed: int
    against: tuple[str, ...]
    architecture: str | None
    jobs: int
    cluster: str | None

    @property
    def plan(self) -> Plan:
        """The same for each peer."""
        return Plan(self.seed, self.commands, self.architecture)

    @property
    def share(self) -> float:
        """The seconds for each peer."""
        return float("inf") if self.seconds is None else self.seconds / len(self.against)

    def workers(self) -> AbstractContextManager[Workers]:
        """Who does it."""
        return local(self.jobs) if self.cluster is None else cluster(self.cluster)


def run_and_show(campaign: Campaign, save: Path | None, output: Output) -> int:
    """Run a campaign and report it; the exit status."""
    peers = [_able(peer(name), campaign) for name in campaign.against]
    started = time.monotonic()
    results, divergences = Results(campaign.seed), []
    with _kept() as ending, campaign.workers() as workers, progress() as report:
        for each in peers:
            _run(campaign, each, workers, results, report)
        divergences = _shrink(workers, results)
    if ending.early:
        divergences = results.first_of_each_kind()
    seconds = time.monotonic() - started
    saved, unsaved = _saved(save, campaign.seed, divergences)
    outcome = document(results, saved, seconds, ending.early)
    output.publish(outcome, partial(_show, results, saved, seconds, ending.early))
    if unsaved is not None:
        raise unsaved
    if ending.stop is not None:
        raise ending.stop
    if divergences:
        return DIFFERENT
    return UNUSABLE if ending.early else AGREED


def _able(peer: Peer, campaign: Campaign) -> Peer:
    if campaign.architecture not in (None, *peer.architectures):
        raise UnusableInput(f"--against {peer.name} has no GICv{campaign.architecture}")
    peer.require()
    return peer


class _NothingRun(Exception):
    """There was no time for any program against a peer, so that nothing can be said about it."""


class _Ending:
    """How a campaign ended if it did not come to its end; `stop` is to be raised once it is reported."""

    early = False
    stop: BaseException | None = None


@contextmanager
def _kept() -> Iterator[_Ending]:
    """What the block has found until Ctrl-C, or until it cannot go on for whatever reason, is kept."""
    ending = _Ending()
    try:
        yield ending
    except (WorkersLost, _NothingRun) as reason:
        ending.early = True
        click.echo(f"gicmodel: {reason}", err=True)
    except (KeyboardInterrupt, Exception) as stop:
        ending.early, ending.stop = True, stop


def _run(campaign: Campaign, peer: Peer, workers: Workers, results: Results, report: Report) -> None:
    chunks = range(campaign.plan.chunks(peer))
    before = results.commands
    for result in workers.run(
        partial(chunk_against, peer.name, campaign.plan), chunks, time.monotonic() + campaign.share
    ):
        results.add(result)
        report(results)
    if results.commands == before:
        raise _NothingRun(f"--seconds {campaign.seconds}: no program against {peer.name} began in time")


def _shrink(workers: Workers, results: Results) -> list[Finding]:
    """One small program for each kind of divergence, in the order of the chunks that found them."""
    found = results.first_of_each_kind()
    small = workers.run(partial(shrunk_of, found), range(len(found)))
    return without_copies(sorted(small, key=lambda finding: (finding.against, finding.chunk)))


_Saved = list[tuple[Finding, str | None]]
"""Findings, each with the file that has its program."""


def _saved(directory: Path | None, seed: int, findings: Sequence[Finding]) -> tuple[_Saved, UnusableInput | None]:
    """The findings with the files that they were saved to, and why some could not be."""
    saved: _Saved = []
    unsaved = None
    for finding in findings:
        file = None
        try:
            file = None if directory is None else _save(directory, seed, finding)
        except UnusableInput as reason:
            unsaved = reason
        saved.append((finding, file))
    return saved, unsaved


def _save(directory: Path, seed: int, finding: Finding) -> str:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{directory}: cannot be made: {error.strerror or error}") from error
    path = directory / f"{finding.against}-{seed}-{finding.chunk}.gicfuzz"
    write_program(path, finding.program, finding.difference)
    return utf8(str(path))


def _show(results: Results, divergences: _Saved, seconds: float, early: bool) -> None:
    commands = results.commands
    click.echo(f"{commands} commands in {seconds:.1f} s, {commands / seconds:.0f}/s; seed {results.seed}")
    outcomes, errors = distinct(results.outcomes)
    click.echo(f"{outcomes} outcomes of {len(named_outcomes(results.outcomes))} commands, {errors} of them errors")
    for finding, file in divergences:
        lines = format_program(finding.program, finding.difference).splitlines()
        click.echo(
            f"\ndivergence after {finding.commands} commands" + (f", saved to {printable(file)}" if file else "")
        )
        click.echo("\n".join(lines[:_SHOWN_STEPS] + (["..."] if len(lines) > _SHOWN_STEPS else [])))
    if not divergences:
        click.echo("no divergence" + " so far" * early if results.commands else "nothing was compared")
