# SPDX-License-Identifier: Apache-2.0
"""How an access reaches a register, of the hardware or of KVM's virtual GIC: widths, halves, and what is not there.

DDI0601: a 32-bit register takes 32-bit accesses, one of priorities also accesses to a byte; a 64-bit register takes
64-bit accesses and either half of it alone; what is not there reads as zero, ignores writes, and is noted in STATUSR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

from gicmodel.config import GicConfig
from gicmodel.errors import whole
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.by_name import registers_of
from gicmodel.layouts.registers.its import GITS_STATUSR
from gicmodel.layouts.registers.register import Register

BYTE_BITS, WORD_BITS, DOUBLEWORD_BITS = 8, 32, 64
WORD_MASK = (1 << WORD_BITS) - 1
_SIZES = frozenset({1, 2, 4, 8})
READ_RESERVED, WRITE_RESERVED, READ_OF_WO, WRITE_OF_RO = (
    GITS_STATUSR.pack(**{name: 1}) for name in ("RRD", "WRD", "RWOD", "WROD")
)
"""GITS_STATUSR, GICR_STATUSR and GICD_STATUSR share these bits."""
_REFUSED = READ_RESERVED | WRITE_RESERVED | READ_OF_WO | WRITE_OF_RO
MPAM_SIZES = {"PMGmax": 1, "PARTIDmax": 63}
"""The fields of GITS_MPAMIDR and GICR_MPAMIDR."""


class Handler(NamedTuple):
    """What accesses to a register do: one that cannot be read is write-only, one that cannot be written is read-only.

    Each function is given the face first: a handler belongs to a class, and no `Gic` refers to itself through one.
    `stored` is what a write of one half of a 64-bit register leaves of the other half, where that is not what a read
    shows. `halves` are the bits at which a half begins that can be accessed alone; `octets`: so can each byte.
    """

    read: Callable[[Any], int] | None = None
    write: Callable[[Any, int], object] | None = None
    stored: Callable[[Any], int] | None = None
    halves: tuple[int, ...] = (0, WORD_BITS)
    octets: bool = False

    def kept(self, face: RegisterFace) -> int:
        """The whole register as a write of a half finds it."""
        kept = self.stored or self.read
        return int(kept(face)) if kept else 0


class Access(NamedTuple):
    """A register and the part of it that an access touches: `shift` 32 for the upper half."""

    handler: Handler
    shift: int
    mask: int
    whole: bool


Accesses = Mapping[tuple[int, int], Access]
"""What an access of (offset, bytes) reaches."""


class RegisterFace:
    """Registers, from the start of their first frame; `accesses` are those of `accesses_of`.

    What no bus brings is a ValueError: an access of other than 1, 2, 4 or 8 bytes, a negative offset, a value that has
    not 64 bits.
    """

    def __init__(self, accesses: Accesses) -> None:
        self._accesses = accesses

    def read(self, offset: int, size: int = 8) -> int:
        """What a read of `size` bytes (4 or 8, perhaps 1) at `offset` returns; 0 where there is nothing to read."""
        access = self._accesses.get((offset, size))
        if access is None:
            self._reserved(READ_RESERVED, offset, size)
            return 0
        handler, shift, mask, _ = access
        if handler.read is None:
            self._note(READ_OF_WO, offset)
            return 0
        return (int(handler.read(self)) >> shift) & mask

    def write(self, offset: int, value: int, size: int = 8) -> None:
        """A write of `size` bytes (4 or 8; 1 or 2 for a register that takes it) of `value` at `offset`."""
        if value >> DOUBLEWORD_BITS:
            whole(value, "RegisterFace.write: the value")
        access = self._accesses.get((offset, size))
        if access is None:
            self._reserved(WRITE_RESERVED, offset, size)
            return
        handler, shift, mask, is_whole = access
        if handler.write is None:
            self._note(WRITE_OF_RO, offset)
        elif is_whole:
            handler.write(self, value & mask)
        else:
            handler.write(self, (handler.kept(self) & ~(mask << shift)) | (value & mask) << shift)

    def _reserved(self, statusr_bit: int, offset: int, size: int) -> None:
        """There is no register at `offset`, or none of `size` bytes."""
        check_size(size)
        self._note(statusr_bit, whole(offset, "the offset of an access"))

    def _note(self, statusr_bit: int, offset: int) -> None:
        """The access at `offset` is refused, for the reason that STATUSR has this bit for."""


class MachineFace(RegisterFace):
    """Registers that the hardware keeps: in `_state`, words of the machine, of which STATUSR notes what was refused.

    `place` is what kernels are given first, a machine and what of it; `constants` the registers that are `fixed`;
    `absent` those of HANDLERS that the machine does not have.
    """

    STATUSR: ClassVar[int]
    HANDLERS: ClassVar[Mapping[str, Handler]]

    def __init__(
        self,
        config: GicConfig,
        place: tuple[Any, ...],
        words: memoryview,
        constants: Mapping[str, int],
        absent: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(self._reached(config.architecture, absent))
        self.config = config
        self._place = place
        self._state = words
        self._constants = constants

    @classmethod
    @cache
    def _reached(cls, architecture: str, absent: frozenset[str]) -> Accesses:
        """The accesses of all frames of a kind, of which there may be hundreds."""
        handlers = {name: handler for name, handler in cls.HANDLERS.items() if name not in absent}
        return accesses_of(architecture, handlers)

    def _note(self, statusr_bit: int, offset: int) -> None:
        self._state[self.STATUSR] |= statusr_bit

    def _clear_statusr(self, value: int) -> None:
        """A bit is cleared by writing 1."""
        self._state[self.STATUSR] &= ~(value & _REFUSED)


def check_size(size: int) -> None:
    """ValueError: no access has `size` bytes."""
    if size not in _SIZES:
        raise ValueError(f"an access of {size} bytes: a bus has those of 1, 2, 4 and 8")


def accesses_of(architecture: str, handlers: Mapping[str, Handler]) -> Accesses:
    """The registers of `architecture` with a handler by their name. One has precedence over its neighbour's half."""
    registers = registers_of(architecture)
    handled = [(registers[name], handler) for name, handler in handlers.items() if name in registers]
    whole = {
        (entry.offset, entry.bits // 8): Access(handler, 0, (1 << entry.bits) - 1, True) for entry, handler in handled
    }
    return dict(part for entry, handler in handled for part in _parts(entry, handler)) | whole


def _parts(entry: Register, handler: Handler) -> Iterable[tuple[tuple[int, int], Access]]:
    """The halves and bytes of a register that can be accessed alone."""
    if entry.bits == DOUBLEWORD_BITS:
        for shift in handler.halves:
            yield (entry.offset + shift // 8, WORD_BITS // 8), Access(handler, shift, WORD_MASK, False)
    if handler.octets:
        for shift in range(0, entry.bits, BYTE_BITS):
            yield (entry.offset + shift // 8, 1), Access(handler, shift, (1 << BYTE_BITS) - 1, False)


def fixed(*names: str) -> dict[str, Handler]:
    """Handlers of registers that always read as the face's `_constants` say, by name."""
    return {name: Handler(partial(_constant, name)) for name in names}


def _constant(name: str, face: Any) -> int:
    return int(face._constants[name])


def always(value: int) -> Handler:
    """A register whose bits are all RAO/WI or RAZ/WI."""
    return Handler(lambda face: value, lambda face, written: None)


def word_at(place: int) -> Callable[[Any], int]:
    """How a register is read, or kept, that is the word at `place` of the face's `_state`."""
    return lambda face: face._state[place]


def partid(place: int, layout: Layout) -> Handler:
    """GITS_PARTIDR or GICR_PARTIDR, RES0 without MPAM. Accesses to memory are not partitioned."""
    mask = layout.field_mask()

    def write(face: Any, value: int) -> None:
        if face.config.mpam:
            face._state[place] = value & mask

    return Handler(word_at(place), write)


def changed(old: int, value: int, mask: int) -> int:
    """`old` with the bits of the mask taken from `value`."""
    return (old & ~mask) | (value & mask)
