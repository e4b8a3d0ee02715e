# SPDX-License-Identifier: Apache-2.0
"""An SMMUv3 as small as VFIO needs one: stage 1, a linear stream table, and queues that are consumed at once.

Arm SMMU architecture version 3 (IHI0070): 6.3 registers, 5.2 stream table entry, 5.4 context descriptor, 4 commands.
Nothing is cached, so that no invalidation is ever late. A transaction that faults is dropped and counted; no event is
recorded.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from gicmodel.board.device_tree import EDGE_RISING, DeviceTree, interrupt, pair
from gicmodel.memory import ExternalAbort, GuestMemory

SMMU = "smmu"
"""Label of its node."""
IDR0, IDR1, IDR5, CR0, CR0ACK, GBPA = 0x00, 0x04, 0x14, 0x20, 0x24, 0x44
IRQ_CTRL, IRQ_CTRLACK, GERROR = 0x50, 0x54, 0x60
STRTAB_BASE, STRTAB_BASE_CFG, CMDQ_BASE, CMDQ_PROD, CMDQ_CONS = 0x80, 0x88, 0x90, 0x98, 0x9C
_READ_ONLY = {IDR0, IDR1, IDR5, CR0ACK, IRQ_CTRLACK, GERROR, CMDQ_CONS}
_STREAM_BITS, _QUEUE_BITS, _EVENT_BITS = 8, 8, 7
_IDENTIFICATION = {
    # S1P, AArch64 tables, coherent, 16-bit ASIDs, no stalls, little endian. No broadcast invalidation, MSIs, ATS, PRI.
    IDR0: 1 << 1 | 0b10 << 2 | 1 << 4 | 1 << 12 | 0b10 << 21 | 0b01 << 24,
    IDR1: _QUEUE_BITS << 21 | _EVENT_BITS << 16 | _STREAM_BITS,
    # 48 bits of address out; granules of 4, 16 and 64 KiB.
    IDR5: 0b101 | 0b111 << 4,
    GBPA: 1 << 12,
}
_SMMUEN, _CMDQEN, _CR0_BITS, _IRQ_BITS = 1 << 0, 1 << 3, 0x1F, 0x7
_UPDATE = 1 << 31
_QUEUE_ADDRESS, _TABLE_ADDRESS, _DESCRIPTOR_ADDRESS = 0xF_FFFF_FFFF_FFE0, 0xF_FFFF_FFFF_FFC0, 0xFFFF_FFFF_F000
_COMMAND_BYTES, _STE_BYTES, _WORD = 16, 64, 8
_VALID, _BYPASS, _STAGE_1 = 1, 0b100, 0b101
_CD_VALID, _CD_NO_TTB0 = 1 << 31, 1 << 14
_GRANULE_BITS = {0b00: 12, 0b01: 16, 0b10: 14}
"""CD.TG0."""
_LAST_LEVEL, _TABLE_OR_PAGE = 3, 0b11
_MOST_FAULTS = 100


class Fault(Exception):
    """A transaction that the SMMU refuses; the message says where."""


class Smmu:
    """The SMMU at `base`, with four SPIs from `first_intid` on; tables and queues are in `memory`."""

    name = "SMMU"
    size = 0x2_0000

    def __init__(self, base: int, first_intid: int, memory: GuestMemory) -> None:
        self.base = base
        self.commands: Counter[int] = Counter()
        """How many commands of each opcode were consumed."""
        self.faults: deque[str] = deque(maxlen=_MOST_FAULTS)
        """The latest."""
        self._first_intid = first_intid
        self._memory = memory
        self._registers = dict(_IDENTIFICATION)

    def translate(self, stream_id: int, address: int) -> int | None:
        """The physical address of a transaction, or None if it is refused; then `faults` says why."""
        try:
            return self._translate(stream_id, address)
        except (Fault, ExternalAbort) as fault:
            self.faults.append(f"StreamID {stream_id:#x}, address {address:#x}: {fault}")
            return None

    def read(self, offset: int, size: int) -> int:
        """A register or half of one; what is none reads as zero."""
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int, size: int) -> None:
        """A register or half of one. What was asked for is so at once, and is acknowledged."""
        if offset in _READ_ONLY:
            return
        self._registers[offset] = value & ~_UPDATE if offset == GBPA else value
        if offset == CR0:
            self._registers[CR0ACK] = value & _CR0_BITS
        elif offset == IRQ_CTRL:
            self._registers[IRQ_CTRLACK] = value & _IRQ_BITS
        if offset in (CR0, CMDQ_PROD):
            self._consume()

    def state(self) -> dict[str, int]:
        """The registers, by offset, for a snapshot."""
        return {f"{offset:#x}": value for offset, value in self._registers.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave. ValueError if it is no registers."""
        registers = {int(offset, 0): int(value) for offset, value in state.items()}
        if not all(0 <= offset < self.size and 0 <= value < 1 << 32 for offset, value in registers.items()):
            raise ValueError("the SMMU has no such registers")
        self._registers = registers

    def describe(self, tree: DeviceTree) -> None:
        """arm,smmu-v3 (Linux, Documentation/devicetree/bindings/iommu/arm,smmu-v3.yaml)."""
        interrupts = [cell for n in range(4) for cell in interrupt(self._first_intid + n, EDGE_RISING)]
        tree.node(
            f"/iommu@{self.base:x}",
            {
                "compatible": "arm,smmu-v3",
                "reg": [*pair(self.base), *pair(self.size)],
                "interrupts": interrupts,
                "interrupt-names": ["eventq", "priq", "cmdq-sync", "gerror"],
                "#iommu-cells": 1,
                "dma-coherent": True,
                "phandle": tree.phandle(SMMU),
            },
        )

    def _consume(self) -> None:
        """Read all commands up to PROD. There is nothing that an invalidation would change."""
        if not self._registers.get(CR0, 0) & _CMDQEN:
            return
        base, bits = self._wide(CMDQ_BASE) & _QUEUE_ADDRESS, self._wide(CMDQ_BASE) & 0x1F
        consumer, producer = self._registers.get(CMDQ_CONS, 0), self._registers.get(CMDQ_PROD, 0)
        wrap = (2 << min(bits, _QUEUE_BITS)) - 1
        while consumer & wrap != producer & wrap:
            place = base + (consumer & wrap >> 1) * _COMMAND_BYTES
            self.commands[self._load(place) & 0xFF] += 1
            consumer = (consumer + 1) & wrap
        self._registers[CMDQ_CONS] = consumer

    def _translate(self, stream_id: int, address: int) -> int:
        if not self._registers.get(CR0, 0) & _SMMUEN:
            return address
        if stream_id >= 1 << min(self._registers.get(STRTAB_BASE_CFG, 0) & 0x3F, _STREAM_BITS):
            raise Fault("C_BAD_STREAMID")
        entry = self._load((self._wide(STRTAB_BASE) & _TABLE_ADDRESS) + stream_id * _STE_BYTES)
        config = entry >> 1 & 0b111
        if not entry & _VALID:
            raise Fault("C_BAD_STE")
        if config == _BYPASS:
            return address
        if config != _STAGE_1:
            raise Fault(f"STE.Config is {config:#b}")
        return self._stage_1(entry & _TABLE_ADDRESS, address)

    def _stage_1(self, descriptor: int, address: int) -> int:
        """Through the context descriptor's TTB0 (DDI0487, D8.3: translation table walk)."""
        control = self._load(descriptor)
        granule = _GRANULE_BITS.get(control >> 6 & 0b11)
        width = 64 - (control & 0x3F)
        if not control & _CD_VALID or control & _CD_NO_TTB0 or granule is None or not granule < width <= 52:
            raise Fault("C_BAD_CD")
        if address >> width:
            raise Fault("F_TRANSLATION: beyond TTB0")
        stride = granule - 3
        level = _LAST_LEVEL - (width - granule - 1) // stride
        table = self._load(descriptor + _WORD) & _DESCRIPTOR_ADDRESS
        while True:
            shift = granule + stride * (_LAST_LEVEL - level)
            found = self._load(table + (address >> shift & (1 << stride) - 1) * _WORD)
            if not found & _VALID or (level == _LAST_LEVEL and found & 0b11 != _TABLE_OR_PAGE):
                raise Fault(f"F_TRANSLATION: level {level}")
            output = found & _DESCRIPTOR_ADDRESS
            if level == _LAST_LEVEL or found & 0b11 != _TABLE_OR_PAGE:
                return output & -(1 << shift) | address & (1 << shift) - 1
            table, level = output & -(1 << granule), level + 1

    def _wide(self, offset: int) -> int:
        """A register of 64 bits, which software may write in halves."""
        return self._registers.get(offset, 0) | self._registers.get(offset + 4, 0) << 32

    def _load(self, address: int) -> int:
        return self._memory.read_u64(address)
