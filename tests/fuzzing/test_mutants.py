# SPDX-License-Identifier: Apache-2.0
"""A campaign finds bugs that real implementations have had, and shrinks each to a handful of steps.

`python -m tests.fuzzing.mutants` prints what it took as a table.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gicmodel.fuzzing.finding import divergence_of
from gicmodel.fuzzing.hypothesis.driver_machine import DriverUnderCaching
from gicmodel.fuzzing.hypothesis.twin_hosts import MissingCommand
from gicmodel.jit import COMPILED
from tests.fuzzing.mutants import MUTANTS
from tests.fuzzing.mutants.hunting import MutantPeer, hunt_for
from tests.fuzzing.mutants.planting import Mutant, planted

pytestmark = pytest.mark.skipif(COMPILED, reason="bugs are planted in kernels as functions, which they are not here")


def test_there_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 24


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_campaign_finds_it(mutant: Mutant) -> None:
    finding = hunt_for(mutant)
    assert finding is not None
    assert finding.commands <= mutant.within
    assert len(finding.program.steps) <= mutant.length
    assert divergence_of(MutantPeer(mutant), finding.program) is None, "without the bug there is no difference"


def inv_only_checks(original: object, m: Any, slot: int, intid: Any) -> None:
    """INV checks its operands and invalidates nothing."""


def invall_only_checks(original: object, m: Any, slot: int) -> None:
    """INVALL checks its operands and invalidates nothing."""


RETAINING = [
    ("delivery.forget_byte", "gem5 gic_v3_its.cc:503", inv_only_checks),
    ("physical_commands.forget_configuration", "gem5 gic_v3_its.cc:537", invall_only_checks),
]
"""The oracle retains nothing. What hardware retains too long a driver meets."""


@pytest.mark.parametrize(("kernel", "origin", "broken"), RETAINING)
def test_a_driver_meets_it(kernel: str, origin: str, broken: Any) -> None:
    class Machine(DriverUnderCaching):
        configurations = staticmethod(lambda: DriverUnderCaching.configurations().filter(lambda c: not c.direct_lpi))

    search = settings(
        max_examples=50,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    mutant = Mutant(broken.__name__, str(broken.__doc__), origin, kernel, "3", 0, 0, {}, broken)
    with planted(mutant), pytest.raises(MissingCommand, match="is missing"):
        run_state_machine_as_test(Machine, settings=search)
