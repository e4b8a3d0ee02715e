# SPDX-License-Identifier: Apache-2.0
"""What a GIC was asked for and what came of it, counted: commands, interrupts, residencies, messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Region
from gicmodel.lab.queue import Queue
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CWRITER
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER

_CWRITER = register("GITS_CWRITER").offset
_VPENDBASER = register("GICR_VPENDBASER", "4.1").offset
_VALID = GICR_VPENDBASER.pack(Valid=1)
_SPECIAL = range(1020, 1024)
_DOORBELLS = {
    "VMAPP": "Default_Doorbell",
    "VMOVP": "Default_Doorbell",
    "VMAPTI": "Doorbell",
    "VMAPI": "Doorbell",
    "VMOVI": "Doorbell",
}


class Watch:
    """Counts by kind. `interrupts`: acknowledged ones, by (kind, PE). `doorbells`: the INTIDs that commands gave."""

    def __init__(self, gic: Gic) -> None:
        self.commands: Counter[str] = Counter()
        self.interrupts: Counter[tuple[str, int]] = Counter()
        self.residencies: Counter[int] = Counter()
        self.messages: Counter[int] = Counter()
        self._gic = gic
        self.doorbells: set[int] = set()

    def reads(self, region: Region, offset: int, value: int, size: int) -> None:
        """Software has read a register, which counts for nothing."""

    @contextmanager
    def writing(self, region: Region, offset: int, value: int, size: int, device_id: int) -> Iterator[None]:
        """In the block software, or a device, writes a register."""
        if region.its is not None and offset == _CWRITER:
            self._count_commands(region, GITS_CWRITER.unpack(value)["Offset"])
        elif offset in (_VPENDBASER, _VPENDBASER + 4) and region.name.startswith("GICR"):
            self._vpendbaser(region, value << (0 if size == 8 or offset == _VPENDBASER else 32))
        yield

    def acknowledged(self, pe: int, intid: int, group: int, virtual: bool) -> None:
        """A PE has read ICC_IAR<group> or ICV_IAR<group>."""
        if intid not in _SPECIAL:
            self.interrupts[("virtual " if virtual else "") + self._kind(intid, virtual), pe] += 1

    def step(self) -> int:
        """Let the GIC go on by a step; how many commands it has executed."""
        return self._gic.step()

    def message(self, device_id: int, data: int) -> None:
        """A device has sent an MSI."""
        self.messages[device_id] += 1

    def to_json(self) -> dict[str, Any]:
        """All counts."""
        kinds = sorted({kind for kind, _ in self.interrupts})
        return {
            "commands": dict(sorted(self.commands.items())),
            "interrupts": {kind: {str(pe): self.interrupts[kind, pe] for pe in self._pes(kind)} for kind in kinds},
            "residencies": {str(pe): count for pe, count in sorted(self.residencies.items())},
            "messages": {f"{device:#x}": count for device, count in sorted(self.messages.items())},
        }

    def _pes(self, kind: str) -> list[int]:
        return sorted(pe for found, pe in self.interrupts if found == kind)

    def _kind(self, intid: int, virtual: bool) -> str:
        if intid >= FIRST_LPI:
            return "LPI" if virtual or intid not in self.doorbells else "doorbell"
        return "SGI" if intid < 16 else "PPI" if intid < 32 else "SPI"

    def _vpendbaser(self, region: Region, value: int) -> None:
        if value & ~region.face.read(_VPENDBASER, 8) & _VALID:
            self.residencies[int(region.name.removeprefix("GICR"))] += 1

    def _count_commands(self, region: Region, end: int) -> None:
        """Count the commands from where GITS_CWRITER is to where it will be."""
        queue = Queue(self._gic, int(region.name.removeprefix("GITS")))
        for offset in queue.offsets(queue.registers("CWRITER")["Offset"], end):
            name, fields = queue.command(offset)
            self.commands[name] += 1
            if name in _DOORBELLS:
                self.doorbells.add(fields.get(_DOORBELLS[name], 0))
