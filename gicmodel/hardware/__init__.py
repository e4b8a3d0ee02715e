# SPDX-License-Identifier: Apache-2.0
"""The silicon: ITSs, redistributors and CPU interfaces over RAM. `gicmodel.config` says how a GIC is built."""

from gicmodel.config import GicConfig
from gicmodel.hardware.bus import Bus
from gicmodel.hardware.command_errors import CommandError, error_name
from gicmodel.hardware.cpu_interface import CpuInterface, UndefinedRegister
from gicmodel.hardware.gic import Gic
from gicmodel.hardware.its import Its
from gicmodel.hardware.lines import Line
from gicmodel.hardware.redistributor import Redistributor
from gicmodel.hardware.snapshot import load_snapshot, save_snapshot

__all__ = [
    "Bus",
    "CommandError",
    "CpuInterface",
    "Gic",
    "GicConfig",
    "Its",
    "Line",
    "Redistributor",
    "UndefinedRegister",
    "error_name",
    "load_snapshot",
    "save_snapshot",
]
