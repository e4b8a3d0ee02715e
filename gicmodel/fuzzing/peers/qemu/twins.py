# SPDX-License-Identifier: Apache-2.0
"""QEMU and the model side by side: the same bytes, the same register writes, and then the same RAM and registers.

What software writes to RAM is copied to QEMU before the next register write. What the hardware writes is not copied: it
must come out equal, and nothing else in RAM may have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import FIRST_PPI, FIRST_SPI, GicConfig
from gicmodel.fuzzing.peers.qemu.differences import COMPARED, COMPARED_EACH, PENDING_LAST, avoided
from gicmodel.fuzzing.peers.qemu.process import ITS_BASE, QemuProcess
from gicmodel.fuzzing.programs.universe import Universe, words
from gicmodel.hardware import Bus, Gic
from gicmodel.lab import tables_seen
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.lab import Lab
from gicmodel.lab.placement import RAM_BASE, RAM_BYTES, Allocation, place
from gicmodel.layouts.commands import COMMAND_BYTES, OPCODES
from gicmodel.layouts.registers.by_name import register
from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.spec.distributor import REGISTERS
from gicmodel.spec.state import Command

UNMAPPED = 0x3_0000_0000
"""Where the `virt` machine has neither RAM nor a device."""

QUEUE_BYTES = 1 << 20
_MOVES_VPES = tuple(OPCODES[mnemonic] for mnemonic in ("VMAPP", "VMOVP"))


class Difference(NamedTuple):
    """A register, or the byte of RAM at an address, that is not the same."""

    where: str
    model: int
    qemu: int


class BothSpaces:
    """The model's registers, and QEMU's at the same addresses, which are written first."""

    def __init__(self, model: Bus, memory: GuestMemory, qemu: QemuProcess) -> None:
        self.read = model.read
        self._model, self._memory, self._qemu = model, memory, qemu

    def write(self, address: int, value: int, size: int) -> None:
        """What software has written to RAM is QEMU's, too, before this; what the hardware writes is not."""
        self.share_ram()
        self._qemu.write(address, value, size)
        self._model.write(address, value, size)
        self._memory.clear_dirty()

    def share_ram(self) -> None:
        """Copy to QEMU the pages that software has written since the last register write."""
        for page in self._memory.dirty_pages().tolist():
            self._qemu.memory.write(page, self._memory.read(page, PAGE_BYTES))
        self._memory.clear_dirty()


class Twins(Lab):
    """A lab whose software also drives a QEMU machine. It has one ITS, whose queue is as long as one can be.

    `commands` counts the commands that both have been given, `pending_lasts` the comparable values of PendingLast,
    `stalls` holds what differed when a queue had stalled; after that it is renewed.
    """

    def __init__(self, process: QemuProcess, config: GicConfig, geometry: Geometry) -> None:
        self.qemu = process
        self.commands = 0
        self.pending_lasts: Counter[bool] = Counter()
        self.stalls: list[Difference] = []
        self._incomparable: set[int] = set()
        allocation = Allocation()
        placement = place(config, geometry, allocation)
        self.universe = Universe.of(config, placement)
        queue = allocation.take_many(1, QUEUE_BYTES)
        self._end = allocation.take(PAGE_BYTES)
        placement = replace(placement, queues=queue, queue_bytes=QUEUE_BYTES)
        gic = Gic(config, GuestMemory(RAM_BASE, RAM_BYTES))
        bus = Bus(gic, its_base=ITS_BASE)
        self._both = BothSpaces(bus, gic.memory, process)
        super().__init__(gic, bus, placement, self._both)
        self._registers = {"GICD": self.distributor, "GITS0": self.its[0]}
        self._registers |= {f"GICR{rd}": registers for rd, registers in enumerate(self.redistributors)}

    # Commands.

    def message(self, event_id: int) -> None:
        """Device 0 writes GITS_TRANSLATER: over qtest no device has another DeviceID."""
        self.its[0].write("GITS_TRANSLATER", event_id)

    def run(self, commands: Iterable[Command]) -> None:
        """Execute commands, except those that QEMU is known to take differently."""
        architecture = self.config.architecture
        kept = [words(command, architecture) for command in commands if not avoided(*command)]
        self.run_words(np.array(kept, np.uint64).reshape(-1, 4))

    def run_words(self, packets: NDArray[np.uint64]) -> int:
        """Write uint64 [n, 4] packets into the queue and GITS_CWRITER once. Returns how many were executed."""
        if len(packets) >= self.queue_slots:
            raise ValueError(f"{len(packets)} commands do not fit a queue of {self.queue_slots}")
        before = self._written[0]
        if np.isin(packets[:, 0].astype(np.uint8), _MOVES_VPES).any():
            self._incomparable |= self.residents()
        self.push(0, packets)
        self.commands += len(packets)
        executed = len(packets)
        if self.stalled(0):
            executed = (self.creadr(0) // COMMAND_BYTES - before) % self.queue_slots + 1
            self.stalls += self.different_registers()
            self.renew_queue()
        return executed

    def renew_queue(self) -> None:
        """Start the queue anew, which is also how software gets past a command that stalled."""
        self.enable_its(0, False)
        self.start_queue(0)

    # SGIs, PPIs and SPIs.

    def set_line(self, rd: int, intid: int, level: int) -> None:
        """The input of a PPI or SPI, of those that both have and that no other device drives."""
        if FIRST_PPI <= intid < FIRST_SPI and intid != self.config.maintenance_intid:
            self.gic.redistributors[rd].set_line(intid, bool(level))
        elif FIRST_SPI <= intid < FIRST_SPI + self.config.spis:
            self.gic.distributor.set_line(intid, bool(level))
        else:
            return
        self.qemu.set_line(rd, intid, bool(level))

    def set_priority(self, rd: int, intid: int, priority: int) -> None:
        """Write one byte of a priority register."""
        frame = f"GICR{rd}" if intid < FIRST_SPI else "GICD"
        self._both.write(self.bus.base(frame) + register(f"{frame[:4]}_IPRIORITYR0").offset + intid, priority, 1)

    # Residency.

    def residents(self) -> set[int]:
        """The redistributors with GICR_VPENDBASER.Valid = 1."""
        if not self.config.virtual:
            return set()
        return {rd for rd in range(self.config.redistributors) if self.resident(rd)}

    def make_resident(self, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
        """Schedule the vPE of that VPT, if no vPE is resident on the redistributor."""
        if rd in self.residents():
            return
        self._incomparable.discard(rd)
        if not self._is_at_home(rd, vpt):
            self._incomparable.add(rd)
        self.schedule_v40(rd, vpt, vconf, vintid_bits)

    def deschedule(self, rd: int, doorbell: bool, pending_last: bool) -> bool:
        """As of a lab; a value of PendingLast that can be compared is counted."""
        value = super().deschedule(rd, doorbell, pending_last)
        if rd not in self._incomparable:
            self.pending_lasts[value] += 1
        return value

    def configure_vlpi(self, vconf: int, vintid: int, byte: int) -> None:
        """Write a vLPI's configuration byte, then VINVALL for every vPE."""
        self.set_virtual_configuration(vconf, vintid, byte)
        self._incomparable |= {rd for rd in self.residents() if not self._is_at_home(rd, self._resident_vpt(rd))}
        self.run([("VINVALL", {"vPEID": vpeid}) for vpeid in self.universe.vpeids])

    def vpt_at_home(self, rd: int) -> int | None:
        """The VPT of a vPE that is mapped to the redistributor, and of no other vPE."""
        vpts = (vte["VPT_addr"] for vte in tables_seen.vpes(self, 0).values())
        return next((vpt for vpt in vpts if self._is_at_home(rd, vpt)), None)

    def _is_at_home(self, rd: int, vpt: int) -> bool:
        owners = [vte["RDbase"] for vte in tables_seen.vpes(self, 0).values() if vte["VPT_addr"] == vpt]
        return owners == [rd]

    def _resident_vpt(self, rd: int) -> int:
        return self.redistributors[rd].fields("GICR_VPENDBASER")["Physical_Address"]

    # Comparison.

    def different_registers(self) -> Iterator[Difference]:
        """The registers of LPIs that are not the same, save what is known of QEMU."""
        for name, mask in COMPARED.items():
            if self.config.architecture not in register(name, "4.0").architectures:
                continue
            if name.startswith("GITS"):
                yield from self._different("GITS0", name, mask, 0)
                continue
            for rd in range(self.config.redistributors):
                hidden = PENDING_LAST if name == "GICR_VPENDBASER" and rd in self._incomparable else 0
                yield from self._different(f"GICR{rd}", name, mask & ~hidden, rd)

    def differences(self) -> list[Difference]:
        """Everything that software can see and that is not the same, save what is known of QEMU."""
        return [*self.stalls, *self.different_registers(), *self._different_interrupts(), *self._different_bytes()]

    def _different_interrupts(self) -> Iterator[Difference]:
        """The registers of SGIs, PPIs and SPIs that are not the same, save what is known of QEMU."""
        end = FIRST_SPI + self.config.spis
        frames = {"GICD": range(FIRST_SPI, end)}
        frames |= {f"GICR{rd}": range(FIRST_SPI) for rd in range(self.config.redistributors)}
        for frame, intids in frames.items():
            for name, kind in REGISTERS.items():
                for number in range(intids.start // kind.intids, intids.stop // kind.intids):
                    mask = COMPARED_EACH.get(name, ~0)
                    yield from self._different(frame, f"{frame[:4]}_{name}{number}", mask, frame)
        for number in range(FIRST_SPI, end):
            yield from self._different("GICD", f"GICD_IROUTER{number}", COMPARED_EACH["IROUTER"], "GICD")
        yield from self._different("GICD", "GICD_CTLR", ~0, "GICD")

    def _different(self, frame: str, name: str, mask: int, shown: object) -> Iterator[Difference]:
        """A register of a frame, which is `shown` with it, if it is not the same under the mask."""
        entry = register(name, self.config.architecture)
        model = self._registers[frame].read(name) & mask
        qemu = self.qemu.read(self.bus.base(frame) + entry.offset, entry.bits // 8) & mask
        if model != qemu:
            yield Difference(f"{name} of {shown}", model, qemu)

    def _different_bytes(self) -> list[Difference]:
        self._both.share_ram()
        length = self._end - RAM_BASE
        model, qemu = self.memory.octets[:length], self.qemu.memory.octets(RAM_BASE, length)
        unequal = np.flatnonzero(model != qemu).tolist()
        return [Difference(f"{RAM_BASE + n:#x}", int(model[n]), int(qemu[n])) for n in unequal]
