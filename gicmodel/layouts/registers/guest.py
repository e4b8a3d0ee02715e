# SPDX-License-Identifier: Apache-2.0
"""Registers that only a VM's virtual GIC has here: the physical GIC of this model has no SGIs and is always enabled.

GICD_CTLR is the view of one Security state, which KVM shows its guests (DDI0601 GICD_CTLR, DS = 1). Of the banked
registers of SGI_base, bits 0 to 15 are the SGIs and bits 16 to 31 the PPIs of a PE.
"""

from gicmodel.layouts.declaration import RES0, Bits, Flag
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.redistributor import SGI_FRAME
from gicmodel.layouts.registers.register import Register, iidr, register32

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
GICD_IIDR = iidr("GICD_IIDR", "Distributor", "Minor revision; KVM's, which userspace chooses")


def _one_bit_each(name: str, doc: str) -> Layout:
    return register32(name, doc, Bits("PPI", 16, "Bit n: PPI 16 + n"), Bits("SGI", 16, "Bit n: SGI n"))


GICR_IGROUPR0 = _one_bit_each("GICR_IGROUPR0", "Group of SGIs and PPIs")
GICR_ISENABLER0 = _one_bit_each("GICR_ISENABLER0", "Enables of SGIs and PPIs; 1 sets")
GICR_ICENABLER0 = _one_bit_each("GICR_ICENABLER0", "Enables of SGIs and PPIs; 1 clears")
GICR_ISPENDR0 = _one_bit_each("GICR_ISPENDR0", "Pending SGIs and PPIs; 1 sets")
GICR_ICPENDR0 = _one_bit_each("GICR_ICPENDR0", "Pending SGIs and PPIs; 1 clears")
GICR_IPRIORITYR = register32(
    "GICR_IPRIORITYR",
    "Priorities of four interrupts",
    *(Bits(f"Priority_offset_{n}B", 8, f"Priority of interrupt 4 * register + {n}") for n in (3, 2, 1, 0)),
)

SGI_PRIORITIES = 4
"""How many of the GICR_IPRIORITYR<n> are those of SGIs."""

GUEST_REGISTERS = (
    Register("GICD_CTLR", 0x0000, "RW", GICD_CTLR, reset={"nASSGIreq": 0, "ARE": 0}),
    Register("GICD_IIDR", 0x0008, "RO", GICD_IIDR),
    Register("GICR_IGROUPR0", SGI_FRAME + 0x080, "RW", GICR_IGROUPR0),
    Register("GICR_ISENABLER0", SGI_FRAME + 0x100, "RW", GICR_ISENABLER0, reset={"PPI": 0, "SGI": 0}),
    Register("GICR_ICENABLER0", SGI_FRAME + 0x180, "RW", GICR_ICENABLER0),
    Register("GICR_ISPENDR0", SGI_FRAME + 0x200, "RW", GICR_ISPENDR0),
    Register("GICR_ICPENDR0", SGI_FRAME + 0x280, "RW", GICR_ICPENDR0),
    *(Register(f"GICR_IPRIORITYR{n}", SGI_FRAME + 0x400 + 4 * n, "RW", GICR_IPRIORITYR) for n in range(SGI_PRIORITIES)),
)
