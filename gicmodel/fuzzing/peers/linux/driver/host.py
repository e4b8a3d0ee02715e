# SPDX-License-Identifier: Apache-2.0
"""What every host is: a GIC on a bus, and the operations of `machine`, whatever drives it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine, operands
from gicmodel.fuzzing.programs.program import Event
from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Bus
from gicmodel.hardware.observe import pending_virtual
from gicmodel.lab.late import LateGic
from gicmodel.layouts.lpi_tables import FIRST_LPI, SPURIOUS, intids_of, table_bytes
from gicmodel.memory import GuestMemory

RAM_BASE, PART_BYTES = 0x8000_0000, 64 << 20
PARTS = 16
"""Kernels that can run one after the other without memory of an earlier one."""

_OF_NO_DRIVER = ("raise", "interrupts", "take")
"""What devices, CPUs and guests do by themselves."""

Note = Callable[["HostBus", int, int, int], None]
"""Is given the bus, and the address, value and size of a write."""


class HostFailure(Exception):
    """The driver has refused an operation, or died of it."""


class HostBus(Bus):
    """A GIC over `memory`, its bus, and time; `note` is told of each write before it is done."""

    def __init__(self, machine: HostMachine, memory: GuestMemory, note: Note | None) -> None:
        self.gic = Gic(machine.config, memory)
        self.late = LateGic(self.gic) if machine.late else None
        super().__init__(self.late or self.gic)
        self._note = note
        self._arrival: tuple[int, Callable[[], None]] | None = None

    def write(self, address: int, value: int, size: int, *, device_id: int = 0) -> None:
        """A write of a register."""
        if self._note is not None:
            self._note(self, address, value, size)
        super().write(address, value, size, device_id=device_id)

    def relax(self) -> None:
        """Time passes: a poll of the driver."""
        self.gic.step()
        if self._arrival is not None:
            polls, deliver = self._arrival
            self._arrival = polls - 1, deliver
            if not polls:
                self.arrive()

    def arrive_after(self, polls: int, deliver: Callable[[], None]) -> None:
        """Call `deliver` once, when the driver has polled so often and once more, or at `arrive`."""
        self._arrival = polls, deliver

    def arrive(self) -> None:
        """What has not come yet comes now."""
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival[1]()


class Host(ABC):
    """A host: `bus` is its GIC, which devices and CPUs use by themselves; what a driver is asked, subclasses know."""

    bus: HostBus

    def __init__(self, machine: HostMachine, note: Note | None = None) -> None:
        self.machine = machine
        self._note = note

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

    def new_bus(self) -> None:
        """A GIC just reset, and RAM just powered on."""
        self.bus = HostBus(self.machine, GuestMemory(RAM_BASE, PARTS * PART_BYTES), self._note)

    # What a driver has of each device, VM and vPE.

    def new_kernel(self) -> None:
        """A driver that has nothing yet."""
        self._events: dict[tuple[int, int], Any] = {}
        self._vms: dict[int, Any] = {}
        self._vpes: dict[int, Any] = {}

    def event(self, its: int, device_id: int, number: int) -> Any:
        """An event of a device, as the driver has it."""
        return self._events[its, device_id][number]

    def vpe(self, vm: int, vcpu: int) -> Any:
        """A vPE, as the driver has it."""
        return self._vpes[vm][vcpu]

    def vm(self, number: int) -> Any:
        """A VM, as the driver has it."""
        return self._vms[number]

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
