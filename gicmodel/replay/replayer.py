# SPDX-License-Identifier: Apache-2.0
"""Feeds a trace to the hardware: register writes, commands, MSIs and acknowledges, in their order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic, GicConfig
from gicmodel.layouts.commands import COMMANDS, OPCODES, encode
from gicmodel.layouts.device import DTE
from gicmodel.layouts.itt import ITE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers import GICR_CTLR, GICR_PENDBASER, GITS_CTLR, VLPI_FRAME, TableType, register
from gicmodel.layouts.vpe import VTE
from gicmodel.layouts.vpt import table_bytes
from gicmodel.memory import GuestMemory
from gicmodel.replay.acknowledges import Acknowledges
from gicmodel.replay.events import (
    Acknowledge,
    Command,
    Event,
    ItsWrite,
    Msi,
    RedistributorWrite,
    Unknown,
    UnknownCommand,
)
from gicmodel.replay.queue import CBASER, CTLR, CWRITER, CommandQueue
from gicmodel.replay.software import Image, Software
from gicmodel.replay.survey import Survey, processor_number
from gicmodel.replay.tables import Table

_TRANSLATER = register("GITS_TRANSLATER").offset & 0xFFFF
_GICR_CTLR, _PENDBASER, _VPENDBASER = (
    register(f"GICR_{name}", "4.0").offset for name in ("CTLR", "PENDBASER", "VPENDBASER")
)
_MAPS = {"MAPD": TableType.DEVICES, "MAPC": TableType.COLLECTIONS, "VMAPP": TableType.VPES}
_SGI_FRAME = 0x1_0000
_HALF = 4


class Replayer:
    """A GIC as QEMU's, and what has been fed to it so far. `mapped`: the tables in which commands have mapped IDs."""

    def __init__(self, path: Path, traced: Survey, image: Image | None) -> None:
        self.memory = GuestMemory(0, Software.memory_bytes())
        config = GicConfig.qemu(traced.architecture, redistributors=traced.redistributors)
        self.gic = Gic(config, self.memory)
        self.software = Software(self.memory, image)
        self.acknowledges = Acknowledges(self.gic, self.memory)
        self.events = self.commands = self.msis = 0
        self.unknown: Counter[str] = Counter()
        self.mapped: set[TableType] = set()
        self._path = path
        self._architecture = traced.architecture
        self._its = self.gic.its[0]
        self._queue = CommandQueue(self._its, self.memory, str(path))
        self._zeroed: dict[int, bool] = {}
        self._line = 0

    def feed(self, event: Event) -> None:
        """Do to the model what the event says was done to QEMU. Raises UnusableInput if that cannot have been."""
        self.events += 1
        self._line = event.line
        match event:
            case ItsWrite():
                self._its_write(event)
            case RedistributorWrite():
                self._redistributor_write(event)
            case Command() | UnknownCommand():
                self._command(event)
            case Msi():
                self._msi(event)
            case Acknowledge():
                self.acknowledges.take(event)
            case Unknown():
                self.unknown[event.name] += 1

    def finish(self) -> None:
        """After the last event: raises UnusableInput if the ITS has commands to execute that the trace lacks."""
        self._queue.finish(self._line)

    def _its_write(self, event: ItsWrite) -> None:
        if event.offset == CWRITER:
            self._queue.cwriter(event)
        if event.offset in (CWRITER, CWRITER + _HALF):  # The upper half is RES0 and starts nothing.
            return
        if event.offset == CTLR and GITS_CTLR.unpack(event.data & 0xFFFF_FFFF)["Enabled"] and not self._queue.enabled:
            self.software.its_enabled(self._its)
            self._queue.enable(event.line)
        self._its.write(event.offset, event.data, event.size)
        if event.offset in (CBASER, CBASER + _HALF):
            self._queue.rebase()

    def _redistributor_write(self, event: RedistributorWrite) -> None:
        """The SGI_base frame is passed over: it holds no LPI."""
        if _SGI_FRAME <= event.offset < VLPI_FRAME:
            return
        number = processor_number(event.cpu)
        redistributor = self.gic.redistributors[number]
        if event.offset == _PENDBASER and event.size == 8:
            self._zeroed[number] = bool(GICR_PENDBASER.unpack(event.data)["PTZ"])
        if event.offset == _GICR_CTLR and GICR_CTLR.unpack(event.data & 0xFFFF_FFFF)["EnableLPIs"]:
            self.software.lpis_enabled(redistributor, self._zeroed.pop(number, False))
        if event.offset in (_VPENDBASER, _VPENDBASER + _HALF):
            self.software.vpe_scheduled(redistributor)
        redistributor.write(event.offset, event.data, event.size)

    def _msi(self, event: Msi) -> None:
        self.msis += 1
        if event.offset == _TRANSLATER:
            self._its.translate(event.requester_id, event.data)

    def _command(self, event: Command | UnknownCommand) -> None:
        self.commands += 1
        packet = (event.opcode, 0, 0, 0) if isinstance(event, UnknownCommand) else self._packet(event)
        self._queue.run(event.line, packet)
        self.acknowledges.mappings_changed()

    def _packet(self, event: Command) -> tuple[int, ...]:
        layout = COMMANDS(self._architecture)[OPCODES[event.mnemonic]]
        fields = {name: value << int(layout[name].scale) for name, value in event.operands.items()}
        try:
            packet = encode(event.mnemonic, self._architecture, **fields)
        except ValueError as error:
            raise UnusableInput(f"{self._path}: line {event.line}: {error}") from None
        if fields.get("V"):
            self.mapped.add(_MAPS[event.mnemonic])
            self._hand_over(event.mnemonic, fields)
        return packet

    def _hand_over(self, mnemonic: str, fields: dict[str, int]) -> None:
        """Software zeroes an ITT before it maps the device, and in GICv4.0, where no unmap makes a VPT current, a VPT
        before it maps the vPE: what an earlier owner of that memory left there is gone."""
        if mnemonic == "MAPD" and not self._is_mapped(TableType.DEVICES, DTE, fields["DeviceID"]):
            self.software.hand_over(fields["ITT_addr"], ITE.bytes << fields["Size"] + 1)
        if mnemonic == "VMAPP" and not self._is_mapped(TableType.VPES, VTE, fields["vPEID"]):
            self.software.hand_over(fields["VPT_addr"], table_bytes(fields["VPT_size"] + 1))

    def _is_mapped(self, kind: TableType, layout: Layout, identifier: int) -> bool:
        table = Table.of(self._its, kind)
        return table is not None and identifier in table.valid_entries(self.memory, layout)[0]
