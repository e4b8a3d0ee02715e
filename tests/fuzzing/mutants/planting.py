# SPDX-License-Identifier: Apache-2.0
"""Planting a bug in the hardware: on the Python engine a kernel is a function, and another may take its place."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from gicmodel import jit

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
    replace(places, name, original, partial(mutant.broken, original))
    try:
        yield
    finally:
        replace(places, name, original, original)
        _INSTEAD.clear()


_INSTEAD: dict[Any, Any] = {}
"""What stands for a kernel that a class of the hardware has by `jit.bound`, from its making on."""


def replace(places: list[Any], name: str, original: Any, new: Any) -> None:
    """Put another kernel where `places_of` says, and into the classes that are bound to it."""
    for place in places:
        setattr(place, name, new)
    if original.__module__ in [place.__name__ for place in places]:
        _INSTEAD[original] = new
    jit.direct = _direct


def _direct(function: Any, *arguments: object) -> Any:
    while _INSTEAD.get(function, function) is not function:
        function = _INSTEAD[function]
    return _DIRECT(function, *arguments)


_DIRECT = jit.direct


def _package() -> list[Any]:
    return [module for name, module in sys.modules.items() if name.startswith("gicmodel.")]
