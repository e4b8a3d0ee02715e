# SPDX-License-Identifier: Apache-2.0
"""The memory-mapped registers of the ITS, the redistributor and, where they size them, the distributor (DDI0601)."""

from gicmodel.layouts.registers.distributor import DISTRIBUTOR_REGISTERS, GICD_TYPER, GICD_TYPER2
from gicmodel.layouts.registers.identification import (
    CIDR0,
    CIDR1,
    CIDR2,
    CIDR3,
    PIDR0,
    PIDR1,
    PIDR2,
    PIDR3,
    PIDR4,
    PIDR5,
    PIDR6,
    PIDR7,
)
from gicmodel.layouts.registers.its import (
    BASERS,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    GITS_IIDR,
    GITS_MPAMIDR,
    GITS_MPIDR,
    GITS_PARTIDR,
    GITS_SGIR,
    GITS_STATUSR,
    GITS_TRANSLATER,
    GITS_TYPER,
    GITS_UMSIR,
    ITS_REGISTERS,
)
from gicmodel.layouts.registers.redistributor import (
    GICR_CLRLPIR,
    GICR_CTLR,
    GICR_IIDR,
    GICR_INVALLR,
    GICR_INVLPIR,
    GICR_MPAMIDR,
    GICR_PARTIDR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_SETLPIR,
    GICR_STATUSR,
    GICR_SYNCR,
    GICR_TYPER,
    GICR_VPENDBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER,
    GICR_VPROPBASER_V40,
    GICR_VSGIPENDR,
    GICR_VSGIR,
    GICR_WAKER,
    REDISTRIBUTOR_REGISTERS,
    VLPI_FRAME,
)
from gicmodel.layouts.registers.register import Register

__all__ = [
    "BASERS",
    "CIDR0",
    "CIDR1",
    "CIDR2",
    "CIDR3",
    "DISTRIBUTOR_REGISTERS",
    "GICD_TYPER",
    "GICD_TYPER2",
    "GICR_CLRLPIR",
    "GICR_CTLR",
    "GICR_IIDR",
    "GICR_INVALLR",
    "GICR_INVLPIR",
    "GICR_MPAMIDR",
    "GICR_PARTIDR",
    "GICR_PENDBASER",
    "GICR_PROPBASER",
    "GICR_SETLPIR",
    "GICR_STATUSR",
    "GICR_SYNCR",
    "GICR_TYPER",
    "GICR_VPENDBASER",
    "GICR_VPENDBASER_V40",
    "GICR_VPROPBASER",
    "GICR_VPROPBASER_V40",
    "GICR_VSGIPENDR",
    "GICR_VSGIR",
    "GICR_WAKER",
    "GITS_BASER",
    "GITS_CBASER",
    "GITS_CREADR",
    "GITS_CTLR",
    "GITS_CWRITER",
    "GITS_IIDR",
    "GITS_MPAMIDR",
    "GITS_MPIDR",
    "GITS_PARTIDR",
    "GITS_SGIR",
    "GITS_STATUSR",
    "GITS_TRANSLATER",
    "GITS_TYPER",
    "GITS_UMSIR",
    "ITS_REGISTERS",
    "PIDR0",
    "PIDR1",
    "PIDR2",
    "PIDR3",
    "PIDR4",
    "PIDR5",
    "PIDR6",
    "PIDR7",
    "REDISTRIBUTOR_REGISTERS",
    "REGISTERS",
    "VLPI_FRAME",
    "Register",
    "register",
]

REGISTERS = (*ITS_REGISTERS, *REDISTRIBUTOR_REGISTERS, *DISTRIBUTOR_REGISTERS)


def register(name: str, architecture: str = "4.1") -> Register:
    """The register of that name, as architecture "3", "4.0" or "4.1" has it.

    Raises:
        KeyError: the architecture has no such register.
    """
    for candidate in REGISTERS:
        if candidate.name == name and architecture in candidate.architectures:
            return candidate
    raise KeyError(f"GICv{architecture} has no register {name}")
