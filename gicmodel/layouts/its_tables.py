# SPDX-License-Identifier: Apache-2.0
"""Entries of the tables of an ITS: level 1 and DTE, CTE, ITE and vPE entries.

IHI0069 fixes what an entry must hold and leaves its format IMPLEMENTATION DEFINED, but for level 1 (DDI0601
GITS_BASER<n>, Indirect). DTE, CTE, ITE and the GICv4.0 vPE entry are QEMU's (hw/intc/gicv3_internal.h). An ITE is
64 bits, then 32 bits; it starts at a multiple of 12 bytes, so its 64-bit part need not be naturally aligned.

No public source gives a GICv4.1 vPE entry; VPE_CONFIGURATION is this model's own. It holds what VMAPP carries and what
the redistributors of a CommonLPIAff group must agree on, because GITS_BASER2 and GICR_VPROPBASER describe one table
(GITS_TYPER.SVPET != 0).
"""

from gicmodel.layouts.declaration import RES0, Address, Bits, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import SPURIOUS

INTTYPE_VIRTUAL = 0
INTTYPE_PHYSICAL = 1
NO_DOORBELL = SPURIOUS
"""The INTID that stands for no doorbell."""

LEVEL1 = Layout(
    "LEVEL1",
    Flag("Valid", "The level 2 page exists"),
    RES0(11),
    Address("Physical_Address", 51, 12, "Address of the level 2 page, aligned to the page size"),
    RES0(12),
    doc="Level 1 entry of a two-level table",
)

DTE = Layout(
    "DTE",
    RES0(14),
    Address("ITT_addr", 51, 8, "Address of the interrupt translation table"),
    Bits("Size", 5, "Number of EventID bits, minus one"),
    Flag("Valid", "The DeviceID is mapped"),
    doc="Device table entry, indexed by DeviceID (QEMU's format)",
)

CTE = Layout(
    "CTE",
    RES0(47),
    Bits("RDbase", 16, "Processor number of the redistributor"),
    Flag("Valid", "The collection is mapped"),
    doc="Collection table entry, indexed by ICID (QEMU's format)",
)

ITE = Layout(
    "ITE",
    Bits("vPEID", 16, "Target vPE of a virtual interrupt"),
    Bits("ICID", 16, "Collection of a physical interrupt"),
    RES0(6),
    Bits("IntID", 24, "pINTID or vINTID"),
    Bits("IntType", 1, "0: virtual, 1: physical"),
    Flag("Valid", "The EventID is mapped"),
    RES0(8),
    Bits("Doorbell", 24, "INTID of the individual doorbell, 1023 for none"),
    words=(64, 32),
    doc="Interrupt translation table entry, indexed by EventID (QEMU's format)",
)

VTE = Layout(
    "VTE",
    RES0(6),
    Bits("RDbase", 16, "Processor number of the redistributor"),
    Address("VPT_addr", 51, 16, "Address of the virtual pending table"),
    Bits("VPT_size", 5, "Number of vINTID bits, minus one"),
    Flag("Valid", "The vPEID is mapped"),
    doc="GICv4.0 vPE table entry, indexed by vPEID (QEMU's format)",
)

VPE_CONFIGURATION = Layout(
    "VPE_CONFIGURATION",
    # dw0
    RES0(12),
    Address("VPT_addr", 51, 16, "Address of the virtual pending table"),
    RES0(10),
    Bits("VPT_size", 5, "Number of vINTID bits, minus one"),
    Flag("Valid", "The vPEID is mapped"),
    # dw1
    RES0(12),
    Address("VCONF_addr", 51, 16, "Address of the vLPI configuration table"),
    Bits("RDbase", 16, "Processor number of the redistributor"),
    # dw2
    RES0(29),
    Flag("VGrp1En", "Virtual Group 1 was enabled when the vPE was last resident"),
    Flag("VGrp0En", "Virtual Group 0 was enabled when the vPE was last resident"),
    Flag("DoorbellArmed", "The next enabled pending interrupt rings the default doorbell"),
    Bits("Default_Doorbell", 32, "INTID of the default doorbell, 1023 for none"),
    # dw3
    RES0(48),
    Bits("ITSMap", 16, "Bit n: the vPE is mapped on ITS n"),
    words=(64, 64, 64, 64),
    doc="GICv4.1 vPE configuration table entry, indexed by vPEID (this model's format)",
)
