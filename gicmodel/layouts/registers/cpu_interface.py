# SPDX-License-Identifier: Apache-2.0
"""The ICC_*_EL1 and ICC_SRE_EL2 system registers of a PE's CPU interface (DDI0601), where there is no EL3.

With five bits of priority there is one register of active priorities for each group. NMIs are not supported, hence no
ICC_NMIAR1_EL1.
"""

from gicmodel.layouts.declaration import RES0, Bits, Declared, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.register import Access, SystemRegister, packed, register64

# What several registers have.
_INTID = RES0(40), Bits("INTID", 24, "The interrupt, 1023 for none")
_PRIORITY = RES0(56), Bits("Priority", 8, "Lower values are more urgent")
_BINARY_POINT = RES0(61), Bits("BinaryPoint", 3, "How many low bits do not count for preemption")
_ENABLE = RES0(63), Flag("Enable", "Interrupts of the group are signalled")
_SRE = (
    Flag("DIB", "IRQs cannot bypass the CPU interface"),
    Flag("DFB", "FIQs cannot bypass the CPU interface"),
    Flag("SRE", "The CPU interface is accessed as system registers"),
)
_SGI = (
    RES0(8),
    Bits("Aff3", 8, "Affinity level 3 of the targets"),
    Bits("RS", 4, "Range selector: bit n of TargetList is affinity level 0 value 16 * RS + n"),
    RES0(3),
    Flag("IRM", "To all PEs but this one"),
    Bits("Aff2", 8, "Affinity level 2 of the targets"),
    RES0(4),
    Bits("INTID", 4, "SGI"),
    Bits("Aff1", 8, "Affinity level 1 of the targets"),
    Bits("TargetList", 16, "A bit for each PE of that cluster"),
)
ACTIVE_PRIORITIES = RES0(32), Bits("P", 32, "Bit x: an interrupt of group priority 8 * x is active")
"""Of a register of the priority levels at which interrupts are active; its bits are IMPLEMENTATION DEFINED."""


def control_register(name: str, doc: str, interface: str, *masks: Declared) -> Layout:
    """ICC_CTLR_EL1 or ICV_CTLR_EL1; `masks` is what bits 7 to 2 are."""
    return register64(
        name,
        doc,
        RES0(44),
        Flag("ExtRange", "RO: extended INTIDs are supported"),
        Flag("RSS", "RO: SGIs reach affinity level 0 values up to 255"),
        RES0(2),
        Flag("A3V", "RO: affinity level 3 may be other than zero"),
        Flag("SEIS", "RO: errors are reported as SErrors"),
        Bits("IDbits", 3, "RO: INTIDs have 16 bits (0) or 24 (1)"),
        Bits("PRIbits", 3, "RO: number of priority bits, minus one"),
        *masks,
        Flag("EOImode", f"{interface}_EOIR<n>_EL1 drops the priority only, {interface}_DIR_EL1 deactivates"),
        Flag("CBPR", f"{interface}_BPR0_EL1 counts for Group 1 too"),
    )


ICC_BPR0_EL1 = register64("ICC_BPR0_EL1", "Preemption by Group 0 interrupts", *_BINARY_POINT)
ICC_EOIR1_EL1 = register64("ICC_EOIR1_EL1", "A write ends a Group 1 interrupt", *_INTID)
ICC_CTLR_EL1 = control_register(
    "ICC_CTLR_EL1",
    "CPU interface control",
    "ICC",
    RES0(1),
    Flag("PMHE", "Interrupts are routed by the PEs' priority masks"),
    RES0(4),
)
ICC_SRE_EL1 = register64("ICC_SRE_EL1", "How EL1 accesses the CPU interface", RES0(61), *_SRE)
ICC_SRE_EL2 = register64(
    "ICC_SRE_EL2",
    "How EL2 accesses the CPU interface",
    RES0(60),
    Flag("Enable", "EL1 may access ICC_SRE_EL1"),
    *_SRE,
)
ICC_IGRPEN1_EL1 = register64("ICC_IGRPEN1_EL1", "Enable of Group 1", *_ENABLE)
ICC_SGI1R_EL1 = register64("ICC_SGI1R_EL1", "A write makes an SGI pending at other PEs", *_SGI)
_BYPASS = {"DIB": 0, "DFB": 0, "SRE": 0}


def _register(
    name: str, place: tuple[int, int, int], access: Access, doc: str, *fields: Declared, **reset: int
) -> SystemRegister:
    """A register of EL1 at a CRn, CRm and op2 of its own."""
    return SystemRegister(name, packed(3, 0, *place), access, register64(name, doc, *fields), reset)


CPU_INTERFACE_REGISTERS = (
    _register(
        "ICC_PMR_EL1", (4, 6, 0), "RW", "Only interrupts that are more urgent are signalled", *_PRIORITY, Priority=0
    ),
    _register("ICC_IAR0_EL1", (12, 8, 0), "RO", "A read acknowledges a Group 0 interrupt", *_INTID),
    _register("ICC_EOIR0_EL1", (12, 8, 1), "WO", "A write ends a Group 0 interrupt", *_INTID),
    _register("ICC_HPPIR0_EL1", (12, 8, 2), "RO", "The most urgent pending interrupt, if it is of Group 0", *_INTID),
    SystemRegister("ICC_BPR0_EL1", packed(3, 0, 12, 8, 3), "RW", ICC_BPR0_EL1),
    _register("ICC_AP0R0_EL1", (12, 8, 4), "RW", "Active priorities of Group 0", *ACTIVE_PRIORITIES, P=0),
    _register("ICC_AP1R0_EL1", (12, 9, 0), "RW", "Active priorities of Group 1", *ACTIVE_PRIORITIES, P=0),
    _register(
        "ICC_DIR_EL1", (12, 11, 1), "WO", "A write deactivates an interrupt, if ICC_CTLR_EL1.EOImode is 1", *_INTID
    ),
    _register(
        "ICC_RPR_EL1",
        (12, 11, 3),
        "RO",
        "Running priority: that of the most urgent active interrupt, 0xff: idle",
        *_PRIORITY,
    ),
    SystemRegister("ICC_SGI1R_EL1", packed(3, 0, 12, 11, 5), "WO", ICC_SGI1R_EL1),
    _register("ICC_ASGI1R_EL1", (12, 11, 6), "WO", "As ICC_SGI0R_EL1 where there is one Security state", *_SGI),
    _register("ICC_SGI0R_EL1", (12, 11, 7), "WO", "A write makes a Group 0 SGI pending at other PEs", *_SGI),
    _register("ICC_IAR1_EL1", (12, 12, 0), "RO", "A read acknowledges a Group 1 interrupt", *_INTID),
    SystemRegister("ICC_EOIR1_EL1", packed(3, 0, 12, 12, 1), "WO", ICC_EOIR1_EL1),
    _register("ICC_HPPIR1_EL1", (12, 12, 2), "RO", "The most urgent pending interrupt, if it is of Group 1", *_INTID),
    _register("ICC_BPR1_EL1", (12, 12, 3), "RW", "Preemption by Group 1 interrupts", *_BINARY_POINT),
    SystemRegister("ICC_CTLR_EL1", packed(3, 0, 12, 12, 4), "RW", ICC_CTLR_EL1),
    SystemRegister("ICC_SRE_EL1", packed(3, 0, 12, 12, 5), "RW", ICC_SRE_EL1, _BYPASS),
    _register("ICC_IGRPEN0_EL1", (12, 12, 6), "RW", "Enable of Group 0", *_ENABLE, Enable=0),
    SystemRegister("ICC_IGRPEN1_EL1", packed(3, 0, 12, 12, 7), "RW", ICC_IGRPEN1_EL1, {"Enable": 0}),
    SystemRegister("ICC_SRE_EL2", packed(3, 4, 12, 9, 5), "RW", ICC_SRE_EL2, _BYPASS),
)
