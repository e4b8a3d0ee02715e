# SPDX-License-Identifier: Apache-2.0
"""A value without a dump: a register, a table entry or a command, what is wrong with it, what Linux says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gicmodel.errors import UnusableInput
from gicmodel.layouts.catalogue import KINDS, NAMES
from gicmodel.layouts.commands import OPCODES, layout_named, layout_of
from gicmodel.layouts.diagram import place
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI, ID_BITS
from gicmodel.layouts.registers.by_name import registers_of
from gicmodel.layouts.table import Table, TableType

COMMAND_WORDS = 4
_TYPES = {0: "none", 1: "Devices", 2: "Virtual CPUs", 4: "Interrupt Collections"}
"""What Linux calls them (irq-gic-v3-its.c its_base_type_string)."""
_FRAME_NUMBER = re.compile(r"(?P<unit>GITS|GICR)[0-9]{1,4}_")
_HEX = re.compile(r"(?:0[xX])?(?P<digits>[0-9a-fA-F]{1,32})(?:U?LL?|,|;)?")
_IN_TEXT = re.compile(r"(?<![\w])0[xX][0-9a-fA-F]{1,32}\b|(?<![\w.])[0-9a-fA-F]{8,32}(?![\w.])")
_SPACES = " \t\r\n\x1b"
"""What is in lines of logs beside letters: with the Escape of a terminal's colours."""
_NAME_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Decoded(NamedTuple):
    """A value as its layout has it; `wrong` and `linux` are sentences."""

    name: str
    layout: Layout
    words: tuple[int, ...]
    fields: dict[str, int]
    wrong: list[str]
    linux: list[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "name": self.name,
            "kind": KINDS[self.layout],
            "words": [f"{word:#x}" for word in self.words],
            "fields": {name: f"{value:#x}" for name, value in self.fields.items()},
            "wrong": self.wrong,
            "linux": self.linux,
        }


def decode(text: Sequence[str], architecture: str = "4.1") -> Decoded:
    """The value that words on a command line, or in a line of a log, mean: NAME WORD..., NAME=WORD, or four words.

    Numbers are hexadecimal, with or without 0x. Raises UnusableInput.
    """
    for token in text:
        if not all(character.isprintable() or character in _SPACES for character in token):
            raise UnusableInput(f"{token!r} is no text: a value is given as NAME WORD..., or four words of a command")
    name, words = _parse(text, architecture)
    layout = _layout(name, words, architecture)
    count = len(layout.word_bits)
    if len(words) != count:
        raise UnusableInput(f"{layout.name} has {count} words of {_widths(layout)} bits; {len(words)} are given")
    for word, bits in zip(words, layout.word_bits, strict=True):
        if word >> bits:
            raise UnusableInput(f"{word:#x} is wider than the {bits} bits of {name or layout.name}")
    shown = name or layout.name.removesuffix("_V40")
    reserved = layout.res0_violations(words).items()
    wrong = [f"{_place(layout, name)} is RES0 and not zero: {value:#x}" for name, value in reserved]
    return Decoded(shown, layout, words, layout.unpack(words), wrong + problems(shown, words), _linux(shown, words))


def problems(name: str, words: Sequence[int]) -> list[str]:
    """What is wrong with the values of a register's fields, beyond bits that are RES0."""
    check = _CHECKS.get(re.sub("[0-7]$", "", name))
    layout = NAMES.get(name)
    return list(check(layout.unpack(tuple(words)))) if check and layout is not None else []


def _parse(text: Sequence[str], architecture: str) -> tuple[str | None, tuple[int, ...]]:
    tokens = [part for token in text for part in token.replace("=", " ").replace(":", " ").split()]
    if tokens and len(text) == 1 and len(tokens) > 1:
        return _parse_line(text[0], architecture)
    name = None
    if tokens and not _HEX.fullmatch(tokens[0]):
        name = _known(tokens[0], architecture)
        if name is None:
            raise UnusableInput(
                f"no table entry, command or register is named {tokens[0]!r}; `gicmodel layouts` has all"
            )
        tokens = tokens[1:]
    return name, tuple(_number(token) for token in tokens)


def _parse_line(line: str, architecture: str) -> tuple[str | None, tuple[int, ...]]:
    """The first name and the numbers behind it in a line of text; without a name all of its numbers."""
    names = (match for match in _NAME_IN_TEXT.finditer(line) if not _HEX.fullmatch(match[0]))
    named = next(((name, match.end()) for match in names if (name := _known(match[0], architecture))), None)
    name, start = named or (None, 0)
    numbers = [_number(match[0]) for match in _IN_TEXT.finditer(line, start)]
    if not numbers and name is not None:
        numbers = [_number(token) for token in line[start:].replace("=", " ").split()]
    if name is not None:
        numbers = numbers[: len(_layout(name, (), architecture).word_bits)]
    return name, tuple(numbers)


def _known(token: str, architecture: str) -> str | None:
    """The name that a token is, with a frame's number or without."""
    plain = _FRAME_NUMBER.sub(lambda match: f"{match['unit']}_", token.upper())
    by_upper_case = {known.upper(): known for known in (*NAMES, *OPCODES, *registers_of(architecture))}
    return by_upper_case.get(plain)


def _number(token: str) -> int:
    match = _HEX.fullmatch(token)
    if match is None:
        raise UnusableInput(f"{token!r} is not a hexadecimal number")
    return int(match["digits"], 16)


def _layout(name: str | None, words: Sequence[int], architecture: str) -> Layout:
    if name is None and not words:
        raise UnusableInput("there is no number: a value is given as NAME WORD..., or four words of a command")
    if name is None and len(words) != COMMAND_WORDS:
        raise UnusableInput(f"{len(words)} words without a name: give the NAME of what they are; four are a command")
    if name is not None and name not in OPCODES:
        register = registers_of(architecture).get(name)
        return NAMES[name] if register is None else register.layout
    try:
        found = layout_of(words, architecture) if name is None else layout_named(name, architecture)
    except ValueError as error:
        raise UnusableInput(str(error)) from error
    if name is not None and words and words[0] & 0xFF != OPCODES[name]:
        raise UnusableInput(f"{words[0]:#x} has opcode {words[0] & 0xFF:#04x}; that of {name} is {OPCODES[name]:#04x}")
    return found


def _widths(layout: Layout) -> str:
    return " and ".join(dict.fromkeys(map(str, layout.word_bits)))


def _place(layout: Layout, name: str) -> str:
    return place(layout.spans[name], len(layout.word_bits) > 1)


def words_text(layout: Layout, words: Sequence[int]) -> str:
    """Words as wide as they are."""
    return " ".join(f"{word:#0{bits // 4 + 2}x}" for word, bits in zip(words, layout.word_bits, strict=True))


def field_lines(layout: Layout, fields: Mapping[str, int], least: int = 0) -> Iterator[str]:
    """A line for each of these fields: its bits in a column of at least that width, its name, value and meaning."""
    places = [_place(layout, name) for name in fields]
    bits, width = max([least, *map(len, places)]), max(map(len, fields), default=0)
    for where, (name, value) in zip(places, fields.items(), strict=True):
        yield f"  {where:<{bits}}  {name:<{width}}  {value:#x}  {layout.spans[name].doc}".rstrip()


def _linux(name: str, words: tuple[int, ...]) -> list[str]:
    """What Linux's log says of such a register (irq-gic-v3-its.c its_setup_baser, gic_reserve_range's callers)."""
    fields = NAMES[name].unpack(words) if name in NAMES else {}
    if re.fullmatch("GITS_BASER[0-7]?", name) and fields["Type"]:
        table = Table.of_baser(words[0])
        entries = table.size // (LEVEL1.bytes if table.indirect else table.entry_bytes)
        how = "indirect" if table.indirect else "flat"
        about = f"({how}, esz {table.entry_bytes}, psz {table.page_bytes >> 10}K, shr {fields['Shareability']})"
        return [f"allocated {entries} {_TYPES.get(fields['Type'], 'Unknown')} @{table.address:x} {about}"]
    if name == "GICR_PROPBASER":
        return [f"using LPI property table @{fields['Physical_Address']:#018x}"]
    if name == "GICR_PENDBASER":
        return [f"using allocated LPI pending table @{fields['Physical_Address']:#018x}"]
    return []


def _baser(fields: dict[str, int]) -> Iterator[str]:
    if fields["Type"] not in (0, *TableType):
        yield f"Type {fields['Type']} is reserved"
    if fields["Page_Size"] > 2:
        yield "Page_Size 3 is reserved, and treated as 64 KiB"
    if fields["Valid"] and not fields["Type"]:
        yield "it is valid and for no table"
    if fields["Valid"] and not fields["Physical_Address"]:
        yield "it is valid and its table is at address 0"
    # With 64 KiB pages bits [15:12] are PA[51:48].
    if fields["Page_Size"] == 1 and fields["Physical_Address"] & 0x3000:
        yield f"its address {fields['Physical_Address']:#x} is not a multiple of its pages of 16 KiB"


def _cbaser(fields: dict[str, int]) -> Iterator[str]:
    if fields["Physical_Address"] & 0xFFFF:
        yield f"its address {fields['Physical_Address']:#x} is not a multiple of 64 KiB"
    if fields["Valid"] and not fields["Physical_Address"]:
        yield "it is valid and the queue is at address 0"


def _creadr(fields: dict[str, int]) -> Iterator[str]:
    if fields["Stalled"]:
        yield f"the ITS stopped at the command at offset {fields['Offset']:#x}"


def _propbaser(fields: dict[str, int]) -> Iterator[str]:
    bits = fields["IDbits"] + 1
    if bits < ID_BITS[0]:
        yield f"with {bits} INTID bits there is no LPI: they begin at {FIRST_LPI}"
    if bits > ID_BITS[-1]:
        yield f"{bits} INTID bits are more than there are: {ID_BITS[-1]}"


_CHECKS: dict[str, Callable[[dict[str, int]], Iterator[str]]] = {
    "GITS_BASER": _baser,
    "GITS_CBASER": _cbaser,
    "GITS_CREADR": _creadr,
    "GICR_PROPBASER": _propbaser,
}
