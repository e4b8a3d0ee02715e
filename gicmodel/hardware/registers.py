# SPDX-License-Identifier: Apache-2.0
"""Which registers describe the tables in RAM: what goes with an image of it."""

from __future__ import annotations

from gicmodel.hardware.gic import Gic
from gicmodel.images.registers import Registers
from gicmodel.layouts.registers.by_name import NamedRegisters, RegisterFrame
from gicmodel.layouts.registers.its import BASERS

ITS_NAMES = ("CTLR", "IIDR", "TYPER", "CBASER", "CWRITER", "CREADR", *(f"BASER{n}" for n in range(BASERS)))
REDISTRIBUTOR_NAMES = ("CTLR", "TYPER", "PROPBASER", "PENDBASER")
VIRTUAL_NAMES = ("VPROPBASER", "VPENDBASER")
DISTRIBUTOR_NAMES = ("TYPER", "TYPER2")


def host_registers(gic: Gic) -> Registers:
    """The registers of a physical GIC by frame: GITS0.., GICR0.., GICD."""
    architecture = gic.config.architecture
    names = REDISTRIBUTOR_NAMES + (VIRTUAL_NAMES if gic.config.virtual else ())
    frames = {f"GITS{n}": read_frame(its, "GITS", ITS_NAMES, architecture) for n, its in enumerate(gic.its)}
    for n, redistributor in enumerate(gic.redistributors):
        frames[f"GICR{n}"] = read_frame(redistributor, "GICR", names, architecture)
    sizes = DISTRIBUTOR_NAMES if gic.config.v41 else DISTRIBUTOR_NAMES[:1]
    frames["GICD"] = read_frame(gic.distributor, "GICD", sizes, architecture)
    return frames


def read_frame(frame: RegisterFrame, prefix: str, names: tuple[str, ...], architecture: str) -> dict[str, int]:
    """The named registers of a frame whose names begin with `prefix`."""
    registers = NamedRegisters(frame, architecture)
    return {name: registers.read(f"{prefix}_{name}") for name in names}
