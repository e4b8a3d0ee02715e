# SPDX-License-Identifier: Apache-2.0
"""How the driver sees the hardware: registers by name, set as Linux sets them, and waiting for a bit to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from gicmodel.driver.errors import DriverError
from gicmodel.layouts.registers.by_name import NamedRegisters, RegisterFrame
from gicmodel.layouts.registers.register import INNER_SHAREABLE, NON_CACHEABLE, NON_SHAREABLE, RAWAWB

Fields: TypeAlias = dict[str, int]
Relax: TypeAlias = Callable[[], object]
"""What passes between two reads of a polled register: time. A GIC that runs in steps takes one here."""

_POLLS = 100_000
"""How often a register is read before the driver gives up. Linux reads it for a second."""


class GicPort(Protocol):
    """A GIC, physical or virtual, as far as a driver can touch it."""

    @property
    def its(self) -> Sequence[RegisterFrame]: ...

    @property
    def redistributors(self) -> Sequence[RegisterFrame]: ...


class DriverRegisters(NamedRegisters):
    """The registers of an ITS or a redistributor. `relax` is called between two reads of a polled register."""

    def __init__(self, frame: RegisterFrame, architecture: str, relax: Relax) -> None:
        super().__init__(frame, architecture)
        self._relax = relax

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
