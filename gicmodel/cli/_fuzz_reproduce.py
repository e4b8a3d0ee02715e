# SPDX-License-Identifier: Apache-2.0
"""One saved program, run step by step."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from gicmodel.cli._fuzz_run import AGREED, DIFFERENT
from gicmodel.cli.output import Results
from gicmodel.errors import printable, utf8
from gicmodel.fuzzing.comparison import peer
from gicmodel.fuzzing.execution import run
from gicmodel.fuzzing.text import format_step, read_program


def reproduce_program(path: Path, results: Results) -> int:
    """Run the program of a file, comparing everything after each step, and say where the two differ; the exit status.

    Raises:
        UnusableInput: the file is no program of this version, or its peer cannot have its machine.
    """
    program = read_program(path)
    went = run(peer(program.against), program, part_steps=1)
    at = len(program.steps) if went.divergence is None else went.part + 1
    text = format_step(program.steps[at - 1], program.machine.config.architecture) if at else ""
    difference = None if went.divergence is None else str(went.divergence)
    said = "no difference" if difference is None else f"step {at}, {text}\n{difference}"
    outcome = {"file": utf8(str(path)), "steps": at, "step": text, "difference": difference}
    results.publish(outcome, partial(click.echo, f"{printable(str(path))}: {said}"))
    return AGREED if went.divergence is None else DIFFERENT
