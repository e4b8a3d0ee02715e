# SPDX-License-Identifier: Apache-2.0
"""The virtual CPU interface of a PE (DDI0601): the ICH_*_EL2 system registers of a hypervisor, and the ICV_*_EL1 ones
that its guest has in place of ICC_*_EL1, at the same encodings.

There are as many ICH_LR<n>_EL2 as ICH_VTR_EL2.ListRegs says. Priorities and NMIs are as of `cpu_interface`.
"""

from gicmodel.config import MOST_LIST_REGISTERS
from gicmodel.layouts.declaration import RES0, Bits, Flag
from gicmodel.layouts.registers.cpu_interface import (
    ACTIVE_PRIORITIES,
    CPU_INTERFACE_REGISTERS,
    control_register,
)
from gicmodel.layouts.registers.register import SystemRegister, packed, register64

ICH_AP0R0_EL2 = register64("ICH_AP0R0_EL2", "Active virtual priorities of Group 0", *ACTIVE_PRIORITIES)
ICH_AP1R0_EL2 = register64("ICH_AP1R0_EL2", "Active virtual priorities of Group 1", *ACTIVE_PRIORITIES)
ICH_HCR_EL2 = register64(
    "ICH_HCR_EL2",
    "Control of the virtual CPU interface",
    RES0(32),
    Bits("EOIcount", 5, "Deactivations of interrupts that are in no list register"),
    RES0(11),
    Flag("DVIM", "vLPIs and vSGIs are masked (ICH_VTR_EL2.DVIM)"),
    Flag("TDIR", "Writes of ICV_DIR_EL1 trap to EL2"),
    Flag("TSEI", "SErrors of the guest's accesses trap to EL2"),
    Flag("TALL1", "Accesses of Group 1 registers trap to EL2"),
    Flag("TALL0", "Accesses of Group 0 registers trap to EL2"),
    Flag("TC", "Accesses of registers of both groups trap to EL2"),
    RES0(1),
    Flag("vSGIEOICount", "EOIcount does not count SGIs (GICv4.1)"),
    Flag("VGrp1DIE", "Maintenance interrupt while Group 1 is disabled"),
    Flag("VGrp1EIE", "Maintenance interrupt while Group 1 is enabled"),
    Flag("VGrp0DIE", "Maintenance interrupt while Group 0 is disabled"),
    Flag("VGrp0EIE", "Maintenance interrupt while Group 0 is enabled"),
    Flag("NPIE", "Maintenance interrupt while no list register is pending"),
    Flag("LRENPIE", "Maintenance interrupt while EOIcount is not zero"),
    Flag("UIE", "Maintenance interrupt while none or one of the list registers is valid"),
    Flag("En", "The virtual CPU interface is enabled"),
)
ICH_VTR_EL2 = register64(
    "ICH_VTR_EL2",
    "Features of the virtual CPU interface",
    RES0(32),
    Bits("PRIbits", 3, "Number of priority bits, minus one"),
    Bits("PREbits", 3, "Number of preemption bits, minus one"),
    Bits("IDbits", 3, "vINTIDs have 16 bits (0) or 24 (1)"),
    Flag("SEIS", "Errors are reported as SErrors"),
    Flag("A3V", "Affinity level 3 may be other than zero"),
    Flag("nV4", "vLPIs are not injected directly"),
    Flag("TDS", "ICH_HCR_EL2.TDIR is implemented"),
    Flag("DVIM", "ICH_HCR_EL2.DVIM is implemented"),
    RES0(13),
    Bits("ListRegs", 5, "Number of list registers, minus one"),
)
ICH_MISR_EL2 = register64(
    "ICH_MISR_EL2",
    "Why there is a maintenance interrupt",
    RES0(56),
    Flag("VGrp1D", "Group 1 is disabled"),
    Flag("VGrp1E", "Group 1 is enabled"),
    Flag("VGrp0D", "Group 0 is disabled"),
    Flag("VGrp0E", "Group 0 is enabled"),
    Flag("NP", "No list register is pending"),
    Flag("LRENP", "EOIcount is not zero"),
    Flag("U", "None or one of the list registers is valid"),
    Flag("EOI", "ICH_EISR_EL2 is not zero"),
)
ICH_EISR_EL2 = register64(
    "ICH_EISR_EL2", "Interrupts that have ended", RES0(48), Bits("Status", 16, "Bit n: that of ICH_LR<n>_EL2")
)
ICH_ELRSR_EL2 = register64(
    "ICH_ELRSR_EL2", "List registers that are free", RES0(48), Bits("Status", 16, "Bit n: ICH_LR<n>_EL2")
)
ICH_VMCR_EL2 = register64(
    "ICH_VMCR_EL2",
    "The guest's view of its CPU interface",
    RES0(32),
    Bits("VPMR", 8, "ICV_PMR_EL1.Priority"),
    Bits("VBPR0", 3, "ICV_BPR0_EL1.BinaryPoint"),
    Bits("VBPR1", 3, "ICV_BPR1_EL1.BinaryPoint"),
    RES0(8),
    Flag("VEOIM", "ICV_CTLR_EL1.EOImode"),
    RES0(4),
    Flag("VCBPR", "ICV_CTLR_EL1.CBPR"),
    Flag("VFIQEn", "Group 0 interrupts are virtual FIQs; 1 where accesses are of system registers"),
    Flag("VAckCtl", "0 where accesses are of system registers"),
    Flag("VENG1", "ICV_IGRPEN1_EL1.Enable"),
    Flag("VENG0", "ICV_IGRPEN0_EL1.Enable"),
)
ICH_LR_EL2 = register64(
    "ICH_LR_EL2",
    "A virtual interrupt",
    Bits("State", 2, "0: invalid, 1: pending, 2: active, 3: pending and active"),
    Flag("HW", "The physical interrupt pINTID is deactivated with it"),
    Flag("Group", "Interrupt group"),
    Flag("NMI", "Not maskable; RES0 without NMIs"),
    RES0(3),
    Bits("Priority", 8, "Lower values are more urgent"),
    RES0(3),
    Bits("pINTID", 13, "Physical INTID; with HW=0 bit 9 asks for a maintenance interrupt when the interrupt ends"),
    Bits("vINTID", 32, "Virtual INTID"),
)
ICV_CTLR_EL1 = control_register("ICV_CTLR_EL1", "Virtual CPU interface control", "ICV", RES0(6))

HYPERVISOR_REGISTERS = (
    SystemRegister("ICH_AP0R0_EL2", packed(3, 4, 12, 8, 0), "RW", ICH_AP0R0_EL2, {"P": 0}),
    SystemRegister("ICH_AP1R0_EL2", packed(3, 4, 12, 9, 0), "RW", ICH_AP1R0_EL2, {"P": 0}),
    SystemRegister("ICH_HCR_EL2", packed(3, 4, 12, 11, 0), "RW", ICH_HCR_EL2, dict.fromkeys(ICH_HCR_EL2.fields, 0)),
    SystemRegister("ICH_VTR_EL2", packed(3, 4, 12, 11, 1), "RO", ICH_VTR_EL2),
    SystemRegister("ICH_MISR_EL2", packed(3, 4, 12, 11, 2), "RO", ICH_MISR_EL2, dict.fromkeys(ICH_MISR_EL2.fields, 0)),
    SystemRegister("ICH_EISR_EL2", packed(3, 4, 12, 11, 3), "RO", ICH_EISR_EL2),
    SystemRegister("ICH_ELRSR_EL2", packed(3, 4, 12, 11, 5), "RO", ICH_ELRSR_EL2),
    SystemRegister("ICH_VMCR_EL2", packed(3, 4, 12, 11, 7), "RW", ICH_VMCR_EL2),
    *(
        SystemRegister(f"ICH_LR{n}_EL2", packed(3, 4, 12, 12 + n // 8, n % 8), "RW", ICH_LR_EL2)
        for n in range(MOST_LIST_REGISTERS)
    ),
)
"""ICH_*_EL2."""

_NOT_VIRTUAL = ("ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1", "ICC_SRE_EL1", "ICC_SRE_EL2")
"""The hypervisor's to emulate, or to let the guest access."""


def _for_guests(entry: SystemRegister) -> SystemRegister:
    """ICV_* for ICC_*: the same encoding and bits; after reset only the active priorities are known."""
    name = entry.name.replace("ICC", "ICV")
    layout = ICV_CTLR_EL1 if name == "ICV_CTLR_EL1" else entry.layout
    return SystemRegister(name, entry.encoding, entry.access, layout, entry.reset if "_AP" in name else {})


GUEST_INTERFACE_REGISTERS = tuple(
    _for_guests(entry) for entry in CPU_INTERFACE_REGISTERS if entry.name not in _NOT_VIRTUAL
)
"""ICV_*_EL1."""
