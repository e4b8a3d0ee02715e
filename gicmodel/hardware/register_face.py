# SPDX-License-Identifier: Apache-2.0
"""How a bus access reaches a register: widths, halves, read-only, write-only and reserved locations.

DDI0601: a 32-bit register takes 32-bit accesses; a 64-bit register takes 64-bit accesses and either half of it alone;
what is not there reads as zero, ignores writes, and is noted in STATUSR.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.its import GITS_STATUSR
from gicmodel.layouts.registers.register import Register

HALF_BITS = 32
HALF_MASK = (1 << HALF_BITS) - 1
READ_RESERVED, WRITE_RESERVED, READ_OF_WO, WRITE_OF_RO = (
    GITS_STATUSR.pack(**{name: 1}) for name in ("RRD", "WRD", "RWOD", "WROD")
)
"""GITS_STATUSR and GICR_STATUSR share these bits."""
MPAM_SIZES = {"PMGmax": 1, "PARTIDmax": 63}
"""The fields of GITS_MPAMIDR and GICR_MPAMIDR."""


class Access(NamedTuple):
    """A register and the part of it that an access touches: `shift` 32 for the upper half."""

    name: str
    rights: str
    shift: int
    mask: int
    whole: bool


class RegisterFace(ABC):
    """A frame of registers. Subclasses read and write whole registers by name.

    Their methods `_read_x` and `_write_x` are for register x; without the former it reads as it is stored.
    """

    def __init__(self, registers: tuple[Register, ...], architecture: str, whole_only: frozenset[str]) -> None:
        self._accesses = _accesses(registers, architecture, whole_only)
        self._readers = _methods(type(self), "_read_", registers)
        self._writers = _methods(type(self), "_write_", registers)

    def read(self, offset: int, size: int = 8) -> int:
        """What a read of `size` bytes (4 or 8) at `offset` returns; 0 where there is nothing to read."""
        access = self._accesses.get((offset, size))
        if access is None:
            self._missed(offset, READ_RESERVED)
            return 0
        name, rights, shift, mask, _ = access
        if rights == "WO":
            self._note(READ_OF_WO)
            return 0
        return (self._get(name) >> shift) & mask

    def write(self, offset: int, value: int, size: int = 8) -> None:
        """A write of `size` bytes (4 or 8; 2 for a register that takes it) of `value` at `offset`."""
        access = self._accesses.get((offset, size))
        if access is None:
            self._missed(offset, WRITE_RESERVED)
            return
        name, rights, _, mask, whole = access
        if rights == "RO":
            self._note(WRITE_OF_RO)
        elif whole:
            self._set(name, value & mask)
        else:
            self._set(name, self._merge(access, value & mask))

    def _merge(self, access: Access, value: int) -> int:
        """The whole register after writing half of it; a write-only register is zero-extended."""
        old = 0 if access.rights == "WO" else self._kept(access.name)
        return (old & ~(HALF_MASK << access.shift)) | (value << access.shift)

    def _kept(self, name: str) -> int:
        """What a write of half a register leaves in the other half: what it reads as, and its write-only bits."""
        return self._get(name)

    def _missed(self, offset: int, statusr_bit: int) -> None:
        """An access to a location where there is no register."""
        self._note(statusr_bit)

    @abstractmethod
    def _get(self, name: str) -> int:
        """What a register that is not write-only reads as."""

    @abstractmethod
    def _set(self, name: str, value: int) -> None:
        """Write a register that is not read-only."""

    @abstractmethod
    def _note(self, statusr_bit: int) -> None:
        """Set a bit of STATUSR."""


def _accesses(
    registers: tuple[Register, ...], architecture: str, whole_only: frozenset[str]
) -> dict[tuple[int, int], Access]:
    """What an access of (offset, bytes) reaches. A register has precedence over a half of its neighbour."""
    found: dict[tuple[int, int], Access] = {}
    halves: dict[tuple[int, int], Access] = {}
    for entry in registers:
        if architecture not in entry.architectures:
            continue
        found[entry.offset, entry.bits // 8] = Access(entry.name, entry.access, 0, (1 << entry.bits) - 1, True)
        if entry.bits == 2 * HALF_BITS and entry.name not in whole_only:
            for shift in (0, HALF_BITS):
                access = Access(entry.name, entry.access, shift, HALF_MASK, False)
                halves[entry.offset + shift // 8, HALF_BITS // 8] = access
    return halves | found


def _methods(face: type, prefix: str, registers: tuple[Register, ...]) -> dict[str, Callable[..., Any]]:
    """The methods of a face that are named for a register, by its name."""
    named = ((entry.name, prefix + entry.name.partition("_")[2].lower()) for entry in registers)
    return {name: getattr(face, method) for name, method in named if hasattr(face, method)}


def field_mask(layout: Layout, *, without: tuple[str, ...] = ()) -> int:
    """The bits of a register that software can change: its named fields except `without`."""
    names = (name for name in layout.fields if name not in without)
    return sum(int(layout[name].mask) << int(layout[name].shift) for name in names)


def changed(old: int, value: int, mask: int) -> int:
    """`old` with the bits of the mask taken from `value`."""
    return (old & ~mask) | (value & mask)
