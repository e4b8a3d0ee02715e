# SPDX-License-Identifier: Apache-2.0
"""Puts traced commands where the hardware reads commands: into the ring at GITS_CBASER.

A trace names the commands that the ITS executed, not the bytes software wrote. Each is rebuilt as a packet at the place
the ITS reads next, and GITS_CWRITER moved one packet on, so that the hardware's own interpreter runs it from RAM. The
traced writes of GITS_CWRITER then say where the ITS must have arrived. QEMU 7.2 prints such a write after the commands
it ran; a log with the write first is as good.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic
from gicmodel.images.qemu_trace.events import ItsWrite
from gicmodel.lab.queue import Queue
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CWRITER
from gicmodel.memory import ExternalAbort

CTLR, CBASER, CWRITER, CREADR = (register(f"GITS_{name}").offset for name in ("CTLR", "CBASER", "CWRITER", "CREADR"))


class CommandQueue(Queue):
    """The ring of one ITS. Commands traced while the ITS is disabled wait for the write that enables it."""

    def __init__(self, gic: Gic, trace: str) -> None:
        super().__init__(gic, 0)
        self._its = gic.its[0]
        self._trace = trace
        self._waiting: list[tuple[int, Sequence[int]]] = []
        self._promised: int | None = None
        self._executed = self._stalled_in_trace = False

    @property
    def enabled(self) -> bool:
        """GITS_CTLR.Enabled."""
        return bool(self.registers("CTLR")["Enabled"])

    def run(self, line: int, packet: Sequence[int]) -> None:
        """Execute one command, or keep it until the ITS is enabled."""
        if not self.enabled:
            self._waiting.append((line, packet))
            return
        self._executed, self._stalled_in_trace = True, False
        offset = self._read_offset()
        self._store(line, offset, packet)
        self._registers.set("GITS_CWRITER", Offset=self.after(offset), Retry=self._stalled())

    def enable(self, line: int) -> None:
        """Before the write that sets GITS_CTLR.Enabled: the ITS will find exactly the commands that waited."""
        self._promised = self.registers("CWRITER")["Offset"]
        offset = self._read_offset()
        for _, packet in self._waiting:
            self._store(line, offset, packet)
            offset = self.after(offset)
        self._waiting.clear()
        self._registers.set("GITS_CWRITER", Offset=offset)

    def at(self, line: int, slot: int) -> None:
        """The ITS is at that slot, as it or a read of GITS_CREADR says. Raises UnusableInput if the model is not."""
        offset = self._read_offset()
        for _ in self._waiting:
            offset = self.after(offset)
        if slot * COMMAND_BYTES != offset:
            raise UnusableInput(
                f"{self._trace}: line {line}: the ITS is at the command at {slot * COMMAND_BYTES:#x}, but the commands "
                f"before end at {offset:#x}: a trace must record every gicv3_its_cmd_* event from power-on"
            )

    def stall(self) -> None:
        """The command that comes next stalled: it was not executed, and is the first to be when processing goes on."""
        self._stalled_in_trace = True

    def require_enabled(self) -> None:
        """Raise UnusableInput if commands wait for a write that enables the ITS, now that it cannot come any more."""
        if self._waiting:
            line, _ = self._waiting[0]
            raise UnusableInput(
                f"{self._trace}: line {line}: an ITS command, but no write enables the ITS for it: "
                "a trace starts at power-on and records every gicv3_its_write"
            )

    def cwriter(self, event: ItsWrite) -> None:
        """A traced write of GITS_CWRITER: a promise of commands, or the receipt for those already executed."""
        before = self._promised
        self._promised = GITS_CWRITER.unpack(event.data)["Offset"]
        offset = self._read_offset()
        if offset not in (before, self._promised):
            self._check_complete(event.line, before)
        if not self.enabled or offset == self._promised:
            self._its.write(event.offset, event.data, event.size)
        self._executed = False

    def rebase(self) -> None:
        """GITS_CBASER was written: the ITS reads from the start of the ring again."""
        self._promised = None

    def finish(self, line: int) -> None:
        """After the last event: raise UnusableInput if commands never ran, or none of those promised last came."""
        self.require_enabled()
        if not self._executed and self._read_offset() != self._promised:
            self._check_complete(line, self._promised)

    def _check_complete(self, line: int, promised: int | None) -> None:
        """The ITS has not arrived where GITS_CWRITER pointed: it was stalled or disabled, or commands are missing."""
        if self._stalled_in_trace or self._stalled() or not self.enabled:
            return
        if promised is None or promised >= self.size:
            return
        raise UnusableInput(
            f"{self._trace}: line {line}: GITS_CWRITER was set to {promised:#x}, but the commands before end at "
            f"{self._read_offset():#x}: a trace must record every gicv3_its_cmd_* event from power-on"
        )

    def _store(self, line: int, offset: int, packet: Sequence[int]) -> None:
        cbaser = self.registers("CBASER")
        if not cbaser["Valid"]:
            raise UnusableInput(
                f"{self._trace}: line {line}: an ITS command, but GITS_CBASER.Valid is 0: a trace starts at power-on"
            )
        try:
            self._memory.write(cbaser["Physical_Address"] + offset, np.array(packet, "<u8").view(np.uint8))
        except ExternalAbort as abort:
            raise UnusableInput(f"{self._trace}: line {line}: the command queue is outside RAM: {abort}") from None

    def _stalled(self) -> int:
        return self.registers("CREADR")["Stalled"]

    def _read_offset(self) -> int:
        return self.registers("CREADR")["Offset"]
