# SPDX-License-Identifier: Apache-2.0
"""Registers by name: which there are, and those of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Protocol

from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.cpu_interface import CPU_INTERFACE_REGISTERS
from gicmodel.layouts.registers.distributor import DISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.its import BASERS, ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import REDISTRIBUTOR_REGISTERS, SGI_REGISTERS
from gicmodel.layouts.registers.register import Register, SystemRegister
from gicmodel.layouts.registers.virtual_interface import GUEST_INTERFACE_REGISTERS, HYPERVISOR_REGISTERS

REGISTERS = (*ITS_REGISTERS, *REDISTRIBUTOR_REGISTERS, *SGI_REGISTERS, *DISTRIBUTOR_REGISTERS)
"""The memory-mapped registers."""
SYSTEM_REGISTERS = (*CPU_INTERFACE_REGISTERS, *GUEST_INTERFACE_REGISTERS, *HYPERVISOR_REGISTERS)
"""The system registers."""

ITS_NAMES = ("CTLR", "IIDR", "TYPER", "CBASER", "CWRITER", "CREADR", *(f"BASER{n}" for n in range(BASERS)))
REDISTRIBUTOR_NAMES = ("CTLR", "TYPER", "PROPBASER", "PENDBASER")
"""Registers that describe the tables in RAM: they go with an image of it."""


@cache
def registers_of(architecture: str) -> Mapping[str, Register]:
    """The registers that architecture "3", "4.0" or "4.1" has, by name."""
    return {entry.name: entry for entry in REGISTERS if architecture in entry.architectures}


@cache
def _places_of(architecture: str) -> Mapping[str, tuple[int, int]]:
    """The offset of each register, and its bytes."""
    return {name: (entry.offset, entry.bits // 8) for name, entry in registers_of(architecture).items()}


def register(name: str, architecture: str = "4.1") -> Register:
    """The register of that name, as architecture "3", "4.0" or "4.1" has it.

    Raises:
        KeyError: the architecture has no such register.
    """
    try:
        return registers_of(architecture)[name]
    except KeyError:
        raise KeyError(f"GICv{architecture} has no register {name}") from None


@cache
def system_register(name: str) -> SystemRegister:
    """The system register of that name.

    Raises:
        KeyError: there is none.
    """
    for entry in SYSTEM_REGISTERS:
        if entry.name == name:
            return entry
    raise KeyError(f"there is no system register {name}")


def encoding(name: str) -> int:
    """How MRS and MSR name a system register: op0 << 14 | op1 << 11 | CRn << 7 | CRm << 3 | op2; errors as above."""
    return system_register(name).encoding


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
        self._registers = registers_of(architecture)
        self._places = _places_of(architecture)

    def layout(self, name: str) -> Layout:
        """The layout of a register."""
        return self._registers[name].layout

    def read(self, name: str) -> int:
        """The value of a register."""
        offset, size = self._places[name]
        return self._frame.read(offset, size)

    def write(self, name: str, value: int) -> None:
        """Write a register."""
        offset, size = self._places[name]
        self._frame.write(offset, value, size)

    def fields(self, name: str) -> dict[str, int]:
        """The fields of a register, read once."""
        return self._registers[name].layout.unpack(self.read(name))

    def set(self, name: str, **fields: int) -> None:
        """Write a register: these fields, and 0 in the others."""
        self.write(name, self._registers[name].layout.pack(**fields))

    def update(self, name: str, **fields: int) -> None:
        """Read a register, and write it with these fields replaced."""
        self.set(name, **(self.fields(name) | fields))


def read_frame(frame: RegisterFrame, prefix: str, names: Iterable[str], architecture: str) -> dict[str, int]:
    """The named registers of a frame; in the architecture their names have `prefix` before them."""
    registers = NamedRegisters(frame, architecture)
    return {name: registers.read(f"{prefix}_{name}") for name in names}
