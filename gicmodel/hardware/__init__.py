# SPDX-License-Identifier: Apache-2.0
"""Floor one, the silicon: ITS, redistributors, CPU interfaces. `kernels` does the work, the rest is how to reach it."""

from gicmodel.hardware.command_errors import CommandError, error_name
from gicmodel.hardware.config import GicConfig
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
