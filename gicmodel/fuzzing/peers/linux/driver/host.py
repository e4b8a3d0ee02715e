# SPDX-License-Identifier: Apache-2.0
"""What every host can do: the operations of `machine`, whatever drives its GIC."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from gicmodel.fuzzing.peers.linux.driver.bus import HostBus
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine, operands
from gicmodel.fuzzing.programs.program import Event
from gicmodel.hardware.observe import pending_virtual
from gicmodel.layouts.lpi_tables import FIRST_LPI, SPURIOUS, intids_of, table_bytes
from gicmodel.memory import GuestMemory

RAM_BASE, PART_BYTES = 0x8000_0000, 64 << 20
PARTS = 16
"""Kernels that can run one after the other without memory of an earlier one."""

_OF_NO_DRIVER = ("raise", "interrupts", "take")
"""What devices, CPUs and guests do by themselves."""


class HostFailure(Exception):
    """The driver has refused an operation, or died of it."""


class Host(ABC):
    """A host: `bus` is its GIC, which devices and CPUs use by themselves; what a driver is asked, subclasses know."""

    bus: HostBus

    def __init__(self, machine: HostMachine, records: bool = False) -> None:
        self.machine = machine
        self._records = records

    def do(self, verb: str, *values: int) -> Any:
        """An operation: what the kernel or its guests get of it, 0 if that is nothing.

        That is the CPU that an interrupt goes to (`request`, `affinity`); INTIDs (`add_device`; the doorbells of
        `begin_vm`; those that are taken, of `interrupts` by CPU); whether a message is one (`raise`); pending_last
        (`put`); whether a vSGI is pending. `take` needs the CPU, too.

        Raises:
            HostFailure, DriverError: the driver has refused it.
        """
        if verb in _OF_NO_DRIVER:
            return getattr(self, f"_{verb}")(*values)
        result = self._operation(verb)(*operands(Event(verb, values), self))
        return 0 if result is None else result

    @abstractmethod
    def _operation(self, verb: str) -> Callable[..., Any]:
        """What does an operation, with its operands: an event of a device, or a vPE, as the driver has it."""

    @abstractmethod
    def event(self, its: int, device_id: int, number: int) -> Any: ...

    @abstractmethod
    def vpe(self, vm: int, vcpu: int) -> Any: ...

    @abstractmethod
    def vm(self, number: int) -> Any: ...

    def new_bus(self) -> None:
        """A GIC just reset, and RAM just powered on."""
        self.bus = HostBus(self.machine, GuestMemory(RAM_BASE, PARTS * PART_BYTES), self._records)

    # What is `_OF_NO_DRIVER`, and what there is to see.

    def _raise(self, its: int, device_id: int, event_id: int) -> bool:
        return self.bus.gic.its[its].translate(device_id, event_id) == 0

    def _interrupts(self) -> dict[int, list[int]]:
        """Every CPU takes the LPIs that wait for it."""
        taken = {}
        for cpu, redistributor in enumerate(self.bus.gic.redistributors):
            if intids := list(iter(redistributor.cpu.acknowledge, SPURIOUS)):
                taken[cpu] = intids
        return taken

    def _take(self, vm: int, vcpu: int, cpu: int) -> list[int]:
        """The guest that runs on a CPU takes all that is for it, the most urgent first."""
        return list(iter(self.bus.gic.redistributors[cpu].cpu.acknowledge_virtual, SPURIOUS))

    def pending(self, vm: int, vcpu: int) -> list[int]:
        """What is pending for a vPE, wherever that is kept."""
        return [int(each) for each in pending_virtual(self.bus.gic, self.do("vpt", vm, vcpu), self._id_bits)]

    def pending_in_ram(self, vm: int, vcpu: int) -> list[int]:
        """The vLPIs that are pending by a VPT in RAM."""
        octets = self.bus.gic.memory.read(self.do("vpt", vm, vcpu), table_bytes(self._id_bits))
        return [int(each) for each in intids_of(np.frombuffer(octets, np.uint8)) if each >= FIRST_LPI]

    @property
    def _id_bits(self) -> int:
        return min(16, self.machine.config.intid_bits)
