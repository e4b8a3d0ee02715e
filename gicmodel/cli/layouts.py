# SPDX-License-Identifier: Apache-2.0
"""`gicmodel layouts`: the bits of a table entry, command or register."""

import sys
from difflib import get_close_matches
from typing import Any

import click

from gicmodel.cli.output import Results, json_options, room, say
from gicmodel.config import ARCHITECTURES
from gicmodel.errors import UnusableInput
from gicmodel.layouts.catalogue import CATALOGUE, KINDS, NAMES
from gicmodel.layouts.commands import COMMANDS, OPCODES
from gicmodel.layouts.diagram import ROW_BITS, to_ascii
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.by_name import REGISTERS
from gicmodel.layouts.registers.register import Register

DIAGRAM_COLUMNS = 2 * ROW_BITS + 1
MOST_PLACES = 8


@click.command(name="layouts")
@click.argument("name", required=False)
@json_options
def command(name: str | None, results: Results) -> None:
    """Print the bits of the table entry, command or register NAME; without NAME list them all.

    A field holds bits of its value: value = ((word >> low) & mask) << scale.
    """
    if name is not None:
        layout = find(name)
        results.publish(describe(layout), lambda: _show(page(layout)))
    else:
        results.publish([describe(each) for each in KINDS], lambda: _show(overview()))


def _show(text: str) -> None:
    say(text if _printable(text) else to_ascii(text))


def find(name: str) -> Layout:
    """The layout of that name, in upper or lower case.

    Raises:
        UnusableInput: there is none; the message has names that are close.
    """
    by_upper_case = {known.upper(): known for known in NAMES}
    known = by_upper_case.get(name.upper())
    if known is None:
        close = get_close_matches(name.upper(), by_upper_case, cutoff=0.5)
        hint = f"close: {', '.join(by_upper_case[match] for match in close)}" if close else "none is close"
        raise UnusableInput(f"no table, command or register is named {name!r}; {hint}")
    return NAMES[known]


def overview() -> str:
    """Every layout with its width, or a command's opcode, and its meaning, by kind."""
    width = max(len(layout.name) for layout in KINDS)
    lines: list[str] = []
    for kind, layouts in CATALOGUE.items():
        lines += ["", f"{kind}s"] if lines else [f"{kind}s"]
        lines += [f"  {layout.name:<{width}}  {_key(layout):>8}  {layout.doc}" for layout in layouts]
    return "\n".join(lines)


def page(layout: Layout) -> str:
    """What a layout is, where it is found, and its diagram."""
    heading = [f"{layout.name}: {KINDS[layout]}, {layout.bits} bits", layout.doc]
    if KINDS[layout] == "command":
        heading.append(f"opcode {_opcode(layout):#04x}, {_generations(_architectures(layout))}")
    heading += _places(_registers(layout))
    diagram, _, fields = layout.diagram().rpartition("\n\n")
    bits = diagram if room() >= DIAGRAM_COLUMNS else f"(the bits are drawn in {DIAGRAM_COLUMNS} columns)"
    return "\n".join([*heading, "", bits, "", fields])


def describe(layout: Layout) -> dict[str, Any]:
    """A layout for machines."""
    about: dict[str, Any] = {"name": layout.name, "kind": KINDS[layout], "doc": layout.doc, "words": layout.word_bits}
    if KINDS[layout] == "command":
        about |= {"opcode": _opcode(layout), "architectures": _architectures(layout)}
    if KINDS[layout] == "register":
        about["registers"] = [_describe_register(register) for register in _registers(layout)]
    return about | {"fields": [span._asdict() | {"reserved": span.reserved} for span in layout.spans.values()]}


def _key(layout: Layout) -> str:
    return f"{_opcode(layout):#04x}" if KINDS[layout] == "command" else f"{layout.bits} bits"


def _describe_register(register: Register) -> dict[str, Any]:
    return {
        "name": register.name,
        "offset": register.offset,
        "access": register.access,
        "architectures": register.architectures,
        "reset": dict(register.reset),
    }


def _where(register: Register) -> str:
    reset = ", ".join(f"{name}={value}" for name, value in register.reset.items())
    place = f"{register.name} at {register.offset:#07x}, {register.access}, {_generations(register.architectures)}"
    return f"{place}, reset {reset}" if reset else place


def _places(registers: list[Register]) -> list[str]:
    """Where registers are; of many only the first ones and the last."""
    lines = [_where(register) for register in registers]
    return lines if len(lines) <= MOST_PLACES else [*lines[:2], "...", lines[-1]]


def _registers(layout: Layout) -> list[Register]:
    return [register for register in REGISTERS if register.layout is layout]


def _opcode(layout: Layout) -> int:
    return OPCODES[layout.name.removesuffix("_V40")]


def _architectures(layout: Layout) -> list[str]:
    return [architecture for architecture in ARCHITECTURES if layout in COMMANDS(architecture).values()]


def _generations(architectures: list[str] | tuple[str, ...]) -> str:
    return " ".join(f"GICv{architecture}" for architecture in architectures)


def _printable(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
