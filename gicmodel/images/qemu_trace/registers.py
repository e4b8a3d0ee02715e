# SPDX-License-Identifier: Apache-2.0
"""What the registers hold at the end of a trace, as far as its reads and writes tell.

A register is 32-bit words, each with what was last written or read: 64-bit registers may be accessed in halves
(DDI0601; AArch32 software has no other way), and one of which a half was never seen is not known. What software cannot
write, reads alone tell. GITS_CREADR is also told by the commands that the trace shows being executed.
"""

from __future__ import annotations

from pathlib import Path

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace.events import (
    Command,
    Event,
    Glued,
    ItsRead,
    ItsWrite,
    ProcessCommand,
    RedistributorRead,
    RedistributorWrite,
    TableAccess,
    UnknownCommand,
    read_trace,
)
from gicmodel.images.qemu_trace.processors import Processors
from gicmodel.images.registers import Given, Registers
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import (
    BASERS,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    GITS_STATUSR,
    ITS_REGISTERS,
    queue_bytes,
)
from gicmodel.layouts.registers.redistributor import GICR_STATUSR, REDISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.register import Register

Access = ItsWrite | ItsRead | RedistributorWrite | RedistributorRead

WORD_BYTES = 4

_WORD = 0xFFFF_FFFF
_CTLR, _CBASER, _CWRITER, _CREADR, _BASER0 = (
    register(f"GITS_{name}").offset for name in ("CTLR", "CBASER", "CWRITER", "CREADR", "BASER0")
)
_CLEARED_BY_ONES = (GITS_STATUSR, GICR_STATUSR)
_TABLES = {_CBASER, _CBASER + WORD_BYTES, *range(_BASER0, _BASER0 + 8 * BASERS, WORD_BYTES)}
_BASER_RO = GITS_BASER.pack(Type=0b111, Entry_Size=0b11111)


def registers_of_trace(path: Path) -> Registers:
    """The registers of ITS 0 and of each redistributor, `GICR<Processor_Number>`, at the end of a QEMU trace.

    The origin of each is the last line that told of it.

    Raises UnusableInput for a file that is no trace or tells no register.
    """
    its, redistributors, processors = TracedIts(path), dict[int, Words](), Processors(path)
    for event in read_trace(path):
        processors.note(event)
        its.feed(event)
        if isinstance(event, RedistributorWrite | RedistributorRead):
            words = redistributors.setdefault(event.cpu, Words(path, REDISTRIBUTOR_REGISTERS, "GICR_"))
            words.access(event, event.data, isinstance(event, RedistributorWrite))
    numbers = processors.numbers()
    frames = {"GITS0": its.values()}
    frames |= {f"GICR{numbers[cpu]}": words.values() for cpu, words in redistributors.items()}
    registers = {frame: values for frame, values in frames.items() if values}
    if not registers:
        raise UnusableInput(f"{path}: no line of it is a write or a read of an ITS or redistributor register")
    return registers


class Words:
    """The registers of one frame, word by word."""

    def __init__(self, path: Path, entries: tuple[Register, ...], prefix: str) -> None:
        self._path = path
        self._entries = entries
        self._prefix = prefix
        self._words: dict[int, tuple[int, int]] = {}
        """By its offset each word that was seen, and in which line."""
        self._accesses = {
            entry.offset + at: "RO" if entry.layout in _CLEARED_BY_ONES else entry.access
            for entry in entries
            for at in range(0, entry.bits // 8, WORD_BYTES)
        }

    def access(self, event: Access, data: int, written: bool) -> None:
        """A write of `data`, or a read that returned it; only one of whole words is of a register that counts here."""
        if event.offset % WORD_BYTES or event.size % WORD_BYTES:
            return
        for at in range(0, event.size, WORD_BYTES):
            if self._accesses.get(event.offset + at) in (("RW",) if written else ("RW", "RO")):
                self._words[event.offset + at] = data >> 8 * at & _WORD, event.line

    def word(self, offset: int) -> int | None:
        """The word at an offset, if it was seen."""
        return self._words[offset][0] if offset in self._words else None

    def value(self, entry: Register) -> int | None:
        """A register, if every word of it was seen that is not RES0."""
        places = range(0, entry.bits // 8, WORD_BYTES)
        seen = {at: self._words[entry.offset + at] for at in places if entry.offset + at in self._words}
        if not seen or any(at not in seen and entry.layout.field_mask() >> 8 * at & _WORD for at in places):
            return None
        line = max(line for _, line in seen.values())
        return Given(sum(word << 8 * at for at, (word, _) in seen.items()), f"{self._path}: line {line}")

    def values(self) -> dict[str, int]:
        """Every register that is known, by its name without the frame's prefix."""
        found = ((entry.name.removeprefix(self._prefix), self.value(entry)) for entry in self._entries)
        return {name: value for name, value in found if value is not None}


class TracedIts:
    """The control frame of QEMU's ITS. While it is enabled, GITS_CBASER and GITS_BASER<n> cannot be written there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._words = Words(path, ITS_REGISTERS, "GITS_")
        self._reader = _Reader()
        self._line = 0
        self._read_only: dict[int, int] = {}

    def feed(self, event: Event | Glued) -> None:
        """Take in what the event tells of the ITS."""
        if isinstance(event, ItsWrite | ItsRead | ProcessCommand | Command | UnknownCommand):
            self._line = event.line
        match event:
            case ItsWrite():
                self._write(event)
            case ItsRead():
                self._reader.outside_a_command()
                self._read(event)
            case ProcessCommand():
                self._reader.at(event.slot, self._ring_bytes())
            case Command() | UnknownCommand():
                self._reader.executed(self._ring_bytes())
            case TableAccess():
                self._reader.table_access(event.fault)
            case _:
                self._reader.outside_a_command()

    def values(self) -> dict[str, int]:
        """The registers that are known; of a queue that is not, GITS_CREADR tells nothing."""
        values = self._words.values()
        creadr = self._reader.value(self._settled())
        values.pop("CREADR", None)
        if creadr is not None and "CBASER" in values:
            values["CREADR"] = Given(creadr, f"{self._path}: commands executed up to line {self._line}")
        return values

    def _read(self, event: ItsRead) -> None:
        self._words.access(event, event.data, written=False)
        if event.offset == _CREADR:
            self._reader.told(event.data)
        half = event.offset % 8
        if event.offset in _TABLES and event.offset - half >= _BASER0 and half + event.size == 8:
            self._read_only[event.offset - half] = (event.data << 8 * half) & _BASER_RO

    def _write(self, event: ItsWrite) -> None:
        self._reader.outside_a_command()
        if event.offset in _TABLES and self._enabled():
            return
        if event.offset == _CTLR and self._enabled() and self._reader.value(self._settled()) is None:
            self._reader.lost()
        self._words.access(event, self._writable(event), written=True)
        if _CBASER <= event.offset < _CWRITER:
            self._reader.told(0)
        if event.offset == _CWRITER or event.offset == _CTLR:
            self._reader.may_have_moved()

    def _writable(self, event: ItsWrite) -> int:
        """The data of a write; read-only fields are as a read has told them or, as long as none has, as written."""
        if event.offset == _CWRITER:
            return event.data & ~GITS_CWRITER.pack(Retry=1)
        half = event.offset % 8
        told = self._read_only.get(event.offset - half)
        if told is None:
            return event.data
        return event.data & ~(_BASER_RO >> 8 * half) | told >> 8 * half

    def _enabled(self) -> bool:
        return bool(GITS_CTLR.unpack(self._words.word(_CTLR) or 0)["Enabled"])

    def _settled(self) -> bool:
        """Whether no command can have been executed that the trace lacks: QEMU runs the queue to its end."""
        cwriter = self._words.word(_CWRITER)
        return not self._enabled() or (cwriter is not None and self._reader.offset == cwriter)

    def _ring_bytes(self) -> int | None:
        cbaser = self._words.word(_CBASER)
        return None if cbaser is None else queue_bytes(GITS_CBASER.unpack(cbaser))


class _Reader:
    """GITS_CREADR: from 0, where a write of GITS_CBASER puts it, or from a read on, one command after the other.

    In QEMU 7.2 GITS_CREADR.Stalled stays set until GITS_CBASER is written.
    """

    def __init__(self) -> None:
        self.offset: int | None = None
        self._stalled = False
        self._certain = self._faulted = False
        self._command: int | None = None
        self._numbered = False

    def told(self, creadr: int) -> None:
        """A read returned it, or a write of GITS_CBASER set it."""
        fields = GITS_CREADR.unpack(creadr & _WORD)
        self.offset, self._stalled = fields["Offset"], bool(fields["Stalled"])
        self._certain, self._faulted = True, False

    def at(self, slot: int, ring_bytes: int | None) -> None:
        """The command in that slot is about to be executed; the event of the command itself tells nothing more."""
        self._numbered = True
        self._advance_from(slot * COMMAND_BYTES, ring_bytes)

    def executed(self, ring_bytes: int | None) -> None:
        """A command was executed; in a trace without slots it was the one at CREADR."""
        if not self._numbered and self.offset is not None:
            self._advance_from(self.offset, ring_bytes)

    def table_access(self, fault: bool) -> None:
        """If it is a command's and RAM did not answer, the command stalls."""
        if fault and self._command is not None:
            self.offset, self._stalled = self._command, True
            self._certain = self._faulted = True

    def outside_a_command(self) -> None:
        """What comes next is not done by a command."""
        self._command = None

    def may_have_moved(self) -> None:
        """A write that lets the ITS run. QEMU prints it after the commands that it ran; one may have stalled."""
        self._certain, self._faulted = self._faulted, False

    def lost(self) -> None:
        """The ITS has executed commands that the trace lacks."""
        self.offset, self._certain = None, False

    def value(self, settled: bool) -> int | None:
        """The register, if it is known; `settled`: what was counted is where the ITS must be."""
        if self.offset is None or not (self._certain or settled):
            return None
        return GITS_CREADR.pack(Offset=self.offset, Stalled=self._stalled)

    def _advance_from(self, offset: int, ring_bytes: int | None) -> None:
        following = offset + COMMAND_BYTES
        self._command, self._certain, self._faulted = offset, False, False
        self.offset = following if ring_bytes is None else following % ring_bytes
