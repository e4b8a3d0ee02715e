# SPDX-License-Identifier: Apache-2.0
"""The oracle knows every choice of `GicConfig` that a program may name; a machine that it cannot judge is refused."""

from dataclasses import replace

import numpy as np
import pytest

from gicmodel.config import _RANGES, CHOICES
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.finding import Plan, run_chunk
from gicmodel.fuzzing.peers.oracle import OraclePeer
from gicmodel.fuzzing.programs.draw import draw_steps
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.program import Step
from gicmodel.fuzzing.programs.universe import Universe
from gicmodel.lab.geometry import Geometry

COMMANDS, INTERRUPTS = 800, 20
NUMBERS = {name: values for name, values in _RANGES.items() if name not in ("intid_bits", "redistributor_base")}
EXTREMES = [{name: value} for name, values in (NUMBERS | CHOICES).items() for value in values if name != "architecture"]
EXTREMES += [{name: False} for name in ("vmovp", "nid", "inv", "umsi", "direct_lpi", "ces")]
EXTREMES += [{name: True} for name in ("pta", "seis", "mpam")]
EXTREMES += [{"common_lpi_aff": 3, "redistributors": 18}, {"hcc": 3}, {"hcc": 255, "its": 2}]
TOO_LARGE = [{"event_id_bits": 24}]
NOT_KEPT = [{"vpt_writeback": "unmap"}, {"vpt_writeback": "deschedule"}]
"""In GICv4.0 what is held may be lost."""


class Chosen(OraclePeer):
    """The machines of a campaign, with some choices made."""

    def __init__(self, choices: dict[str, object]) -> None:
        super().__init__()
        self._choices = choices

    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        drawn = super().machine(random, architecture)
        choices = self._choices
        if choices.get("caching") == "retain":  # an ITS does not see what another does to a vPE that both have
            choices = choices | {"its": 1}
        return GicMachine(replace(drawn.config, **choices), Geometry())  # type: ignore[arg-type]

    def steps(self, random: np.random.Generator, universe: Universe, commands: int) -> list[Step]:
        return draw_steps(random, universe, commands, interrupts=INTERRUPTS)


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
@pytest.mark.parametrize("choices", EXTREMES, ids=str)
def test_hardware_and_oracle_agree_on_every_choice(choices, architecture):
    peer = Chosen(choices)
    if choices in TOO_LARGE or (architecture == "4.0" and choices in NOT_KEPT):
        with pytest.raises(
            UnusableInput, match=r"^(?:a machine that fuzzing cannot have: |the oracle cannot judge vpt_writeback=)"
        ):
            peer.start(peer.machine(np.random.default_rng(1), architecture))
        return
    finding = run_chunk(peer, Plan(1, COMMANDS, architecture), 0).finding
    assert finding is None, finding.difference
