# SPDX-License-Identifier: Apache-2.0
"""How the driver sees the hardware: frames of registers by name, and waiting for a bit to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from gicmodel.driver.errors import DriverError
from gicmodel.layouts import Layout
from gicmodel.layouts.registers import INNER_SHAREABLE, NON_CACHEABLE, NON_SHAREABLE, RAWAWB, Register

Fields: TypeAlias = dict[str, int]
Relax: TypeAlias = Callable[[], object]
"""What passes between two reads of a polled register: time. A GIC that runs in steps takes one here."""

_POLLS = 100_000
"""How often a register is read before the driver gives up. Linux reads it for a second."""


class RegisterFace(Protocol):
    """The registers of an ITS or a redistributor, by offset from the start of its first frame."""

    def read(self, offset: int, size: int) -> int: ...

    def write(self, offset: int, value: int, size: int) -> None: ...


class GicPort(Protocol):
    """A GIC, physical or virtual, as far as a driver can touch it."""

    @property
    def its(self) -> Sequence[RegisterFace]: ...

    @property
    def redistributors(self) -> Sequence[RegisterFace]: ...


class Frame:
    """The registers that `architecture` has, by name. `relax` is called between two reads of a polled register."""

    def __init__(self, face: RegisterFace, registers: Iterable[Register], architecture: str, relax: Relax) -> None:
        self._face = face
        self._registers = {register.name: register for register in registers if architecture in register.architectures}
        self._relax = relax

    def layout(self, name: str) -> Layout:
        """The layout of register `name`."""
        return self._registers[name].layout

    def read(self, name: str) -> int:
        """The value of register `name`, read as wide as the register is."""
        register = self._registers[name]
        return self._face.read(register.offset, register.bits // 8)

    def write(self, name: str, value: int) -> None:
        """Write all of register `name`."""
        register = self._registers[name]
        self._face.write(register.offset, value, register.bits // 8)

    def fields(self, name: str) -> Fields:
        """The fields of register `name`, read once."""
        return self.layout(name).unpack(self.read(name))

    def update(self, name: str, **fields: int) -> None:
        """Read register `name` and write it with some fields replaced."""
        self.write(name, self.layout(name).pack(**(self.fields(name) | fields)))

    def program(self, name: str, **fields: int) -> int:
        """Write a table's register as Linux does, and return what was written last.

        Inner Shareable and Read-allocate, Write-allocate, Write-back; where the register then reads as Non-shareable,
        the GIC does not snoop, and the table must be Non-cacheable.
        """
        attributes = {"InnerCache": RAWAWB, "Shareability": INNER_SHAREABLE}
        value = self.layout(name).pack(**(attributes | fields))
        self.write(name, value)
        if self.fields(name)["Shareability"] == NON_SHAREABLE:
            attributes = {"InnerCache": NON_CACHEABLE, "Shareability": NON_SHAREABLE}
            value = self.layout(name).pack(**(fields | attributes))
            self.write(name, value)
        return value

    def poll(self, name: str, until: Callable[[Fields], bool]) -> Fields:
        """The fields of register `name` once they are as wanted. DriverError ETIMEDOUT if they never are."""
        for _ in range(_POLLS):
            if until(fields := self.fields(name)):
                return fields
            self._relax()
        raise DriverError("ETIMEDOUT", f"{name} stays {self.read(name):#x}")
