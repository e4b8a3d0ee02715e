# SPDX-License-Identifier: Apache-2.0
"""Floor one, the silicon: ITS, redistributors, CPU interfaces. `kernels` does the work, the rest is how to reach it.

What is named here is imported on first use, but for GicConfig, which loads neither kernels nor numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gicmodel.config import GicConfig

if TYPE_CHECKING:
    from gicmodel.hardware.command_errors import CommandError, error_name
    from gicmodel.hardware.cpu_interface import SPURIOUS, CpuInterface
    from gicmodel.hardware.gic import Gic
    from gicmodel.hardware.its import Its
    from gicmodel.hardware.redistributor import Redistributor
    from gicmodel.hardware.snapshot import load_snapshot, save_snapshot

__all__ = [
    "SPURIOUS",
    "CommandError",
    "CpuInterface",
    "Gic",
    "GicConfig",
    "Its",
    "Redistributor",
    "error_name",
    "load_snapshot",
    "save_snapshot",
]

_HOMES = {
    "command_errors": ("CommandError", "error_name"),
    "cpu_interface": ("SPURIOUS", "CpuInterface"),
    "gic": ("Gic",),
    "its": ("Its",),
    "redistributor": ("Redistributor",),
    "snapshot": ("load_snapshot", "save_snapshot"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
