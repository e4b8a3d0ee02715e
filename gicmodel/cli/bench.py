# SPDX-License-Identifier: Apache-2.0
"""`gicmodel bench`: how fast the model is, beside what it is compared with."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import click

from gicmodel.benchmarks.catalogue import GROUPS
from gicmodel.cli._engine import choose_engine
from gicmodel.cli._output import publish, require_writable
from gicmodel.errors import Interrupted


def _groups(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in GROUPS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(GROUPS)}")
    return names or tuple(GROUPS)


@click.command(epilog="NAMEs: " + "; ".join(f"{name}, {about}" for name, about in GROUPS.items()) + ".")
@click.argument("names", nargs=-1, metavar="[NAME]...", callback=_groups)
@click.option("--quick", is_flag=True, help="One round of each on little data: shows that it works, not how fast.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the measurements as JSON; - for standard output.")
@click.option(
    "--figure", metavar="FILE", type=click.Path(path_type=Path), help="Draw ratios and scaling; .svg, .png or .pdf."
)
@click.pass_context
def command(
    ctx: click.Context, names: tuple[str, ...], quick: bool, json_file: str | None, figure: Path | None
) -> None:
    """Measure the model and its peers side by side, the result of each proved first.

    A ratio is the median of rounds in which both ran next to each other, with its quartiles. A goal "x 10" is met by
    at least ten times the peer's speed, a goal "cost 0.03" by at most that part of the peer's time.

    Exit status: 0 measured, whatever came of it; 1 a result was wrong; 2 unusable input.
    """
    require_writable(None, json_file)
    if figure is not None:
        from gicmodel.cli._bench_figure import require_matplotlib

        require_writable(None, str(figure))
        require_matplotlib(figure)
    choose_engine(None, math.inf)
    # The kernels come with these, and numba.
    from gicmodel.benchmarks.report import document
    from gicmodel.cli._bench_run import run_all, show

    try:
        outcomes = run_all(names, quick, quiet=json_file == "-")
    except Interrupted as stop:
        publish(json_file, document(stop.so_far), partial(show, stop.so_far))
        raise
    publish(json_file, document(outcomes), partial(show, outcomes))
    if figure is not None:
        from gicmodel.cli._bench_figure import draw

        draw(figure, outcomes)
