# SPDX-License-Identifier: Apache-2.0
"""The fields that layouts are declared with, most significant bit first like the diagrams of the Arm architecture.

A field is its construct, made when bytes are first parsed or built with it: to import construct takes longer than to
read a dump, which needs the shifts and masks only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from construct import Construct

RESERVED = ("RES0", "RES1", "IMPDEF")


class Declared(NamedTuple):
    """One field: `bits` stored bits, which are those of the value from `scale` up."""

    name: str
    bits: int
    doc: str
    default: int = 0
    scale: int = 0
    flag: bool = False

    def construct(self) -> Construct:
        """The field for `construct.BitStruct`."""
        import construct

        stored = construct.Flag if self.flag else construct.BitsInteger(self.bits)
        if self.scale:
            scale = self.scale
            stored = construct.ExprAdapter(stored, lambda value, _: value << scale, lambda value, _: value >> scale)
        return self.name / construct.Default(stored, self.default) * self.doc


def Bits(name: str, bits: int, doc: str = "", default: int = 0) -> Declared:
    """An unsigned integer of `bits` bits."""
    return Declared(name, bits, doc, default)


def Flag(name: str, doc: str = "") -> Declared:
    """A single bit."""
    return Declared(name, 1, doc, flag=True)


def Address(name: str, high: int, low: int, doc: str = "") -> Declared:
    """Bits [high:low] of a value whose lower bits are zero, such as an address; read and built as the whole value."""
    return Declared(name, high - low + 1, doc, scale=low)


def RES0(bits: int) -> Declared:
    """Bits that software writes as zero."""
    return Bits("RES0", bits)


def RES1(bits: int) -> Declared:
    """Bits that software writes as one."""
    return Bits("RES1", bits, default=(1 << bits) - 1)


def IMPDEF(bits: int) -> Declared:
    """Bits whose meaning is IMPLEMENTATION DEFINED."""
    return Bits("IMPDEF", bits)
