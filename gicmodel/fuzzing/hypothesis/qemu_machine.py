# SPDX-License-Identifier: Apache-2.0
"""Hypothesis machines that drive QEMU and the model alike, and shrink what they disagree about."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.config import Architecture, GicConfig
from gicmodel.fuzzing.hypothesis.strategies import (
    Geometry,
    Words,
    commands,
    geometries,
    reserved_words,
    some_mapping_commands,
    unknown_words,
)
from gicmodel.fuzzing.peers.qemu.differences import avoided
from gicmodel.fuzzing.peers.qemu.process import QemuPeer
from gicmodel.fuzzing.peers.qemu.twins import UNMAPPED, Twins
from gicmodel.layouts.commands import COMMANDS, decode_command

REDISTRIBUTORS = st.integers(0, 3)


class QemuMachine(RuleBasedStateMachine):
    """Commands, messages, LPIs switched off and on, and translation tables outside RAM, on a GICv3."""

    architecture: ClassVar[Architecture] = "3"

    def __init__(self) -> None:
        super().__init__()
        self.peer = QemuPeer(int(self.architecture[0]))

    @initialize(data=st.data(), geometry=geometries())
    def boot(self, data: DataObject, geometry: Geometry) -> None:
        """Boot both, and map some of the universe."""
        self.twins = Twins(self.peer, GicConfig.qemu(self.architecture), geometry)
        self.twins.run(data.draw(some_mapping_commands(self.twins.universe), "mappings"))

    @rule(data=st.data())
    def command(self, data: DataObject) -> None:
        """Commands in one write of GITS_CWRITER."""
        self.twins.run(data.draw(st.lists(commands(self.twins.universe), min_size=1, max_size=8), "commands"))

    @rule(data=st.data())
    def malformed_command(self, data: DataObject) -> None:
        """A command of an unknown opcode, or one with RES0 bits set."""
        universe = self.twins.universe
        known = reserved_words(universe).filter(self.is_taken_alike)
        self.twins.run_words(np.array([data.draw(unknown_words(universe) | known, "words")], np.uint64))

    @rule(data=st.data(), v=st.booleans())
    def map_outside_ram(self, data: DataObject, v: bool) -> None:
        """MAPD with an ITT that is not there: the first use of it stalls the queue."""
        device = data.draw(st.sampled_from(self.twins.universe.device_ids), "DeviceID")
        self.twins.run([("MAPD", {"DeviceID": device, "Size": 3, "ITT_addr": UNMAPPED, "V": int(v)})])

    @rule(event=st.sampled_from([0, 1, 3, 8192, 1 << 16]))
    def message(self, event: int) -> None:
        """Device 0 writes GITS_TRANSLATER."""
        self.twins.message(event)

    @rule(rd=REDISTRIBUTORS, enable=st.booleans(), ptz=st.booleans())
    def toggle_lpis(self, rd: int, enable: bool, ptz: bool) -> None:
        """Switch LPIs off and, perhaps, on again."""
        self.twins.enable_lpis(rd, False)
        self.twins.enable_lpis(rd, enable, ptz and enable)

    @rule()
    def toggle_its(self) -> None:
        """Disable the ITS, start its queue anew, and enable it."""
        self.twins.renew_queue()

    @rule(name=st.sampled_from(["GITS_CBASER", "GITS_BASER0", "GITS_BASER1", "GITS_BASER2"]), value=st.integers(0, 1))
    def write_while_enabled(self, name: str, value: int) -> None:
        """A write of a register that must not be written while the ITS is enabled; both ignore it."""
        self.twins.write_its(0, name, value << 63)

    @invariant()
    def registers_agree(self) -> None:
        """What software can read is the same after each step."""
        assert self.twins.different_registers() == []

    def teardown(self) -> None:
        """Compare RAM, and end QEMU."""
        with self.peer:
            if hasattr(self, "twins"):
                assert self.twins.differences() == []

    def is_taken_alike(self, drawn: Words) -> bool:
        """Whether QEMU is not known to take four words differently."""
        if drawn[0] & 0xFF not in COMMANDS(self.architecture):
            return True
        return not avoided(*decode_command(drawn, self.architecture))


class QemuMachineV4(QemuMachine):
    """The same with vPEs that come and go, on a GICv4.0."""

    architecture = "4.0"

    @rule(data=st.data(), rd=REDISTRIBUTORS, bits=st.sampled_from([16, 14]), at_home=st.booleans())
    def schedule(self, data: DataObject, rd: int, bits: int, at_home: bool) -> None:
        """Make a vPE resident, if none is; `at_home`: one that is mapped to that redistributor."""
        vpt = data.draw(self.vpts(), "VPT")
        vconf = data.draw(st.sampled_from(self.twins.vconfs), "VCONF")
        self.twins.make_resident(rd, (self.twins.vpt_at_home(rd) if at_home else None) or vpt, vconf, bits)

    @rule(rd=REDISTRIBUTORS)
    def deschedule(self, rd: int) -> None:
        """End a residency, if there is one."""
        if rd in self.twins.residents():
            self.twins.deschedule(rd, doorbell=False, pending_last=False)

    @rule(data=st.data(), byte=st.sampled_from([0xA3, 0xA2, 0x13, 0xFF, 0x00]))
    def configure_vlpi(self, data: DataObject, byte: int) -> None:
        """Write a vLPI's configuration byte, and invalidate."""
        vconf = data.draw(st.sampled_from(self.twins.vconfs), "VCONF")
        self.twins.configure_vlpi(vconf, data.draw(st.sampled_from(self.twins.universe.intids), "vINTID"), byte)

    def vpts(self) -> SearchStrategy[int]:
        """A VPT of the universe."""
        return st.sampled_from(self.twins.vpts)
