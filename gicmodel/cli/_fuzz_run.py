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
from gicmodel.cli._migrate_report import write_json
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.campaign import Finding, Plan, chunk_against, run_chunk, shrunk_of
from gicmodel.fuzzing.comparison import Peer, peer
from gicmodel.fuzzing.program_text import format_program, write_program
from gicmodel.fuzzing.results import Results, distinct, document, named_outcomes, without_copies
from gicmodel.fuzzing.workers import Workers, WorkersLost, cluster, local
from gicmodel.jit import cold_cache

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

    def workers(self) -> AbstractContextManager[Workers]:
        """Who does it."""
        return local(self.jobs) if self.cluster is None else cluster(self.cluster)


def run_and_show(campaign: Campaign, save: Path | None, json_file: str | None) -> int:
    """Run a campaign and report it; the exit status."""
    peers = [_able(peer(name), campaign) for name in campaign.against]
    if cold_cache():
        click.echo("gicmodel: compiling kernels (first run only, about a minute)", err=True)
        run_chunk(peers[0], Plan(0, 1, campaign.architecture), 0)
    started = time.monotonic()
    results, divergences = Results(campaign.seed), []
    with _kept() as ending, campaign.workers() as workers, progress() as report:
        for each in peers:
            _run(campaign, each, workers, results, report)
        divergences = _shrink(workers, results)
    if ending.early:
        divergences = results.first_of_each_kind()
    saved = [(finding, _saved(save, campaign.seed, finding)) for finding in divergences]
    outcome = document(results, saved, time.monotonic() - started, ending.early)
    if json_file is not None:
        write_json(json_file, outcome)
    if json_file != "-":
        _show(results, saved, time.monotonic() - started)
    if divergences:
        return DIFFERENT
    return UNUSABLE if ending.lost else AGREED


def _able(peer: Peer, campaign: Campaign) -> Peer:
    if campaign.architecture not in (None, *peer.architectures):
        raise UnusableInput(f"--against {peer.name} has no GICv{campaign.architecture}")
    peer.require()
    return peer


class _Ending:
    """How a campaign ended if it did not come to its end."""

    early = False
    lost = False


@contextmanager
def _kept() -> Iterator[_Ending]:
    """What the block has found until Ctrl-C, or until its workers are gone, is kept."""
    ending = _Ending()
    try:
        yield ending
    except (KeyboardInterrupt, WorkersLost) as reason:
        ending.early, ending.lost = True, isinstance(reason, WorkersLost)
        click.echo(f"gicmodel: {reason if ending.lost else 'interrupted'}", err=True)


def _run(campaign: Campaign, peer: Peer, workers: Workers, results: Results, report: Report) -> None:
    share = float("inf") if campaign.seconds is None else campaign.seconds / len(campaign.against)
    chunks = range(campaign.plan.chunks(peer))
    for result in workers.run(partial(chunk_against, peer.name, campaign.plan), chunks, time.monotonic() + share):
        results.add(result)
        report(results)


def _shrink(workers: Workers, results: Results) -> list[Finding]:
    """One small program for each kind of divergence, in the order of the chunks that found them."""
    found = results.first_of_each_kind()
    small = workers.run(partial(shrunk_of, found), range(len(found)))
    return without_copies(sorted(small, key=lambda finding: (finding.against, finding.chunk)))


def _saved(directory: Path | None, seed: int, finding: Finding) -> str | None:
    if directory is None:
        return None
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{directory}: cannot be made: {error.strerror or error}") from error
    path = directory / f"{finding.against}-{seed}-{finding.chunk}.gicfuzz"
    write_program(path, finding.program, finding.difference)
    return str(path)


def _show(results: Results, divergences: Sequence[tuple[Finding, str | None]], seconds: float) -> None:
    commands = results.commands
    click.echo(f"{commands} commands in {seconds:.1f} s, {commands / seconds:.0f}/s; seed {results.seed}")
    outcomes, errors = distinct(results.outcomes)
    click.echo(f"{outcomes} outcomes of {len(named_outcomes(results.outcomes))} commands, {errors} of them errors")
    for finding, file in divergences:
        lines = format_program(finding.program, finding.difference).splitlines()
        click.echo(f"\ndivergence after {finding.commands} commands" + (f", saved to {file}" if file else ""))
        click.echo("\n".join(lines[:_SHOWN_STEPS] + (["..."] if len(lines) > _SHOWN_STEPS else [])))
    if not divergences:
        click.echo("no divergence")
