# SPDX-License-Identifier: Apache-2.0
"""`gicmodel native`: run a GIC driver in C, and name what it forgot."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gicmodel.cli.options import EXISTING, Real
from gicmodel.cli.output import Results, json_options, say
from gicmodel.config import ARCHITECTURES, Architecture
from gicmodel.errors import UnusableInput
from gicmodel.native import DEFAULT, INCLUDE, run
from gicmodel.native.running import ENTRY, SECONDS

if TYPE_CHECKING:
    from gicmodel.native import Outcome


@click.command()
@click.argument("driver", type=EXISTING)
@click.option("--entry", default=ENTRY, show_default=True, metavar="NAME", help="The function int NAME(void) to run.")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), default=DEFAULT.architecture, show_default=True)
@click.option("--redistributors", type=int, default=DEFAULT.redistributors, show_default=True, help="One for each PE.")
@click.option("--its", type=int, default=DEFAULT.its, show_default=True, help="How many ITSs there are.")
@click.option("--seconds", type=Real(0, min_open=True), default=SECONDS, metavar="S", help="Give up after S seconds.")
@click.option(
    "--cflags",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: _print_cflags(ctx) if wanted and not ctx.resilient_parsing else None,
    help="Print what a compiler needs to find gicmodel.h, and exit.",
)
@json_options
@click.pass_context
def command(
    ctx: click.Context,
    driver: Path,
    entry: str,
    architecture: Architecture,
    redistributors: int,
    its: int,
    seconds: float,
    results: Results,
) -> None:
    """Run DRIVER, a shared object or a C file that includes gicmodel.h, on two GICs, and name what it forgot.

    One GIC executes a command at a time and keeps nothing that it has read; the other keeps and puts off whatever the
    architecture lets it. Software must not be able to tell them apart. The driver runs in processes of its own; what it
    prints goes to standard error.

    Exit status: 0 nothing is wrong, 1 something is, 2 unusable input.
    """
    try:
        config = replace(DEFAULT, architecture=architecture, redistributors=redistributors, its=its)
    except ValueError as error:
        raise UnusableInput(str(error)) from None
    outcome = run(driver, config, entry=entry, seconds=seconds)
    results.publish(outcome.to_json(), partial(_show, outcome))
    ctx.exit(1 if outcome.findings else 0)


def _print_cflags(ctx: click.Context) -> None:
    click.echo(f"-shared -fPIC -I{INCLUDE}")
    ctx.exit()


def _show(outcome: Outcome) -> None:
    for drive in outcome.drives:
        taken = "interrupts taken unknown" if drive.taken is None else f"{drive.taken.total()} interrupts taken"
        say(f"{drive.hardware}: {drive.accesses} accesses, {taken}")
    for finding in outcome.findings:
        say(finding)
    if not outcome.findings:
        say("nothing is wrong")
