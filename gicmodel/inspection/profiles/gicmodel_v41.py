# SPDX-License-Identifier: Apache-2.0
"""This package's own GICv4.1: QEMU's device, translation and collection entries, its own vPE configuration entry."""

from gicmodel.inspection.profiles.profile import Entry, Profile, VsgiStorage
from gicmodel.inspection.profiles.qemu import COLLECTION, DEVICE, EVENT
from gicmodel.layouts.its_tables import VPE_CONFIGURATION
from gicmodel.layouts.lpi_tables import VSGI_CONFIGURATION, VSGI_CONFIGURATION_BYTE

VPE = Entry(
    VPE_CONFIGURATION,
    "Valid",
    {
        name: name
        for name in ("VPT_addr", "VPT_size", "RDbase", "VCONF_addr", "Default_Doorbell", "DoorbellArmed", "ITSMap")
    },
)

GICMODEL = Profile(
    "gicmodel",
    "this model's GICv4.1",
    DEVICE,
    EVENT,
    COLLECTION,
    VPE,
    vsgi=VsgiStorage(
        0,
        VSGI_CONFIGURATION_BYTE,
        Entry(VSGI_CONFIGURATION, "Enable", {name: name for name in ("Enable", "Group", "Priority")}),
    ),
)
