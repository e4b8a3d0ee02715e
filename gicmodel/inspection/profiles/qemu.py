# SPDX-License-Identifier: Apache-2.0
"""QEMU's TCG model, GICv3 and GICv4.0 (hw/intc/gicv3_internal.h)."""

from gicmodel.inspection.profiles.profile import Entry, Profile
from gicmodel.layouts.its_tables import CTE, DTE, ITE, VTE

DEVICE = Entry(DTE, "Valid", {"ITT_addr": "ITT_addr", "Size": "Size"})
EVENT = Entry(
    ITE,
    "Valid",
    {"INTID": "IntID", "physical": "IntType", "ICID": "ICID", "vPEID": "vPEID", "Doorbell": "Doorbell"},
)
COLLECTION = Entry(CTE, "Valid", {"RDbase": "RDbase"})
VPE = Entry(VTE, "Valid", {"VPT_addr": "VPT_addr", "VPT_size": "VPT_size", "RDbase": "RDbase"})

QEMU = Profile("qemu", "QEMU's GICv3 and GICv4.0", DEVICE, EVENT, COLLECTION, VPE)
