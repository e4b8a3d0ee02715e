# SPDX-License-Identifier: Apache-2.0
"""What a campaign compares the hardware with: a `Peer` draws machines for both and starts a `Comparison` on one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.programs.draw import draw_steps
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.program import Machine, Program, Step
from gicmodel.fuzzing.programs.universe import Universe
from gicmodel.lab.lab import Lab
from gicmodel.lab.placement import Allocation, place

Outcomes = Counter[tuple[str, Any]]
"""How often an operation, by name, ended how: with an error number, 0 for none, or with what has a name."""

PEERS = {
    "oracle": "oracle",
    "qemu": "qemu.peer",
    "engine": "engine",
    "linux-kvm": "linux.kvm.peer",
    "linux-driver": "linux.driver.peer",
    "linux-port": "linux.driver.port",
}
"""The module of each peer in `gicmodel.fuzzing.peers`, which has it as `PEER`."""


class Divergence(AssertionError):
    """Two that must agree do not. `what` names the register, table or event; the message has both values."""

    def __init__(self, what: str, *sides: str) -> None:
        super().__init__(what, *sides)
        self.what = what
        self.sides = sides

    def __str__(self) -> str:
        return f"{self.what}: {', '.join(self.sides)}"

    @property
    def kind(self) -> str:
        """What differs, without its number: divergences of one kind most often have one cause."""
        return re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "n", self.what)


def agree(what: str, hardware: object, oracle: object) -> None:
    """Raise Divergence, naming what differs, unless hardware and oracle say the same."""
    if hardware != oracle:
        raise Divergence(what, f"hardware {hardware}", f"oracle {oracle}")


class Comparison(ABC):
    """What is tried and a peer in the same state, both booted.

    `outcomes` counts how often a command (a mnemonic, or the number of an unknown opcode) ended with each error
    number, 0 for none; or with what else has a name.
    """

    outcomes: Outcomes

    @abstractmethod
    def run(self, steps: Sequence[Step]) -> None:
        """Give steps to both, and compare what is cheap to compare. Raises Divergence."""

    @abstractmethod
    def check(self) -> None:
        """Compare all that can be seen, without changing it. Raises Divergence."""

    def close(self) -> None:
        """End what was started for this comparison."""
        return


class Peer(ABC):
    """One of `PEERS`: what something is compared with, and the programs for both."""

    name: ClassVar[str]
    machines: ClassVar[type[Machine]] = GicMachine
    """What its programs run on."""
    architectures: ClassVar[tuple[str, ...]] = ("3", "4.0", "4.1")
    chunk: ClassVar[int] = 4000
    """Commands of one program of a campaign."""

    def made_of(self, linux_source: Path | None) -> Peer:
        """The peer made of this kernel's source, None for one that is installed; itself if it is made of none."""
        return self

    def require(self) -> None:
        """Raise UnusableInput if this peer needs what is not installed here."""
        return

    @abstractmethod
    def program(self, random: np.random.Generator, architecture: str, commands: int) -> Program:
        """A machine that can be compared, and about `commands` operations for it."""

    @abstractmethod
    def start(self, machine: Any) -> Comparison:
        """Boot both. Raises UnusableInput for a machine that this peer cannot have."""


class HardwareComparison(Comparison):
    """The hardware, whose programs speak of the tables and IDs of a universe, and a peer."""

    universe: Universe
    lab: Lab


class HardwarePeer(Peer):
    """A peer of the hardware: both run ITS commands, and what software does between them."""

    @abstractmethod
    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        """A machine that can be compared."""

    @abstractmethod
    def start(self, machine: GicMachine) -> HardwareComparison:
        """Boot both. Raises UnusableInput for a machine that this peer cannot have."""

    def program(self, random: np.random.Generator, architecture: str, commands: int) -> Program:
        """Steps for a machine's universe."""
        machine = self.machine(random, architecture)
        universe = Universe.of(machine.config, place(machine.config, machine.geometry, Allocation()))
        return Program(self.name, machine, tuple(self.steps(random, universe, commands)))

    def steps(self, random: np.random.Generator, universe: Universe, commands: int) -> list[Step]:
        """A program's steps, about `commands` of which are commands."""
        return draw_steps(random, universe, commands)


def peer(name: str) -> Peer:
    """The peer of a name. Raises UnusableInput if there is none."""
    if name not in PEERS:
        raise UnusableInput(f"{name!r:.60} is no peer: one of {', '.join(PEERS)}")
    found: Peer = import_module(f"gicmodel.fuzzing.peers.{PEERS[name]}").PEER
    return found
