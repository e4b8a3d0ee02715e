# SPDX-License-Identifier: Apache-2.0
"""What every host can do: a method for each event of `HostNotation`.

A method returns what the kernel or its guests get of it: the CPU that an interrupt goes to, INTIDs, a bit; 0 if that is
nothing. `HostFailure` says that a driver has refused what it should do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from gicmodel.fuzzing.peers.linux.driver.bus import HostBus
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.hardware.observe import pending_virtual
from gicmodel.layouts.lpi_tables import FIRST_LPI, intids_of, table_bytes
from gicmodel.memory import GuestMemory

RAM_BASE, PART_BYTES = 0x8000_0000, 64 << 20
PARTS = 16
"""Kernels that can run one after the other without memory of an earlier one."""
_NOTHING = 1023

EventKey = tuple[int, int, int]
"""ITS, DeviceID, EventID."""
VpeKey = tuple[int, int]
"""VM, vCPU."""


class HostFailure(Exception):
    """The driver has refused an operation, or died of it."""


class Host(ABC):
    """A host: `bus` is its GIC, which devices and CPUs use by themselves."""

    bus: HostBus

    def __init__(self, machine: HostMachine, records: bool = False) -> None:
        self.machine = machine
        self._records = records

    def new_bus(self) -> None:
        """A GIC just reset, and RAM just powered on."""
        self.bus = HostBus(self.machine, GuestMemory(RAM_BASE, PARTS * PART_BYTES), self._records)

    # Devices, CPUs and guests, which no driver is asked about.

    def raised(self, its: int, device_id: int, event_id: int) -> bool:
        """A device sends a message: whether it is one."""
        return self.bus.gic.its[its].translate(device_id, event_id) == 0

    def interrupts(self) -> dict[int, list[int]]:
        """Every CPU takes the LPIs that wait for it; the INTIDs by CPU, where there are any."""
        taken = {}
        for cpu, redistributor in enumerate(self.bus.gic.redistributors):
            if intids := list(iter(redistributor.cpu.acknowledge, _NOTHING)):
                taken[cpu] = intids
        return taken

    def taken_by_guest(self, cpu: int) -> list[int]:
        """The guest that runs on a CPU takes all that is for it, the most urgent first."""
        return list(iter(self.bus.gic.redistributors[cpu].cpu.acknowledge_virtual, _NOTHING))

    def pending(self, vm: int, vcpu: int) -> list[int]:
        """What is pending for a vPE, wherever that is kept."""
        return [int(each) for each in pending_virtual(self.bus.gic, self.vpt(vm, vcpu), self._id_bits)]

    def pending_in_ram(self, vm: int, vcpu: int) -> list[int]:
        """The vLPIs that are pending by a VPT in RAM."""
        octets = np.frombuffer(self.bus.gic.memory.read(self.vpt(vm, vcpu), table_bytes(self._id_bits)), np.uint8)
        return [int(each) for each in intids_of(octets) if each >= FIRST_LPI]

    @property
    def _id_bits(self) -> int:
        return min(16, self.machine.config.intid_bits)

    # What a driver is asked.

    @abstractmethod
    def boot(self) -> int: ...

    @abstractmethod
    def add_device(self, its: int, device_id: int, vectors: int) -> list[int]:
        """The INTIDs of its events."""

    @abstractmethod
    def remove_device(self, its: int, device_id: int) -> int: ...

    @abstractmethod
    def request(self, its: int, device_id: int, event_id: int, cpu: int) -> int:
        """The CPU that it goes to, `cpu` if the driver does not choose."""

    @abstractmethod
    def free(self, its: int, device_id: int, event_id: int) -> int: ...

    @abstractmethod
    def affinity(self, its: int, device_id: int, event_id: int, cpu: int) -> int:
        """The CPU that it goes to now."""

    @abstractmethod
    def mask(self, its: int, device_id: int, event_id: int, masked: int) -> int: ...

    @abstractmethod
    def set_pending(self, its: int, device_id: int, event_id: int, pending: int) -> int: ...

    @abstractmethod
    def begin_vm(self, vm: int, vcpus: int) -> list[int]:
        """The doorbells of its vPEs."""

    @abstractmethod
    def end_vm(self, vm: int) -> int: ...

    @abstractmethod
    def unmap_vpes(self, vm: int) -> int:
        """As before a save."""

    @abstractmethod
    def map_vpes(self, vm: int) -> int:
        """As after a save."""

    @abstractmethod
    def forward(self, its: int, device_id: int, event_id: int, vm: int, vcpu: int, vintid: int, byte: int) -> int: ...

    @abstractmethod
    def unforward(self, its: int, device_id: int, event_id: int) -> int: ...

    @abstractmethod
    def configure(self, its: int, device_id: int, event_id: int, byte: int, inv: int) -> int: ...

    @abstractmethod
    def load(self, vm: int, vcpu: int, cpu: int, group0: int) -> int: ...

    @abstractmethod
    def put(self, vm: int, vcpu: int, doorbell: int) -> int:
        """pending_last."""

    @abstractmethod
    def take_doorbell(self, vm: int, vcpu: int) -> int:
        """KVM's handler of the doorbell."""

    @abstractmethod
    def invall(self, vm: int, vcpu: int) -> int: ...

    @abstractmethod
    def begin_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int, group: int, byte: int) -> int: ...

    @abstractmethod
    def end_vsgi(self, vm: int, vcpu: int, sgi: int) -> int: ...

    @abstractmethod
    def set_vsgi(self, vm: int, vcpu: int, sgi: int, group: int, byte: int) -> int: ...

    @abstractmethod
    def enable_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int) -> int: ...

    @abstractmethod
    def set_vsgi_pending(self, vm: int, vcpu: int, sgi: int, pending: int) -> int: ...

    @abstractmethod
    def vsgi_pending(self, vm: int, vcpu: int, sgi: int) -> int: ...

    @abstractmethod
    def vpt(self, vm: int, vcpu: int) -> int:
        """Where a vPE's VPT is."""

    @abstractmethod
    def cpu_of_vpe(self, vm: int, vcpu: int) -> int:
        """The CPU that a vPE is mapped to."""
