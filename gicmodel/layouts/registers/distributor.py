# SPDX-License-Identifier: Apache-2.0
"""The GICD_* registers that size LPIs and vLPIs (DDI0601)."""

from gicmodel.layouts.declaration import RES0, Bits, Flag
from gicmodel.layouts.registers.identification import identification_registers
from gicmodel.layouts.registers.register import GICV4_1, Register, register32

GICD_TYPER = register32(
    "GICD_TYPER",
    "Distributor features and sizes",
    Bits("ESPI_range", 5, "Highest extended SPI is 32 * (ESPI_range + 1) + 4095"),
    Flag("RSS", "SGIs reach affinity level 0 values up to 255"),
    Flag("No1N", "1 of N SPIs are not supported"),
    Flag("A3V", "Affinity level 3 may be other than zero"),
    Bits("IDbits", 5, "Number of INTID bits, minus one"),
    Flag("DVIS", "Direct injection of virtual LPIs is supported (GICv4)"),
    Flag("LPIS", "LPIs are supported"),
    Flag("MBIS", "Message-based SPIs are supported"),
    Bits("num_LPIs", 5, "0: as many LPIs as IDbits allows, else 2^(num_LPIs + 1)"),
    Flag("SecurityExtn", "There are two Security states"),
    Flag("NMI", "Non-maskable interrupts are supported"),
    Flag("ESPI", "Extended SPIs are supported"),
    Bits("CPUNumber", 3, "Number of PEs without affinity routing, minus one"),
    Bits("ITLinesNumber", 5, "Highest SPI is 32 * (ITLinesNumber + 1) - 1"),
)
GICD_TYPER2 = register32(
    "GICD_TYPER2",
    "Distributor features (GICv4.1)",
    RES0(23),
    Flag("nASSGIcap", "SGIs without an active state are supported"),
    Flag("VIL", "VID gives the width of vPEIDs, which is 16 otherwise"),
    RES0(2),
    Bits("VID", 5, "Number of vPEID bits, minus one"),
)

DISTRIBUTOR_REGISTERS = (
    Register("GICD_TYPER", 0x0004, "RO", GICD_TYPER),
    Register("GICD_TYPER2", 0x000C, "RO", GICD_TYPER2, GICV4_1),
    *identification_registers("GICD"),
)
