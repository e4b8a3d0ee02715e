# SPDX-License-Identifier: Apache-2.0
"""A guest's RAM after KVM_DEV_ARM_ITS_SAVE_TABLES (Linux Documentation/virt/kvm/devices/arm-vgic-its.rst)."""

from gicmodel.inspection.profiles.profile import Entry, Profile
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE

KVM = Profile(
    "kvm-rev0",
    "tables that KVM saved, ABI revision 0",
    Entry(KVM_DTE, "V", {"ITT_addr": "ITT_addr", "Size": "Size", "next": "next"}),
    Entry(KVM_ITE, "pINTID", {"INTID": "pINTID", "ICID": "ICID", "next": "next"}),
    Entry(KVM_CTE, "V", {"RDbase": "RDBase", "ICID": "ICID"}),
    collection_list=True,
    not_mapped=COLLECTION_NOT_MAPPED,
    next_bits={"device": KVM_DTE.spans["next"].bits, "event": KVM_ITE.spans["next"].bits},
)
