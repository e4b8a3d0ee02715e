# SPDX-License-Identifier: Apache-2.0
"""The tables that KVM saves to guest RAM, ITS table ABI revision 0.

Linux Documentation/virt/kvm/devices/arm-vgic-its.rst. Every entry is 64 bits. The saved collection table is a list, not
indexed by ICID.
"""

from gicmodel.layouts.declaration import RES0, Address, Bits, Flag
from gicmodel.layouts.layout import Layout

COLLECTION_NOT_MAPPED = 0xFFFF_FFFF
"""RDBase of a collection without a vCPU (Linux vgic.h)."""

KVM_DTE = Layout(
    "KVM_DTE",
    Flag("V", "The DeviceID is mapped"),
    Bits("next", 14, "Distance to the next mapped DeviceID, 0 for the last, saturated"),
    Address("ITT_addr", 51, 8, "Address of the interrupt translation table"),
    Bits("Size", 5, "Number of EventID bits, minus one"),
    doc="Device table entry, indexed by DeviceID (KVM ABI revision 0)",
)

KVM_ITE = Layout(
    "KVM_ITE",
    Bits("next", 16, "Distance to the next mapped EventID, 0 for the last, saturated"),
    Bits("pINTID", 32, "INTID of the LPI, 0 when the EventID is not mapped"),
    Bits("ICID", 16, "Collection"),
    doc="Interrupt translation table entry, indexed by EventID (KVM ABI revision 0)",
)

KVM_CTE = Layout(
    "KVM_CTE",
    Flag("V", "The entry belongs to the list"),
    RES0(11),
    Bits("RDBase", 36, "vCPU id, or 0xffffffff when the collection is not mapped"),
    Bits("ICID", 16, "Collection"),
    doc="Collection table entry, one of a list (KVM ABI revision 0)",
)

KVM_LEVEL1 = Layout(
    "KVM_LEVEL1",
    Flag("V", "The level 2 page exists"),
    RES0(11),
    Address("Physical_Address", 51, 16, "Address of the level 2 page"),
    RES0(16),
    doc="Level 1 entry of a two-level device table (KVM ABI revision 0)",
)
