# SPDX-License-Identifier: Apache-2.0
"""What of a kernel becomes the library with its ITS driver."""

from gicmodel.fuzzing.peers.linux.build import Recipe

_IRQCHIP = "drivers/irqchip"
_ITS = f"{_IRQCHIP}/irq-gic-v3-its.c"
_HEADER = "include/linux/irqchip/arm-gic-v3.h"

ITS = Recipe(
    unit="its",
    stands_in="gic.h",
    directories=("include", _IRQCHIP),
    cut={
        f"{_IRQCHIP}/irq-gic-v3.c": (
            "struct redist_region",
            "struct gic_chip_data",
            "gic_enable_redist",
            "gic_iterate_rdists",
            "__gic_populate_rdist",
            "gic_populate_rdist",
            "__gic_update_rdist_properties",
            "gic_update_rdist_properties",
            "gic_dist_supports_lpis",
        ),
        f"{_IRQCHIP}/irq-gic-common.c": ("gic_enable_of_quirks", "gic_enable_quirks"),
    },
    macros={
        "ITS_INIT_TAKES_PRIORITY": (_HEADER, r"int its_init\([^;]*u8 irq_prio"),
        "SYSCORE_HAS_DATA": (_ITS, r"int its_save_disable\(void \*"),
        "HAS_MSI_TEARDOWN": (_ITS, r"\.msi_teardown\b"),
    },
)
