# SPDX-License-Identifier: Apache-2.0
"""The device table entry: DeviceID to interrupt translation table.

IHI0069 fixes what an entry must hold and leaves its format IMPLEMENTATION DEFINED. This is QEMU's
(hw/intc/gicv3_internal.h, DTE).
"""

from gicmodel.layouts.layout import RES0, Address, Bits, Flag, Layout

DTE = Layout(
    "DTE",
    RES0(14),
    Address("ITT_addr", 51, 8, "Address of the interrupt translation table"),
    Bits("Size", 5, "Number of EventID bits, minus one"),
    Flag("Valid", "The DeviceID is mapped"),
    doc="Device table entry, indexed by DeviceID (QEMU's format)",
)
