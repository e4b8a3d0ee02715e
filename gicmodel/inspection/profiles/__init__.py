# SPDX-License-Identifier: Apache-2.0
"""The formats that the inspection can read. A new one is a file that declares a `Profile`, and a line here."""

from gicmodel.inspection.profiles.gicmodel_v41 import GICMODEL
from gicmodel.inspection.profiles.kvm import KVM
from gicmodel.inspection.profiles.opaque import OPAQUE
from gicmodel.inspection.profiles.profile import Entry, Profile
from gicmodel.inspection.profiles.qemu import QEMU

__all__ = ["GICMODEL", "KVM", "OPAQUE", "PROFILES", "QEMU", "Entry", "Profile"]

PROFILES = {profile.name: profile for profile in (QEMU, GICMODEL, KVM, OPAQUE)}
"""Every profile by its name."""
