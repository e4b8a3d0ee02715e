# SPDX-License-Identifier: Apache-2.0
"""A campaign against the oracle that looks for one mutant."""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from gicmodel.fuzzing.finding import Finding, Plan, hunt
from gicmodel.fuzzing.peers.oracle import OraclePeer
from gicmodel.fuzzing.programs.draw import draw_steps
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.program import Step
from gicmodel.fuzzing.programs.universe import Universe
from tests.fuzzing.mutants.planting import Mutant, planted

SEED = 1


class MutantPeer(OraclePeer):
    """The oracle, on machines with a mutant's choices. Short chunks: a NumPy scalar takes its time."""

    chunk: ClassVar[int] = 1000

    def __init__(self, mutant: Mutant) -> None:
        super().__init__()
        self._choices = mutant.choices
        self._interrupts = mutant.interrupts

    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        drawn = super().machine(random, architecture)
        return GicMachine(replace(drawn.config, **self._choices), drawn.geometry)

    def steps(self, random: np.random.Generator, universe: Universe, commands: int) -> list[Step]:
        return draw_steps(random, universe, commands, interrupts=self._interrupts)


def hunt_for(mutant: Mutant) -> Finding | None:
    """The shrunk finding of a campaign on hardware with the mutant, within as many commands as it says."""
    with planted(mutant):
        return hunt(MutantPeer(mutant), Plan(SEED, mutant.within, mutant.architecture))
