# SPDX-License-Identifier: Apache-2.0
"""The ITS commands: 32 bytes each, four 64-bit words dw0 to dw3 (IHI0069, "ITS commands").

The physical commands exist in every architecture, the virtual ones from GICv4.0, VSGI and INVDB from GICv4.1. VMAPP has
one layout for GICv4.0 and another for GICv4.1.
"""

import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gicmodel.config import ARCHITECTURES
from gicmodel.layouts.declaration import RES0, Address, Bits, Declared, Flag
from gicmodel.layouts.layout import Layout

COMMAND_BYTES = 32
CommandWords: TypeAlias = Sequence[int] | NDArray[np.uint64]
_ASSIGNMENT = re.compile(r"(?P<field>\w+)=(?P<number>0x[0-9a-fA-F]+|0|[1-9][0-9]*)", re.ASCII)


def _command(name: str, doc: str, *subcons: Declared) -> Layout:
    return Layout(name, *subcons, words=(64, 64, 64, 64), doc=doc)


def _opcode(value: int) -> Declared:
    return Bits("Opcode", 8, "Command", default=value)


def _device(opcode: int) -> tuple[Declared, ...]:
    """dw0 of the commands that name a device."""
    return Bits("DeviceID", 32, "Device"), RES0(24), _opcode(opcode)


def _alone(opcode: int) -> tuple[Declared, ...]:
    """dw0 of the commands that have only their opcode there."""
    return RES0(56), _opcode(opcode)


# The words that commands share.
_NOTHING = (RES0(64),)
_NOTHING_TWICE = (RES0(64), RES0(64))
_EVENTID = Bits("EventID", 32, "Event of the device")
_VPEID = (RES0(16), Bits("vPEID", 16, "vPE"))
_DOORBELL = Bits("Doorbell", 32, "INTID of the individual doorbell, 1023 for none")
_DEFAULT_DOORBELL = Bits("Default_Doorbell", 32, "INTID of the default doorbell, 1023 for none")
_RDBASE = Bits("RDbase", 36, "Processor number, or bits [51:16] of the redistributor's address if GITS_TYPER.PTA = 1")
_ICID = Bits("ICID", 16, "Collection")
_VALID = Flag("V", "1: map, 0: unmap")
_EVENT = (RES0(32), _EVENTID)
_VPE = (*_VPEID, RES0(32))
_VPE_EVENT = (*_VPEID, _EVENTID)
_COLLECTION = (RES0(48), _ICID)
_TARGET = (RES0(12), _RDBASE, RES0(16))
_VPT = (
    *(RES0(12), Address("VPT_addr", 51, 16, "Address of the virtual pending table")),
    *(RES0(8), Bits("VPT_size", 8, "Number of vINTID bits, minus one")),
)

MAPD = _command(
    "MAPD",
    "Map a device to an interrupt translation table",
    *_device(0x08),
    *(RES0(59), Bits("Size", 5, "Number of EventID bits, minus one")),
    *(_VALID, RES0(11), Address("ITT_addr", 51, 8, "Address of the interrupt translation table"), RES0(8)),
    *_NOTHING,
)
MAPC = _command(
    "MAPC",
    "Map a collection to a redistributor",
    *_alone(0x09),
    *_NOTHING,
    *(_VALID, RES0(11), _RDBASE, _ICID),
    *_NOTHING,
)
MAPTI = _command(
    "MAPTI",
    "Map an event to an LPI and a collection (once named MAPVI)",
    *_device(0x0A),
    *(Bits("pINTID", 32, "Physical LPI"), _EVENTID),
    *_COLLECTION,
    *_NOTHING,
)
MAPI = _command(
    "MAPI",
    "Map an event to the LPI of the same number and a collection",
    *_device(0x0B),
    *_EVENT,
    *_COLLECTION,
    *_NOTHING,
)
MOVI = _command(
    "MOVI",
    "Move an event and its pending state to another collection",
    *_device(0x01),
    *_EVENT,
    *_COLLECTION,
    *_NOTHING,
)
MOVALL = _command(
    "MOVALL",
    "Move every pending LPI of a redistributor to another",
    *_alone(0x0E),
    *_NOTHING,
    *_TARGET,
    *(RES0(12), Bits("RDbase2", 36, "Redistributor to move to"), RES0(16)),
)
INT = _command("INT", "Make an event's interrupt pending", *_device(0x03), *_EVENT, *_NOTHING_TWICE)
CLEAR = _command("CLEAR", "Clear an event's pending state", *_device(0x04), *_EVENT, *_NOTHING_TWICE)
DISCARD = _command("DISCARD", "Clear an event's pending state and unmap it", *_device(0x0F), *_EVENT, *_NOTHING_TWICE)
INV = _command("INV", "Reload an event's configuration", *_device(0x0C), *_EVENT, *_NOTHING_TWICE)
INVALL = _command(
    "INVALL",
    "Reload the configuration of a collection's LPIs",
    *_alone(0x0D),
    *_NOTHING,
    *_COLLECTION,
    *_NOTHING,
)
SYNC = _command(
    "SYNC",
    "Wait until a redistributor has completed earlier physical operations",
    *_alone(0x05),
    *_NOTHING,
    *_TARGET,
    *_NOTHING,
)
VMAPTI = _command(
    "VMAPTI",
    "Map an event to a vLPI and a vPE",
    *_device(0x2A),
    *_VPE_EVENT,
    *(_DOORBELL, Bits("vINTID", 32, "Virtual LPI")),
    *_NOTHING,
)
VMAPI = _command(
    "VMAPI",
    "Map an event to the vLPI of the same number and a vPE",
    *_device(0x2B),
    *_VPE_EVENT,
    *(_DOORBELL, RES0(32)),
    *_NOTHING,
)
VMOVI = _command(
    "VMOVI",
    "Move an event and its pending state to another vPE",
    *_device(0x21),
    *_VPE_EVENT,
    *(_DOORBELL, RES0(31), Flag("D", "1: Doorbell replaces the event's doorbell")),
    *_NOTHING,
)
VMOVP = _command(
    "VMOVP",
    "Move a vPE to another redistributor",
    *(RES0(16), Bits("SeqNum", 16, "Same on every ITS of the list"), RES0(24), _opcode(0x22)),
    *(*_VPEID, RES0(16), Bits("ITSList", 16, "Bit n: also sent to ITS n; RES0 if GITS_TYPER.VMOVP = 1")),
    *(Flag("DB", "1: Default_Doorbell is valid (GICv4.1)"), RES0(11), _RDBASE, RES0(16)),
    *(RES0(32), _DEFAULT_DOORBELL),
)
VSGI = _command(
    "VSGI",
    "Configure a vSGI, or clear its pending state (GICv4.1)",
    *(RES0(28), Bits("vINTID", 4, "Virtual SGI"), RES0(8), Bits("Priority", 4, "Bits [7:4] of the priority"), RES0(9)),
    *(Flag("Group", "Virtual interrupt group"), Flag("Clear", "1: clear the pending state, 0: set the configuration")),
    *(Flag("Enable", "Enabled"), _opcode(0x23)),
    *_VPE,
    *_NOTHING_TWICE,
)
VSYNC = _command("VSYNC", "Wait until earlier operations of a vPE complete", *_alone(0x25), *_VPE, *_NOTHING_TWICE)
VMAPP_V40 = _command(
    "VMAPP_V40",
    "Map a vPE to a redistributor and a virtual pending table (GICv4.0)",
    *_alone(0x29),
    *_VPE,
    *(_VALID, RES0(11), _RDBASE, RES0(16)),
    *_VPT,
)
VMAPP = _command(
    "VMAPP",
    "Map a vPE to a redistributor, its tables and its default doorbell (GICv4.1)",
    *(RES0(12), Address("VCONF_addr", 51, 16, "Address of the vLPI configuration table"), RES0(6)),
    *(Flag("PTZ", "The virtual pending table is all zero"), Flag("Alloc", "First map or last unmap of the vPE")),
    _opcode(0x29),
    *(*_VPEID, _DEFAULT_DOORBELL),
    *(_VALID, RES0(11), _RDBASE, RES0(16)),
    *_VPT,
)
VINVALL = _command("VINVALL", "Reload the configuration of a vPE's vLPIs", *_alone(0x2D), *_VPE, *_NOTHING_TWICE)
INVDB = _command(
    "INVDB",
    "Reload the configuration of a vPE's default doorbell (GICv4.1)",
    *_alone(0x2E),
    *_VPE,
    *_NOTHING_TWICE,
)

_GICV3 = (MOVI, INT, CLEAR, SYNC, MAPD, MAPC, MAPTI, MAPI, INV, INVALL, MOVALL, DISCARD)
_GICV4 = (VMOVI, VMOVP, VSYNC, VMAPTI, VMAPI, VINVALL)
_LAYOUTS = (_GICV3, (*_GICV3, *_GICV4, VMAPP_V40), (*_GICV3, *_GICV4, VMAPP, VSGI, INVDB))


_COMMANDS = {
    architecture: {layout.unpack(layout.pack_words())["Opcode"]: layout for layout in layouts}
    for architecture, layouts in zip(ARCHITECTURES, _LAYOUTS, strict=True)
}
OPCODES = {layout.name: opcode for opcode, layout in _COMMANDS["4.1"].items()}


def COMMANDS(architecture: str) -> dict[int, Layout]:
    """The commands of architecture "3", "4.0" or "4.1", by opcode.

    Raises:
        ValueError: no such architecture.
    """
    if architecture not in _COMMANDS:
        raise ValueError(f"architecture {architecture!r} is none of {', '.join(ARCHITECTURES)}")
    return _COMMANDS[architecture]


def layout_named(mnemonic: str, architecture: str) -> Layout:
    """The command of a mnemonic; ValueError if the architecture has none."""
    layout = COMMANDS(architecture).get(OPCODES.get(mnemonic, 0))
    if layout is None:
        raise ValueError(f"GICv{architecture} has no command {mnemonic}")
    return layout


def encode(mnemonic: str, architecture: str = "4.1", **fields: int) -> tuple[int, ...]:
    """The four words of a command; a field not given is 0.

    Raises:
        ValueError: no such command or field, or a value that its field cannot hold.
    """
    return layout_named(mnemonic, architecture).pack_words(**fields)


def encode_many(mnemonic: str, architecture: str = "4.1", **fields: ArrayLike) -> NDArray[np.uint64]:
    """Commands from integer arrays (or scalars, broadcast together), as uint64 [n, 4]; errors as `encode`."""
    return layout_named(mnemonic, architecture).encode(**fields)


def decode_command(words: CommandWords, architecture: str = "4.1") -> tuple[str, dict[str, int]]:
    """The mnemonic and the fields, without the opcode, of a command's four words.

    Raises:
        ValueError: the architecture has no command of that opcode.
    """
    layout = layout_of(words, architecture)
    fields = layout.unpack(words)
    del fields["Opcode"]
    return _mnemonic(layout), fields


def format_command(words: CommandWords, architecture: str = "4.1") -> str:
    """A command as text, such as `MAPD DeviceID=0x42 Size=0x4 ITT_addr=0x80012300 V=1`; errors as `decode_command`.

    Fields come in the order of their bits, from bit 0 of dw0. A RES0 field that is not zero shows by its hidden name.
    """
    layout = layout_of(words, architecture)
    values = layout.unpack(words) | layout.res0_violations(words)
    del values["Opcode"]
    spans = sorted((layout.spans[name] for name in values), key=lambda span: (span.word, span.low))
    shown = [f"{span.name}={values[span.name]:{'d' if span.bits == 1 else '#x'}}" for span in spans]
    return " ".join([_mnemonic(layout), *shown])


def parse_command(text: str, architecture: str = "4.1") -> tuple[int, ...]:
    """The four words of a command written as `format_command` writes it; a field not given is 0.

    Raises:
        ValueError: no such command or field, a word that is not `field=number`, or a value that its field cannot hold.
    """
    mnemonic, *assignments = text.split() or [""]
    fields: dict[str, int] = {}
    for assignment in assignments:
        match = _ASSIGNMENT.fullmatch(assignment)
        if match is None or match["field"] in (*fields, "Opcode"):
            raise ValueError(f"{assignment!r} of {mnemonic} is not a field, '=' and its number, given once")
        fields[match["field"]] = int(match["number"], 0)
    return encode(mnemonic, architecture, **fields)


def layout_of(words: CommandWords, architecture: str) -> Layout:
    """The command that four words are; ValueError if the architecture has none of their opcode."""
    opcode = int(words[0]) & 0xFF
    layout = COMMANDS(architecture).get(opcode)
    if layout is None:
        raise ValueError(f"GICv{architecture} has no command of opcode {opcode:#04x}")
    return layout


def _mnemonic(layout: Layout) -> str:
    return layout.name.removesuffix("_V40")
