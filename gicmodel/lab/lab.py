# SPDX-License-Identifier: Apache-2.0
"""Bare hardware booted for an experiment: registers by name, a queue, and what software does, by one call each.

A lab does what a minimal host would: it writes commands into the queues and registers, and reads back what the hardware
shows. It decides nothing and keeps no copy of the hardware's state.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import FRAME_BYTES, GicConfig
from gicmodel.hardware import CommandError, Gic
from gicmodel.hardware.bus import AddressSpace, Bus, Frames
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.placement import RAM_BASE, RAM_BYTES, Allocation, Placement, TablePlace, place
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.its_tables import ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes
from gicmodel.layouts.registers.by_name import NamedRegisters, register
from gicmodel.layouts.registers.its import GITS_CREADR, GITS_CWRITER, GITS_STATUSR, QUEUE_PAGE_BYTES
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER
from gicmodel.memory import GuestMemory

_TRANSLATER = register("GITS_TRANSLATER").offset
_RETRY = GITS_CWRITER.pack(Retry=1)
_STALLED, _UMSI, _VALID = GITS_CREADR.pack(Stalled=1), GITS_STATUSR.pack(UMSI=1), GICR_VPENDBASER.pack(Valid=1)
_MESSAGES = GITS_STATUSR.pack(UMSI=1, Overflow=1)
"""Bits for what is done so often that names of fields take their time."""


class Ram(Protocol):
    """RAM by physical address."""

    def read(self, address: int, length: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...

    def zero(self, address: int, length: int) -> None: ...


class Software:
    """What a minimal host does with any GIC: nothing but writes of registers, by address, and of RAM.

    `base` tells where the frames of "GICD", "GICR0".., "GITS0".. begin in `space`. `ptz` is GICR_PENDBASER.PTZ at boot:
    the pending tables are zero, and need not be read.
    """

    def __init__(
        self,
        config: GicConfig,
        space: AddressSpace,
        base: Callable[[str], int],
        memory: Ram,
        placement: Placement,
        ptz: int = 1,
    ) -> None:
        def frames(name: str, count: int) -> list[NamedRegisters]:
            bases = (base(f"{name}{number}") for number in range(count))
            return [NamedRegisters(Frames(space, first), config.architecture) for first in bases]

        self.config = config
        self.placement = placement
        self.distributor = NamedRegisters(Frames(space, base("GICD")), config.architecture)
        self.its = frames("GITS", config.its)
        self.redistributors = frames("GICR", config.redistributors)
        self.memory = memory
        self._ptz = ptz

    def boot(self) -> None:
        """Give every redistributor and ITS its tables, which are zero, and switch it on. Nothing is mapped."""
        for number in range(self.config.redistributors):
            self.boot_redistributor(number)
        for number in range(self.config.its):
            self.boot_its(number)

    def boot_redistributor(self, number: int) -> None:
        """Switch on the LPIs, and in GICv4.1 the vPE configuration table, of a redistributor."""
        registers, places = self.redistributors[number], self.placement
        registers.write("GICR_WAKER", 0)
        bits = self.config.intid_bits - 1
        registers.set("GICR_PROPBASER", Physical_Address=places.lpi_configuration, IDbits=bits)
        registers.set("GICR_PENDBASER", Physical_Address=places.pending_tables[number], PTZ=self._ptz)
        registers.set("GICR_CTLR", EnableLPIs=1)
        if places.vpe_configuration is not None:
            self._write_level1(places.vpe_configuration)
            registers.set("GICR_VPROPBASER", Z=1, **places.vpe_configuration.register_fields)

    def boot_its(self, number: int) -> None:
        """Give an ITS its tables and an empty queue, and enable it."""
        for index, table in enumerate(self.placement.tables[number]):
            self._write_level1(table)
            self.its[number].set(f"GITS_BASER{index}", **table.register_fields)
        self.start_queue(number)

    def start_queue(self, number: int) -> None:
        """Start an ITS's queue at its beginning, which takes a disabled ITS, and enable it."""
        size = self.placement.queue_bytes // QUEUE_PAGE_BYTES - 1
        self.its[number].set("GITS_CBASER", Valid=1, Physical_Address=self.placement.queues[number], Size=size)
        self.its[number].write("GITS_CWRITER", 0)
        self.enable_its(number, True)

    def enable_its(self, number: int, enable: bool) -> None:
        """Write GITS_CTLR.Enabled."""
        self.its[number].set("GITS_CTLR", Enabled=int(enable))

    def _write_level1(self, table: TablePlace) -> None:
        for address, descriptor in table.level1():
            self.memory.write(address, descriptor.to_bytes(8, "little"))


class Lab(Software):
    """The model over RAM of its own, booted, its queues at their beginning.

    `bus` has its frames; `space` is what software reaches them through, if that is not the bus itself.
    """

    memory: GuestMemory

    def __init__(
        self, gic: Gic, bus: Bus, placement: Placement, space: AddressSpace | None = None, ptz: int = 1
    ) -> None:
        self.gic = gic
        self.bus = bus
        self.memory = gic.memory
        super().__init__(gic.config, space or bus, bus.base, gic.memory, placement, ptz)
        self.queue_slots = placement.queue_bytes // COMMAND_BYTES
        self._written = [0] * gic.config.its
        self._translaters = [bus.base(f"GITS{its}") + _TRANSLATER for its in range(gic.config.its)]
        self.boot()

    def start_queue(self, number: int) -> None:
        """As of any software."""
        super().start_queue(number)
        self._written[number] = 0

    def enable_lpis(self, number: int, enable: bool, ptz: bool = False) -> None:
        """Write GICR_CTLR.EnableLPIs; `ptz` zeroes the pending table first, as GICR_PENDBASER.PTZ promises."""
        table = self.placement.pending_tables[number]
        if enable and ptz:
            self.memory.zero(table, table_bytes(self.config.intid_bits))
        self.redistributors[number].set("GICR_PENDBASER", Physical_Address=table, PTZ=int(ptz))
        self.redistributors[number].set("GICR_CTLR", EnableLPIs=int(enable))

    # Commands.

    def push(self, its: int, commands: Sequence[Sequence[int]] | NDArray[np.uint64]) -> None:
        """Write commands, fewer than `queue_slots`, into the next slots of an ITS's queue, and CWRITER once."""
        self.queue(its, commands)
        self.ring(its)

    def queue(self, its: int, commands: Sequence[Sequence[int]] | NDArray[np.uint64]) -> None:
        """As `push`, but for CWRITER."""
        octets = np.array(commands, "<u8").tobytes()
        room = self.placement.queue_bytes - self.cwriter(its)
        self.memory.write(self.placement.queues[its] + self.cwriter(its), octets[:room])
        self.memory.write(self.placement.queues[its], octets[room:])
        self._written[its] += len(commands)

    def ring(self, its: int, retry: int = 0) -> None:
        """Write CWRITER: whatever is queued is published."""
        self.its[its].write("GITS_CWRITER", self.cwriter(its) | _RETRY * retry)

    def retry(self, its: int, replacement: Sequence[int] | None = None) -> None:
        """Write CWRITER.Retry, after overwriting the command that stalled, if one has and there is a `replacement`."""
        if replacement is not None:
            creadr = self.its[its].read("GITS_CREADR")
            if creadr & _STALLED:
                self.memory.write(self.placement.queues[its] + creadr - _STALLED, struct.pack("<4Q", *replacement))
        self.ring(its, retry=1)

    def cwriter(self, its: int) -> int:
        """The offset of the next slot of the queue."""
        return self._written[its] % self.queue_slots * COMMAND_BYTES

    def creadr(self, its: int) -> int:
        """GITS_CREADR.Offset."""
        return self.its[its].read("GITS_CREADR") & ~_STALLED

    def stalled(self, its: int) -> bool:
        """GITS_CREADR.Stalled."""
        return bool(self.its[its].read("GITS_CREADR") & _STALLED)

    def take_errors(self) -> list[CommandError]:
        """The command errors since the last call."""
        errors = self.gic.errors
        self.gic.clear_errors()
        return errors

    # Interrupts.

    def translate(self, its: int, device_id: int, event_id: int) -> int | None:
        """A device writes GITS_TRANSLATER. Returns GITS_STATUSR.Syndrome of an unmapped MSI, None for a mapped one."""
        self.bus.write(self._translaters[its], event_id, 4, device_id=device_id)
        status = self.its[its].read("GITS_STATUSR")
        if not status & _UMSI:
            return None
        self.its[its].write("GITS_STATUSR", _MESSAGES)
        return GITS_STATUSR.unpack(status)["Syndrome"]

    def write_sgir(self, its: int, vpeid: int, vintid: int) -> None:
        """Software makes a vSGI pending."""
        self.its[its].set("GITS_SGIR", vPEID=vpeid, vINTID=vintid)

    def pending_vsgis(self, rd: int, vpeid: int) -> set[int]:
        """GICR_VSGIPENDR of a redistributor after a query of `vpeid`."""
        self.redistributors[rd].write("GICR_VSGIR", vpeid)
        pending = self.redistributors[rd].fields("GICR_VSGIPENDR")["Pending"]
        return {number for number in range(16) if pending >> number & 1}

    def set_configuration(self, intid: int, byte: int) -> None:
        """Write an LPI's configuration byte and invalidate it everywhere."""
        self.memory.write_u8(self.placement.lpi_configuration + intid - FIRST_LPI, byte)
        for registers in self.redistributors:
            registers.set("GICR_INVLPIR", INTID=intid)

    def set_virtual_configuration(self, vconf: int, vintid: int, byte: int) -> None:
        """Write a vLPI's configuration byte; software still has to invalidate it."""
        self.memory.write_u8(vconf + vintid - FIRST_LPI, byte)

    def invalidate_virtual(self, rd: int, vpeid: int, vintid: int | None) -> None:
        """Write GICR_INVLPIR, or without `vintid` GICR_INVALLR, with V=1."""
        if vintid is None:
            self.redistributors[rd].set("GICR_INVALLR", V=1, vPEID=vpeid)
        else:
            self.redistributors[rd].set("GICR_INVLPIR", V=1, vPEID=vpeid, INTID=vintid)

    def zero_itt(self, itt: int) -> None:
        """Zero an ITT, as software must before it hands one over."""
        self.memory.zero(itt, ITE.bytes << self.config.event_id_bits)

    def zero_vpt(self, vpt: int) -> None:
        """Zero a VPT, as software must before a VMAPP with PTZ=1."""
        self.memory.zero(vpt, table_bytes(self.config.intid_bits))

    # Residency.

    def schedule(self, rd: int, vpeid: int, groups: frozenset[int]) -> bool:
        """GICv4.1: write VPENDBASER with Valid=1. Returns Valid as it then reads."""
        enables = {"VGrp0En": int(0 in groups), "VGrp1En": int(1 in groups)}
        self.redistributors[rd].set("GICR_VPENDBASER", Valid=1, vPEID=vpeid, **enables)
        return self.resident(rd)

    def schedule_v40(self, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
        """GICv4.0: write VPROPBASER, then VPENDBASER with Valid=1."""
        self.redistributors[rd].set("GICR_VPROPBASER", Physical_Address=vconf, IDbits=vintid_bits - 1)
        self.redistributors[rd].set("GICR_VPENDBASER", Valid=1, PendingLast=1, Physical_Address=vpt)

    def deschedule(self, rd: int, doorbell: bool, pending_last: bool) -> bool:
        """Write VPENDBASER with Valid=0 and the rest unchanged. Returns PendingLast as it then reads."""
        request = {"Valid": 0, "PendingLast": int(pending_last)}
        request |= {"Doorbell": int(doorbell)} if self.config.v41 else {}
        self.redistributors[rd].update("GICR_VPENDBASER", **request)
        return bool(self.redistributors[rd].fields("GICR_VPENDBASER")["PendingLast"])

    def resident(self, rd: int) -> bool:
        """GICR_VPENDBASER.Valid."""
        return bool(self.redistributors[rd].read("GICR_VPENDBASER") & _VALID)


def booted(config: GicConfig, geometry: Geometry) -> Lab:
    """A lab whose tables have that geometry, its ITSs behind the redistributors and the distributor behind them."""
    placement = place(config, geometry, Allocation())
    gic = Gic(config, GuestMemory(RAM_BASE, RAM_BYTES))
    first_its = config.redistributor_frames(config.redistributors)
    bus = Bus(gic, distributor_base=first_its + config.its * 3 * FRAME_BYTES, its_base=first_its)
    return Lab(gic, bus, placement)
