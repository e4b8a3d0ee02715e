# SPDX-License-Identifier: Apache-2.0
"""All kernels compiled before the work that needs them begins, with a bar that says how many are left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import click
import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.config import GicConfig
from gicmodel.hardware.kernels.state import Machine, new_machine
from gicmodel.jit import KERNELS, declared_types
from gicmodel.kernel_cache import mark_whole
from gicmodel.kvm.lpi import LPI
from gicmodel.layouts.layout import Field
from gicmodel.layouts.level1 import LEVEL1
from gicmodel.memory import PAGE_BYTES, GuestMemory

IMPORT_ALL = ("gicmodel.hardware.gic", "gicmodel.kvm.vgic")
"""With these come all modules that have kernels."""


def compile_all(bar: bool) -> None:
    """Compile all kernels for the types that they declare, or load them from the cache; say so on stderr."""
    for name in IMPORT_ALL:
        import_module(name)
    samples = {
        Machine: new_machine(GicConfig(), GuestMemory(0, PAGE_BYTES)),
        Field: LEVEL1["Valid"],
        NDArray[np.void]: np.zeros(1, LPI),
    }
    declared = [(kernel, types) for kernel in KERNELS if (types := declared_types(kernel, samples)) is not None]
    with _progress(len(declared), bar) as advance:
        for kernel, types in declared:
            kernel.compile(types)
            advance()
    mark_whole()


@contextmanager
def _progress(kernels: int, bar: bool) -> Iterator[Callable[[], None]]:
    """A function to call after each kernel: it moves a bar on a terminal; elsewhere there is one line, now."""
    if not (bar and sys.stderr.isatty()):
        click.echo(f"gicmodel: compiling {kernels} kernels (first run only, about a minute)", err=True)
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("compiling kernels, once"),
        BarColumn(),
        TextColumn("{task.fields[left]} left"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=kernels, left=kernels)

        def advance() -> None:
            progress.advance(task)
            progress.update(task, left=kernels - int(progress.tasks[task].completed))

        yield advance
