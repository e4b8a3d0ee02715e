# SPDX-License-Identifier: Apache-2.0
"""A host for tests: RAM, a GIC and the driver that booted it, and devices whose events are active."""

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.hardware import Gic
from gicmodel.memory import GuestMemory

HOST_BASE = 0x80_0000_0000
HOST_BYTES = 0x400_0000


class Host:
    """`gic` is the hardware; `its` and `redistributors` are numbers of each."""

    def __init__(self, architecture="4.1", its=1, redistributors=4, driver=GicDriver, **choices):
        self.memory = GuestMemory(HOST_BASE, HOST_BYTES)
        config = GicConfig(architecture=architecture, its=its, redistributors=redistributors, **choices)
        self.gic = Gic(config, self.memory)
        allocator = PageAllocator(self.memory, HOST_BASE, HOST_BASE + HOST_BYTES)
        self.driver = driver(self.gic, allocator, relax=self.gic.step)
        self.driver.probe()

    def device(self, device_id, nr_events, its=0):
        """A physical device whose events are active, as VFIO leaves them when it has allocated its vectors."""
        device = self.driver.lpis.create_device(device_id, nr_events, its)
        self.driver.lpis.activate(device, np.arange(nr_events))
        return device

    def issued(self, mnemonic):
        return self.driver.gic.commands_issued[mnemonic]
