# SPDX-License-Identifier: Apache-2.0
"""How a bus access reaches a register: widths, halves, read-only, write-only and reserved locations.

DDI0601: a 32-bit register takes 32-bit accesses; a 64-bit register takes 64-bit accesses and either half of it alone;
what is not there reads as zero, ignores writes, and is noted in STATUSR.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers import GITS_STATUSR, Register

HALF_BITS = 32
HALF_MASK = (1 << HALF_BITS) - 1
READ_RESERVED, WRITE_RESERVED, READ_OF_WO, WRITE_OF_RO = (
    GITS_STATUSR.pack(**{name: 1}) for name in ("RRD", "WRD", "RWOD", "WROD")
)
"""GITS_STATUSR and GICR_STATUSR share these bits."""


class Access(NamedTuple):
    """A register and the part of it that an access touches: `shift` 32 for the upper half."""

    register: Register
    shift: int
    bits: int


class RegisterFace(ABC):
    """A frame of registers. Subclasses read and write whole registers by name."""

    def __init__(self, registers: tuple[Register, ...], architecture: str, whole_only: frozenset[str]) -> None:
        self._registers = {entry.offset: entry for entry in registers if architecture in entry.architectures}
        self._whole_only = whole_only

    def read(self, offset: int, size: int = 8) -> int:
        """What a read of `size` bytes (4 or 8) at `offset` returns; 0 where there is nothing to read."""
        access = self._find(offset, size)
        if access is None:
            self._note(READ_RESERVED)
            return 0
        if access.register.access == "WO":
            self._note(READ_OF_WO)
            return 0
        return (self._get(access.register.name) >> access.shift) & ((1 << access.bits) - 1)

    def write(self, offset: int, value: int, size: int = 8) -> None:
        """A write of `size` bytes (4 or 8; 2 for a register that takes it) of `value` at `offset`."""
        access = self._find(offset, size)
        if access is None:
            self._note(WRITE_RESERVED)
        elif access.register.access == "RO":
            self._note(WRITE_OF_RO)
        else:
            self._set(access.register.name, self._merge(access, value & ((1 << (8 * size)) - 1)))

    def _find(self, offset: int, size: int) -> Access | None:
        found = self._registers.get(offset)
        if found is not None and found.bits == 8 * size:
            return Access(found, 0, found.bits)
        if size != HALF_BITS // 8:
            return None
        shift = 0 if found is not None else HALF_BITS
        found = found or self._registers.get(offset - size)
        if found is None or found.bits != 2 * HALF_BITS or found.name in self._whole_only:
            return None
        return Access(found, shift, HALF_BITS)

    def _merge(self, access: Access, value: int) -> int:
        """The whole register after writing a part; a write-only register is zero-extended."""
        if access.bits == access.register.bits:
            return value
        old = 0 if access.register.access == "WO" else self._kept(access.register.name)
        return (old & ~(HALF_MASK << access.shift)) | (value << access.shift)

    def _kept(self, name: str) -> int:
        """What a write of half a register leaves in the other half: what it reads as, and its write-only bits."""
        return self._get(name)

    @abstractmethod
    def _get(self, name: str) -> int:
        """What a register that is not write-only reads as."""

    @abstractmethod
    def _set(self, name: str, value: int) -> None:
        """Write a register that is not read-only."""

    @abstractmethod
    def _note(self, statusr_bit: int) -> None:
        """Set a bit of STATUSR."""


def field_mask(layout: Layout, *, without: tuple[str, ...] = ()) -> int:
    """The bits of a register that software can change: its named fields except `without`."""
    names = (name for name in layout.fields if name not in without)
    return sum(int(layout[name].mask) << int(layout[name].shift) for name in names)


def changed(old: int, value: int, mask: int) -> int:
    """`old` with the bits of the mask taken from `value`."""
    return (old & ~mask) | (value & mask)
