# SPDX-License-Identifier: Apache-2.0
"""`gicmodel fuzz`: random programs for the hardware and something that must agree with it."""

from __future__ import annotations

import math
import os
import secrets
from pathlib import Path

import click

from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import Directory, Real
from gicmodel.cli.output import Results, json_options
from gicmodel.layouts.architecture import ARCHITECTURES

_SEEDS = 1 << 32
_DEFAULT_COMMANDS = 100_000


@click.command()
@click.option("--commands", type=click.IntRange(1, 1 << 50), metavar="N", help="How many; 100000 without --seconds.")
@click.option("--seconds", type=Real(0, min_open=True), metavar="S", help="Begin no program after S.")
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of all that is random; drawn and shown if not given."
)
@click.option("--against", default="oracle", metavar="PEER,...", help="oracle (default), qemu, engine.")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), help="Only this; each in turn if not given.")
@click.option("--jobs", type=click.IntRange(1, 512), metavar="N", help="Processes on this machine; one a CPU.")
@click.option("--cluster", metavar="ADDRESS", help="Let the workers of this dask scheduler do it.")
@click.option("--save", type=Directory(), metavar="DIR", help="For the programs found.")
@json_options
@click.option(
    "--reproduce",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run one saved program, step by step, instead.",
)
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    commands: int | None,
    seconds: float | None,
    seed: int | None,
    against: str,
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
    commands = commands or (1 << 50 if seconds else _DEFAULT_COMMANDS)
    jobs = jobs or len(os.sched_getaffinity(0))
    peers = tuple(dict.fromkeys(against.split(",")))
    large = reproduce is None and (cluster is not None or "engine" in peers)
    choose_engine(engine, math.inf if large else _saved_seconds(0 if reproduce else commands / jobs, seconds))
    # hypothesis and the kernels come with these, and numba on the compiled engine.
    from gicmodel.cli._fuzz_reproduce import reproduce_program
    from gicmodel.cli._fuzz_run import Campaign, run_and_show

    if reproduce is not None:
        ctx.exit(reproduce_program(reproduce, results))
    campaign = Campaign(
        commands=commands,
        seconds=seconds,
        seed=secrets.randbelow(_SEEDS) if seed is None else seed,
        against=peers,
        architecture=architecture,
        jobs=jobs,
        cluster=cluster,
    )
    ctx.exit(run_and_show(campaign, save, results))


def _saved_seconds(commands: float, seconds: float | None) -> float:
    """What machine code saves one process: of 100,000 commands 2.5 of 4.6 s; a time that is given is used better."""
    return min(2.5e-5 * commands, math.inf if seconds is None else 0.5 * seconds)
