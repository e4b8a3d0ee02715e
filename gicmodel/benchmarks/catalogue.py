# SPDX-License-Identifier: Apache-2.0
"""Every group of benchmarks by name. A group's module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from gicmodel.benchmarks.harness import Benchmark

GROUPS = {
    "vpt": "VPTs cleaned on VMAPP {V,Alloc} = {0,1} and read on VMAPP V=1",
    "lpi": "LPI pending tables loaded on EnableLPIs",
    "save": "save_pending_tables of a VM",
    "residency": "a vPE scheduled and descheduled",
    "commands": "commands from a full queue",
    "translater": "GITS_TRANSLATER writes in bulk",
    "decode": "table decode",
    "dumps": "a Linux machine's RAM with nothing beside it",
    "migration": "a whole migration",
    "startup": "start-up of whole processes",
    "threads": "two threads beside one",
}


def benchmarks(group: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a group. KeyError if there is no such group."""
    if group not in GROUPS:
        raise KeyError(group)
    found: tuple[Benchmark, ...] = import_module(f"gicmodel.benchmarks.{group}").BENCHMARKS
    return found
