# SPDX-License-Identifier: Apache-2.0
"""The compiled engine against the Python engine, which runs in a process of its own."""

import os
import signal

import pytest

from gicmodel.fuzzing.finding import Plan, generate, run, run_chunk
from gicmodel.fuzzing.peers.engine import PEER, other_engine
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.jit import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="it is the compiled engine that starts the other one")


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_both_engines_agree(architecture: str):
    result = run_chunk(PEER, Plan(seed=1, commands=200, architecture=architecture), 0)
    assert result.finding is None
    assert result.commands >= 200


def test_one_bit_is_noticed():
    program = generate(PEER, Plan(seed=2, commands=100, architecture="4.1"), 0)
    comparison = PEER.start(program.machine)
    comparison.run(program.steps)
    comparison.pair.lab.memory.octets[0] ^= 1
    with pytest.raises(Divergence, match=r"RAM of the machine: compiled .*, Python "):
        comparison.run(())


def test_an_engine_that_dies_is_a_divergence_and_is_replaced():
    program = generate(PEER, Plan(seed=2, commands=100, architecture="3"), 0)
    comparison = PEER.start(program.machine)
    os.kill(other_engine().pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended with status -9"):
        comparison.run(program.steps)
    assert run(PEER, program).divergence is None
