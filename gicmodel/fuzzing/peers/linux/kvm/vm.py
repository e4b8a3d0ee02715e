# SPDX-License-Identifier: Apache-2.0
"""What the two sides have in common: each does the events of a `VirtualMachine`, and shows its state.

`unforward` and `change_route` get the route of the host interrupt first: ITS, DeviceID, EventID.

An event comes to what a guest or userspace gets: a value, `OK`, the name of an errno, or how the host kernel died.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_BYTES, VirtualMachine
from gicmodel.fuzzing.programs.program import CommandWords

State = dict[str, Any]
Calls = dict[str, Callable[..., object]]
"""By the verb of an event what does it, with the event's values."""

OK, OOPS, STORM = "OK", "OOPS", "STORM"
_FACES = ("its", "rd", "dist")


class Vm(ABC):
    """One side: `ram` is its guest's, uint8 [RAM_BYTES]."""

    ram: NDArray[np.uint8]

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine

    def calls(self) -> Calls:
        """What does the events that are no accesses of registers; each side adds its own."""
        return {
            "boot": self.boot,
            "create": self.create,
            "poke": lambda address, value: self.store(address, value.to_bytes(8, "little")),
            "poke_byte": lambda address, byte: self.store(address, bytes([byte])),
            "fill": lambda address, length, byte: self.store(address, bytes([byte]) * length),
        }

    def do(self, verb: str, *values: int) -> object:
        """What an event comes to. Of a value that is written the lower `size` bytes count."""
        face, _, access = verb.partition("_")
        if face not in _FACES:
            return self.calls()[verb](*values)
        number, offset, *rest = values if face != "dist" else (0, *values)
        if access == "write":
            value, size = rest
            rest = [value & (1 << 8 * size) - 1, size]
        return self.access(access, face, number, offset, *rest)

    def boot(self) -> object:
        """A new VM whose GIC is initialised."""
        created = self.create()
        return created if (initialised := self.do("initialise")) == OK else initialised

    @abstractmethod
    def create(self) -> object:
        """A new VM, whose RAM is zero."""

    @abstractmethod
    def command(self, its: int, words: CommandWords) -> object:
        """Execute a command that is in no queue."""

    @abstractmethod
    def access(self, access: str, face: str, number: int, offset: int, *rest: int) -> object:
        """`read` a register of so many bytes as the guest, or `write` a value to it; `user_read` or `user_write` it."""

    def store(self, address: int, octets: bytes) -> object:
        """Stores to RAM; nothing happens outside."""
        offset = address - RAM_BASE
        if 0 <= offset <= RAM_BYTES - len(octets):
            self.ram[offset : offset + len(octets)] = np.frombuffer(octets, np.uint8)
        return OK

    @abstractmethod
    def state(self) -> State:
        """Registers, devices, events, collections, LPIs, SGIs, and what is to be delivered."""

    @abstractmethod
    def state_of_host(self) -> State:
        """Which host interrupts feed which vLPIs, what is pending in VPTs, what the driver was asked for."""

    @abstractmethod
    def take_dirty(self) -> NDArray[np.bool_]:
        """The pages of RAM that KVM has marked dirty since the last call, bool [pages]."""
