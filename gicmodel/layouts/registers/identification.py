# SPDX-License-Identifier: Apache-2.0
"""The identification registers at the end of every 64 KiB register frame (CoreSight PIDR and CIDR).

The GIC architecture fixes PIDR2.ArchRev alone; the others follow the CoreSight scheme.
"""

from gicmodel.layouts.declaration import RES0, Bits, Declared, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.register import Register, register32


def _octet(name: str, doc: str, *fields: Declared) -> Layout:
    return register32(name, doc, RES0(24), *fields)


PIDR4 = _octet(
    "PIDR4",
    "Peripheral identification 4",
    Bits("SIZE", 4, "Size of the frame, log2 of 4 KiB pages"),
    Bits("DES_2", 4, "Designer's JEP106 continuation code"),
)
_PIDR1 = Bits("DES_0", 4, "Designer's JEP106 identity [3:0]"), Bits("PART_1", 4, "Part number [11:8]")
_PIDR2 = (
    Bits("ArchRev", 4, "3: GICv3, 4: GICv4"),
    Flag("JEDEC", "The designer is identified by JEP106"),
    Bits("DES_1", 3, "Designer's JEP106 identity [6:4]"),
)
_PIDR3 = Bits("REVAND", 4, "Part minor revision"), Bits("CMOD", 4, "Customer modified")
_CIDR1 = Bits("CLASS", 4, "Component class"), Bits("PRMBL_1", 4, "Preamble, 0")
_FIRST_OFFSET = 0xFFD0
_IN_ORDER = (
    PIDR4,
    *(register32(f"PIDR{n}", f"Peripheral identification {n}", RES0(32)) for n in (5, 6, 7)),
    _octet("PIDR0", "Peripheral identification 0", Bits("PART_0", 8, "Part number [7:0]")),
    _octet("PIDR1", "Peripheral identification 1", *_PIDR1),
    _octet("PIDR2", "Peripheral identification 2: the architecture", *_PIDR2),
    _octet("PIDR3", "Peripheral identification 3", *_PIDR3),
    _octet("CIDR0", "Component identification 0", Bits("PRMBL_0", 8, "Preamble, 0x0D")),
    _octet("CIDR1", "Component identification 1", *_CIDR1),
    _octet("CIDR2", "Component identification 2", Bits("PRMBL_2", 8, "Preamble, 0x05")),
    _octet("CIDR3", "Component identification 3", Bits("PRMBL_3", 8, "Preamble, 0xB1")),
)

ARM = 0x43B
"""Arm's JEP106 code: 4 continuations, then 0x3B. Implementer in the IIDR of distributor, redistributor and ITS."""
KVM = {"ProductID": ord("K"), "Implementer": ARM}
"""The IIDR of what KVM emulates (Linux vgic.h PRODUCT_ID_KVM, IMPLEMENTER_ARM)."""
DISTRIBUTOR_PART, REDISTRIBUTOR_PART, ITS_PART = 0x492, 0x493, 0x494
"""Part numbers of QEMU's GIC; Linux gives its virtual ITS that of a distributor."""


def identification_registers(prefix: str) -> tuple[Register, ...]:
    """The registers of one frame, named for instance `GITS_PIDR2`."""
    return tuple(
        Register(f"{prefix}_{layout.name}", _FIRST_OFFSET + 4 * n, "RO", layout) for n, layout in enumerate(_IN_ORDER)
    )


def identification(prefix: str, arch_rev: int, part: int) -> dict[str, int]:
    """What the registers of a 64 KiB frame of an Arm design say, by name. ArchRev 4 is GICv4.0 and GICv4.1."""
    fields = {
        "PIDR0": {"PART_0": part & 0xFF},
        "PIDR1": {"DES_0": ARM & 0xF, "PART_1": part >> 8},
        "PIDR2": {"ArchRev": arch_rev, "JEDEC": 1, "DES_1": ARM >> 4 & 0x7},
        "PIDR4": {"SIZE": 4, "DES_2": ARM >> 8},
        "CIDR0": {"PRMBL_0": 0x0D},
        "CIDR1": {"CLASS": 0xF},
        "CIDR2": {"PRMBL_2": 0x05},
        "CIDR3": {"PRMBL_3": 0xB1},
    }
    return {f"{prefix}_{layout.name}": layout.pack(**fields.get(layout.name, {})) for layout in _IN_ORDER}
