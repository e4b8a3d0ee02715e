# SPDX-License-Identifier: Apache-2.0
"""Planting a bug in the hardware: on the Python engine a kernel is a function, and another may take its place."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

Broken = Callable[..., Any]
"""A kernel that gets the one that it replaces as its first argument."""


@dataclass(frozen=True)
class Mutant:
    """A bug that some implementation has had.

    `kernel` is the function that has it here: named by the module that defines it, everywhere; by one that imports it,
    there only. `within` is how many commands of a campaign are to find it, on `architecture` with these `choices` of
    the machine; `length` how many steps of the shrunk program are to show it. `interrupts` are those
    of `draw_steps`.
    """

    name: str
    bug: str
    origin: str
    kernel: str
    architecture: str
    within: int
    length: int
    choices: dict[str, Any]
    broken: Broken
    interrupts: int = 0


MUTANTS: list[Mutant] = []


def mutant(
    kernel: str,
    origin: str,
    architecture: str = "3",
    within: int = 2000,
    length: int = 8,
    interrupts: int = 0,
    **choices: Any,
) -> Callable[[Broken], Broken]:
    """Add a broken kernel to `MUTANTS`. Its docstring is the bug."""

    def add(broken: Broken) -> Broken:
        bug = (broken.__doc__ or "").removesuffix(".")
        MUTANTS.append(
            Mutant(broken.__name__, bug, origin, kernel, architecture, within, length, choices, broken, interrupts)
        )
        return broken

    return add


def places_of(mutant: Mutant) -> tuple[Any, list[Any], str]:
    """The kernel that a mutant replaces, the modules where it does, and the name that it has there."""
    module, _, name = mutant.kernel.partition(".")
    home = import_module(f"gicmodel.hardware.kernels.{module}")
    original = getattr(home, name)
    if original.__module__ != home.__name__:
        return original, [home], name
    return original, [place for place in _package() if getattr(place, name, None) is original], name


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The hardware with the bug."""
    original, places, name = places_of(mutant)
    broken = partial(mutant.broken, original)
    for place in places:
        setattr(place, name, broken)
    try:
        yield
    finally:
        for place in places:
            setattr(place, name, original)


def _package() -> list[Any]:
    return [module for name, module in sys.modules.items() if name.startswith("gicmodel.")]
