# SPDX-License-Identifier: Apache-2.0
"""A board's trace: what `gicmodel replay` reads, in QEMU's words and, for what those do not tell, in ours.

A command is told when it has been executed, and a write of GITS_CWRITER once all commands that it announces are, as
QEMU does. A packet line stands before a command whose own line does not tell all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gicmodel.board.traced_ram import TracedRam
from gicmodel.board.watch import Watch
from gicmodel.config import FRAME_BYTES, affinity_of
from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Region
from gicmodel.images.qemu_trace.events import event_line
from gicmodel.images.qemu_trace.packets import command_lines
from gicmodel.lab.queue import Queue
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CWRITER
from gicmodel.layouts.registers.redistributor import SGI_FRAME, VLPI_FRAME
from gicmodel.memory import ExternalAbort

_CBASER, _CWRITER, _TRANSLATER = (register(f"GITS_{name}").offset for name in ("CBASER", "CWRITER", "TRANSLATER"))


class Trace(Watch):
    """Counts, and writes the trace of a GIC, line by line.

    Raises:
        UnusableInput: the GIC has several ITSs, between which QEMU's trace does not tell.
    """

    def __init__(self, gic: Gic, write: Callable[[str], object]) -> None:
        if len(gic.its) != 1:
            raise UnusableInput(
                f"a trace is of a GIC with one ITS: its lines do not say which of {len(gic.its)} they mean"
            )
        super().__init__(gic)
        self._write = write
        self._architecture = gic.config.architecture
        self._queue = Queue(gic, 0)
        self._ram = TracedRam(gic)
        creadr = self._queue.registers("CREADR")
        self._creadr, self._stalled, self._busy = creadr["Offset"], bool(creadr["Stalled"]), False
        self._held: list[tuple[int, str]] = []
        """Writes of GITS_CWRITER, each with the offset at which the ITS has to arrive."""
        self._tell("gicmodel_gic", base=gic.memory.base, end=gic.memory.end, choices=" ".join(gic.config.choices))

    def reads(self, region: Region, offset: int, value: int, size: int) -> None:
        """Software has read a register."""
        self._write(_access("read", region, offset, value, size))

    @contextmanager
    def writing(self, region: Region, offset: int, value: int, size: int, device_id: int) -> Iterator[None]:
        """In the block software, or a device, writes a register."""
        line = _access("write", region, offset, value, size, device_id)
        with super().writing(region, offset, value, size, device_id):
            if not _is_of_lpis(region, offset):
                self._write(line)
                yield
                return
            self._tell_write(region, offset, value, line)
            yield
            if region.its is not None and offset in (_CBASER, _CBASER + 4):
                self._creadr = self._queue.registers("CREADR")["Offset"]
            self._settle()
            self._busy = True

    def _tell_write(self, region: Region, offset: int, value: int, line: str) -> None:
        end = self._creadr
        if region.its is not None and offset == _CWRITER:
            fields = GITS_CWRITER.unpack(value)
            end, self._stalled = fields["Offset"], self._stalled and not fields["Retry"]
            self._ram.announce(map(self._queue.command, self._queue.offsets(self._creadr, end)))
        self._tell_ram()
        if end != self._creadr and self._queue.registers("CTLR")["Enabled"]:
            self._held.append((end, line))
        else:
            self._write(line)

    def acknowledged(self, pe: int, intid: int, group: int, virtual: bool) -> None:
        """A PE has read ICC_IAR<group> or ICV_IAR<group>."""
        super().acknowledged(pe, intid, group, virtual)
        if virtual:
            self._tell("gicv3_icv_iar_read", group=group, cpu=affinity_of(pe), intid=intid)
        else:
            self._tell(f"gicv3_icc_iar{group}_read", cpu=affinity_of(pe), intid=intid)
        if intid >= FIRST_LPI:
            self._ram.settle()

    def step(self) -> int:
        """Let the GIC go on by a step; how many commands it has executed."""
        if self._busy:
            self._tell_ram()
        executed = super().step()
        if self._busy:
            self._settle()
            self._busy = self._creadr != self._queue.registers("CWRITER")["Offset"]
        return executed

    def _tell(self, event: str, **values: int | str) -> None:
        self._write(event_line(event, **values))

    def _tell_ram(self) -> None:
        for address, data, words in self._ram.written():
            self._tell("gicmodel_ram", address=address, data=data, words=words)

    def _settle(self) -> None:
        """The hardware has done something."""
        self._ram.settle()
        creadr = self._queue.registers("CREADR")
        for offset in self._queue.offsets(self._creadr, creadr["Offset"]):
            self._tell_command(offset)
            self._creadr = self._queue.after(offset)
            self._tell_reached()
        if creadr["Stalled"] and not self._stalled:
            self._tell_command(self._creadr)
            self._release(len(self._held))
        self._stalled = bool(creadr["Stalled"])

    def _tell_command(self, offset: int) -> None:
        with suppress(ExternalAbort):
            for line in command_lines(offset // COMMAND_BYTES, self._queue.words(offset), self._architecture):
                self._write(line)

    def _tell_reached(self) -> None:
        reached = [n for n, (end, _) in enumerate(self._held) if end == self._creadr]
        self._release(reached[-1] + 1 if reached else 0)

    def _release(self, count: int) -> None:
        for _, line in self._held[:count]:
            self._write(line)
        del self._held[:count]


def _access(kind: str, region: Region, offset: int, value: int, size: int, device_id: int = 0) -> str:
    if region.its is not None and kind == "write" and offset == _TRANSLATER:
        at = offset - FRAME_BYTES
        return event_line("gicv3_its_translation_write", offset=at, data=value, size=size, requester_id=device_id)
    if region.its is not None:
        return event_line(f"gicv3_its_{kind}", offset=offset, data=value, size=size)
    if region.name == "GICD":
        return event_line(f"gicv3_dist_{kind}", offset=offset, data=value, size=size, secure=0)
    cpu = affinity_of(int(region.name.removeprefix("GICR")))
    return event_line(f"gicv3_redist_{kind}", cpu=cpu, offset=offset, data=value, size=size, secure=0)


def _is_of_lpis(region: Region, offset: int) -> bool:
    """Whether a register may have the hardware look at tables in RAM."""
    return region.name != "GICD" and (region.its is not None or not SGI_FRAME <= offset < VLPI_FRAME)
