# SPDX-License-Identifier: Apache-2.0
"""Registers by name: which there are, and those of a frame."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.distributor import DISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.guest import GUEST_REGISTERS
from gicmodel.layouts.registers.its import ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import REDISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.register import Register

REGISTERS = (*ITS_REGISTERS, *REDISTRIBUTOR_REGISTERS, *DISTRIBUTOR_REGISTERS, *GUEST_REGISTERS)


@cache
def register(name: str, architecture: str = "4.1") -> Register:
    """The register of that name, as architecture "3", "4.0" or "4.1" has it.

    Raises:
        KeyError: the architecture has no such register.
    """
    for candidate in REGISTERS:
        if candidate.name == name and architecture in candidate.architectures:
            return candidate
    raise KeyError(f"GICv{architecture} has no register {name}")


class RegisterFrame(Protocol):
    """The registers of a distributor, redistributor or ITS by offset in bytes, as accesses of `size` bytes see them."""

    def read(self, offset: int, size: int) -> int: ...

    def write(self, offset: int, value: int, size: int) -> None: ...


class NamedRegisters:
    """The registers of a frame by name, as `architecture` has them; an access is as wide as the register.

    KeyError from any method: the architecture has no such register.
    """

    def __init__(self, frame: RegisterFrame, architecture: str) -> None:
        self.architecture = architecture
        self._frame = frame

    def layout(self, name: str) -> Layout:
        """The layout of a register."""
        return register(name, self.architecture).layout

    def read(self, name: str) -> int:
        """The value of a register."""
        entry = register(name, self.architecture)
        return self._frame.read(entry.offset, entry.bits // 8)

    def write(self, name: str, value: int) -> None:
        """Write a register."""
        entry = register(name, self.architecture)
        self._frame.write(entry.offset, value, entry.bits // 8)

    def fields(self, name: str) -> dict[str, int]:
        """The fields of a register, read once."""
        return self.layout(name).unpack(self.read(name))

    def set(self, name: str, **fields: int) -> None:
        """Write a register: these fields, and 0 in the others."""
        self.write(name, self.layout(name).pack(**fields))

    def update(self, name: str, **fields: int) -> None:
        """Read a register, and write it with these fields replaced."""
        self.write(name, self.layout(name).pack(**(self.fields(name) | fields)))
