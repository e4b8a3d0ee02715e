# SPDX-License-Identifier: Apache-2.0
"""The machine for peers: both engines agree, and a peer that is wrong is noticed."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gicmodel.fuzzing.hypothesis.peer_machine import EnginesAgree, HardwareAgainstPeer
from gicmodel.fuzzing.peers.oracle import OraclePeer
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.spec import AbstractGic

QUIET = settings(stateful_step_count=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def test_engines_agree() -> None:
    run_state_machine_as_test(EnginesAgree, settings=settings(QUIET, max_examples=6))


def test_the_oracle_agrees() -> None:
    class Machine(HardwareAgainstPeer):
        peer = OraclePeer()

    run_state_machine_as_test(Machine, settings=settings(QUIET, max_examples=10))


class ForgetsDevices(AbstractGic):
    """MAPD V=0 is overlooked."""

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        return super().execute(its, mnemonic, **(fields | ({"V": 1, "Size": 1} if mnemonic == "MAPD" else {})))


def test_a_peer_that_is_wrong_is_noticed() -> None:
    class Machine(HardwareAgainstPeer):
        peer = OraclePeer(ForgetsDevices)

    with pytest.raises(Divergence, match="devices of ITS"):
        run_state_machine_as_test(Machine, settings=settings(QUIET, max_examples=50, phases=[Phase.generate]))
