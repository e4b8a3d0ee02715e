# SPDX-License-Identifier: Apache-2.0
"""`gicmodel compile`: all kernels, now."""

from __future__ import annotations

import click

from gicmodel.cli.output import Results, json_options, say
from gicmodel.engine import Engine, settle
from gicmodel.errors import UnusableInput, utf8
from gicmodel.kernel_cache import can_be_written, directory_of_all


@click.command()
@click.option("--no-progress", is_flag=True, help="No progress bar; there is none anyway unless stderr is a terminal.")
@json_options
def command(no_progress: bool, results: Results) -> None:
    """Compile all kernels, on all CPUs, so that nothing waits for it later. What is compiled already stays.

    Machine code is kept in the user's cache directory, or in NUMBA_CACHE_DIR, for these sources and this numba.

    Exit status: 0 all are there, 2 they cannot be kept.
    """
    settle(Engine.COMPILED)
    if not can_be_written():
        raise UnusableInput(f"{directory_of_all()}: machine code cannot be kept there")
    # numba comes with this.
    from gicmodel.cli.compiling import compile_all, declared

    if not compile_all(not no_progress):
        raise UnusableInput(f"{directory_of_all()}: not all machine code could be kept there")
    kernels, directory = len(declared()), directory_of_all()
    document = {"kernels": kernels, "directory": utf8(str(directory))}
    results.publish(document, lambda: say(f"{kernels} kernels are compiled, in {directory}"))
