# SPDX-License-Identifier: Apache-2.0
"""The real hardware, to be driven beside an oracle.

A rig does what a minimal host would: it writes commands into the queues and registers, and reads back what the hardware
shows. It decides nothing and keeps no copy of the hardware's state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.hardware import CommandError
from gicmodel.lab.board import QUEUE_SLOTS, Board, place
from gicmodel.lab.geometry import Geometry
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.its_tables import ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes
from gicmodel.layouts.registers.its import GITS_CREADR, GITS_CWRITER, GITS_SGIR, GITS_STATUSR
from gicmodel.layouts.registers.redistributor import (
    GICR_INVALLR,
    GICR_INVLPIR,
    GICR_VPENDBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER_V40,
    GICR_VSGIPENDR,
)


class Rig(Board):
    """A `Board` whose queues are at their beginning."""

    def __init__(self, config: GicConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self._written = [0] * config.its

    # Commands.

    def push(self, its: int, commands: Sequence[Sequence[int]]) -> None:
        """Write commands, fewer than QUEUE_SLOTS, into the next slots of an ITS's queue, and CWRITER once."""
        octets = np.array(commands, "<u8").tobytes()
        first = self._written[its] % QUEUE_SLOTS
        room = (QUEUE_SLOTS - first) * COMMAND_BYTES
        self.memory.write(self.queues[its] + self._offset(first), octets[:room])
        self.memory.write(self.queues[its], octets[room:])
        self._written[its] += len(commands)
        self.write_its(its, "GITS_CWRITER", GITS_CWRITER.pack(Offset=self._offset(self._written[its])))

    def retry(self, its: int, replacement: Sequence[int] | None = None) -> None:
        """Write CWRITER.Retry, after overwriting the command that stalled if there is a `replacement`."""
        if replacement is not None:
            self._store(its, self.creadr(its) // COMMAND_BYTES, replacement)
        self.write_its(its, "GITS_CWRITER", GITS_CWRITER.pack(Offset=self._offset(self._written[its]), Retry=1))

    def creadr(self, its: int) -> int:
        """GITS_CREADR.Offset."""
        return GITS_CREADR.unpack(self.read_its(its, "GITS_CREADR"))["Offset"]

    def stalled(self, its: int) -> bool:
        """GITS_CREADR.Stalled."""
        return bool(GITS_CREADR.unpack(self.read_its(its, "GITS_CREADR"))["Stalled"])

    def take_errors(self) -> list[CommandError]:
        """The command errors since the last call."""
        errors = self.gic.errors
        self.gic.clear_errors()
        return errors

    def _offset(self, slot: int) -> int:
        return slot % QUEUE_SLOTS * COMMAND_BYTES

    def _store(self, its: int, slot: int, command: Sequence[int]) -> None:
        for index, word in enumerate(command):
            self.memory.write_u64(self.queues[its] + self._offset(slot) + 8 * index, word)

    # Interrupts.

    def translate(self, its: int, device_id: int, event_id: int) -> int | None:
        """A device writes GITS_TRANSLATER. Returns GITS_STATUSR.Syndrome of an unmapped MSI, None for a mapped one."""
        offset, size = place("GITS_TRANSLATER", self.config.architecture)
        self.gic.its[its].write(offset, event_id, size, device_id=device_id)
        status = GITS_STATUSR.unpack(self.read_its(its, "GITS_STATUSR"))
        self.write_its(its, "GITS_STATUSR", GITS_STATUSR.pack(UMSI=1, Overflow=1))
        return status["Syndrome"] if status["UMSI"] else None

    def write_sgir(self, its: int, vpeid: int, vintid: int) -> None:
        """Software makes a vSGI pending."""
        self.write_its(its, "GITS_SGIR", GITS_SGIR.pack(vPEID=vpeid, vINTID=vintid))

    def pending_vsgis(self, rd: int, vpeid: int) -> set[int]:
        """GICR_VSGIPENDR of a redistributor after a query of `vpeid`."""
        self.write_redistributor(rd, "GICR_VSGIR", vpeid)
        pending = GICR_VSGIPENDR.unpack(self.read_redistributor(rd, "GICR_VSGIPENDR"))["Pending"]
        return {number for number in range(16) if pending >> number & 1}

    def set_configuration(self, intid: int, byte: int) -> None:
        """Write an LPI's configuration byte and invalidate it everywhere."""
        self.memory.write_u8(self.lpi_configuration + intid - FIRST_LPI, byte)
        for number in range(self.config.redistributors):
            self.write_redistributor(number, "GICR_INVLPIR", GICR_INVLPIR.pack(INTID=intid))

    def set_virtual_configuration(self, vconf: int, vintid: int, byte: int) -> None:
        """Write a vLPI's configuration byte; software still has to invalidate it."""
        self.memory.write_u8(vconf + vintid - FIRST_LPI, byte)

    def invalidate_virtual(self, rd: int, vpeid: int, vintid: int | None) -> None:
        """Write GICR_INVLPIR, or without `vintid` GICR_INVALLR, with V=1."""
        if vintid is None:
            self.write_redistributor(rd, "GICR_INVALLR", GICR_INVALLR.pack(V=1, vPEID=vpeid))
        else:
            self.write_redistributor(rd, "GICR_INVLPIR", GICR_INVLPIR.pack(V=1, vPEID=vpeid, INTID=vintid))

    def zero_itt(self, itt: int) -> None:
        """Zero an ITT, as software must before it hands one over."""
        self.memory.zero(itt, ITE.bytes << self.config.event_id_bits)

    def zero_vpt(self, vpt: int) -> None:
        """Zero a VPT, as software must before a VMAPP with PTZ=1."""
        self.memory.zero(vpt, table_bytes(self.config.intid_bits))

    # Residency.

    def schedule(self, rd: int, vpeid: int, groups: frozenset[int]) -> bool:
        """GICv4.1: write VPENDBASER with Valid=1. Returns Valid as it then reads."""
        enables = {"VGrp0En": 0 in groups, "VGrp1En": 1 in groups}
        self.write_redistributor(rd, "GICR_VPENDBASER", GICR_VPENDBASER.pack(Valid=1, vPEID=vpeid, **enables))
        return self.resident(rd)

    def schedule_v40(self, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
        """GICv4.0: write VPROPBASER, then VPENDBASER with Valid=1."""
        propbaser = GICR_VPROPBASER_V40.pack(Physical_Address=vconf, IDbits=vintid_bits - 1)
        self.write_redistributor(rd, "GICR_VPROPBASER", propbaser)
        pendbaser = GICR_VPENDBASER_V40.pack(Valid=1, PendingLast=1, Physical_Address=vpt)
        self.write_redistributor(rd, "GICR_VPENDBASER", pendbaser)

    def deschedule(self, rd: int, doorbell: bool, pending_last: bool) -> bool:
        """Write VPENDBASER with Valid=0 and the rest unchanged. Returns PendingLast as it then reads."""
        layout = GICR_VPENDBASER if self.config.v41 else GICR_VPENDBASER_V40
        request = {"Valid": 0, "PendingLast": pending_last} | ({"Doorbell": doorbell} if self.config.v41 else {})
        now = layout.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))
        self.write_redistributor(rd, "GICR_VPENDBASER", layout.pack(**(now | request)))
        return bool(layout.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))["PendingLast"])

    def resident(self, rd: int) -> bool:
        """GICR_VPENDBASER.Valid."""
        return bool(GICR_VPENDBASER.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))["Valid"])
