# SPDX-License-Identifier: Apache-2.0
"""The vPE table entries: vPEID to redistributor and virtual pending table.

Both formats are IMPLEMENTATION DEFINED. The GICv4.0 entry is QEMU's (hw/intc/gicv3_internal.h, VTE). No public source
gives a GICv4.1 entry; VPE_CONFIGURATION is this model's own. It holds what VMAPP carries and what the redistributors of
a CommonLPIAff group must agree on, because GITS_BASER2 and GICR_VPROPBASER describe one table (GITS_TYPER.SVPET != 0).
"""

from gicmodel.layouts.layout import RES0, Address, Bits, Flag, Layout

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
