# SPDX-License-Identifier: Apache-2.0
"""What the hypervisor does: one VM's vgic, as Linux arch/arm64/kvm/vgic keeps, saves, restores and forwards it."""

from gicmodel.kvm.behaviour import NEWEST, KvmBehaviour
from gicmodel.kvm.errors import HostOops, HostStorm, KvmError
from gicmodel.kvm.vgic import Vgic

__all__ = ["NEWEST", "HostOops", "HostStorm", "KvmBehaviour", "KvmError", "Vgic"]
