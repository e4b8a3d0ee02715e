# SPDX-License-Identifier: Apache-2.0
"""Floor four, the machine monitor: hosts, virtual machines, VFIO devices, and moving a VM from one host to another."""

from gicmodel.migration.guest import new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import Delivery, VirtualMachine
from gicmodel.migration.migrate import STEPS, Migration, MigrationError, Options
from gicmodel.migration.policy import Policy
from gicmodel.migration.steps import StepReport
from gicmodel.migration.vfio import DeviceState, VfioDevice

__all__ = [
    "STEPS",
    "Delivery",
    "DeviceState",
    "Host",
    "Migration",
    "MigrationError",
    "Options",
    "Policy",
    "StepReport",
    "VfioDevice",
    "VirtualMachine",
    "config_for",
    "new_virtual_machine",
]
