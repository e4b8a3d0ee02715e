# SPDX-License-Identifier: Apache-2.0
"""The GICR_* registers: RD_base frame at 0, SGI_base frame at 0x1_0000, VLPI_base frame at 0x2_0000 (DDI0601).

Left out are the registers of extended PPIs, which the model has not.
"""

from collections.abc import Mapping

from gicmodel.config import FRAME_BYTES
from gicmodel.layouts.declaration import IMPDEF, RES0, Address, Bits, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.identification import identification_registers
from gicmodel.layouts.registers.register import (
    GICV4_1,
    INNER_CACHE,
    NO_RESET,
    OUTER_CACHE,
    SHAREABILITY,
    Register,
    iidr,
    mpamidr,
    numbered,
    partidr,
    priorities,
    register32,
    register64,
    statusr,
    two_bits_each,
)

_PENDING_TABLE = (
    OUTER_CACHE,
    RES0(4),
    Address("Physical_Address", 51, 16, "Address of the table"),
    RES0(4),
    SHAREABILITY,
    INNER_CACHE,
    RES0(7),
)


def _propbaser(name: str, doc: str, intid: str) -> Layout:
    return register64(
        name,
        doc,
        RES0(5),
        OUTER_CACHE,
        RES0(4),
        Address("Physical_Address", 51, 12, "Address of the table"),
        SHAREABILITY,
        INNER_CACHE,
        RES0(2),
        Bits("IDbits", 5, f"Number of {intid} bits, minus one"),
    )


GICR_CTLR = register32(
    "GICR_CTLR",
    "Redistributor control",
    Flag("UWP", "RO: an upstream write is pending"),
    RES0(4),
    Flag("DPG1S", "The PE is no target of 1 of N Secure Group 1 interrupts"),
    Flag("DPG1NS", "The PE is no target of 1 of N Non-secure Group 1 interrupts"),
    Flag("DPG0", "The PE is no target of 1 of N Group 0 interrupts"),
    RES0(20),
    Flag("RWP", "RO: a register write is pending"),
    Flag("IR", "RO: GICR_INVLPIR, GICR_INVALLR and GICR_SYNCR exist"),
    Flag("CES", "RO: EnableLPIs can be cleared"),
    Flag("EnableLPIs", "LPIs are enabled"),
)
GICR_IIDR = iidr("GICR_IIDR", "Redistributor")
GICR_TYPER = register64(
    "GICR_TYPER",
    "Redistributor features and affinity",
    Bits("Aff3", 8, "Affinity level 3"),
    Bits("Aff2", 8, "Affinity level 2"),
    Bits("Aff1", 8, "Affinity level 1"),
    Bits("Aff0", 8, "Affinity level 0"),
    Bits("PPInum", 5, "Highest PPI, 0: 31, 1: 1087, 2: 1119"),
    Flag("VSGI", "vSGIs are supported (GICv4.1)"),
    Bits("CommonLPIAff", 2, "Redistributors that share tables, 0: all, 1..3: of the same Aff3, Aff3.2, Aff3.2.1"),
    Bits("Processor_Number", 16, "RDbase if GITS_TYPER.PTA = 0"),
    Flag("RVPEID", "GICR_VPENDBASER holds a vPEID (GICv4.1)"),
    Flag("MPAM", "Memory partitioning is supported"),
    Flag("DPGS", "GICR_CTLR.DPG* exist"),
    Flag("Last", "Last redistributor of the region"),
    Flag("DirectLPI", "GICR_SETLPIR and GICR_CLRLPIR exist"),
    Flag("Dirty", "GICR_VPENDBASER.Dirty has a meaning while Valid is 1 (GICv4)"),
    Flag("VLPIS", "vLPIs are supported: four frames (GICv4)"),
    Flag("PLPIS", "Physical LPIs are supported"),
)
GICR_STATUSR = statusr("GICR_STATUSR", "Redistributor")
GICR_WAKER = register32(
    "GICR_WAKER",
    "Power management of the redistributor",
    IMPDEF(1),
    RES0(28),
    Flag("ChildrenAsleep", "RO: the interface to the PE is quiescent"),
    Flag("ProcessorSleep", "No interrupt is forwarded to the PE"),
    IMPDEF(1),
)
GICR_MPAMIDR = mpamidr("GICR_MPAMIDR", "redistributor")
GICR_PARTIDR = partidr("GICR_PARTIDR", "redistributor")
GICR_SETLPIR = register64("GICR_SETLPIR", "Make an LPI pending", RES0(32), Bits("pINTID", 32, "Physical LPI"))
GICR_CLRLPIR = register64("GICR_CLRLPIR", "Clear an LPI's pending state", RES0(32), Bits("pINTID", 32, "Physical LPI"))
GICR_PROPBASER = _propbaser("GICR_PROPBASER", "LPI configuration table", "INTID")
GICR_PENDBASER = register64(
    "GICR_PENDBASER",
    "LPI pending table",
    RES0(1),
    Flag("PTZ", "WO: the table is all zero"),
    RES0(3),
    *_PENDING_TABLE,
)
GICR_INVLPIR = register64(
    "GICR_INVLPIR",
    "Reload an LPI's configuration",
    Flag("V", "INTID is a vLPI of vPEID (GICv4.1)"),
    RES0(15),
    Bits("vPEID", 16, "vPE (GICv4.1)"),
    Bits("INTID", 32, "LPI or vLPI"),
)
GICR_INVALLR = register64(
    "GICR_INVALLR",
    "Reload the configuration of all LPIs",
    Flag("V", "All vLPIs of vPEID (GICv4.1)"),
    RES0(15),
    Bits("vPEID", 16, "vPE (GICv4.1)"),
    RES0(32),
)
GICR_SYNCR = register32(
    "GICR_SYNCR", "Progress of GICR_INVLPIR and GICR_INVALLR", RES0(31), Flag("Busy", "A write is in progress")
)
GICR_VPROPBASER_V40 = _propbaser(
    "GICR_VPROPBASER_V40", "vLPI configuration table of the resident VM (GICv4.0)", "vINTID"
)
GICR_VPROPBASER = register64(
    "GICR_VPROPBASER",
    "vPE configuration table (GICv4.1)",
    Flag("Valid", "The table exists"),
    RES0(1),
    Bits("Entry_Size", 3, "RO: 64-bit words of an entry, minus one"),
    OUTER_CACHE,
    Flag("Indirect", "0: flat, 1: two levels"),
    Bits("Page_Size", 2, "0: 4 KiB, 1: 16 KiB, 2: 64 KiB"),
    Flag("Z", "WO: the table is all zero"),
    Address("Physical_Address", 51, 12, "Address of the table"),
    SHAREABILITY,
    INNER_CACHE,
    Bits("Size", 7, "Number of pages, minus one"),
)
GICR_VPENDBASER_V40 = register64(
    "GICR_VPENDBASER_V40",
    "Virtual pending table of the resident vPE (GICv4.0)",
    Flag("Valid", "A vPE is resident"),
    Flag("IDAI", "The IMPLEMENTATION DEFINED area of the table is invalid"),
    Flag("PendingLast", "The vPE had a pending interrupt when it was descheduled"),
    Flag("Dirty", "RO: a schedule or deschedule is in progress"),
    RES0(1),
    *_PENDING_TABLE,
)
GICR_VPENDBASER = register64(
    "GICR_VPENDBASER",
    "The resident vPE (GICv4.1)",
    Flag("Valid", "A vPE is resident"),
    Flag("Doorbell", "On a deschedule: ring the default doorbell for the next interrupt"),
    Flag("PendingLast", "The vPE had a pending and enabled interrupt when it was descheduled"),
    Flag("Dirty", "RO: a schedule or deschedule is in progress"),
    Flag("VGrp0En", "Virtual Group 0 is enabled"),
    Flag("VGrp1En", "Virtual Group 1 is enabled"),
    RES0(42),
    Bits("vPEID", 16, "vPE"),
)
GICR_VSGIR = register32(
    "GICR_VSGIR", "Ask for the pending vSGIs of a vPE (GICv4.1)", RES0(16), Bits("vPEID", 16, "vPE")
)
GICR_VSGIPENDR = register32(
    "GICR_VSGIPENDR",
    "The answer to GICR_VSGIR (GICv4.1)",
    Flag("Busy", "The answer is not there yet"),
    RES0(15),
    Bits("Pending", 16, "Bit n: vSGI n is pending"),
)


def _one_bit_each(name: str, doc: str) -> Layout:
    return register32(name, doc, Bits("PPI", 16, "Bit n: PPI 16 + n"), Bits("SGI", 16, "Bit n: SGI n"))


GICR_IGROUPR0 = _one_bit_each("GICR_IGROUPR0", "Group of SGIs and PPIs")
GICR_ISENABLER0 = _one_bit_each("GICR_ISENABLER0", "Enables of SGIs and PPIs; 1 sets")
GICR_ISPENDR0 = _one_bit_each("GICR_ISPENDR0", "Pending SGIs and PPIs; 1 sets")
GICR_IPRIORITYR = priorities("GICR_IPRIORITYR")
GICR_NSACR = register32(
    "GICR_NSACR", "Non-secure generation of Secure SGIs; RAZ/WI", Bits("NS_access", 32, "Bits 2x + 1 and 2x: SGI x")
)

PRIVATE_PRIORITIES, SGI_PRIORITIES = 8, 4
"""How many GICR_IPRIORITYR<n> there are, and how many of them are those of SGIs."""

SGI_FRAME, VLPI_FRAME = FRAME_BYTES, 2 * FRAME_BYTES
_ENABLES = ("DPG1S", "DPG1NS", "DPG0", "EnableLPIs")
_ASLEEP = {"ChildrenAsleep": 1, "ProcessorSleep": 1}
_NONE = {"PPI": 0, "SGI": 0}
_NOT_RESIDENT = {"Valid": 0, "Dirty": 0}
_NOT_RESIDENT_V40 = {"Valid": 0, "Dirty": 0, "PendingLast": 0}

REDISTRIBUTOR_REGISTERS = (
    Register("GICR_CTLR", 0x0000, "RW", GICR_CTLR, reset=dict.fromkeys(_ENABLES, 0)),
    Register("GICR_IIDR", 0x0004, "RO", GICR_IIDR),
    Register("GICR_TYPER", 0x0008, "RO", GICR_TYPER),
    Register("GICR_STATUSR", 0x0010, "RW", GICR_STATUSR),
    Register("GICR_WAKER", 0x0014, "RW", GICR_WAKER, reset=_ASLEEP),
    Register("GICR_MPAMIDR", 0x0018, "RO", GICR_MPAMIDR),
    Register("GICR_PARTIDR", 0x001C, "RW", GICR_PARTIDR, reset={"PMG": 0, "PARTID": 0}),
    Register("GICR_SETLPIR", 0x0040, "WO", GICR_SETLPIR),
    Register("GICR_CLRLPIR", 0x0048, "WO", GICR_CLRLPIR),
    Register("GICR_PROPBASER", 0x0070, "RW", GICR_PROPBASER),
    Register("GICR_PENDBASER", 0x0078, "RW", GICR_PENDBASER),
    Register("GICR_INVLPIR", 0x00A0, "WO", GICR_INVLPIR),
    Register("GICR_INVALLR", 0x00B0, "WO", GICR_INVALLR),
    Register("GICR_SYNCR", 0x00C0, "RO", GICR_SYNCR),
    *identification_registers("GICR"),
    Register("GICR_VPROPBASER", VLPI_FRAME + 0x70, "RW", GICR_VPROPBASER_V40, ("4.0",)),
    Register("GICR_VPROPBASER", VLPI_FRAME + 0x70, "RW", GICR_VPROPBASER, GICV4_1, {"Valid": 0}),
    Register("GICR_VPENDBASER", VLPI_FRAME + 0x78, "RW", GICR_VPENDBASER_V40, ("4.0",), _NOT_RESIDENT_V40),
    Register("GICR_VPENDBASER", VLPI_FRAME + 0x78, "RW", GICR_VPENDBASER, GICV4_1, _NOT_RESIDENT),
    Register("GICR_VSGIR", VLPI_FRAME + 0x80, "WO", GICR_VSGIR, GICV4_1),
    Register("GICR_VSGIPENDR", VLPI_FRAME + 0x88, "RO", GICR_VSGIPENDR, GICV4_1),
)


def _of_sgi_frame(offset: int, layout: Layout, reset: Mapping[str, int] = NO_RESET) -> Register:
    return Register(layout.name, SGI_FRAME + offset, "RW", layout, reset=reset)


SGI_REGISTERS = (
    _of_sgi_frame(0x080, GICR_IGROUPR0),
    _of_sgi_frame(0x100, GICR_ISENABLER0, reset=_NONE),
    _of_sgi_frame(0x180, _one_bit_each("GICR_ICENABLER0", "Enables of SGIs and PPIs; 1 clears")),
    _of_sgi_frame(0x200, GICR_ISPENDR0),
    _of_sgi_frame(0x280, _one_bit_each("GICR_ICPENDR0", "Pending SGIs and PPIs; 1 clears")),
    _of_sgi_frame(0x300, _one_bit_each("GICR_ISACTIVER0", "Active SGIs and PPIs; 1 sets"), reset=_NONE),
    _of_sgi_frame(0x380, _one_bit_each("GICR_ICACTIVER0", "Active SGIs and PPIs; 1 clears"), reset=_NONE),
    *numbered(SGI_FRAME + 0x400, GICR_IPRIORITYR, range(PRIVATE_PRIORITIES)),
    _of_sgi_frame(0xC00, two_bits_each("GICR_ICFGR0", "RO: SGIs are edge-triggered (2)")),
    _of_sgi_frame(0xC04, two_bits_each("GICR_ICFGR1", "PPIs that are level-sensitive (0) or edge-triggered (2)")),
    _of_sgi_frame(0xD00, _one_bit_each("GICR_IGRPMODR0", "Secure groups of SGIs and PPIs; RAZ/WI")),
    _of_sgi_frame(0xE00, GICR_NSACR),
    _of_sgi_frame(0xF80, _one_bit_each("GICR_INMIR0", "SGIs and PPIs that are non-maskable; RAZ/WI"), reset=_NONE),
)
"""The SGI_base frame. What each of these holds is not what was last written to it."""
