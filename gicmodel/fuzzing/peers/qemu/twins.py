# SPDX-License-Identifier: Apache-2.0
"""QEMU and the model side by side: the same bytes, the same register writes, and then the same RAM and registers.

What software writes to RAM is copied to QEMU before the next register write. What the hardware writes is not copied: it
must come out equal, and nothing else in RAM may have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import GicConfig
from gicmodel.fuzzing.hypothesis.strategies import Command, Geometry, words
from gicmodel.fuzzing.peers.qemu import process
from gicmodel.fuzzing.peers.qemu.differences import COMPARED, PENDING_LAST, avoided
from gicmodel.fuzzing.peers.qemu.process import QemuProcess
from gicmodel.fuzzing.universe import universe_of
from gicmodel.lab import tables_seen
from gicmodel.lab.board import RAM_BASE
from gicmodel.lab.rig import Rig
from gicmodel.layouts.commands import COMMAND_BYTES, OPCODES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CWRITER
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER_V40
from gicmodel.memory import PAGE_BYTES

UNMAPPED = 0x3_0000_0000
"""Where the `virt` machine has neither RAM nor a device."""

QUEUE_BYTES = 1 << 20
QUEUE_SLOTS = QUEUE_BYTES // COMMAND_BYTES
_CBASER_PAGE = 4096
_MOVES_VPES = tuple(OPCODES[mnemonic] for mnemonic in ("VMAPP", "VMOVP"))


class Difference(NamedTuple):
    """A register, or the byte of RAM at an address, that is not the same."""

    where: str
    model: int
    qemu: int


class Twins(Rig):
    """A rig whose software also drives a QEMU machine. It has one ITS, whose queue is as long as one can be.

    `commands` counts the commands that both have been given, `pending_lasts` the comparable values of PendingLast,
    `stalls` holds what differed when a queue had stalled; after that it is renewed.
    """

    def __init__(self, peer: QemuProcess, config: GicConfig, geometry: Geometry) -> None:
        self.peer = peer
        self.commands = 0
        self.pending_lasts: Counter[bool] = Counter()
        super().__init__(config, geometry)
        self.universe = universe_of(self)
        self.queue = self._alloc(QUEUE_BYTES)
        self._end = self._alloc(PAGE_BYTES)
        self._slot = 0
        self._incomparable: set[int] = set()
        self.stalls: list[Difference] = []
        self.renew_queue()

    # Registers, of both.

    def write_its(self, number: int, name: str, value: int) -> None:
        """Write a GITS_* register at its full width."""
        self._share_ram()
        entry = register(name, self.config.architecture)
        self.peer.write(self.peer.its(entry.offset), value, entry.bits // 8)
        super().write_its(number, name, value)
        self.memory.clear_dirty()

    def write_redistributor(self, number: int, name: str, value: int) -> None:
        """Write a GICR_* register at its full width."""
        self._share_ram()
        entry = register(name, self.config.architecture)
        self.peer.write(self.peer.redistributor(number, entry.offset), value, entry.bits // 8)
        super().write_redistributor(number, name, value)
        self.memory.clear_dirty()

    def message(self, event_id: int) -> None:
        """Device 0 writes GITS_TRANSLATER: over qtest no device has another DeviceID."""
        self.write_its(0, "GITS_TRANSLATER", event_id)

    # Commands.

    def run(self, commands: Iterable[Command]) -> None:
        """Execute commands, except those that QEMU is known to take differently."""
        architecture = self.config.architecture
        kept = [words(command, architecture) for command in commands if not avoided(*command)]
        self.run_words(np.array(kept, np.uint64).reshape(-1, 4))

    def run_words(self, packets: NDArray[np.uint64]) -> int:
        """Write uint64 [n, 4] packets into the queue and GITS_CWRITER once. Returns how many were executed."""
        if len(packets) >= QUEUE_SLOTS:
            raise ValueError(f"{len(packets)} commands do not fit a queue of {QUEUE_SLOTS}")
        octets = packets.astype("<u8").view(np.uint8).reshape(-1, COMMAND_BYTES)
        first = min(len(packets), QUEUE_SLOTS - self._slot)
        self.memory.write(self.queue + self._slot * COMMAND_BYTES, octets[:first].reshape(-1))
        self.memory.write(self.queue, octets[first:].reshape(-1))
        before, self._slot = self._slot, (self._slot + len(packets)) % QUEUE_SLOTS
        if np.isin(packets[:, 0].astype(np.uint8), _MOVES_VPES).any():
            self._incomparable |= self.residents()
        self.write_its(0, "GITS_CWRITER", GITS_CWRITER.pack(Offset=self._slot * COMMAND_BYTES))
        self.commands += len(packets)
        executed = len(packets)
        if self.stalled(0):
            executed = (self.creadr(0) // COMMAND_BYTES - before) % QUEUE_SLOTS + 1
            self.stalls += self.different_registers()
            self.renew_queue()
        return executed

    def renew_queue(self) -> None:
        """Start the queue anew, which is also how software gets past a command that stalled."""
        self.enable_its(0, False)
        cbaser = GITS_CBASER.pack(Valid=1, Physical_Address=self.queue, Size=QUEUE_BYTES // _CBASER_PAGE - 1)
        self.write_its(0, "GITS_CBASER", cbaser)
        self.write_its(0, "GITS_CWRITER", 0)
        self.enable_its(0, True)
        self._slot = 0

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
        """As of a rig; a value of PendingLast that can be compared is counted."""
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
        homes: dict[int, list[int]] = {}
        for vte in tables_seen.vpes(self, 0).values():
            homes.setdefault(vte["VPT_addr"], []).append(vte["RDbase"])
        return next((vpt for vpt, home in homes.items() if home == [rd]), None)

    def _is_at_home(self, rd: int, vpt: int) -> bool:
        owners = [vte["RDbase"] for vte in tables_seen.vpes(self, 0).values() if vte["VPT_addr"] == vpt]
        return owners == [rd]

    def _resident_vpt(self, rd: int) -> int:
        return GICR_VPENDBASER_V40.unpack(self.read_redistributor(rd, "GICR_VPENDBASER"))["Physical_Address"]

    # Comparison.

    def different_registers(self) -> list[Difference]:
        """The registers that are not the same, save what is known of QEMU."""
        return [
            Difference(f"{name} of {number}", model & mask, qemu & mask)
            for name in COMPARED
            if self.config.architecture in register(name, "4.0").architectures
            for number, mask, model, qemu in self._both(name)
            if (model ^ qemu) & mask
        ]

    def differences(self) -> list[Difference]:
        """Everything that software can see and that is not the same, save what is known of QEMU."""
        return [*self.stalls, *self.different_registers(), *self._different_bytes()]

    def _both(self, name: str) -> Iterator[tuple[int, int, int, int]]:
        """ITS or redistributor, the mask to compare under, and the register's two values."""
        offset, size = register(name, "4.0").offset, register(name, "4.0").bits // 8
        if name.startswith("GITS"):
            yield 0, COMPARED[name], self.read_its(0, name), self.peer.read(self.peer.its(offset), size)
            return
        for rd in range(self.config.redistributors):
            hidden = PENDING_LAST if name == "GICR_VPENDBASER" and rd in self._incomparable else 0
            qemu = self.peer.read(self.peer.redistributor(rd, offset), size)
            yield rd, COMPARED[name] & ~hidden, self.read_redistributor(rd, name), qemu

    def _different_bytes(self) -> list[Difference]:
        self._share_ram()
        length = self._end - RAM_BASE
        model, qemu = self.memory.octets[:length], self._qemu_ram(RAM_BASE, length)
        unequal = np.flatnonzero(model != qemu).tolist()
        return [Difference(f"{RAM_BASE + n:#x}", int(model[n]), int(qemu[n])) for n in unequal]

    def _share_ram(self) -> None:
        """Copy to QEMU the pages that software has written since the last register write."""
        for page in self.memory.dirty_pages().tolist():
            self._qemu_ram(page, PAGE_BYTES)[:] = np.frombuffer(self.memory.read(page, PAGE_BYTES), np.uint8)
        self.memory.clear_dirty()

    def _qemu_ram(self, address: int, length: int) -> NDArray[np.uint8]:
        offset = address - process.RAM_BASE
        return self.peer.ram[offset : offset + length]
