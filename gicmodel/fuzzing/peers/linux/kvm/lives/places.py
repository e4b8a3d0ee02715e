# SPDX-License-Identifier: Apache-2.0
"""Where a guest keeps what, the registers that it knows, and how often it does what."""

from __future__ import annotations

from gicmodel.fuzzing.peers.linux.kvm.machine import MOST_VCPUS, RAM_BASE
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register

# Where the guest keeps what. The last 64 KiB of RAM are nobody's: a table there ends with RAM.
QUEUES = (0x1_0000, 0x8_0000)
DEVICE_TABLES = (0x2_0000, 0x9_0000)
COLLECTION_TABLES = (0x4_0000, 0xB_0000)
CONFIGURATION = RAM_BASE + 0x5_0000
LEVEL2 = (RAM_BASE + 0x6_0000, RAM_BASE + 0x7_0000)
ITTS = [RAM_BASE + 0xC_0000 + 0x800 * n for n in range(128)]
PENDING = [RAM_BASE + 0x10_0000 + 0x1_0000 * n for n in range(MOST_VCPUS)]
OUTSIDE = 0x9000_0000
CONFIGURED = 0xE000
"""Bytes of the LPI configuration table."""
LPI_BYTE = FIRST_LPI // 8
"""Of a pending table, where LPIs begin."""

CTLR, CBASER, CWRITER, CREADR = (
    register(f"GITS_{name}", "3").offset for name in ("CTLR", "CBASER", "CWRITER", "CREADR")
)
BASERS = [register(f"GITS_BASER{n}", "3").offset for n in range(8)]
RD_CTLR, RD_PROPBASER, RD_PENDBASER, RD_INVLPIR, RD_INVALLR = (
    register(f"GICR_{name}", "3").offset for name in ("CTLR", "PROPBASER", "PENDBASER", "INVLPIR", "INVALLR")
)
IIDR, TYPER2 = (register(f"GICD_{name}").offset for name in ("IIDR", "TYPER2"))
SGI_FRAME = 0x1_0000
ISPENDR0 = 0x200
SGI_REGISTERS = (0x80, 0x100, 0x180, ISPENDR0, 0x280, 0x400, 0x404, 0x408, 0x40C)
SIZES = (1, 2, 4, 8)
ATTRIBUTES = (
    *(
        0,
        4,
        8,
        0x20,
        0x80,
        0x84,
        0x88,
        0x90,
        0x100,
        0x108,
        0x110,
        0x104,
        0x138,
        0x140,
        3,
        0xFFD0,
        0xFFD4,
        0xFFE0,
        0xFFFC,
    ),
    *(0x1_0040, 1 << 32, 1 << 32 | 0x100),
)
"""Registers of an ITS that userspace asks for, and what is none."""
LIFE = 90
"""Operations of a life, about."""

WEIGHTS = {
    **{"MAPD": 4, "MAPC": 8, "MAPTI": 30, "MAPI": 3, "MOVI": 8, "MOVALL": 3, "DISCARD": 6, "INT": 16, "CLEAR": 4},
    **{"INV": 4, "INVALL": 6, "SYNC": 1, "": 1},
}
"""How often a command comes; "" is one of random words."""
