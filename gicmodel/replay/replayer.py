# SPDX-License-Identifier: Apache-2.0
"""Feeds a trace to the hardware: register writes, commands, MSIs and acknowledges, in their order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from gicmodel.config import FRAME_BYTES
from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Bus
from gicmodel.images.dump import Dump
from gicmodel.images.qemu_trace.events import (
    Acknowledge,
    Command,
    Event,
    Glued,
    ItsRead,
    ItsWrite,
    Msi,
    Packet,
    ProcessCommand,
    Ram,
    RedistributorWrite,
    TableAccess,
    Unknown,
    UnknownCommand,
)
from gicmodel.images.qemu_trace.packets import Words, words_of
from gicmodel.lab.queue import decoded
from gicmodel.lab.tables import itt_of, table_of, vpt_of
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CREADR, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER
from gicmodel.layouts.table import TableType
from gicmodel.memory import GuestMemory
from gicmodel.replay.acknowledges import Acknowledges
from gicmodel.replay.queue import CBASER, CREADR, CTLR, CWRITER, CommandQueue
from gicmodel.replay.software import MEMORY_BYTES, Software
from gicmodel.replay.survey import Survey

_TRANSLATER = register("GITS_TRANSLATER").offset
_GICR_CTLR, _PROPBASER, _PENDBASER, _VPENDBASER = (
    register(f"GICR_{name}", "4.0").offset for name in ("CTLR", "PROPBASER", "PENDBASER", "VPENDBASER")
)
_BASERS = {
    TableType.DEVICES: "GITS_BASER0",
    TableType.COLLECTIONS: "GITS_BASER1",
    TableType.VPES: "GITS_BASER2",
}
"""The register that describes each table, in QEMU's ITS and in the model of it."""
_MAPS = {"MAPD": TableType.DEVICES, "MAPC": TableType.COLLECTIONS, "VMAPP": TableType.VPES}
_HALF = 4
MOST_NAMES = 64
"""How many names of unknown lines are counted each for itself."""
_OTHERS = "others"


class Held(NamedTuple):
    """A command that is executed when the next event comes."""

    line: int
    words: Words
    mnemonic: str
    fields: dict[str, int]


class Replayer:
    """A GIC as the one that was traced, and what has been fed to it so far.

    `commands` counts by mnemonic; `mapped`: the tables in which commands have mapped IDs; `late`: what was used before
    the trace shows that it was set up, with its first line: the trace began after power-on.
    """

    def __init__(self, path: Path, traced: Survey, image: Dump | None) -> None:
        self.memory = GuestMemory(*(traced.ram or (0, MEMORY_BYTES)))
        self.gic = Gic(traced.config, self.memory)
        self.software = Software(self.memory, image, traced.ram is not None)
        self.acknowledges = Acknowledges(self.gic, traced.processors)
        self.commands: Counter[str] = Counter()
        self.events = self.msis = 0
        self.unknown: Counter[str] = Counter()
        self.mapped: set[TableType] = set()
        self.late: dict[str, int] = {}
        self._path = path
        self._processors = traced.processors
        self._architecture = traced.config.architecture
        self._its = self.gic.its[0]
        self._bus = Bus(self.gic)
        self._regions = {region.name: region for region in self._bus.regions}
        self._queue = CommandQueue(self.gic, str(path))
        self._held: Held | None = None
        self._packet: Packet | None = None
        self._written: set[tuple[str, int]] = set()
        self._zeroed: dict[int, bool] = {}
        self._line = 0

    def feed(self, event: Event | Glued) -> None:
        """Do to the model what the event says was done to QEMU. Raises UnusableInput if that cannot have been.

        A command is executed when the next event comes, unless that says that RAM did not answer: then it stalled.
        """
        if isinstance(event, Glued):
            return
        self.events += 1
        self._line = event.line
        if isinstance(event, TableAccess):
            self._table_access(event)
            return
        self._execute_held()
        match event:
            case ItsWrite():
                self._its_write(event)
            case RedistributorWrite():
                self._redistributor_write(event)
            case Command() | UnknownCommand():
                self._command(event)
            case Packet():
                self._packet = event
            case Ram():
                self._ram(event)
            case ProcessCommand():
                self._queue.at(event.line, event.slot)
            case ItsRead(offset=offset) if offset == CREADR:
                self._queue.at(event.line, GITS_CREADR.unpack(event.data & 0xFFFF_FFFF)["Offset"] // COMMAND_BYTES)
            case Msi():
                self._msi(event)
            case Acknowledge():
                self._acknowledge(event)
            case Unknown():
                self.unknown[
                    event.name if event.name in self.unknown or len(self.unknown) < MOST_NAMES else _OTHERS
                ] += 1

    def finish(self) -> None:
        """After the last event: raises UnusableInput if commands never ran, or are to be executed and not traced."""
        self._execute_held()
        self._queue.finish(self._line)

    def _its_write(self, event: ItsWrite) -> None:
        enables = event.offset == CTLR and GITS_CTLR.unpack(event.data & 0xFFFF_FFFF)["Enabled"]
        if not enables:
            self._queue.require_enabled()
        self._written.add(("GITS", event.offset & -8))
        if event.offset == CWRITER:
            self._queue.cwriter(event)
        if event.offset in (CWRITER, CWRITER + _HALF):  # The upper half is RES0 and starts nothing.
            return
        if enables and not self._queue.enabled:
            self.software.its_enabled(self._its)
            self._queue.enable(event.line)
        self._write("GITS0", event)
        if event.offset in (CBASER, CBASER + _HALF):
            self._queue.rebase()

    def _redistributor_write(self, event: RedistributorWrite) -> None:
        number = self._processors[event.cpu]
        self._written.add((f"GICR{number}", event.offset & -8))
        redistributor = self.gic.redistributors[number]
        if event.offset == _PENDBASER and event.size == 8:
            self._zeroed[number] = bool(GICR_PENDBASER.unpack(event.data)["PTZ"])
        if event.offset == _GICR_CTLR and GICR_CTLR.unpack(event.data & 0xFFFF_FFFF)["EnableLPIs"]:
            if not {(f"GICR{number}", _PROPBASER), (f"GICR{number}", _PENDBASER)} <= self._written:
                reason = "EnableLPIs is set, but no write sets GICR_PROPBASER and GICR_PENDBASER"
                self.late.setdefault(reason, event.line)
            self.software.lpis_enabled(redistributor, self._zeroed.pop(number, False))
        if event.offset in (_VPENDBASER, _VPENDBASER + _HALF):
            self.software.vpe_scheduled(redistributor)
        self._write(f"GICR{number}", event)

    def _write(self, frames: str, event: ItsWrite | RedistributorWrite) -> None:
        """The same write, of the model's frames; beyond them nothing is written."""
        region = self._regions[frames]
        if event.offset + event.size <= region.size:
            self._bus.write(region.base + event.offset, event.data, event.size)

    def _msi(self, event: Msi) -> None:
        self.msis += 1
        if event.offset == _TRANSLATER - FRAME_BYTES:
            address = self._regions["GITS0"].base + _TRANSLATER
            self._bus.write(address, event.data, event.size, device_id=event.requester_id)

    def _acknowledge(self, event: Acknowledge) -> None:
        missed = len(self.acknowledges.not_pending)
        self.acknowledges.take(event)
        if len(self.acknowledges.not_pending) > missed and not event.virtual and not self.acknowledges.has_lpis(event):
            self.late.setdefault("an LPI is acknowledged where no write has set GICR_CTLR.EnableLPIs", event.line)

    def _table_access(self, event: TableAccess) -> None:
        if event.fault and self._held:
            self._held = None
            self._queue.stall()

    def _ram(self, event: Ram) -> None:
        try:
            self.software.told(event)
        except ValueError as error:
            raise UnusableInput(f"{self._path}: line {event.line}: {error}") from None

    def _command(self, event: Command | UnknownCommand) -> None:
        packet, self._packet = self._packet, None
        try:
            words = words_of(event, packet, self._architecture)
        except ValueError as error:
            raise UnusableInput(f"{self._path}: line {event.line}: {error}") from None
        name, fields = decoded(words, self._architecture)
        self.commands[name] += 1
        self._held = Held(event.line, words, name, fields)

    def _execute_held(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        if held.fields.get("V"):
            self._maps(held.line, _MAPS[held.mnemonic])
            self._hand_over(held.mnemonic, held.fields)
        self._queue.run(held.line, held.words)
        self.acknowledges.mappings_changed()

    def _maps(self, line: int, kind: TableType) -> None:
        self.mapped.add(kind)
        baser = _BASERS[kind]
        if ("GITS", register(baser).offset) not in self._written:
            self.late.setdefault(f"a command maps, but no write sets {baser}", line)

    def _hand_over(self, mnemonic: str, fields: dict[str, int]) -> None:
        """Software zeroes an ITT before it maps the device, and in GICv4.0, where no unmap makes a VPT current, a VPT
        before it maps the vPE: what an earlier owner of that memory left there is gone."""
        if mnemonic == "MAPD" and not self._is_mapped(TableType.DEVICES, fields["DeviceID"]):
            self.software.hand_over(*itt_of(fields))
        if mnemonic == "VMAPP" and not self._is_mapped(TableType.VPES, fields["vPEID"]):
            self.software.hand_over(*vpt_of(fields))

    def _is_mapped(self, kind: TableType, identifier: int) -> bool:
        return identifier in table_of(self._its, kind, self.memory)[0]
