# SPDX-License-Identifier: Apache-2.0
"""The GICD_* registers where there is one Security state and affinity routing is always on (DDI0601).

Left out are the registers of a distributor without affinity routing (GICD_ITARGETSR<n>, GICD_SGIR, GICD_CPENDSGIR<n>,
GICD_SPENDSGIR<n>) and those of extended SPIs, which the model has not.
"""

from gicmodel.config import FIRST_SPI
from gicmodel.layouts.declaration import RES0, Bits, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.identification import identification_registers
from gicmodel.layouts.registers.register import (
    GICV4_1,
    Register,
    iidr,
    numbered,
    priorities,
    register32,
    register64,
    statusr,
    two_bits_each,
)

GICD_CTLR = register32(
    "GICD_CTLR",
    "Distributor control, one Security state",
    Flag("RWP", "RO: a register write is pending"),
    RES0(22),
    Flag("nASSGIreq", "SGIs have no active state (GICv4.1)"),
    Flag("E1NWF", "1 of N interrupts may wake PEs"),
    Flag("DS", "RO: there is one Security state"),
    RES0(1),
    Flag("ARE", "Affinity routing is enabled"),
    RES0(2),
    Flag("EnableGrp1", "Group 1 interrupts are enabled"),
    Flag("EnableGrp0", "Group 0 interrupts are enabled"),
)
GICD_IIDR = iidr("GICD_IIDR", "Distributor", "Minor revision; of KVM's, userspace chooses it")
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


def _spi(name: str, doc: str) -> Layout:
    return register32(name, doc, RES0(19), Bits("INTID", 13, "SPI"))


def _one_bit_each(name: str, doc: str) -> Layout:
    return register32(name, doc, Bits("bits", 32, "Bit x: interrupt 32 * n + x"))


GICD_SETSPI_NSR = _spi("GICD_SETSPI_NSR", "Make an SPI pending, by a message")
GICD_IPRIORITYR = priorities("GICD_IPRIORITYR")
GICD_IROUTER = register64(
    "GICD_IROUTER",
    "Where an SPI goes",
    RES0(24),
    Bits("Aff3", 8, "Affinity level 3"),
    Flag("Interrupt_Routing_Mode", "To any one PE, whatever the affinity is"),
    RES0(7),
    Bits("Aff2", 8, "Affinity level 2"),
    Bits("Aff1", 8, "Affinity level 1"),
    Bits("Aff0", 8, "Affinity level 0"),
)


WORDS_OF_SPIS = range(32)
"""The n of registers with a bit for each interrupt below 1024; those for SGIs and PPIs, n = 0, are RAZ/WI here."""
LAST_SPI = 1019

DISTRIBUTOR_REGISTERS = (
    Register("GICD_CTLR", 0x0000, "RW", GICD_CTLR, reset={"nASSGIreq": 0, "ARE": 0}),
    Register("GICD_TYPER", 0x0004, "RO", GICD_TYPER),
    Register("GICD_IIDR", 0x0008, "RO", GICD_IIDR),
    Register("GICD_TYPER2", 0x000C, "RO", GICD_TYPER2, GICV4_1),
    Register("GICD_STATUSR", 0x0010, "RW", statusr("GICD_STATUSR", "Distributor")),
    Register("GICD_SETSPI_NSR", 0x0040, "WO", GICD_SETSPI_NSR),
    Register("GICD_CLRSPI_NSR", 0x0048, "WO", _spi("GICD_CLRSPI_NSR", "Take an SPI's message back")),
    Register("GICD_SETSPI_SR", 0x0050, "WO", _spi("GICD_SETSPI_SR", "As GICD_SETSPI_NSR, for Secure SPIs; WI")),
    Register("GICD_CLRSPI_SR", 0x0058, "WO", _spi("GICD_CLRSPI_SR", "As GICD_CLRSPI_NSR, for Secure SPIs; WI")),
    *numbered(0x0080, _one_bit_each("GICD_IGROUPR", "Group of SPIs"), WORDS_OF_SPIS),
    *numbered(0x0100, _one_bit_each("GICD_ISENABLER", "Enables of SPIs; 1 sets"), WORDS_OF_SPIS),
    *numbered(0x0180, _one_bit_each("GICD_ICENABLER", "Enables of SPIs; 1 clears"), WORDS_OF_SPIS),
    *numbered(0x0200, _one_bit_each("GICD_ISPENDR", "Pending SPIs; 1 sets"), WORDS_OF_SPIS, bits=0),
    *numbered(0x0280, _one_bit_each("GICD_ICPENDR", "Pending SPIs; 1 clears"), WORDS_OF_SPIS, bits=0),
    *numbered(0x0300, _one_bit_each("GICD_ISACTIVER", "Active SPIs; 1 sets"), WORDS_OF_SPIS, bits=0),
    *numbered(0x0380, _one_bit_each("GICD_ICACTIVER", "Active SPIs; 1 clears"), WORDS_OF_SPIS, bits=0),
    *numbered(0x0400, GICD_IPRIORITYR, range(255), **dict.fromkeys(GICD_IPRIORITYR.fields, 0)),
    *numbered(
        0x0C00, two_bits_each("GICD_ICFGR", "SPIs that are level-sensitive (0) or edge-triggered (2)"), range(64)
    ),
    *numbered(0x0D00, _one_bit_each("GICD_IGRPMODR", "Secure groups of SPIs; RAZ/WI"), WORDS_OF_SPIS, bits=0),
    *numbered(0x0E00, two_bits_each("GICD_NSACR", "Non-secure accesses to Secure SPIs; RAZ/WI"), range(64), bits=0),
    *numbered(0x0F80, _one_bit_each("GICD_INMIR", "SPIs that are non-maskable; RAZ/WI"), WORDS_OF_SPIS, bits=0),
    *numbered(0x6000, GICD_IROUTER, range(FIRST_SPI, LAST_SPI + 1)),
    *identification_registers("GICD"),
)
