# SPDX-License-Identifier: Apache-2.0
"""QEMU's GICv3 trace, read as a stream of typed events, one a line.

A trace is what `qemu-system-aarch64 -d trace:gicv3_its_*,trace:gicv3_redist_*,... -D FILE` leaves: `NAME text`
(hw/intc/trace-events). With `-msg timestamp=on` QEMU puts `THREAD@SECONDS.MICROSECONDS:` in front or, from 10.2 on, the
time as ISO 8601 has it; loggers add their own stamps. Where the guest's console shares the file, an event may stand
behind half a line of it. Files named `.xz`, `.gz` or `.zst` are unpacked.

The text of each event is declared here as a template whose placeholders are numbers, hexadecimal with 0x or decimal, as
QEMU prints them; who writes a trace writes them with `event_line`. Operands of commands bear the names of the command's
fields in `gicmodel.layouts.commands`, so that the packet can be rebuilt from them.

Three events are ours, `gicmodel_*`, for what QEMU's do not tell: which GIC writes the trace, what software wrote into
the tables in RAM, and the commands and operands that QEMU's GICv4.0 does not have or does not print. Without them a
trace is one of QEMU's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from gicmodel.errors import UnusableInput, printable
from gicmodel.images.files import opened


class ItsWrite(NamedTuple):
    """A write of the ITS control frame. `size` is in bytes."""

    line: int
    offset: int
    data: int
    size: int


class ItsRead(NamedTuple):
    """A read of the ITS control frame that returned `data`."""

    line: int
    offset: int
    data: int
    size: int


class RedistributorWrite(NamedTuple):
    """A write of one redistributor's frames; `offset` counts from RD_base, `cpu` is the PE's affinity."""

    line: int
    cpu: int
    offset: int
    data: int
    size: int
    secure: int


class RedistributorRead(NamedTuple):
    """A read of one redistributor's frames that returned `data`."""

    line: int
    cpu: int
    offset: int
    data: int
    size: int
    secure: int


class Msi(NamedTuple):
    """A device's write of the translation frame; `requester_id` is its DeviceID."""

    line: int
    offset: int
    data: int
    size: int
    requester_id: int


class Command(NamedTuple):
    """An ITS command with those of its operands that QEMU prints (addresses without their implied low zeros)."""

    line: int
    mnemonic: str
    operands: dict[str, int]


class UnknownCommand(NamedTuple):
    """A packet whose opcode this ITS does not have; QEMU skips it."""

    line: int
    opcode: int


class ProcessCommand(NamedTuple):
    """The ITS turns to the packet in slot `slot` of its queue; what it is follows."""

    line: int
    slot: int
    opcode: int


class TableAccess(NamedTuple):
    """The ITS reads or writes a table entry; `fault`: RAM did not answer, which stalls a command."""

    line: int
    name: str
    fault: bool


class Acknowledge(NamedTuple):
    """A read of ICC_IAR<group> or, `virtual`, of ICV_IAR<group>, that returned `intid`; `cpu` is the PE's affinity."""

    line: int
    cpu: int
    intid: int
    group: int
    virtual: bool


class Model(NamedTuple):
    """Ours, first: the GIC that writes the trace, `choices` of its GicConfig, and its RAM, from `base` to `end`."""

    line: int
    base: int
    end: int
    choices: str


class Ram(NamedTuple):
    """Ours: software has written `words` times the 64 bits `data`, from `address` on, to a table in RAM."""

    line: int
    address: int
    data: int
    words: int


class Packet(NamedTuple):
    """Ours: the four words of the command that comes next, whose own event does not tell all of them."""

    line: int
    dw0: int
    dw1: int
    dw2: int
    dw3: int


class Quiet(NamedTuple):
    """A known event that neither changes nor tells the state of the ITS or of LPIs: of the distributor, or refused."""

    line: int
    name: str


class Unknown(NamedTuple):
    """A line that is none of the events declared here."""

    line: int
    name: str


class Glued(NamedTuple):
    """Text that is no time stamp stands before the event that comes next, on the same line."""

    line: int
    text: str


Event = (
    ItsWrite
    | ItsRead
    | RedistributorWrite
    | RedistributorRead
    | Msi
    | Command
    | UnknownCommand
    | ProcessCommand
    | TableAccess
    | Acknowledge
    | Model
    | Ram
    | Packet
    | Quiet
    | Unknown
)


class Form(NamedTuple):
    """One event's text: its template, the template as a pattern, and what builds the event from `line` and values."""

    template: str
    pattern: re.Pattern[str]
    build: Callable[..., Event]


_PLACEHOLDERS = {"size": "[1248]", "choices": r"\w+=[\w.]+(?: \w+=[\w.]+)*"}
"""Those that are none of all numbers: the bytes of an access, and text."""
_NUMBER = r"0x[0-9a-f]{1,16}|0|[1-9]\d{0,18}"
_DECIMAL = {"size", "secure", "V", "D", "group"}
"""Numbers that QEMU prints without 0x."""


def _form(template: str, build: Callable[..., Event]) -> Form:
    parts = re.split(r"\{(\w+)\}", template)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{name}>{_PLACEHOLDERS.get(name, _NUMBER)})" for name in parts[1::2]]
    return Form(template, re.compile("".join(parts)), build)


def event_line(event: str, **values: int | str) -> str:
    """The line of an event, as QEMU prints it. KeyError: there is no such event, or no value for a number of it."""
    written = {
        name: value if name in _DECIMAL or isinstance(value, str) else hex(value) for name, value in values.items()
    }
    return f"{event} {FORMS[event].template.format_map(written)}"


def _quiet(name: str) -> Callable[..., Event]:
    return lambda line, **_: Quiet(line, name)


def _table_access(name: str) -> Callable[..., Event]:
    return lambda line, **_: TableAccess(line, name, name.endswith("_fault"))


def _command(mnemonic: str) -> Callable[..., Event]:
    return lambda line, **operands: Command(line, mnemonic, operands)


_COMMANDS = {
    "INT": "INT DeviceID {DeviceID} EventID {EventID}",
    "CLEAR": "CLEAR DeviceID {DeviceID} EventID {EventID}",
    "DISCARD": "DISCARD DeviceID {DeviceID} EventID {EventID}",
    "SYNC": "SYNC",
    "MAPD": "MAPD DeviceID {DeviceID} Size {Size} ITT_addr {ITT_addr} V {V}",
    "MAPC": "MAPC ICID {ICID} RDbase {RDbase} V {V}",
    "MAPI": "MAPI DeviceID {DeviceID} EventID {EventID} ICID {ICID}",
    "MAPTI": "MAPTI DeviceID {DeviceID} EventID {EventID} ICID {ICID} pINTID {pINTID}",
    "INV": "INV DeviceID {DeviceID} EventID {EventID}",
    "INVALL": "INVALL",
    "MOVALL": "MOVALL RDbase1 {RDbase} RDbase2 {RDbase2}",
    "MOVI": "MOVI DeviceID {DeviceID} EventID {EventID} ICID {ICID}",
    "VMAPI": "VMAPI DeviceID {DeviceID} EventID {EventID} vPEID {vPEID} Dbell_pINTID {Doorbell}",
    # QEMU prints VMAPTI as VMAPI with a vINTID; the event's name tells them apart.
    "VMAPTI": "VMAPI DeviceID {DeviceID} EventID {EventID} vPEID {vPEID} vINTID {vINTID} Dbell_pINTID {Doorbell}",
    "VMAPP": "VMAPP vPEID {vPEID} RDbase {RDbase} V {V} VPT_addr {VPT_addr} VPT_size {VPT_size}",
    "VMOVP": "VMOVP vPEID {vPEID} RDbase {RDbase}",
    "VSYNC": "VSYNC",
    "VMOVI": "VMOVI DeviceID {DeviceID} EventID {EventID} vPEID {vPEID} D {D} Dbell_pINTID {Doorbell}",
    "VINVALL": "VINVALL vPEID {vPEID}",
}

_ITE = "valid {valid} inttype {inttype} intid {intid} ICID {ICID} vPEID {vPEID} doorbell {doorbell}"
_DTE = "valid {valid} size {Size} ITTaddr {ITTaddr}"
_VTE = "valid {valid} VPTsize {VPTsize} VPTaddr {VPTaddr} RDbase {RDbase}"
_TABLE_ACCESSES = {
    "gicv3_its_cte_read": "GICv3 ITS: Collection Table read for ICID {ICID}: valid {valid} RDBase {RDbase}",
    "gicv3_its_cte_write": "GICv3 ITS: Collection Table write for ICID {ICID}: valid {valid} RDBase {RDbase}",
    "gicv3_its_cte_read_fault": "GICv3 ITS: Collection Table read for ICID {ICID}: faulted",
    "gicv3_its_ite_read": f"GICv3 ITS: Interrupt Table read for ITTaddr {{ITTaddr}} EventID {{EventID}}: {_ITE}",
    "gicv3_its_ite_write": f"GICv3 ITS: Interrupt Table write for ITTaddr {{ITTaddr}} EventID {{EventID}}: {_ITE}",
    "gicv3_its_ite_read_fault": "GICv3 ITS: Interrupt Table read for ITTaddr {ITTaddr} EventID {EventID}: faulted",
    "gicv3_its_dte_read": f"GICv3 ITS: Device Table read for DeviceID {{DeviceID}}: {_DTE}",
    "gicv3_its_dte_write": f"GICv3 ITS: Device Table write for DeviceID {{DeviceID}}: {_DTE}",
    "gicv3_its_dte_read_fault": "GICv3 ITS: Device Table read for DeviceID {DeviceID}: faulted",
    "gicv3_its_vte_read": f"GICv3 ITS: vPE Table read for vPEID {{vPEID}}: {_VTE}",
    "gicv3_its_vte_write": f"GICv3 ITS: vPE Table write for vPEID {{vPEID}}: {_VTE}",
    "gicv3_its_vte_read_fault": "GICv3 ITS: vPE Table read for vPEID {vPEID}: faulted",
}

_ACCESS = "offset {offset} data {data} size {size} secure {secure}"
_READ = "offset {offset} size {size} secure {secure}"
_QUIET = {
    "gicv3_its_badread": "GICv3 ITS read: offset {offset} size {size}: error",
    "gicv3_its_badwrite": "GICv3 ITS write: offset {offset} data {data} size {size}: error",
    "gicv3_redist_badread": f"GICv3 redistributor {{cpu}} read: {_READ}: error",
    "gicv3_redist_badwrite": f"GICv3 redistributor {{cpu}} write: {_ACCESS}: error",
    "gicv3_redist_set_irq": "GICv3 redistributor {cpu} interrupt {irq} level changed to {level}",
    "gicv3_redist_send_sgi": "GICv3 redistributor {cpu} pending SGI {irq}",
    "gicv3_dist_read": f"GICv3 distributor read: {_ACCESS}",
    "gicv3_dist_badread": f"GICv3 distributor read: {_READ}: error",
    "gicv3_dist_write": f"GICv3 distributor write: {_ACCESS}",
    "gicv3_dist_badwrite": f"GICv3 distributor write: {_ACCESS}: error",
    "gicv3_dist_set_irq": "GICv3 distributor interrupt {irq} level changed to {level}",
}

_EVENTS: dict[str, tuple[str, Callable[..., Event]]] = {
    "gicv3_its_write": ("GICv3 ITS write: offset {offset} data {data} size {size}", ItsWrite),
    "gicv3_its_read": ("GICv3 ITS read: offset {offset} data {data} size {size}", ItsRead),
    "gicv3_redist_write": (f"GICv3 redistributor {{cpu}} write: {_ACCESS}", RedistributorWrite),
    "gicv3_redist_read": (f"GICv3 redistributor {{cpu}} read: {_ACCESS}", RedistributorRead),
    "gicv3_its_translation_write": (
        "GICv3 ITS TRANSLATER write: offset {offset} data {data} size {size} requester_id {requester_id}",
        Msi,
    ),
    "gicv3_its_cmd_unknown": ("GICv3 ITS: unknown command {opcode}", UnknownCommand),
    "gicv3_its_process_command": ("GICv3 ITS: processing command at offset {slot}: {opcode}", ProcessCommand),
    "gicv3_icc_iar0_read": (
        "GICv3 ICC_IAR0 read cpu {cpu} value {intid}",
        partial(Acknowledge, group=0, virtual=False),
    ),
    "gicv3_icc_iar1_read": (
        "GICv3 ICC_IAR1 read cpu {cpu} value {intid}",
        partial(Acknowledge, group=1, virtual=False),
    ),
    "gicv3_icv_iar_read": (
        "GICv3 ICV_IAR{group} read cpu {cpu} value {intid}",
        partial(Acknowledge, virtual=True),
    ),
    "gicmodel_gic": ("GICv3 RAM {base} to {end}, GIC {choices}", Model),
    "gicmodel_ram": ("GICv3 RAM write: address {address} data {data} words {words}", Ram),
    "gicmodel_its_packet": ("GICv3 ITS: packet {dw0} {dw1} {dw2} {dw3}", Packet),
}

FORMS = {name: _form(template, build) for name, (template, build) in _EVENTS.items()}
FORMS |= {
    f"gicv3_its_cmd_{mnemonic.lower()}": _form(f"GICv3 ITS: command {template}", _command(mnemonic))
    for mnemonic, template in _COMMANDS.items()
}
FORMS |= {name: _form(template, _table_access(name)) for name, template in _TABLE_ACCESSES.items()}
FORMS |= {name: _form(template, _quiet(name)) for name, template in _QUIET.items()}
"""Every event that is known, by name."""


MOST_OTHER_LINES = 1 << 20
"""After so many lines without one event a file, which may be a device that never ends, is no trace."""

_LINE_BYTES = 4096
_SHOWN = 80
_STAMPS = re.compile(
    r"(?:\d{1,19}@\d{1,19}\.\d{1,9}:"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?:? +"
    r"|\[ *\d{1,19}\.\d{1,9}\] +"
    r"|[(\[]?\d{1,19}[)\]]?:? +)*",
    re.ASCII,
)
_EVENT = re.compile(r"gic(?:v3|model)_[a-z0-9_]+(?= GICv3 )")


def read_trace(path: Path, file: IO[bytes] | None = None) -> Iterator[Event | Glued]:
    """Yield the events of the trace at `path`, in order; a line that is no known event becomes `Unknown`.

    Who reads a trace more than once gives the `file` that `gicmodel.images.files.opened_whole` has opened.

    An event behind other text than time stamps is preceded by `Glued`, on top of the one event that each line yields.
    Raises UnusableInput, naming the line, for a known event whose text is not what QEMU prints, and for a file that
    cannot be read or begins with too much else.
    """
    known = False
    for number, text in _lines(path, file):
        for event in _parse(path, number, text):
            known = known or not isinstance(event, Unknown)
            yield event
        if not known and number >= MOST_OTHER_LINES:
            raise UnusableInput(f"{path}: none of its first {number} lines is a GICv3 trace event of QEMU")


def _lines(path: Path, file: IO[bytes] | None) -> Iterator[tuple[int, str]]:
    """Numbers and text of the lines that are not empty."""
    number = 0
    with opened(path) if file is None else nullcontext(file) as stream:
        if file is not None:
            file.seek(0)
        while line := stream.readline(_LINE_BYTES):
            number += 1
            if len(line) == _LINE_BYTES:
                raise UnusableInput(f"{path}: line {number} has {_LINE_BYTES} bytes or more: not a trace")
            text = line.decode("ascii", errors="replace").strip()
            if text:
                yield number, text


def _parse(path: Path, line: int, text: str) -> Iterator[Event | Glued]:
    stamps = _STAMPS.match(text)
    text = text[stamps.end() :] if stamps else text
    name, _, rest = text.partition(" ")
    if name not in FORMS and (found := _EVENT.search(text)):
        name, rest = found[0], text[found.end() + 1 :]
        if name in FORMS and found.start():
            yield Glued(line, _shown(text[: found.start()].rstrip()))
    form = FORMS.get(name)
    if form is None:
        yield Unknown(line, _shown(name))
        return
    match = form.pattern.fullmatch(rest)
    if match is None:
        raise UnusableInput(f"{path}: line {line}: {name} must read {form.template!r}, not {_shown(rest)!r}")
    values = {key: text if key == "choices" else int(text, 0) for key, text in match.groupdict().items()}
    yield form.build(line=line, **values)


def _shown(text: str) -> str:
    return printable(text[:_SHOWN])
