# SPDX-License-Identifier: Apache-2.0
"""python -m tests.fuzzing.mutants.switched: which bugs a campaign finds on the compiled engine, as JSON.

Kernels call each other as machine code, so that a bug must be compiled in; to compile them anew for each of them would
take an hour. Here all are in one build: each place has a kernel that asks a word of memory whether to be the bug or the
original. A process that has planted them has no other use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from gicmodel.fuzzing.finding import Plan, run_chunk
from gicmodel.jit import COMPILED, KERNELS, kernel
from tests.fuzzing.mutants import MUTANTS
from tests.fuzzing.mutants.hunting import SEED, MutantPeer
from tests.fuzzing.mutants.planting import Mutant, places_of, replace

SELECTED = np.zeros(1, np.int64)
"""The number of the bug that is awake, from 1; 0 for none."""
_SWITCH = """
def {name}({arguments}):
    if selected() == {number}:
        return bug(original, {arguments})
    return original({arguments})
"""


def plant_all() -> None:
    """Put every bug into the hardware, asleep: first those of a kernel wherever it is, then those of one caller's."""
    selected = _reader()
    numbered = list(enumerate(MUTANTS, 1))
    for everywhere in (True, False):
        for number, mutant in numbered:
            original, places, name = places_of(mutant)
            if (original.__module__ == places[0].__name__) is everywhere:
                replace(places, name, original, _switch(mutant, number, original, selected))
    _compile_anew()


def found(number: int, mutant: Mutant) -> int | None:
    """How many commands of a campaign find a bug, as `hunting.hunt_for` looks for it but without shrinking."""
    SELECTED[0] = number
    peer, plan = MutantPeer(mutant), Plan(SEED, mutant.within, mutant.architecture)
    findings = (run_chunk(peer, plan, chunk).finding for chunk in range(plan.chunks(peer)))
    return next((finding.commands for finding in findings if finding), None)


def _switch(mutant: Mutant, number: int, original: Any, selected: Callable[[], int]) -> Any:
    arguments = ", ".join(list(signature(mutant.broken).parameters)[1:])
    scope = {"selected": selected, "bug": kernel(mutant.broken), "original": original, "__name__": original.__module__}
    exec(_SWITCH.format(name=mutant.name, number=number, arguments=arguments), scope)
    return kernel(scope[mutant.name])


def _compile_anew() -> None:
    """Take no machine code from the cache, where there are no bugs, and leave none there."""
    from numba.core.caching import NullCache

    for dispatcher in KERNELS:
        dispatcher._cache = NullCache()


def _reader() -> Callable[[], int]:
    """What reads SELECTED when the machine code runs; to numba an array of a module is a constant."""
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    word = ir.IntType(64)

    def load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(word(SELECTED.ctypes.data), word.as_pointer()))

    def selected(typing_context: Any) -> Any:
        """The word."""
        return types.int64(), load

    typed: Callable[[], int] = intrinsic(selected)
    return typed


if __name__ == "__main__":
    assert COMPILED
    plant_all()
    asleep = {f"none, like {mutant.name}": found(0, mutant) for mutant in MUTANTS[:: len(MUTANTS) // 4]}
    print(json.dumps(asleep | {mutant.name: found(number, mutant) for number, mutant in enumerate(MUTANTS, 1)}))
