# SPDX-License-Identifier: Apache-2.0
"""One declaration of the bits of a table entry, command or register, and everything derived from it.

A layout is declared in construct, most significant bit first like the diagrams of the Arm architecture. The shift and
mask constants of kernels, the vectorised NumPy decoder and encoder, and the printed diagram all come from that
declaration; no other module knows a bit position.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import construct
import numpy as np
from construct import Construct, Container
from numpy.typing import ArrayLike, NDArray

from gicmodel.layouts.diagram import draw
from gicmodel.layouts.span import Span

Words: TypeAlias = int | Sequence[int] | NDArray[np.uint64]
_RESERVED = ("RES0", "RES1", "IMPDEF")


class Field(NamedTuple):
    """Where a value lives: ``((words[word] >> shift) & mask) << scale``."""

    word: int
    shift: np.uint64
    mask: np.uint64
    scale: np.uint64


def Bits(name: str, bits: int, doc: str = "", default: int = 0) -> Construct:
    """An unsigned integer of `bits` bits."""
    return name / construct.Default(construct.BitsInteger(bits), default) * doc


def Flag(name: str, doc: str = "") -> Construct:
    """A single bit."""
    return name / construct.Default(construct.Flag, False) * doc


def Address(name: str, high: int, low: int, doc: str = "") -> Construct:
    """Bits [high:low] of a value whose lower bits are zero, such as an address; read and built as the whole value."""
    stored = construct.BitsInteger(high - low + 1)
    whole = construct.ExprAdapter(stored, lambda value, _: value << low, lambda value, _: value >> low)
    return name / construct.Default(whole, 0) * doc


def RES0(bits: int) -> Construct:
    """Bits that software writes as zero."""
    return Bits("RES0", bits)


def RES1(bits: int) -> Construct:
    """Bits that software writes as one."""
    return Bits("RES1", bits, default=(1 << bits) - 1)


def IMPDEF(bits: int) -> Construct:
    """Bits whose meaning is IMPLEMENTATION DEFINED."""
    return Bits("IMPDEF", bits)


class Layout:
    """The bits of a little-endian structure of one or more words.

    Args:
        name: the Arm or Linux name of the structure.
        subcons: the fields, most significant bit first in each word, words in memory order.
        words: the width of each word in bits (8, 16, 32 or 64).
        doc: one line of meaning.

    Raises:
        ValueError: the fields do not fill the words exactly, one crosses a word, or a name occurs twice.
    """

    def __init__(self, name: str, *subcons: Construct, words: tuple[int, ...] = (64,), doc: str = "") -> None:
        self.name = name
        self.doc = doc
        self.word_bits = words
        self.bits = sum(words)
        self.bytes = self.bits // 8
        declared = list(_place(name, subcons, words))
        self.spans = {span.name: span for span, _ in declared}
        if len(self.spans) != len(declared):
            raise ValueError(f"{name}: a field name occurs twice")
        self.construct = construct.Sequence(*(_word(declared, number) for number in range(len(words))))
        self._defaults = self._split(self.construct.build([{}] * len(words)))
        self._places = {name: _place_of(span) for name, span in self.spans.items()}
        self.fields = {name: self[name] for name, span in self.spans.items() if not span.reserved}
        self.dtype = np.dtype([(name, _column(self.spans[name])) for name in self.fields])

    def __repr__(self) -> str:
        return f"<Layout {self.name}, {self.bits} bits>"

    def __getitem__(self, name: str) -> Field:
        """The shift and mask constants of a field.

        Raises:
            KeyError: the layout has no such field.
        """
        word, shift, mask, scale = self._places[name]
        return Field(word, np.uint64(shift), np.uint64(mask), np.uint64(scale))

    def parse(self, data: bytes) -> Container:
        """Every field by name, reserved ones included, as construct reads them.

        Raises:
            ValueError: `data` is not exactly `self.bytes` long.
        """
        if len(data) != self.bytes:
            raise ValueError(f"{self.name}: {len(data)} bytes where an entry has {self.bytes}")
        words = self.construct.parse(data)
        return Container({name: value for word in words for name, value in word.items() if name != "_io"})

    def build(self, **fields: int) -> bytes:
        """The bytes of an entry; a field not given is 0 (RES1: all ones).

        Raises:
            ValueError: no such field, or a value that its field cannot hold.
        """
        for name, value in fields.items():
            self._stored(name, value)
        return bytes(self.construct.build([fields] * len(self.word_bits)))

    def pack_words(self, **fields: int) -> tuple[int, ...]:
        """The words of an entry in memory order; defaults and errors as `build`."""
        words = list(self._defaults)
        for name, value in fields.items():
            stored = self._stored(name, value)
            word, shift, mask, _ = self._places[name]
            words[word] = words[word] & ~(mask << shift) | stored << shift
        return tuple(words)

    def pack(self, **fields: int) -> int:
        """The word of a one-word entry; defaults and errors as `build`."""
        (word,) = self.pack_words(**fields)
        return word

    def unpack(self, words: Words) -> dict[str, int]:
        """The named fields of an entry given as its word, or as the sequence of its words."""
        values = self._words(words)
        return {name: self._read(name, values) for name in self.fields}

    def res0_violations(self, words: Words) -> dict[str, int]:
        """The RES0 fields of an entry that are not zero, by hidden name."""
        values = self._words(words)
        runs = {name: self._read(name, values) for name, span in self.spans.items() if span.reserved == "RES0"}
        return {name: value for name, value in runs.items() if value}

    def words_of(self, octets: bytes | NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Consecutive entries in memory as uint64 [n], or [n, words] for a layout of several words.

        Raises:
            ValueError: the length is not a multiple of the entry size.
        """
        entries = np.frombuffer(octets, dtype=[(f"word{n}", f"<u{bits // 8}") for n, bits in enumerate(self.word_bits)])
        columns = [entries[name].astype(np.uint64) for name in entries.dtype.names or ()]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=-1)

    def decode(self, words: NDArray[Any]) -> NDArray[np.void]:
        """Words [n], or [n, words], as a structured array [n]: flags are bool, other fields uint64."""
        matrix = np.asarray(words).astype(np.uint64).reshape(-1, len(self.word_bits))
        rows = np.empty(len(matrix), self.dtype)
        for name, field in self.fields.items():
            rows[name] = ((matrix[:, field.word] >> field.shift) & field.mask) << field.scale
        return rows

    def encode(self, **fields: ArrayLike) -> NDArray[np.uint64]:
        """Entries from integer arrays (or scalars, broadcast together), as uint64 [n, words]; errors as `build`."""
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(values)) for values in fields.values()))
        words = np.tile(np.array(self._defaults, np.uint64), (len(columns[0]) if columns else 1, 1))
        for name, values in zip(fields, columns, strict=True):
            self._check(name)
            field = self[name]
            stored = values.astype(np.uint64) >> field.scale
            wrong = (stored > field.mask) | (stored << field.scale != values)
            if wrong.any():
                self._stored(name, int(values[wrong][0]))
            words[:, field.word] &= ~(field.mask << field.shift)
            words[:, field.word] |= stored << field.shift
        return words

    def diagram(self) -> str:
        """The layout as text: a ruler of bits per 32-bit row, then a table of the fields."""
        return draw(list(self.spans.values()), self.word_bits)

    def _check(self, name: str) -> None:
        if name not in self._places:
            raise ValueError(f"{self.name} has no field {name}")

    def _stored(self, name: str, value: int) -> int:
        """The bits that hold `value` in the field, range-checked."""
        self._check(name)
        _, _, mask, scale = self._places[name]
        value = int(value)
        stored = value >> scale
        if not 0 <= stored <= mask:
            width = self.spans[name].bits + scale
            raise ValueError(f"{self.name}.{name}: {value:#x} is not a value of {width} bits")
        if stored << scale != value:
            raise ValueError(f"{self.name}.{name}: {value:#x} is not a multiple of {1 << scale:#x}")
        return stored

    def _read(self, name: str, words: list[int]) -> int:
        word, shift, mask, scale = self._places[name]
        return ((words[word] >> shift) & mask) << scale

    def _words(self, words: Words) -> list[int]:
        if isinstance(words, (int, np.integer)):
            words = [int(words)]
        values = [int(word) for word in words]
        if len(values) != len(self.word_bits):
            raise ValueError(f"{self.name}: {len(values)} words where an entry has {len(self.word_bits)}")
        return values

    def _split(self, data: bytes) -> tuple[int, ...]:
        return tuple(int(word) for word in self.words_of(data).reshape(-1))


def _place(name: str, subcons: tuple[Construct, ...], words: tuple[int, ...]) -> Iterator[tuple[Span, Construct]]:
    """Each declaration with the place that construct's own sizes give it."""
    remaining = iter(subcons)
    for word, width in enumerate(words):
        low = width
        while low > 0:
            subcon = next(remaining, None)
            if subcon is None or subcon.sizeof() > low:
                raise ValueError(f"{name}: bits [{low - 1}:0] of word {word} are not declared one by one")
            high, low = low - 1, low - subcon.sizeof()
            if subcon.name in _RESERVED:
                place = f"dw{word}_{high}_{low}" if len(words) > 1 else f"{high}_{low}"
                subcon = f"_{subcon.name.lower()}_{place}" / subcon
            yield Span(subcon.name, word, high, low, _scale(subcon), subcon.docs), subcon
    if next(remaining, None) is not None:
        raise ValueError(f"{name}: more bits are declared than the {sum(words)} of its words")


def _scale(subcon: Construct) -> int:
    """How far the value lies above its stored bits: what construct reads when only the lowest stored bit is set."""
    return int(subcon.parse(bytes(subcon.sizeof() - 1) + b"\x01")).bit_length() - 1


def _word(declared: list[tuple[Span, Construct]], number: int) -> Construct:
    return construct.ByteSwapped(construct.BitStruct(*(subcon for span, subcon in declared if span.word == number)))


def _place_of(span: Span) -> tuple[int, int, int, int]:
    return span.word, span.low, (1 << span.bits) - 1, span.scale


def _column(span: Span) -> type[np.generic]:
    return np.bool_ if span.bits == 1 else np.uint64
