# SPDX-License-Identifier: Apache-2.0
"""All kernels compiled before the work that needs them begins, with a bar that says how many are left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dis import get_instructions
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.cli.progress import Watcher
from gicmodel.config import GicConfig
from gicmodel.fuzzing.workers import Workers, WorkersLost, local
from gicmodel.hardware.kernels.state import Machine, new_machine
from gicmodel.jit import KERNELS, declared_types
from gicmodel.kernel_cache import can_be_written, mark_whole
from gicmodel.kvm.lpi import LPI
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.layout import Field
from gicmodel.memory import PAGE_BYTES, GuestMemory

IMPORT_ALL = ("gicmodel.hardware.gic", "gicmodel.kvm.vgic")
"""With these come all modules of the floors that have kernels."""
FLOORS = ("gicmodel.hardware.", "gicmodel.kvm.")
MOST_PROCESSES = 8
"""More wait for each other: a kernel is compiled after those that it calls."""


def compile_all(bar: bool) -> bool:
    """Compile all kernels for the types that they declare, or load them from the cache; say so on stderr.

    One process a CPU does, where what it has compiled can be kept for this one. Returns whether all is kept.
    """
    processes = min(len(os.sched_getaffinity(0)), MOST_PROCESSES) if can_be_written() else 1
    kernels, kept = len(declared()), True
    line = f"compiling {kernels} kernels (first run only, up to a minute)"
    try:
        with Watcher(bar, instead=line) as watcher, local(processes) as workers:
            watcher.progress("compiling kernels, once", 0, kernels, f"{kernels} left")
            for done, is_kept in enumerate(_compiled(workers, _callees()), 1):
                kept = kept and is_kept
                watcher.progress("compiling kernels, once", done, kernels, f"{kernels - done} left")
    except WorkersLost:
        return False  # what is missing is compiled when it is first called
    if kept:
        mark_whole()
    return kept


def compile_one(number: int) -> bool:
    """Compile one of the kernels, whether it is kept: what a worker is asked to do."""
    kernel, types = declared()[number]
    kernel.compile(types)
    return bool(getattr(kernel._cache, "kept", False))


@cache
def declared() -> list[tuple[Any, tuple[Any, ...]]]:
    """All kernels of the floors, with the types that their annotations give.

    Worker processes name a kernel by its number, so the order must not depend on what else a process has imported.
    """
    for name in IMPORT_ALL:
        import_module(name)
    kernels = [kernel for kernel in KERNELS if kernel.py_func.__module__.startswith(FLOORS)]
    kernels.sort(key=lambda kernel: (kernel.py_func.__module__, kernel.py_func.__qualname__))
    samples = {
        Machine: new_machine(GicConfig(), GuestMemory(0, PAGE_BYTES)),
        Field: LEVEL1["Valid"],
        NDArray[np.void]: np.zeros(1, LPI),
    }
    return [(kernel, types) for kernel in kernels if (types := declared_types(kernel, samples)) is not None]


def _callees() -> dict[int, set[int]]:
    """For each kernel the kernels that it names."""
    number_of = {id(kernel): number for number, (kernel, _) in enumerate(declared())}
    callees = {}
    for number, (kernel, _) in enumerate(declared()):
        function = kernel.py_func
        globals_ = {step.argval for step in get_instructions(function) if step.opname == "LOAD_GLOBAL"}
        named = (id(function.__globals__.get(name)) for name in globals_)
        callees[number] = {number_of[each] for each in named if each in number_of and number_of[each] != number}
    return callees


def _compiled(workers: Workers, callees: dict[int, set[int]]) -> Iterator[bool]:
    """Whether a kernel is kept, for each when it is compiled: callees first, and those first that most wait for."""
    height = dict.fromkeys(callees, 0)
    for number in reversed([*TopologicalSorter(callees).static_order()]):
        for callee in callees[number]:
            height[callee] = max(height[callee], height[number] + 1)
    order = TopologicalSorter(callees)
    order.prepare()
    ready: list[int] = []
    running: dict[Future[bool], int] = {}
    while order.is_active():
        ready = sorted([*ready, *order.get_ready()], key=height.__getitem__)
        while ready and len(running) < workers.width:
            number = ready.pop()
            running[workers.executor.submit(compile_one, number)] = number
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            order.done(running.pop(future))
            yield future.result()
