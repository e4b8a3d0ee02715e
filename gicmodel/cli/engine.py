# SPDX-License-Identifier: Apache-2.0
"""Which engine a verb runs on: what the user asks for, else what is over sooner.

The times below are CPU seconds of `gicmodel VERB --engine python` and `--engine compiled` under `time`, of a Xeon at
2.1 GHz; only their proportions matter.
"""

from __future__ import annotations

import click

from gicmodel.engine import ENGINES, Engine, asked, is_settled, settle
from gicmodel.kernel_cache import is_whole

COMPILE_SECONDS = 20.0
"""To compile all kernels on two CPUs: `gicmodel compile` with an empty NUMBA_CACHE_DIR takes 39 s of them."""
START_SECONDS = 0.5
"""What `gicmodel migrate` takes longer with all of them cached than on the Python engine: numba's import, mostly."""


engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="compiled: machine code, compiled once. python: the same kernels as plain Python. auto: whichever is over "
    "sooner. Without the option GICMODEL_ENGINE counts, then NUMBA_DISABLE_JIT, then it is auto.",
)
"""For a verb that calls `choose_engine`."""


def choose_engine(option: str | None, saved_seconds: float, bar: bool = True) -> None:
    """Settle the engine, before anything imports a kernel, and compile what has still to be compiled.

    `saved_seconds` is about how much less time the work takes with machine code, once that is there. Where this process
    has settled already, `auto` changes nothing.

    Raises:
        UnusableInput: GICMODEL_ENGINE is none, or this process has settled for another engine than the option's.
    """
    if is_settled() and option in (None, Engine.AUTO):
        return
    engine = asked(option)
    if engine is Engine.AUTO:
        price = START_SECONDS if is_whole() else COMPILE_SECONDS
        engine = Engine.COMPILED if saved_seconds > price else Engine.PYTHON
    settle(engine)
    if engine is Engine.COMPILED and not is_whole():
        from gicmodel.cli.compiling import compile_all

        compile_all(bar)
