# SPDX-License-Identifier: Apache-2.0
"""What a register is besides its bits: where a memory-mapped one lies, or how MRS and MSR name a system register."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from gicmodel.config import ARCHITECTURES
from gicmodel.layouts.declaration import RES0, Bits, Declared, Flag
from gicmodel.layouts.layout import Layout

GICV4_1 = ("4.1",)
Access = Literal["RW", "RO", "WO"]
NO_RESET: Mapping[str, int] = MappingProxyType({})

# The attributes of the memory that a register points at.
INNER_CACHE = Bits("InnerCache", 3, "Inner cacheability")
OUTER_CACHE = Bits("OuterCache", 3, "Outer cacheability, 0: as InnerCache")
SHAREABILITY = Bits("Shareability", 2, "0: not, 1: inner, 2: outer shareable")
NON_SHAREABLE, INNER_SHAREABLE, OUTER_SHAREABLE = 0, 1, 2
"""Shareability."""
NON_CACHEABLE, RAWB, RAWAWB = 1, 3, 7
"""InnerCache: Normal memory that is not cached, or that is cached and written back."""
SAME_AS_INNER = 0
"""OuterCache."""


class Register(NamedTuple):
    """Where a register lies, who may access it, and what it holds after reset.

    `offset` counts bytes from the base of the ITS, redistributor or distributor. `reset` holds the fields that the
    architecture resets; every other field is UNKNOWN or given by the implementation.
    """

    name: str
    offset: int
    access: Access
    layout: Layout
    architectures: tuple[str, ...] = ARCHITECTURES
    reset: Mapping[str, int] = NO_RESET

    @property
    def bits(self) -> int:
        """The width, 32 or 64."""
        return self.layout.bits


class SystemRegister(NamedTuple):
    """The encoding of a system register, who may access it, and what it holds after reset.

    `reset` holds the fields that the architecture resets; every other field is UNKNOWN or given by the implementation.
    """

    name: str
    encoding: int
    access: Access
    layout: Layout
    reset: Mapping[str, int] = NO_RESET


def packed(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """An encoding as one number of 16 bits, as KVM's `sys_reg` ioctls and ESR_ELx.ISS order its fields."""
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


def numbered(first: int, layout: Layout, numbers: Iterable[int], **reset: int) -> tuple[Register, ...]:
    """Registers n of a layout; number 0 is, or would be, at offset `first`."""
    return tuple(Register(f"{layout.name}{n}", first + layout.bytes * n, "RW", layout, reset=reset) for n in numbers)


def register32(name: str, doc: str, *subcons: Declared) -> Layout:
    """The layout of a 32-bit register."""
    return Layout(name, *subcons, words=(32,), doc=doc)


def register64(name: str, doc: str, *subcons: Declared) -> Layout:
    """The layout of a 64-bit register."""
    return Layout(name, *subcons, doc=doc)


def iidr(name: str, of: str, revision: str = "Minor revision") -> Layout:
    """The implementer identification of a distributor, redistributor or ITS."""
    return register32(
        name,
        f"{of} implementer identification",
        Bits("ProductID", 8, "Product"),
        RES0(4),
        Bits("Variant", 4, "Major revision"),
        Bits("Revision", 4, revision),
        Bits("Implementer", 12, "JEP106 code, 0x43B for Arm"),
    )


def statusr(name: str, of: str, above: tuple[Declared, ...] = (RES0(28),)) -> Layout:
    """The error report of a distributor, redistributor or ITS; `above` is what bits 31 to 4 are."""
    return register32(
        name,
        f"{of} error report; a bit is cleared by writing 1",
        *above,
        Flag("WROD", "A read-only register was written"),
        Flag("RWOD", "A write-only register was read"),
        Flag("WRD", "A reserved location was written"),
        Flag("RRD", "A reserved location was read"),
    )


def priorities(name: str) -> Layout:
    """Priorities, which can be accessed byte by byte."""
    return register32(
        name,
        "Priorities of four interrupts",
        *(Bits(f"Priority_offset_{n}B", 8, f"Priority of interrupt 4 * register + {n}") for n in (3, 2, 1, 0)),
    )


def two_bits_each(name: str, doc: str) -> Layout:
    """Two bits for each of 16 interrupts."""
    return register32(name, doc, Bits("bits", 32, "Bits 2x + 1 and 2x: interrupt 16 * n + x"))


def mpamidr(name: str, of: str) -> Layout:
    """The memory partitioning of a redistributor or ITS."""
    return register32(
        name,
        f"Memory partitioning sizes of the {of}",
        RES0(8),
        Bits("PMGmax", 8, "Highest PMG"),
        Bits("PARTIDmax", 16, "Highest PARTID"),
    )


def partidr(name: str, of: str) -> Layout:
    """The memory partition that a redistributor or ITS belongs to."""
    return register32(
        name,
        f"Memory partition of the {of}'s accesses",
        RES0(8),
        Bits("PMG", 8, "Performance monitoring group"),
        Bits("PARTID", 16, "Partition"),
    )
