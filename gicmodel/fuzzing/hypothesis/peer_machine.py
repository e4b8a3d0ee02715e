# SPDX-License-Identifier: Apache-2.0
"""A state machine for any peer of a campaign: what Hypothesis draws is given to the hardware and to the peer.

`EnginesAgree` is the one for the engines: the same kernels, compiled and as plain Python, must leave the same machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.fuzzing.comparison import Comparison, Peer
from gicmodel.fuzzing.generation import boot_steps, commands_for
from gicmodel.fuzzing.hypothesis.strategies import commands, malformed_words, words
from gicmodel.fuzzing.peers import engine
from gicmodel.fuzzing.program import EVENTS, Event, Machine, Step, limits
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI

VERBS = sorted(EVENTS)


class HardwareAgainstPeer(RuleBasedStateMachine):
    """Commands and events for the hardware and a peer, everything compared after each rule.

    Subclass it and set `peer`; override `machines` to fix the machine.
    """

    peer: ClassVar[Peer]

    @classmethod
    def machines(cls) -> SearchStrategy[Machine]:
        """The machines to drive: those that a campaign would draw."""

        def draw(architecture: str, seed: int) -> Machine:
            return cls.peer.machine(np.random.default_rng(seed), architecture)

        return st.builds(draw, st.sampled_from(cls.peer.architectures), st.integers(0, (1 << 32) - 1))

    @initialize(data=st.data())
    def boot(self, data: DataObject) -> None:
        """Boot both, and map the universe."""
        self.machine = data.draw(self.machines(), "machine")
        self.comparison: Comparison = self.peer.start(self.machine)
        self.universe = self.comparison.universe
        self.run_steps(boot_steps(self.universe))

    def run_steps(self, steps: Sequence[Step]) -> None:
        """Give steps to both. Raises Divergence where they do not agree."""
        self.comparison.run(steps)
        self.comparison.check()

    @rule(data=st.data())
    def push(self, data: DataObject) -> None:
        """Commands for one ITS; then whatever stalls is replaced."""
        its = data.draw(st.integers(0, self.machine.config.its - 1), "its")
        drawn = data.draw(st.lists(commands(self.universe), min_size=1, max_size=6), "commands")
        encoded = [words(command, self.machine.config.architecture) for command in drawn]
        self.run_steps([*commands_for(its, encoded), Event("recover", (its,))])

    @rule(data=st.data())
    def push_anything(self, data: DataObject) -> None:
        """Four words that are no command, or hardly one."""
        its = data.draw(st.integers(0, self.machine.config.its - 1), "its")
        packet = data.draw(malformed_words(self.universe), "words")
        self.run_steps([*commands_for(its, [packet]), Event("recover", (its,))])

    @rule(data=st.data(), verb=st.sampled_from(VERBS))
    def event(self, data: DataObject, verb: str) -> None:
        """Anything else that may happen."""
        values = tuple(data.draw(st.sampled_from(self.pool(name)), name) for name in EVENTS[verb])
        self.run_steps([Event(verb, values)])

    def pool(self, name: str) -> Sequence[int]:
        """The values of an event's field that are worth a try."""
        universe, config = self.universe, self.machine.config
        pools = {
            "DeviceID": (*universe.device_ids, universe.devices),
            "EventID": (0, 1, 3, FIRST_LPI, 1 << config.event_id_bits),
            "vPEID": (*universe.vpeids, universe.vpes),
            "INTID": (*universe.intids, 1 << config.intid_bits),
            "LPI": universe.intids,
            "Default_Doorbell": (NO_DOORBELL, FIRST_LPI + 2),
            "byte": (0xA3, 0xA2, 0x13),
        }
        return pools.get(name) or limits(self.machine)[name]

    def teardown(self) -> None:
        """End what was started."""
        if hasattr(self, "comparison"):
            self.comparison.close()


class EnginesAgree(HardwareAgainstPeer):
    """The hardware on the engine of this process, and on the other one in a process of its own."""

    peer = engine.PEER
