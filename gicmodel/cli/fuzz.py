# SPDX-License-Identifier: Apache-2.0
"""`gicmodel fuzz`: random programs for the hardware and something that must agree with it."""

from __future__ import annotations

import math
import os
import secrets
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gicmodel.cli import UNUSABLE
from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import EXISTING, Directory, Real
from gicmodel.cli.output import Results, json_options, say
from gicmodel.cli.progress import Watcher
from gicmodel.config import ARCHITECTURES
from gicmodel.errors import UnusableInput, printable, utf8

if TYPE_CHECKING:
    from gicmodel.fuzzing.campaign import Campaign, CampaignResult, Report

_SEEDS = 1 << 32
_DEFAULT_COMMANDS = 100_000
_ENDLESS = 1 << 50
_SHOWN_STEPS = 30
AGREED, DIFFERENT = 0, 1


@click.command()
@click.option("--commands", type=click.IntRange(1, _ENDLESS), metavar="N", help="How many; 100000 without --seconds.")
@click.option("--seconds", type=Real(0, min_open=True), metavar="S", help="Begin no program after S.")
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of all that is random; drawn and shown if not given."
)
@click.option(
    "--against",
    default="oracle",
    metavar="PEER,...",
    help="oracle (default), qemu, engine, linux-kvm, linux-driver, linux-port.",
)
@click.option(
    "--linux-source",
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR|ARCHIVE",
    help="Linux for its peers; the newest /usr/src/linux-source-* if not given.",
)
@click.option("--architecture", type=click.Choice(ARCHITECTURES), help="Only this; each in turn if not given.")
@click.option("--jobs", type=click.IntRange(1, 512), metavar="N", help="Processes on this machine; one a CPU.")
@click.option("--cluster", metavar="ADDRESS", help="Let the workers of this dask scheduler do it.")
@click.option("--save", type=Directory(), metavar="DIR", help="For the programs found.")
@json_options
@click.option(
    "--reproduce",
    type=EXISTING,
    metavar="FILE",
    help="Run one saved program instead, and show its steps up to the one after which the two differ.",
)
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    commands: int | None,
    seconds: float | None,
    seed: int | None,
    against: str,
    linux_source: Path | None,
    architecture: str | None,
    jobs: int | None,
    cluster: str | None,
    save: Path | None,
    results: Results,
    reproduce: Path | None,
    engine: str | None,
) -> None:
    """Give random commands, register writes and interrupts to the hardware and to a peer, and compare the two.

    A campaign is programs of a few thousand commands for machines of all kinds, each drawn from the seed and its
    number: the same seed finds the same, whatever --jobs and --cluster are. A program after which the two differ is
    shrunk to a small one, which --save writes to a file and --reproduce runs again. Ctrl-C ends a campaign, as SIGTERM
    does; what it has found is kept.

    Exit status: 0 no difference, 1 a difference, 2 unusable input, or no program was run; 130 after Ctrl-C.
    """
    commands = commands or (_ENDLESS if seconds else _DEFAULT_COMMANDS)
    jobs = jobs or len(os.sched_getaffinity(0))
    peers = tuple(dict.fromkeys(against.split(",")))
    large = reproduce is None and (cluster is not None or "engine" in peers)
    choose_engine(engine, math.inf if large else _saved_seconds(0 if reproduce else commands / jobs, seconds))
    # hypothesis and the kernels come with this, and numba on the compiled engine.
    from gicmodel.fuzzing.campaign import Campaign, run_campaign

    if reproduce is not None:
        ctx.exit(_reproduce(reproduce, linux_source, results))
    campaign = Campaign(
        commands=commands,
        seconds=seconds,
        seed=secrets.randbelow(_SEEDS) if seed is None else seed,
        against=peers,
        architecture=architecture,
        jobs=jobs,
        cluster=cluster,
        linux_source=None if linux_source is None else linux_source.resolve(),
    )
    with Watcher(lines=True) as watcher:
        result = run_campaign(campaign, _progress(campaign, watcher))
    if result.reason:
        click.echo(f"gicmodel: {result.reason}", err=True)
    ctx.exit(_publish(result, save, results))


def _progress(campaign: Campaign, watcher: Watcher) -> Report:
    """What is shown after each chunk: commands of all that are to be run, or seconds of those that there are."""
    started = time.monotonic()

    def report(result: CampaignResult) -> None:
        seconds = time.monotonic() - started
        outcomes, errors = result.distinct
        note = f"{result.commands} commands, {result.commands / seconds:.0f}/s, {outcomes} outcomes seen, "
        note += f"{errors} of them errors; {len(result.found)} programs differ"
        timed = campaign.seconds is not None and campaign.commands == _ENDLESS
        done, total = (
            (seconds, campaign.seconds) if timed else (result.commands, campaign.commands * len(campaign.against))
        )
        watcher.progress("fuzzing", done, total, note)

    return report


def _publish(result: CampaignResult, save: Path | None, results: Results) -> int:
    """Save the programs and publish what was found, each whatever becomes of the other; the exit status."""
    unsaved = None
    try:
        if save is not None:
            result.save(save)
    except UnusableInput as reason:
        unsaved = reason
    results.publish(result.to_json(), partial(_show, result))
    if stop := unsaved or result.stop:
        raise stop
    if result.findings:
        return DIFFERENT
    return UNUSABLE if result.early else AGREED


def _show(result: CampaignResult) -> None:
    from gicmodel.fuzzing.programs.text import format_program

    rate = f"{result.seconds:.1f} s, {result.commands / result.seconds:.0f}/s"
    say(f"{result.commands} commands in {rate}; seed {result.seed}")
    outcomes, errors = result.distinct
    say(f"{outcomes} outcomes of {len(result.to_json()['outcomes'])} commands, {errors} of them errors")
    for finding in result.findings:
        lines = format_program(finding.program, finding.difference).splitlines()
        saved = f", saved to {printable(finding.file)}" if finding.file else ""
        say(f"\ndivergence after {finding.commands} commands{saved}")
        say("\n".join(lines[:_SHOWN_STEPS] + (["..."] if len(lines) > _SHOWN_STEPS else [])))
    if not result.findings:
        say("no divergence" + " so far" * result.early if result.commands else "nothing was compared")


def _reproduce(path: Path, linux_source: Path | None, results: Results) -> int:
    """Run the program of a file, comparing everything after each step, and say where the two differ; the exit status.

    Raises:
        UnusableInput: the file is no program of this version, or its peer cannot have its machine.
    """
    from gicmodel.fuzzing.finding import run
    from gicmodel.fuzzing.peers.peer import peer
    from gicmodel.fuzzing.programs.text import format_step, read_program

    program = read_program(path)
    went = run(peer(program.against).made_of(linux_source), program, part_steps=1)
    steps = [format_step(step, program.machine) for step in program.steps[: went.steps]]
    difference = None if went.divergence is None else str(went.divergence)
    last = steps[-1] if steps else ""

    def show() -> None:
        for number, step in enumerate(steps, 1):
            say(f"{number:>{len(str(went.steps))}}  {step}")
        said = "no difference" if difference is None else f"step {went.steps}, {last}\n{difference}"
        say(f"{printable(str(path))}: {said}")

    results.publish({"file": utf8(str(path)), "steps": went.steps, "step": last, "difference": difference}, show)
    return AGREED if difference is None else DIFFERENT


def _saved_seconds(commands: float, seconds: float | None) -> float:
    """What machine code saves one process: of 100,000 commands 2.5 of 4.6 s; a time that is given is used better."""
    return min(2.5e-5 * commands, math.inf if seconds is None else 0.5 * seconds)
