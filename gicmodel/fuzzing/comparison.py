# SPDX-License-Identifier: Apache-2.0
"""What a campaign compares the hardware with: a `Peer` draws machines for both and starts a `Comparison` on one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import ClassVar

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.generation import draw_steps
from gicmodel.fuzzing.program import Machine, Step
from gicmodel.fuzzing.universe import Universe
from gicmodel.lab.lab import Lab

PEERS = {"oracle": "oracle", "qemu": "qemu.peer", "engine": "engine"}
"""The module of each peer in `gicmodel.fuzzing.peers`, which has it as `PEER`."""


class Comparison(ABC):
    """Hardware and a peer in the same state, both booted.

    `outcomes` counts how often a command (a mnemonic, or the number of an unknown opcode) ended with each error
    number, 0 for none.
    """

    universe: Universe
    lab: Lab
    outcomes: Counter[tuple[str, int]]

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
    """One of `PEERS`."""

    name: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]] = ("3", "4.0", "4.1")
    chunk: ClassVar[int] = 4000
    """Commands of one program of a campaign."""

    def require(self) -> None:
        """Raise UnusableInput if this peer needs what is not installed here."""
        return

    @abstractmethod
    def machine(self, random: np.random.Generator, architecture: str) -> Machine:
        """A machine that can be compared."""

    @abstractmethod
    def start(self, machine: Machine) -> Comparison:
        """Boot both. Raises UnusableInput for a machine that this peer cannot have."""

    def steps(self, random: np.random.Generator, universe: Universe, commands: int) -> list[Step]:
        """A program's steps, about `commands` of which are commands."""
        return draw_steps(random, universe, commands)


def peer(name: str) -> Peer:
    """The peer of a name. Raises UnusableInput if there is none."""
    if name not in PEERS:
        raise UnusableInput(f"{name!r:.60} is no peer: one of {', '.join(PEERS)}")
    found: Peer = import_module(f"gicmodel.fuzzing.peers.{PEERS[name]}").PEER
    return found
