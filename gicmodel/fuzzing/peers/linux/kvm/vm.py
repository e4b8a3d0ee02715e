# SPDX-License-Identifier: Apache-2.0
"""What the two sides have in common: a method for each event of `KvmNotation`, and `state`.

A method returns what a guest or userspace gets: a value, `OK`, the name of an errno, or how the host kernel died of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_BYTES, VirtualMachine
from gicmodel.fuzzing.programs.program import CommandWords

State = dict[str, Any]

OK, OOPS, STORM = "OK", "OOPS", "STORM"


Face = Literal["its", "rd", "dist"]


class Vm(ABC):
    """One side: `ram` is its guest's, uint8 [RAM_BYTES]."""

    ram: NDArray[np.uint8]

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine

    def boot(self) -> object:
        """A new VM whose GIC is initialised."""
        created = self.create()
        return created if (initialised := self.initialise()) == OK else initialised

    @abstractmethod
    def create(self) -> object:
        """A new VM, whose RAM is zero."""

    @abstractmethod
    def initialise(self) -> object:
        """KVM_DEV_ARM_VGIC_CTRL_INIT."""

    @abstractmethod
    def state(self) -> State:
        """Registers, devices, events, collections, LPIs, SGIs, and what is to be delivered."""

    @abstractmethod
    def state_of_host(self) -> State:
        """Which host interrupts feed which vLPIs, what is pending in VPTs, what the driver was asked for."""

    @abstractmethod
    def take_dirty(self) -> NDArray[np.bool_]:
        """The pages of RAM that KVM has marked dirty since the last call, bool [pages]."""

    # Stores of the guest.

    def store(self, address: int, octets: bytes) -> object:
        """Stores to RAM; nothing happens outside."""
        offset = address - RAM_BASE
        if 0 <= offset <= RAM_BYTES - len(octets):
            self.ram[offset : offset + len(octets)] = np.frombuffer(octets, np.uint8)
        return OK

    def poke(self, address: int, value: int) -> object:
        """A store of 64 bits."""
        return self.store(address, value.to_bytes(8, "little"))

    def poke_byte(self, address: int, byte: int) -> object:
        """A store of 8 bits."""
        return self.store(address, bytes([byte]))

    def fill(self, address: int, length: int, byte: int) -> object:
        """Stores of `length` bytes."""
        return self.store(address, bytes([byte]) * length)

    # Registers.

    @abstractmethod
    def read(self, face: Face, number: int, offset: int, size: int) -> object:
        """What the guest reads."""

    @abstractmethod
    def write(self, face: Face, number: int, offset: int, value: int, size: int) -> object:
        """What the guest writes, of which the lower `size` bytes count."""

    @abstractmethod
    def user_read(self, face: Face, number: int, attribute: int) -> object:
        """KVM_GET_DEVICE_ATTR."""

    @abstractmethod
    def user_write(self, face: Face, number: int, attribute: int, value: int) -> object:
        """KVM_SET_DEVICE_ATTR."""

    # The guest, and its vCPUs.

    @abstractmethod
    def command(self, its: int, words: CommandWords) -> object:
        """Execute a command that is in no queue."""

    @abstractmethod
    def send_sgi(self, vcpu: int, sgi: int) -> object:
        """A vCPU writes ICC_SGI1R_EL1."""

    @abstractmethod
    def sync(self, vcpu: int) -> object:
        """A vCPU leaves its guest for a moment."""

    @abstractmethod
    def take(self, vcpu: int) -> object:
        """The INTIDs, ascending, that a vCPU takes, which is all that software has to deliver to it."""

    @abstractmethod
    def load(self, vcpu: int) -> object:
        """A vCPU that is out begins to run."""

    @abstractmethod
    def put(self, vcpu: int, wfi: int) -> object:
        """A vCPU that runs stops."""

    # Userspace and devices.

    @abstractmethod
    def save_tables(self, its: int) -> object:
        """KVM_DEV_ARM_ITS_SAVE_TABLES."""

    @abstractmethod
    def restore_tables(self, its: int) -> object:
        """KVM_DEV_ARM_ITS_RESTORE_TABLES."""

    @abstractmethod
    def reset(self, its: int) -> object:
        """KVM_DEV_ARM_ITS_CTRL_RESET."""

    @abstractmethod
    def save_pending_tables(self, lpi_by_lpi: int) -> object:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES; the model has two ways."""

    @abstractmethod
    def msi(self, its: int, device_id: int, event_id: int) -> object:
        """KVM_SIGNAL_MSI."""

    @abstractmethod
    def forward(self, its: int, device_id: int, event_id: int, irq: int) -> object:
        """An MSI route and a host interrupt belong together."""

    @abstractmethod
    def unforward(self, irq: int) -> object:
        """They do not any more."""

    @abstractmethod
    def change_route(self, its: int, device_id: int, event_id: int, irq: int) -> object:
        """The MSI route that belongs to a host interrupt leads elsewhere."""

    @abstractmethod
    def device_event(self, irq: int) -> object:
        """A device raises a host interrupt; whether it feeds a vLPI, which is pending then. Else it is the host's."""
