# SPDX-License-Identifier: Apache-2.0
"""Floor four, the machine monitor: hosts, virtual machines, VFIO devices, and moving a VM from one host to another."""

from gicmodel.migration.guest import new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import Delivery, VirtualMachine
from gicmodel.migration.migrate import STEPS, Migration, MigrationError, Options, Resume, Step
from gicmodel.migration.steps import StepReport
from gicmodel.migration.vfio import DeviceState, VfioDevice
from gicmodel.policy import Policy

__all__ = [
    "STEPS",
    "Delivery",
    "DeviceState",
    "Host",
    "Migration",
    "MigrationError",
    "Options",
    "Policy",
    "Resume",
    "Step",
    "StepReport",
    "VfioDevice",
    "VirtualMachine",
    "config_for",
    "new_virtual_machine",
]
