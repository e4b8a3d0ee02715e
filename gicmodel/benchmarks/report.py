# SPDX-License-Identifier: Apache-2.0
"""A run of groups of benchmarks: one outcome each, as rows for people and as a document for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gicmodel import __version__
from gicmodel.benchmarks.harness import (
    ONCE,
    QUICK,
    THOROUGH,
    Benchmark,
    Effort,
    Measured,
    PeakMemory,
    PeerMissing,
    Unproven,
    measure,
)
from gicmodel.engine import settled
from gicmodel.errors import Interrupted

LIBRARIES = ("numpy", "numba")
Progress = Callable[[str, int, int], None]
"""Called as (the benchmark that begins, how many are done, of how many)."""


GROUPS = {
    "vpt": "VPTs cleaned on VMAPP {V,Alloc} = {0,1} and read on VMAPP V=1",
    "lpi": "LPI pending tables loaded on EnableLPIs",
    "save": "save_pending_tables of a VM",
    "tables": "SAVE_TABLES and RESTORE_TABLES of a guest's ITS",
    "residency": "a vPE scheduled and descheduled",
    "commands": "commands from a full queue",
    "translater": "GITS_TRANSLATER writes in bulk",
    "decode": "table decode",
    "dumps": "a Linux machine's RAM with nothing beside it",
    "migration": "a whole migration",
    "fuzz": "fuzzing beside the specification (GICMODEL_EARLIER)",
    "boot": "a Linux booted (GICMODEL_KERNEL)",
    "startup": "start-up of whole processes",
    "threads": "two threads beside one",
}


def benchmarks(group: str) -> tuple[Benchmark, ...]:
    """The benchmarks of one of GROUPS."""
    found: tuple[Benchmark, ...] = import_module(f"gicmodel.benchmarks.{group}").BENCHMARKS
    return found


@dataclass(frozen=True)
class Outcome:
    """What came of a benchmark: `measured`, or the reason in `missing` why its peer is not there.

    A run of the model does `work` units. `peak_bytes` is the most RAM that this process held meanwhile, None if that is
    unknown.
    """

    group: str
    benchmark: Benchmark
    model: str = ""
    peer: str = ""
    unit: str = ""
    work: float = 1
    measured: Measured | None = None
    peak_bytes: int | None = None
    missing: str | None = None

    @property
    def verdict(self) -> str:
        """How it stands: `pass` or `short` of the goal, `missing` without the peer, empty without a goal."""
        if self.measured is None:
            return "missing"
        if self.benchmark.goal is None:
            return ""
        return "pass" if self.benchmark.goal.margin(self.measured) >= 1 else "short"

    def to_json(self) -> dict[str, Any]:
        """For machines; times in seconds a unit of work."""
        benchmark = self.benchmark
        return {
            "group": self.group,
            "name": benchmark.name,
            "goal": benchmark.goal._asdict() if benchmark.goal else None,
            "verdict": self.verdict,
            "missing": self.missing,
            "model": self.model,
            "peer": self.peer,
            "unit": self.unit,
            "work": self.work,
            "point": benchmark.point._asdict() if benchmark.point else None,
            "measured": _numbers(self.measured) if self.measured else None,
            "peak_bytes": self.peak_bytes,
        }


def run_all(groups: Iterable[str], quick: bool, progress: Progress | None = None) -> list[Outcome]:
    """Measure groups of the catalogue; a quick run leaves out what takes very long.

    Raises:
        Unproven: a result is wrong; with the group.
        Interrupted: by Ctrl-C; with the outcomes so far.
    """
    outcomes: list[Outcome] = []
    chosen = [(group, each) for group in groups for each in benchmarks(group) if not (quick and each.once)]
    for group, benchmark in chosen:
        if progress:
            progress(f"{group}: {benchmark.name}", len(outcomes), len(chosen))
        try:
            outcomes.append(run(group, benchmark, quick, QUICK if quick else THOROUGH))
        except KeyboardInterrupt as stop:
            raise Interrupted(outcomes) from stop
        except Unproven as error:
            raise Unproven(f"{group}: {error}") from error
    return outcomes


def run(group: str, benchmark: Benchmark, quick: bool, effort: Effort) -> Outcome:
    """Measure a benchmark. Unproven if its result is wrong."""
    kind = benchmark.goal.kind if benchmark.goal else "speed"
    peak = PeakMemory()
    try:
        with benchmark.build(quick) as case:
            measured = measure(case, kind, ONCE if benchmark.once else effort)
            names = case.model.name, case.peer.name, case.unit
            return Outcome(group, benchmark, *names, case.model.work, measured, peak.octets())
    except PeerMissing as reason:
        return Outcome(group, benchmark, missing=str(reason))


def machine() -> dict[str, str]:
    """What the times were measured on."""
    return {
        "processor": _processor(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "gicmodel": __version__,
        "engine": settled().value,
        **{name: version(name) for name in LIBRARIES},
    }


def document(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The machine and every outcome; times in seconds a unit of work."""
    return {"machine": machine(), "benchmarks": [outcome.to_json() for outcome in outcomes]}


def _numbers(measured: Measured) -> dict[str, Any]:
    spreads = {"model": measured.model, "peer": measured.peer, "ratio": measured.ratio}
    return {name: spread._asdict() for name, spread in spreads.items()} | {"rounds": measured.rounds}


def _processor() -> str:
    """The model name that Linux tells, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
