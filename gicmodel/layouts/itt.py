# SPDX-License-Identifier: Apache-2.0
"""The interrupt translation table entry: EventID to INTID and target.

The format is IMPLEMENTATION DEFINED; this is QEMU's (hw/intc/gicv3_internal.h, ITE): 64 bits, then 32 bits. An entry
starts at a multiple of 12 bytes, so its 64-bit part need not be naturally aligned.
"""

from gicmodel.layouts.layout import RES0, Bits, Flag, Layout

INTTYPE_VIRTUAL = 0
INTTYPE_PHYSICAL = 1
NO_DOORBELL = 1023
"""The INTID that stands for no doorbell."""

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
