# SPDX-License-Identifier: Apache-2.0
"""The real hardware agrees with the oracle: each architecture, and each policy of writing back and of caching."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import SearchStrategy, booleans, builds

from gicmodel.fuzzing.hypothesis.peer_machine import HardwareAgainstPeer
from gicmodel.fuzzing.hypothesis.strategies import configurations, geometries
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.jit import COMPILED

EXAMPLES = settings(
    max_examples=60 if COMPILED else 8,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

SMALL = {"device_id_bits": 10, "collection_id_bits": 8, "vpe_id_bits": 7, "vpt_cache_sets": 1}
IMMEDIATE = {"vpt_writeback": "immediate", "pending_writeback": "immediate"}
LATE = {"vpt_writeback": "unmap", "pending_writeback": "disable"}

# A GICv4.0 that holds VPTs may lose what it holds, so that its RAM says nothing.
CHOICES = {
    "GICv3": {"architecture": "3", **IMMEDIATE},
    "GICv3, held": {"architecture": "3", **LATE},
    "GICv3, retained": {"architecture": "3", "its": 1, "caching": "retain", **LATE},
    "GICv4.0": {"architecture": "4.0", **IMMEDIATE},
    "GICv4.0, QEMU's choices": {"architecture": "4.0", "discard_unmapped": "refuse", **IMMEDIATE},
    "GICv4.1": {"architecture": "4.1", **IMMEDIATE},
    "GICv4.1, held": {"architecture": "4.1", **LATE},
    "GICv4.1, written at deschedule": {"architecture": "4.1", **LATE, "vpt_writeback": "deschedule"},
    "GICv4.1, retained": {"architecture": "4.1", "its": 1, "caching": "retain", **LATE},
}


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
def test_agreement(choices: dict[str, object]) -> None:
    class OfChoices(HardwareAgainstPeer):
        peer = PEER

        @classmethod
        def machines(cls) -> SearchStrategy[GicMachine]:
            return builds(GicMachine, configurations(**SMALL, ces=booleans(), **choices), geometries())

    run_state_machine_as_test(OfChoices, settings=EXAMPLES)
