# SPDX-License-Identifier: Apache-2.0
"""What a GIC was asked for and what came of it, counted: commands, interrupts, residencies, messages."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Region
from gicmodel.layouts.commands import COMMAND_BYTES, decode_command
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CWRITER
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER
from gicmodel.memory import ExternalAbort

PAGE_BYTES = 4096
_CBASER, _CWRITER = (register(f"GITS_{name}").offset for name in ("CBASER", "CWRITER"))
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

    def wrote(self, region: Region, offset: int, value: int, size: int) -> None:
        """Software is about to write a register."""
        if region.name.startswith("GITS"):
            if offset == _CWRITER:
                self._queue(region, GITS_CWRITER.unpack(value)["Offset"])
        elif offset in (_VPENDBASER, _VPENDBASER + 4) and region.name.startswith("GICR"):
            self._vpendbaser(region, value << (0 if size == 8 or offset == _VPENDBASER else 32))

    def acknowledged(self, pe: int, intid: int, virtual: bool) -> None:
        """A PE has read ICC_IAR<n> or ICV_IAR<n>."""
        if intid not in _SPECIAL:
            self.interrupts[("virtual " if virtual else "") + self._kind(intid, virtual), pe] += 1

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

    def _queue(self, region: Region, end: int) -> None:
        """Count the commands from where GITS_CWRITER is to where it will be."""
        cbaser = GITS_CBASER.unpack(region.face.read(_CBASER, 8))
        size = (cbaser["Size"] + 1) * PAGE_BYTES
        at, base = GITS_CWRITER.unpack(region.face.read(_CWRITER, 8))["Offset"], cbaser["Physical_Address"]
        while at != end and end < size and at < size:
            self._count(base + at)
            at = (at + COMMAND_BYTES) % size

    def _count(self, address: int) -> None:
        try:
            words = [self._gic.memory.read_u64(address + 8 * n) for n in range(4)]
            name, fields = decode_command(words, self._gic.config.architecture)
        except (ExternalAbort, ValueError):
            name, fields = "unknown", {}
        self.commands[name] += 1
        if name in _DOORBELLS:
            self.doorbells.add(fields.get(_DOORBELLS[name], 0))
