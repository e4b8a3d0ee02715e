# SPDX-License-Identifier: Apache-2.0
"""Whole processes: the command line from its start to its end, beside the import of the library under it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, Unproven
from gicmodel.engine import VARIABLE, Engine
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import write_elf
from gicmodel.layouts.its_tables import DTE, ITE
from gicmodel.layouts.registers.its import GITS_BASER, GITS_TYPER
from gicmodel.memory import GuestMemory

RUN = "import sys; from gicmodel.cli import main; main(sys.argv[1:])"
LAYOUTS = ("layouts", "DTE")
MIGRATE = ("migrate",)
"""The README's first line."""
COMPILE = ("compile", "--no-progress")
TABLE, TABLE_BYTES = 0x8000_0000, 0x1_0000


def process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter to its end, with more environment variables; it keeps bytecode, as an installed one has.

    Which engine this process runs on is nothing to it.
    """
    environment = os.environ | {VARIABLE: Engine.AUTO.value} | variables
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


def succeeds(arguments: Sequence[str], expected: str) -> None:
    """Raise Unproven unless the command ends well and says what it should."""
    done = process("-c", RUN, *arguments)
    if done.returncode != 0 or expected not in done.stdout:
        raise Unproven(f"gicmodel {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")


@contextmanager
def beside_import(
    arguments: Sequence[str], expected: str, library: str, quick: bool, **variables: str
) -> Iterator[Case]:
    """A command and an import, each a process."""
    model = Side(f"gicmodel {arguments[0]}", partial(process, "-c", RUN, *arguments, **variables))
    peer = Side(f"import {library}", partial(process, "-c", f"import {library}"))
    yield Case(model, peer, "process", partial(succeeds, arguments, expected))


@contextmanager
def inspect(quick: bool) -> Iterator[Case]:
    """`inspect` of a small dump with one device table."""
    with tempfile.TemporaryDirectory(prefix="gicmodel-bench-") as directory:
        image = Path(directory, "host.elf")
        write_dump(image)
        with beside_import(("inspect", str(image)), "device", "numpy", quick) as case:
            yield case


def write_dump(image: Path) -> None:
    """A device table with one device, and the registers beside it."""
    memory = GuestMemory(TABLE, 2 * TABLE_BYTES)
    memory.zero(TABLE, 2 * TABLE_BYTES)
    memory.write_u64(TABLE, DTE.pack(Valid=1, Size=0, ITT_addr=TABLE + TABLE_BYTES))
    write_elf(image, memory)
    config = GITS_BASER.pack(Valid=1, Type=1, Entry_Size=DTE.bytes - 1, Physical_Address=TABLE, Page_Size=2)
    typer = GITS_TYPER.pack(Physical=1, ITT_entry_size=ITE.bytes - 1, ID_bits=15, Devbits=15)
    write_registers(image.with_suffix(".toml"), {"GITS0": {"TYPER": typer, "CTLR": 1, "BASER0": config}})


@contextmanager
def cold_migrate(quick: bool) -> Iterator[Case]:
    """`migrate` where nothing has been compiled."""
    with (
        tempfile.TemporaryDirectory(prefix="gicmodel-bench-") as directory,
        beside_import(MIGRATE, "arrived once", "numba", quick, NUMBA_CACHE_DIR=directory) as case,
    ):
        yield case


@contextmanager
def compile_all(quick: bool) -> Iterator[Case]:
    """`compile` with an empty cache of machine code, beside a full one."""
    warm = partial(process, "-c", RUN, *COMPILE)
    with tempfile.TemporaryDirectory(prefix="gicmodel-bench-") as directory:
        cold = partial(compile_anew, Path(directory))
        yield Case(Side("cold", cold), Side("warm", warm), "process", partial(succeeds, COMPILE, "are compiled"))


def compile_anew(cache: Path) -> None:
    """`compile` with a cache of its own, emptied first."""
    for entry in cache.iterdir():
        shutil.rmtree(entry)
    process("-c", RUN, *COMPILE, NUMBA_CACHE_DIR=str(cache))


BENCHMARKS = (
    Benchmark("layouts", partial(beside_import, LAYOUTS, "ITT_addr", "numpy"), Goal("cost", 1.8)),
    Benchmark("inspect", inspect, Goal("cost", 2.5)),
    Benchmark("migrate, warm", partial(beside_import, MIGRATE, "arrived once", "numba"), Goal("cost", 2)),
    Benchmark("migrate, nothing compiled", cold_migrate, Goal("cost", 3)),
    Benchmark("compile", compile_all, once=True),
)
