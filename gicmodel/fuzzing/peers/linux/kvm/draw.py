# SPDX-License-Identifier: Apache-2.0
"""Random lives of virtual machines: guests, saved tables as a hostile userspace has them, pending tables, forwarding.

Numbers are few, so that commands meet each other's mappings; now and then one is wild. Nothing here looks at what the
machines do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

import numpy as np

from gicmodel.fuzzing.peers.linux.kvm.lives.forwarding import Forwarding
from gicmodel.fuzzing.peers.linux.kvm.lives.guest import Guest
from gicmodel.fuzzing.peers.linux.kvm.lives.life import Life
from gicmodel.fuzzing.peers.linux.kvm.lives.pending import Pending
from gicmodel.fuzzing.peers.linux.kvm.lives.tables import Tables
from gicmodel.fuzzing.peers.linux.kvm.machine import VirtualMachine
from gicmodel.fuzzing.programs.program import Step


def draw_machine(random: np.random.Generator, architecture: str) -> VirtualMachine:
    """A VM that lives on a host of `architecture`."""
    vcpus = int(random.choice(np.array([1, 2, 4, 4, 4, 12] if architecture == "3" else [1, 4, 4])))
    return VirtualMachine(
        architecture, vcpus, int(random.integers(1, 3)), architecture == "4.1" and bool(random.integers(2))
    )


def draw_steps(random: np.random.Generator, machine: VirtualMachine, count: int) -> list[Step]:
    """Lives one after the other, `count` operations in all."""
    source = Random(int(random.integers(1 << 62)))
    kinds: list[type[Life]] = [Guest, Guest, Tables, Pending]
    if machine.architecture != "3":
        kinds = [*kinds, *[Forwarding] * 6]

    def lives() -> Iterator[Step]:
        while True:
            life = source.choice(kinds)(source, machine)
            yield from life.beginning()
            yield from life.steps()

    return list(islice(lives(), count))
