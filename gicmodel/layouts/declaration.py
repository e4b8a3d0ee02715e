# SPDX-License-Identifier: Apache-2.0
"""The fields that layouts are declared with: constructs, most significant bit first like the Arm manuals' diagrams.

Each is a named subconstruct of a `construct.BitStruct`, made by a helper for what tables and registers need: a default,
and addresses whose low bits are implied. One made by hand, such as `"Size" / BitsInteger(5) * "text"`, serves as well.
"""

from typing import NamedTuple, TypeAlias

import construct

RESERVED = ("RES0", "RES1", "IMPDEF")

Declared: TypeAlias = construct.Construct
"""One field."""


class Span(NamedTuple):
    """The bits [high:low] of one word that a field occupies; it holds the value's bits from `scale` up."""

    name: str
    word: int
    high: int
    low: int
    scale: int
    doc: str

    @property
    def bits(self) -> int:
        return self.high - self.low + 1

    @property
    def reserved(self) -> str:
        """`RES0`, `RES1` or `IMPDEF`; empty for a field that has a name."""
        return self.name[1:].split("_")[0].upper() if self.name.startswith("_") else ""


def Bits(name: str, bits: int, doc: str = "", default: int = 0) -> Declared:
    """An unsigned integer of `bits` bits."""
    return name / construct.Default(construct.BitsInteger(bits), default) * doc


def Flag(name: str, doc: str = "") -> Declared:
    """A single bit."""
    return name / construct.Default(construct.Flag, False) * doc


def Address(name: str, high: int, low: int, doc: str = "") -> Declared:
    """Bits [high:low] of a value whose lower bits are zero, such as an address; read and built as the whole value."""
    stored = construct.BitsInteger(high - low + 1)
    scaled = construct.ExprAdapter(stored, lambda bits, _: bits << low, lambda value, _: value >> low)
    scaled.scale = low
    return name / construct.Default(scaled, 0) * doc


def RES0(bits: int) -> Declared:
    """Bits that software writes as zero."""
    return Bits("RES0", bits)


def RES1(bits: int) -> Declared:
    """Bits that software writes as one."""
    return Bits("RES1", bits, default=(1 << bits) - 1)


def IMPDEF(bits: int) -> Declared:
    """Bits whose meaning is IMPLEMENTATION DEFINED."""
    return Bits("IMPDEF", bits)


def default_of(field: Declared) -> int:
    """The value of a field that is not given."""
    return int(_inner(field, "value", 0))


def scale_of(field: Declared) -> int:
    """How many of the value's low bits are implied zero."""
    return int(_inner(field, "scale", 0))


def _inner(field: Declared, attribute: str, otherwise: int) -> int:
    """The attribute of the construct around the bits that has it: a name wraps a default, which wraps a scale."""
    while field is not None:
        if attribute in vars(field):
            return int(vars(field)[attribute])
        field = vars(field).get("subcon")
    return otherwise
