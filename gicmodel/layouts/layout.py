# SPDX-License-Identifier: Apache-2.0
"""One declaration of the bits of a table entry, command or register, and everything derived from it.

A layout is a construct, declared field by field (`gicmodel.layouts.declaration`). It parses and builds single entries;
the shift and mask constants of kernels, the NumPy decoder and encoder, and the printed diagram are read off it. No
other module knows a bit position.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, NoReturn, TypeAlias

import construct
import numpy as np
from construct import Container
from numpy.typing import ArrayLike, NDArray

from gicmodel.layouts.declaration import RESERVED, Declared, Span, default_of, scale_of

_INTEGERS = (int, np.integer)
_SCALARS = (*_INTEGERS, np.bool_)
Words: TypeAlias = "int | Sequence[int] | NDArray[np.uint64]"


class Field(NamedTuple):
    """Where a value lives: ``((words[word] >> shift) & mask) << scale``."""

    word: int
    shift: np.uint64
    mask: np.uint64
    scale: np.uint64


class Layout:
    """The bits of a little-endian structure of one or more words.

    Args:
        name: the Arm or Linux name of the structure.
        fields: named subconstructs, most significant bit first in each word, words in memory order.
        words: the width of each word in bits (8, 16, 32 or 64).
        doc: one line of meaning.

    Attributes:
        construct: the words as construct parses and builds them: a Sequence of byte-swapped BitStructs.
        spans: where each field lies, by name; a reserved one has a name that tells its place.

    Raises:
        ValueError: the fields do not fill the words exactly, one crosses a word, or a name occurs twice.
    """

    def __init__(self, name: str, *fields: Declared, words: tuple[int, ...] = (64,), doc: str = "") -> None:
        self.name = name
        self.doc = doc
        self.word_bits = words
        self.bits = sum(words)
        self.bytes = self.bits // 8
        placed = list(_place(name, fields, words))
        self.spans = {span.name: span for span, _ in placed}
        if len(self.spans) != len(placed):
            raise ValueError(f"{name}: a field name occurs twice")
        self.construct = construct.Sequence(*(_word(placed, number) for number in range(len(words))))
        self._places = {
            name: (span.word, span.low, (1 << span.bits) - 1, span.scale) for name, span in self.spans.items()
        }
        self._defaults = _defaults(placed, len(words))

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The fields that have a name, in order."""
        return {name: self[name] for name, span in self.spans.items() if not span.reserved}

    @cached_property
    def _named(self) -> list[tuple[str, tuple[int, int, int, int]]]:
        """The places of `fields`, for `unpack`, which is called for every command of a campaign."""
        return [(name, self._places[name]) for name in self.fields]

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """A decoded entry: flags are bool, other fields uint64."""
        return np.dtype([(name, np.bool_ if self.spans[name].bits == 1 else np.uint64) for name in self.fields])

    @cached_property
    def res0_masks(self) -> list[tuple[int, int]]:
        """The words that have RES0 bits, and which."""
        masks = [0] * len(self.word_bits)
        for name, span in self.spans.items():
            if span.reserved == "RES0":
                masks[span.word] |= self.mask_in_word(name)[1]
        return [(word, mask) for word, mask in enumerate(masks) if mask]

    def mask_in_word(self, name: str) -> tuple[int, int]:
        """The word that a field is in, and which of its bits."""
        word, shift, mask, _ = self._places[name]
        return word, mask << shift

    def field_mask(self, *, without: tuple[str, ...] = ()) -> int:
        """The bits of a register that its named fields have, except those `without`."""
        return sum(self.mask_in_word(name)[1] for name in self.fields if name not in without)

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
        self.pack_words(**fields)  # refuses what construct would take
        return bytes(self.construct.build([fields] * len(self.word_bits)))

    def pack_words(self, **fields: int) -> tuple[int, ...]:
        """The words of an entry in memory order; defaults and errors as `build`."""
        words = list(self._defaults)
        for name, value in fields.items():
            word, shift, mask, scale = self._places.get(name) or self._place(name)
            stored = int(value) >> scale
            if not 0 <= stored <= mask or stored << scale != value:
                self._refuse(name, int(value))
            words[word] = words[word] & ~(mask << shift) | stored << shift
        return tuple(words)

    def pack(self, **fields: int) -> int:
        """The word of a one-word entry; defaults and errors as `build`."""
        (word,) = self.pack_words(**fields)
        return word

    def unpack(self, words: Words) -> dict[str, int]:
        """The named fields of an entry given as its word, or as the sequence of its words."""
        values = self._words(words)
        return {name: (values[word] >> shift & mask) << scale for name, (word, shift, mask, scale) in self._named}

    def res0_violations(self, words: Words) -> dict[str, int]:
        """The RES0 fields of an entry that are not zero, by hidden name."""
        values = self._words(words)
        runs = [(name, self._places[name]) for name, span in self.spans.items() if span.reserved == "RES0"]
        found = {name: (values[word] >> shift & mask) << scale for name, (word, shift, mask, scale) in runs}
        return {name: value for name, value in found.items() if value}

    def words_of(self, octets: bytes | NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Consecutive entries in memory as uint64 [n], or [n, words] for a layout of several words.

        Raises:
            ValueError: the length is not a multiple of the entry size.
        """
        widths = set(self.word_bits)
        if len(widths) == 1:
            words = np.frombuffer(octets, f"<u{widths.pop() // 8}").astype(np.uint64, copy=False)
            return words if len(self.word_bits) == 1 else words.reshape(-1, len(self.word_bits))
        entries = np.frombuffer(octets, dtype=[(f"word{n}", f"<u{bits // 8}") for n, bits in enumerate(self.word_bits)])
        # Column by column in memory, as decoding goes.
        return np.stack([entries[name].astype(np.uint64) for name in entries.dtype.names or ()]).T

    def column(self, words: NDArray[np.uint64], name: str) -> NDArray[np.unsignedinteger[Any]]:
        """One field of many entries, given as words [n] or [n, words]: unsigned, as wide as its bits [high:0] need."""
        word, shift, mask, scale = self._places[name]
        column = words if words.ndim == 1 else words[:, word]
        # What is above the field goes first: the other passes are over less memory.
        width = np.min_scalar_type(mask << max(shift, scale))
        values: NDArray[Any] = column.astype(width, copy=False) & (mask << shift)
        # One shift by the difference: a pass over memory less.
        if scale > shift:
            values <<= scale - shift
        elif shift > scale:
            values >>= shift - scale
        return values

    def decode(self, words: NDArray[Any]) -> NDArray[np.void]:
        """Words [n], or [n, words], as a structured array [n]: flags are bool, other fields uint64."""
        matrix = np.asarray(words).astype(np.uint64, copy=False).reshape(-1, len(self.word_bits))
        rows = np.empty(len(matrix), self.dtype)
        for name in self.fields:
            rows[name] = self.column(matrix, name)
        return rows

    def encode(self, **fields: ArrayLike) -> NDArray[np.uint64]:
        """Entries from integer arrays (or scalars, broadcast together), as uint64 [n, words]; errors as `build`."""
        alike = {name: int(value) for name, value in fields.items() if isinstance(value, _SCALARS)}
        columns = {name: np.asarray(values) for name, values in fields.items() if name not in alike}
        words = self.pack_words(**alike)
        entries = np.empty((np.broadcast(*columns.values()).size if columns else 1, len(words)), np.uint64)
        entries[:] = words
        for name, values in columns.items():
            word, mask = self.mask_in_word(name)
            if words[word] & mask:
                entries[:, word] &= np.uint64(~mask % (1 << 64))
            entries[:, word] |= self._stored_in_columns(name, values)
        return entries

    def diagram(self) -> str:
        """The layout as text: a ruler of bits per 32-bit row, then a table of the fields."""
        from gicmodel.layouts.diagram import draw

        return draw(list(self.spans.values()), self.word_bits)

    def _place(self, name: str) -> tuple[int, int, int, int]:
        """Where a field lies. ValueError if there is none of that name."""
        if name not in self._places:
            raise ValueError(f"{self.name} has no field {name}")
        return self._places[name]

    def _refuse(self, name: str, value: int) -> NoReturn:
        """Raise ValueError: the field cannot hold `value`."""
        _, _, mask, scale = self._places[name]
        if not 0 <= value >> scale <= mask:
            width = self.spans[name].bits + scale
            raise ValueError(f"{self.name}.{name}: {value:#x} is not a value of {width} bits")
        raise ValueError(f"{self.name}.{name}: {value:#x} is not a multiple of {1 << scale:#x}")

    def _stored_in_columns(self, name: str, values: NDArray[Any]) -> NDArray[np.uint64]:
        """The bits that hold `values` in their word, range-checked."""
        _, shift, mask, scale = self._place(name)
        stored = values.astype(np.uint64, copy=False)
        wrong = ~(mask << scale) % (1 << 64)
        if int(np.bitwise_or.reduce(stored, axis=None)) & wrong:
            self._refuse(name, int(values[stored & np.uint64(wrong) != 0][0]))
        if scale > shift:
            return stored >> np.uint64(scale - shift)
        return stored << np.uint64(shift - scale)

    def _words(self, words: Words) -> list[int]:
        values = [int(words)] if isinstance(words, _INTEGERS) else list(map(int, words))
        if len(values) != len(self.word_bits):
            raise ValueError(f"{self.name}: {len(values)} words where an entry has {len(self.word_bits)}")
        return values


def _place(name: str, fields: tuple[Declared, ...], words: tuple[int, ...]) -> Iterator[tuple[Span, Declared]]:
    """Each declaration with its place, and reserved ones with a name that tells it."""
    remaining = iter(fields)
    for word, width in enumerate(words):
        low = width
        while low > 0:
            field = next(remaining, None)
            bits = field.sizeof() if field is not None else 0
            if field is None or bits > low:
                raise ValueError(f"{name}: bits [{low - 1}:0] of word {word} are not declared one by one")
            high, low = low - 1, low - bits
            if field.name in RESERVED:
                place = f"dw{word}_{high}_{low}" if len(words) > 1 else f"{high}_{low}"
                field = f"_{field.name.lower()}_{place}" / field
            yield Span(field.name, word, high, low, scale_of(field), field.docs), field
    if next(remaining, None) is not None:
        raise ValueError(f"{name}: more bits are declared than the {sum(words)} of its words")


def _word(placed: list[tuple[Span, Declared]], number: int) -> Declared:
    fields = (field for span, field in placed if span.word == number)
    return construct.ByteSwapped(construct.BitStruct(*fields))


def _defaults(placed: list[tuple[Span, Declared]], words: int) -> tuple[int, ...]:
    """The words of an entry none of whose fields is given."""
    values = [0] * words
    for span, field in placed:
        values[span.word] |= default_of(field) >> span.scale << span.low
    return tuple(values)
