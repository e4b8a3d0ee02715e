# SPDX-License-Identifier: Apache-2.0
"""Which registers describe the tables in a guest's RAM: what goes beside it into `registers.toml`."""

from __future__ import annotations

from gicmodel.hardware.registers import ITS_NAMES, REDISTRIBUTOR_NAMES, host_registers, read_frame
from gicmodel.kvm import Vgic
from gicmodel.registers_file import Registers

__all__ = ["Registers", "guest_registers", "host_registers"]


def guest_registers(vgic: Vgic) -> Registers:
    """The registers of a virtual machine's GIC by frame, and `guest`: where its RAM begins, how many vCPUs it has."""
    frames = {f"GITS{n}": read_frame(its, "GITS", ITS_NAMES, "3") for n, its in enumerate(vgic.its)}
    for n, redistributor in enumerate(vgic.redistributors):
        frames[f"GICR{n}"] = read_frame(redistributor, "GICR", REDISTRIBUTOR_NAMES, "3")
    frames["guest"] = {"ram_base": vgic.memory.base, "vcpus": len(vgic.redistributors)}
    return frames
