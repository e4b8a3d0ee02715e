# SPDX-License-Identifier: Apache-2.0
"""Every layout, by kind and by name."""

from gicmodel.config import ARCHITECTURES
from gicmodel.layouts.commands import COMMANDS
from gicmodel.layouts.its_tables import CTE, DTE, ITE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION, VSGI_CONFIGURATION
from gicmodel.layouts.registers.by_name import REGISTERS

_TABLES = (
    *(LEVEL1, DTE, ITE, CTE, VTE, VPE_CONFIGURATION, LPI_CONFIGURATION, VSGI_CONFIGURATION),
    *(KVM_LEVEL1, KVM_DTE, KVM_ITE, KVM_CTE),
)
_COMMANDS = dict.fromkeys(layout for architecture in ARCHITECTURES for layout in COMMANDS(architecture).values())

CATALOGUE: dict[str, tuple[Layout, ...]] = {
    "table": _TABLES,
    "command": tuple(_COMMANDS),
    "register": tuple(dict.fromkeys(register.layout for register in REGISTERS)),
}
"""The layouts of each kind."""

KINDS = {layout: kind for kind, layouts in CATALOGUE.items() for layout in layouts}
"""The kind of each layout."""

NAMES = {register.name: register.layout for register in REGISTERS} | {layout.name: layout for layout in KINDS}
"""Each layout by its own name and by those of the registers that have it."""
