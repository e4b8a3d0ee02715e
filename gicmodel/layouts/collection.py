# SPDX-License-Identifier: Apache-2.0
"""The collection table entry: ICID to redistributor.

The format is IMPLEMENTATION DEFINED; this is QEMU's (hw/intc/gicv3_internal.h, CTE).
"""

from gicmodel.layouts.layout import RES0, Bits, Flag, Layout

CTE = Layout(
    "CTE",
    RES0(47),
    Bits("RDbase", 16, "Processor number of the redistributor"),
    Flag("Valid", "The collection is mapped"),
    doc="Collection table entry, indexed by ICID (QEMU's format)",
)
