# SPDX-License-Identifier: Apache-2.0
"""What the identification registers say: an Arm design, with the part numbers of QEMU's GIC."""

from __future__ import annotations

from gicmodel.layouts.registers.identification import CIDR0, CIDR1, CIDR2, CIDR3, PIDR0, PIDR1, PIDR2, PIDR4
from gicmodel.layouts.registers.its import GITS_IIDR

IIDR = GITS_IIDR.pack(Implementer=0x43B)
"""GITS_IIDR, GICR_IIDR: JEP106 code of Arm, product 0."""

MPAM_SIZES = {"PMGmax": 1, "PARTIDmax": 63}
"""The fields of GITS_MPAMIDR and GICR_MPAMIDR."""

_DISTRIBUTOR_PART, _REDISTRIBUTOR_PART, _ITS_PART = 0x92, 0x93, 0x94
_PARTS = {"GICD": _DISTRIBUTOR_PART, "GICR": _REDISTRIBUTOR_PART, "GITS": _ITS_PART}


def identification(prefix: str, virtual: bool) -> dict[str, int]:
    """The values of PIDR0..7 and CIDR0..3 of a frame, by register name. GICv4.1 is architecture revision 4 too."""
    values = {
        "PIDR0": PIDR0.pack(PART_0=_PARTS[prefix]),
        "PIDR1": PIDR1.pack(DES_0=0xB, PART_1=0x4),
        "PIDR2": PIDR2.pack(ArchRev=4 if virtual else 3, JEDEC=1, DES_1=0b011),
        "PIDR3": 0,
        "PIDR4": PIDR4.pack(SIZE=4, DES_2=0x4),
        "PIDR5": 0,
        "PIDR6": 0,
        "PIDR7": 0,
        "CIDR0": CIDR0.pack(PRMBL_0=0x0D),
        "CIDR1": CIDR1.pack(CLASS=0xF),
        "CIDR2": CIDR2.pack(PRMBL_2=0x05),
        "CIDR3": CIDR3.pack(PRMBL_3=0xB1),
    }
    return {f"{prefix}_{name}": value for name, value in values.items()}
