# SPDX-License-Identifier: Apache-2.0
"""The oracle as a peer: hardware on each architecture, with each policy of writing back and of caching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver.errors import DriverError
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.agreement import check_cpu_interfaces, check_everything, check_queues
from gicmodel.fuzzing.peers.interrupts import check_lines
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.fuzzing.peers.peer import HardwarePeer
from gicmodel.fuzzing.programs.hardware import MACHINE_CHOICES, GicMachine, draw_geometry
from gicmodel.fuzzing.programs.program import Event, Step, runs
from gicmodel.memory import ExternalAbort
from gicmodel.spec import AbstractGic

_INTERRUPT_CHOICES = {"spis": (32, 288, 0, 960), "list_registers": (4, 1, 16), "maintenance_intid": (25, 16)}
_SMALL = {"device_id_bits": 10, "collection_id_bits": 8, "vpe_id_bits": 7, "vpt_cache_sets": 1}
_IMMEDIATE = {"vpt_writeback": "immediate", "pending_writeback": "immediate"}
_LATE = {"vpt_writeback": "unmap", "pending_writeback": "disable"}
_RETAINED = {**_LATE, "its": 1, "caching": "retain"}
_DESCHEDULED = {**_LATE, "vpt_writeback": "deschedule", "ces": False}

# See _require_judged.
POLICIES: dict[str, tuple[Mapping[str, object], ...]] = {
    "3": (_IMMEDIATE, _LATE, _RETAINED),
    "4.0": (_IMMEDIATE, {**_IMMEDIATE, "discard_unmapped": "refuse"}),
    "4.1": (_IMMEDIATE, _LATE, _DESCHEDULED, _RETAINED),
}


class AgainstOracle(Pair):
    """The hardware and an oracle, in one process."""

    def run(self, steps: Sequence[Step]) -> None:
        """After each event the lines are compared, after each run of commands CREADR and what is pending, too."""
        for step in runs(steps):
            if isinstance(step, Event):
                self.perform(step)
                check_lines(self, step)
            else:
                self.push(*step)
                check_queues(self)
                check_cpu_interfaces(self)

    def check(self) -> None:
        """Registers, tables in RAM, pending sets and residency."""
        check_everything(self)


class OraclePeer(HardwarePeer):
    """The dicts and sets of `gicmodel.spec`, or of a subclass that is to be tried."""

    name: ClassVar[str] = "oracle"

    def __init__(self, oracle_class: type[AbstractGic] = AbstractGic) -> None:
        self._oracle_class = oracle_class

    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        """One of `POLICIES`, and of the choices that every machine has."""
        return draw_machine(random, architecture)

    def start(self, machine: GicMachine) -> AgainstOracle:
        """Boot both. Raises UnusableInput for a machine that there cannot be, or that the oracle cannot judge."""
        _require_judged(machine.config)
        return boot_pair(machine, self._oracle_class)


def _require_judged(config: GicConfig) -> None:
    """Of what a GIC may keep to itself, and lose, the oracle knows what no sequence of commands can make it lose."""
    if config.architecture == "4.0" and config.vpt_writeback != "immediate":
        raise UnusableInput(
            f"the oracle cannot judge vpt_writeback={config.vpt_writeback} on GICv4.0, which may lose what it holds"
        )
    if config.caching == "retain" and config.its > 1:
        raise UnusableInput(
            f"the oracle cannot judge caching=retain with its={config.its}: each ITS may hold what another has changed"
        )


def boot_pair(machine: GicMachine, oracle_class: type[AbstractGic] = AbstractGic) -> AgainstOracle:
    """Hardware and oracle, booted. Raises UnusableInput for a machine whose tables have no room."""
    try:
        return AgainstOracle(machine.config, machine.geometry, oracle_class)
    except (DriverError, ExternalAbort, MemoryError, ValueError) as error:
        raise UnusableInput(f"a machine that fuzzing cannot have: {error}") from error


def draw_machine(random: np.random.Generator, architecture: str) -> GicMachine:
    """A small machine of one of the `POLICIES`."""
    choices: dict[str, Any] = {name: pool[int(random.integers(len(pool)))] for name, pool in MACHINE_CHOICES.items()}
    policies = POLICIES[architecture]
    policy = policies[int(random.integers(len(policies)))]
    # Random numbers of their own: what else a seed draws does not depend on them.
    apart = random.spawn(1)[0]
    choices |= {name: pool[int(apart.integers(len(pool)))] for name, pool in _INTERRUPT_CHOICES.items()}
    config = GicConfig(**(choices | _SMALL | dict(policy) | {"architecture": architecture}))
    return GicMachine(config, draw_geometry(random))


PEER = OraclePeer()
