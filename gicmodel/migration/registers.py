# SPDX-License-Identifier: Apache-2.0
"""Which registers describe the tables in a guest's RAM: what goes beside it into `registers.toml`."""

from __future__ import annotations

from gicmodel.images.registers import Registers
from gicmodel.kvm import Vgic
from gicmodel.layouts.registers.by_name import ITS_NAMES, REDISTRIBUTOR_NAMES, read_frame
from gicmodel.layouts.registers.guest import SGI_PRIORITIES

__all__ = ["GUEST_DISTRIBUTOR_NAMES", "SGI_NAMES", "Registers", "guest_registers"]

GUEST_DISTRIBUTOR_NAMES = ("CTLR",)
SGI_NAMES = ("IGROUPR0", "ISENABLER0", "ISPENDR0", *(f"IPRIORITYR{n}" for n in range(SGI_PRIORITIES)))


def guest_registers(vgic: Vgic) -> Registers:
    """The registers of a virtual machine's GIC by frame, and `guest`: where its RAM begins, how many vCPUs it has.

    A pending vSGI is read where it is, through GICR_VSGIPENDR of the host: KvmError while its vPE is unmapped.
    """
    frames = {f"GITS{n}": read_frame(its, "GITS", ITS_NAMES, "3") for n, its in enumerate(vgic.its)}
    for n, redistributor in enumerate(vgic.redistributors):
        frames[f"GICR{n}"] = read_frame(redistributor, "GICR", REDISTRIBUTOR_NAMES + SGI_NAMES, "3")
    frames["GICD"] = read_frame(vgic.distributor, "GICD", GUEST_DISTRIBUTOR_NAMES, "3")
    frames["guest"] = {"ram_base": vgic.memory.base, "vcpus": len(vgic.redistributors)}
    return frames
