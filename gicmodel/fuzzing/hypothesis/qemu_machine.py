# SPDX-License-Identifier: Apache-2.0
"""State machines for QEMU beside the model, with what only software of QEMU's machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.config import Architecture, GicConfig
from gicmodel.fuzzing.hypothesis.peer_machine import HardwareAgainstPeer
from gicmodel.fuzzing.hypothesis.strategies import geometries
from gicmodel.fuzzing.peers.qemu import peer
from gicmodel.fuzzing.peers.qemu.twins import UNMAPPED, Twins
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.program import Event


class QemuMachine(HardwareAgainstPeer):
    """Commands, messages, LPIs switched off and on, and translation tables outside RAM, on a GICv3."""

    peer = peer.PEER
    architecture: ClassVar[Architecture] = "3"

    @classmethod
    def machines(cls) -> SearchStrategy[GicMachine]:
        """QEMU's choices, and any geometry."""
        return st.builds(GicMachine, st.just(GicConfig.qemu(cls.architecture)), geometries())

    @rule(data=st.data(), v=st.sampled_from([0, 1]))
    def map_outside_ram(self, data: DataObject, v: int) -> None:
        """MAPD with an ITT that is not there: the first use of it stalls the queue."""
        device = data.draw(st.sampled_from(self.universe.device_ids), "DeviceID")
        self.push(0, [("MAPD", {"DeviceID": device, "Size": 3, "ITT_addr": UNMAPPED, "V": v})])

    @rule(name=st.sampled_from(["GITS_CBASER", "GITS_BASER0", "GITS_BASER1", "GITS_BASER2"]), valid=st.integers(0, 1))
    def write_while_enabled(self, name: str, valid: int) -> None:
        """A write of a register that must not be written while the ITS is enabled; both ignore it."""
        self.lab.its[0].write(name, valid << 63)
        self.run_steps([])

    def pool(self, name: str) -> Sequence[int]:
        """Over qtest no device but 0 sends messages."""
        return (0,) if name == "DeviceID" else super().pool(name)


class QemuMachineV4(QemuMachine):
    """The same with vPEs that come and go, on a GICv4.0."""

    architecture = "4.0"

    @rule(data=st.data(), bits=st.sampled_from([16, 14]))
    def schedule_at_home(self, data: DataObject, bits: int) -> None:
        """Make a vPE resident that is mapped to the redistributor, if none is."""
        assert isinstance(self.lab, Twins)
        rd, vconf = (data.draw(self.values("schedule_v40", name), name) for name in ("rd", "vconf"))
        vpt = self.lab.vpt_at_home(rd)
        if vpt in self.universe.vpts:
            self.run_steps([Event("schedule_v40", (rd, self.universe.vpts.index(vpt), vconf, bits))])
