# SPDX-License-Identifier: Apache-2.0
"""A state machine for any peer of a campaign: what Hypothesis draws is given to the hardware and to the peer.

What is drawn depends on what the hardware's tables have mapped: most IDs never are, by chance. `EnginesAgree` is the
machine for the engines: the same kernels, compiled and as plain Python, must leave the same machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.fuzzing.hypothesis.strategies import commands, malformed_words, some_mapping_commands, valid_commands
from gicmodel.fuzzing.peers import engine
from gicmodel.fuzzing.peers.peer import HardwareComparison, HardwarePeer
from gicmodel.fuzzing.programs.draw import commands_for
from gicmodel.fuzzing.programs.hardware import EVENTS, GicMachine
from gicmodel.fuzzing.programs.interrupts import InterruptEvents
from gicmodel.fuzzing.programs.program import Event, Step
from gicmodel.fuzzing.programs.universe import CONFIGURATION_BYTES, words
from gicmodel.lab import tables_seen
from gicmodel.spec import SPURIOUS
from gicmodel.spec.state import Command

BYTES = (*CONFIGURATION_BYTES, 0x00)
EVENT_COMMANDS = ("INT", "CLEAR", "INV", "MOVI", "DISCARD", "VMOVI")
VPE_COMMANDS = ("VSYNC", "VINVALL", "VMOVP", "VMAPP", "INVDB", "VSGI")
"""Commands that name what is mapped, an event or a vPE."""
VERBS = {
    "interrupts": ("translate", "translate", "set_lpi", "clear_lpi", "write_sgir"),
    "software": ("configure", "configure_virtual", "invalidate", "invalidate_all", "zero_itt", "allocate"),
    "switches": ("enable_its", "enable_lpis", "retry", "recover"),
    "residency": ("schedule", "schedule_v40", "deschedule"),
    "acknowledges": ("acknowledge", "acknowledge_virtual"),
}
"""The events of a rule."""
ONLY: dict[str, tuple[str, ...]] = {"schedule_v40": ("4.0",)}
ONLY |= dict.fromkeys(("configure_virtual", "deschedule", "acknowledge_virtual"), ("4.0", "4.1"))
ONLY |= dict.fromkeys(("write_sgir", "invalidate", "invalidate_all", "allocate", "schedule"), ("4.1",))
"""The architectures of an event that some do not have."""


class HardwareAgainstPeer(RuleBasedStateMachine):
    """Commands and events for the hardware and a peer, everything compared after each rule.

    Subclass it and set `peer`; override `machines` to fix the machine.
    """

    peer: ClassVar[HardwarePeer]

    @classmethod
    def machines(cls) -> SearchStrategy[GicMachine]:
        """The machines to drive: those that a campaign would draw."""

        def draw(architecture: str, seed: int) -> GicMachine:
            return cls.peer.machine(np.random.default_rng(seed), architecture)

        return st.builds(draw, st.sampled_from(cls.peer.architectures), st.integers(0, (1 << 32) - 1))

    @initialize(data=st.data())
    def boot(self, data: DataObject) -> None:
        """Boot both, map some of the universe on each ITS, and write each configuration byte."""
        self.machine = data.draw(self.machines(), "machine")
        self.config = self.machine.config
        self.comparison: HardwareComparison = self.peer.start(self.machine)
        self.universe, self.lab = self.comparison.universe, self.comparison.lab
        self.awake = False
        """Whether the CPU interfaces have been enabled."""
        for its in range(self.config.its):
            self.push(its, data.draw(some_mapping_commands(self.universe, alloc=its == 0), f"ITS {its}"))
        for intid in self.universe.intids:
            self.run_steps([Event("configure", (intid, data.draw(st.sampled_from(BYTES), f"LPI {intid}")))])
            vconfs = range(len(self.universe.vconfs) if self.config.virtual else 0)
            self.run_steps([Event("configure_virtual", (vconf, intid, BYTES[0])) for vconf in vconfs])

    def run_steps(self, steps: Sequence[Step]) -> None:
        """Give steps to both. Raises Divergence where they do not agree."""
        self.comparison.run(steps)
        self.comparison.check()
        self.events = tables_seen.mapped_events(self.lab)
        self.vpes = tables_seen.mapped_vpes(self.lab)

    def push(self, its: int, program: Sequence[Command], recover: bool = True, first: Sequence[Step] = ()) -> None:
        """Commands for an ITS; `recover`: each that stalls is replaced by a harmless one. `first` come other steps."""
        steps = commands_for(its, [words(command, self.config.architecture) for command in program])
        self.run_steps([*first, *steps, *([Event("recover", (its,))] if recover else [])])

    # Commands.

    @rule(data=st.data(), recover=st.just(True) | st.booleans())
    def command(self, data: DataObject, recover: bool) -> None:
        """Commands in one write of GITS_CWRITER."""
        its = data.draw(st.sampled_from(self.pool("its")), "its")
        self.push(its, data.draw(st.lists(commands(self.universe), min_size=1, max_size=6), "commands"), recover)

    @rule(data=st.data())
    def malformed_command(self, data: DataObject) -> None:
        """Four words that are no command, or hardly one."""
        its = data.draw(st.sampled_from(self.pool("its")), "its")
        packet = data.draw(malformed_words(self.universe), "words")
        self.run_steps([*commands_for(its, [packet]), Event("recover", (its,))])

    @precondition(lambda self: self.events)
    @rule(data=st.data(), pending=st.booleans())
    def command_for_an_event(self, data: DataObject, pending: bool) -> None:
        """A command that names a mapped event. `pending`: raise it first."""
        its, device, event = data.draw(st.sampled_from(sorted(self.events)), "event")
        raised = [Event("translate", (its, device, event))] if pending else []
        command = self.draw_command(data, EVENT_COMMANDS, DeviceID=device, EventID=event)
        self.push(its, [command], first=raised)

    @precondition(lambda self: self.vpes)
    @rule(data=st.data())
    def command_for_a_vpe(self, data: DataObject) -> None:
        """A command that names a mapped vPE."""
        its, vpeid = data.draw(st.sampled_from(sorted(self.vpes)), "vPE")
        self.push(its, [self.draw_command(data, VPE_COMMANDS, vPEID=vpeid)])

    @precondition(lambda self: self.config.v41 and self.vpes)
    @rule(data=st.data(), ptz=st.booleans())
    def unmap_and_map(self, data: DataObject, ptz: bool) -> None:
        """VMAPP {V,Alloc} = {0,1}, and map the vPE again. `ptz`: if it is no more, zero its VPT, and say so."""
        (its, vpeid), vpe = data.draw(st.sampled_from(sorted(self.vpes.items())), "vPE")
        self.push(its, [("VMAPP", {"vPEID": vpeid, "V": 0, "Alloc": 1})])
        if ptz and vpeid not in tables_seen.vpes(self.lab, its):
            target = vpe["RDbase"], vpe["Default_Doorbell"]
            self.run_steps([Event("allocate", (its, self.universe.vpeids.index(vpeid), *target))])
            return
        names = ("VPT_addr", "VPT_size", "VCONF_addr", "Default_Doorbell")
        operands = {name: vpe[name] for name in names} | {"RDbase": self.config.rdbase(vpe["RDbase"])}
        self.push(its, [("VMAPP", {"vPEID": vpeid, "V": 1, "Alloc": 1, **operands})])

    def draw_command(self, data: DataObject, among: Sequence[str], **operands: int) -> Command:
        """One of these commands, as far as the architecture has them, with these operands."""
        known = [mnemonic for mnemonic in among if mnemonic in self.universe.mnemonics]
        chosen = data.draw(st.sampled_from(known), "mnemonic")
        mnemonic, drawn = data.draw(valid_commands(self.universe, [chosen]), "command")
        return mnemonic, drawn | operands

    # Events.

    @rule(data=st.data())
    def interrupts(self, data: DataObject) -> None:
        """Devices and software make interrupts pending, or not."""
        self.event(data, "interrupts")

    @rule(data=st.data())
    def software(self, data: DataObject) -> None:
        """Bytes and tables in RAM change, and what was kept of them is invalidated."""
        self.event(data, "software")

    @rule(data=st.data())
    def switches(self, data: DataObject) -> None:
        """ITSs and LPIs are disabled and enabled, and queues go on."""
        self.event(data, "switches")

    @precondition(lambda self: self.config.virtual)
    @rule(data=st.data())
    def residency(self, data: DataObject) -> None:
        """A vPE comes or goes."""
        self.event(data, "residency")

    @rule(data=st.data())
    def acknowledges(self, data: DataObject) -> None:
        """A CPU takes an interrupt."""
        self.event(data, "acknowledges")

    @rule(seed=st.integers(0, (1 << 32) - 1), count=st.integers(1, 20))
    def interrupts_of_all_kinds(self, seed: int, count: int) -> None:
        """SGIs, PPIs, SPIs and list registers, and CPU interfaces, as a campaign draws them."""
        drawn = InterruptEvents(np.random.default_rng(seed), self.universe)
        self.run_steps([*(() if self.awake else drawn.boot()), *drawn.some(count)])
        self.awake = True

    @precondition(lambda self: self.config.v41 and self.vpes)
    @rule(data=st.data(), doorbell=st.sampled_from([1, 1, 0]), vsgi=st.booleans())
    def sleep_and_wake(self, data: DataObject, doorbell: int, vsgi: bool) -> None:
        """A vPE runs, leaves, and every interrupt that is mapped to it comes."""
        rd, vpeid = data.draw(st.sampled_from(self.pool("rd")), "rd"), data.draw(self.existing_vpes(), "vPEID")
        steps = [Event("schedule", (rd, vpeid, 1, 1)), Event("deschedule", (rd, doorbell, 0))]
        steps += [Event("write_sgir", (0, vpeid, 3))] if vsgi else []
        steps += [Event("translate", event) for event, target in sorted(self.events.items()) if target == vpeid]
        self.run_steps(steps)

    def event(self, data: DataObject, kind: str) -> None:
        """One event of a kind that the architecture has."""
        architecture = self.config.architecture
        verbs = [verb for verb in VERBS[kind] if architecture in ONLY.get(verb, (architecture,))]
        verb = data.draw(st.sampled_from(verbs), "verb")
        values = tuple(data.draw(self.values(verb, name), name) for name in EVENTS[verb])
        if verb == "translate" and self.events and data.draw(st.booleans(), "mapped"):
            values = data.draw(st.sampled_from(sorted(self.events)), "event")
        self.run_steps([Event(verb, values)])

    def values(self, verb: str, name: str) -> SearchStrategy[int]:
        """The values of an event's field that are worth a try."""
        if name == "vPEID" and self.vpes:
            return self.existing_vpes() | st.sampled_from(self.pool(name))
        if name == "rd" and (likely := self.likely(verb)):
            return st.sampled_from(likely)
        return st.sampled_from(self.pool(name))

    def likely(self, verb: str) -> list[int]:
        """The redistributors where there is something to do for an event."""
        redistributors = list(enumerate(self.lab.gic.redistributors))
        if verb == "acknowledge":
            return [number for number, one in redistributors if one.cpu.pending() != SPURIOUS]
        if verb in ("acknowledge_virtual", "deschedule"):
            return [number for number, _ in redistributors if self.lab.resident(number)]
        return []

    def pool(self, name: str) -> Sequence[int]:
        """The values of an event's field, whatever is mapped."""
        pools = {"byte": BYTES, "PendingLast": (0, 0, 1), **dict.fromkeys(("Enabled", "EnableLPIs"), (1, 1, 1, 0))}
        return pools.get(name) or self.universe.of_event(name) or self.machine.limits()[name]

    def existing_vpes(self) -> SearchStrategy[int]:
        """The vPEIDs that an ITS has mapped."""
        return st.sampled_from(sorted({vpeid for _, vpeid in self.vpes}))

    def teardown(self) -> None:
        """End what was started."""
        if hasattr(self, "comparison"):
            self.comparison.close()


class EnginesAgree(HardwareAgainstPeer):
    """The hardware on the engine of this process, and on the other one in a process of its own."""

    peer = engine.PEER
