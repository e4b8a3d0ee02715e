# SPDX-License-Identifier: Apache-2.0
"""A GICv3, GICv4.0 or GICv4.1 driver as Linux has one: the only software that writes commands."""

from __future__ import annotations

from gicmodel.driver.vsgis import VirtualSgis


class GicDriver(VirtualSgis):
    """A driver of one GIC, through its registers and tables in RAM alone.

    Each base class adds one subject to the one before: `Boot`, `PhysicalLpis`, `Doorbells`, `VirtualPes`,
    `VirtualLpis`, `VirtualSgis`. Names and sequences of commands are those of Linux' irq-gic-v3-its.c and irq-gic-v4.c.
    Every operation returns when the ITS has read its commands, except inside `batch`.

        driver = GicDriver(gic, memory, PageAllocator(memory, start, end))
        driver.probe()
    """
