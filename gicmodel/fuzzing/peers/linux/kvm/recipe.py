# SPDX-License-Identifier: Apache-2.0
"""What of a kernel becomes the library with its vgic."""

from gicmodel.fuzzing.peers.linux.build import Recipe

_VGIC = "arch/arm64/kvm/vgic"
_ARM = "arch/arm64/kvm/arm.c"
_HEADER = "include/kvm/arm_vgic.h"

VGIC = Recipe(
    unit="kvm",
    stands_in="kvm.h",
    directories=("include", _VGIC, "lib"),
    cut={
        f"{_VGIC}/vgic-v3.c": (
            "vgic_v3_lpi_sync_pending_status",
            "unmap_all_vpes",
            "map_all_vpes",
            "vgic_v3_save_pending_tables",
            "vgic_v3_map_resources",
        ),
        f"{_VGIC}/vgic-kvm-device.c": ("vgic_v3_parse_attr", "vgic_v3_attr_regs_access"),
    },
    may_cut={
        f"{_VGIC}/vgic-kvm-device.c": ("reg_allowed_pre_init",),
        _ARM: ("kvm_arch_update_irqfd_routing",),
    },
    macros={
        "HAS_LPI_XA": (_HEADER, r"struct xarray\s+lpi_xa"),
        "HAS_NASSGICAP": (_HEADER, r"\bnassgicap\b"),
        "PRIVATE_IRQS_ARE_ALLOCATED": (_HEADER, r"struct vgic_irq \*private_irqs"),
        "LPI_REFCOUNT_IS_KREF": (_HEADER, r"struct kref refcount"),
        "LPIS_ENABLED_IS_ATOMIC": (_HEADER, r"atomic_t ctlr"),
        "UPDATES_ROUTES": (_ARM, r"\bkvm_arch_update_irqfd_routing\("),
        "UNSETS_BY_HOST_IRQ": (_HEADER, r"kvm_vgic_v4_unset_forwarding\(struct kvm \*kvm, int host_irq\)"),
        "ITS_UNMAP_VLPI_RETURNS": ("include/linux/irqchip/arm-gic-v4.h", r"int its_unmap_vlpi\("),
    },
)
