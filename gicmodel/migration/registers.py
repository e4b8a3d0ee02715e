# SPDX-License-Identifier: Apache-2.0
"""Which registers describe the tables in a RAM image: what goes beside it into `registers.toml`."""

from __future__ import annotations

from typing import Protocol

from gicmodel.hardware import Gic
from gicmodel.kvm import Vgic
from gicmodel.layouts.registers import BASERS, Register, register

Registers = dict[str, dict[str, int]]

ITS_NAMES = ("CTLR", "IIDR", "TYPER", "CBASER", "CWRITER", "CREADR", *(f"BASER{n}" for n in range(BASERS)))
REDISTRIBUTOR_NAMES = ("CTLR", "TYPER", "PROPBASER", "PENDBASER")
VIRTUAL_NAMES = ("VPROPBASER", "VPENDBASER")
DISTRIBUTOR_NAMES = ("TYPER", "TYPER2")


class Face(Protocol):
    """Registers by offset, as a guest or host kernel reads them."""

    def read(self, offset: int, size: int) -> int: ...


def host_registers(gic: Gic) -> Registers:
    """The registers of a physical GIC by frame: GITS0.., GICR0.., GICD."""
    architecture = gic.config.architecture
    names = REDISTRIBUTOR_NAMES + (VIRTUAL_NAMES if gic.config.virtual else ())
    frames = {f"GITS{n}": _read(its, "GITS", ITS_NAMES, architecture) for n, its in enumerate(gic.its)}
    for n, redistributor in enumerate(gic.redistributors):
        frames[f"GICR{n}"] = _read(redistributor, "GICR", names, architecture)
    sizes = DISTRIBUTOR_NAMES if gic.config.v41 else DISTRIBUTOR_NAMES[:1]
    frames["GICD"] = _read(gic.distributor, "GICD", sizes, architecture)
    return frames


def guest_registers(vgic: Vgic) -> Registers:
    """The registers of a virtual machine's GIC by frame, and `guest`: where its RAM begins, how many vCPUs it has."""
    frames = {f"GITS{n}": _read(its, "GITS", ITS_NAMES, "3") for n, its in enumerate(vgic.its)}
    for n, redistributor in enumerate(vgic.redistributors):
        frames[f"GICR{n}"] = _read(redistributor, "GICR", REDISTRIBUTOR_NAMES, "3")
    frames["guest"] = {"ram_base": vgic.memory.base, "vcpus": len(vgic.redistributors)}
    return frames


def _read(face: Face, prefix: str, names: tuple[str, ...], architecture: str) -> dict[str, int]:
    found: dict[str, Register] = {name: register(f"{prefix}_{name}", architecture) for name in names}
    return {name: face.read(entry.offset, entry.bits // 8) for name, entry in found.items()}
