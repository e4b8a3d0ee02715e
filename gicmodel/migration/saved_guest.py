# SPDX-License-Identifier: Apache-2.0
"""A guest whose RAM a real hypervisor has saved: resume it, save it again, and let it take its interrupts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images.registers import Registers
from gicmodel.images.segments import MAX_WINDOW, Segment, load_segments
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS, intids_of, table_bytes
from gicmodel.layouts.registers.redistributor import GICR_ISPENDR0, GICR_PENDBASER, GICR_PROPBASER
from gicmodel.memory import PAGE_BYTES, ExternalAbort, GuestMemory
from gicmodel.migration.machine import Delivery

MOST_VCPUS = 512
MOST_INTID_BITS = 16
"""KVM's INTERRUPT_ID_BITS_ITS."""
ITS_NEEDED = ("CTLR", "CBASER", "BASER0", "BASER1")
REDISTRIBUTOR_NEEDED = ("CTLR", "PROPBASER", "PENDBASER")


class SavedGuest:
    """Guest RAM after KVM_DEV_ARM_ITS_SAVE_TABLES and KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, and its registers.

    Raises:
        UnusableInput: a register is missing, or the RAM window that they describe does not hold the image.
    """

    def __init__(self, path: Path, segments: Sequence[Segment], registers: Registers) -> None:
        self.path = path
        self.segments = segments
        self.registers = registers
        self.vcpus = _required(path, registers, "guest", "vcpus")
        if not 1 <= self.vcpus <= MOST_VCPUS:
            raise UnusableInput(f"{path}: [guest] vcpus is {self.vcpus}: from 1 to {MOST_VCPUS}")
        _check_registers(path, registers, self.vcpus)
        self.memory = self._memory(_required(path, registers, "guest", "ram_base"))

    def pending(self) -> set[Delivery]:
        """The set bits of the pending tables in the image, from INTID 8192 on, by vCPU. UnusableInput if outside it."""
        return {(vcpu, intid) for vcpu in range(self.vcpus) for intid in self._pending_of(vcpu)}

    def pending_sgis(self) -> set[Delivery]:
        """The SGIs that GICR_ISPENDR0 says are pending, by vCPU; none for registers that do not say."""
        frames = [self.registers[f"GICR{vcpu}"].get("ISPENDR0", 0) for vcpu in range(self.vcpus)]
        masks = [GICR_ISPENDR0.unpack(value)["SGI"] for value in frames]
        return {(vcpu, number) for vcpu, mask in enumerate(masks) for number in range(VSGIS) if mask >> number & 1}

    @property
    def lpis(self) -> int:
        """Physical LPIs that a host needs at most: every LPI that the guest's INTIDs have room for, and doorbells."""
        return (1 << MOST_INTID_BITS) - FIRST_LPI + self.vcpus

    def reload(self) -> None:
        """Guest RAM as it was saved, in a window of its own."""
        self.memory = self._memory(self.memory.base)

    def is_identical(self) -> bool:
        """Whether guest RAM holds the image's bytes again."""
        return all(
            np.array_equal(self.memory.view(segment.address, segment.data.size, np.uint8), segment.data)
            for segment in self.segments
        )

    def _memory(self, base: int) -> GuestMemory:
        first = min(segment.address for segment in self.segments)
        last = max(segment.end for segment in self.segments)
        if base % PAGE_BYTES or base > first:
            raise UnusableInput(f"{self.path}: [guest] ram_base is {base:#x}: page aligned, at most {first:#x}")
        if last - base > MAX_WINDOW:
            raise UnusableInput(
                f"{self.path}: [guest] ram_base is {base:#x}, {last - base:#x} bytes below the image's end"
            )
        memory = GuestMemory(base, -(-(last - base) // PAGE_BYTES) * PAGE_BYTES)
        load_segments(memory, self.segments)
        memory.clear_dirty()
        return memory

    def _pending_of(self, vcpu: int) -> list[int]:
        frame = self.registers[f"GICR{vcpu}"]
        base = GICR_PENDBASER.unpack(frame["PENDBASER"])["Physical_Address"]
        id_bits = min(GICR_PROPBASER.unpack(frame["PROPBASER"])["IDbits"] + 1, MOST_INTID_BITS)
        try:
            octets = np.frombuffer(self.memory.read(base, table_bytes(id_bits)), np.uint8)
        except ExternalAbort as error:
            what = f"GICR{vcpu} PENDBASER: the pending table at {base:#x}"
            raise UnusableInput(f"{self.path}: {what} is not in the image's RAM") from error
        return [intid for intid in intids_of(octets).tolist() if intid >= FIRST_LPI]


def _check_registers(path: Path, registers: Registers, vcpus: int) -> None:
    for name in ITS_NEEDED:
        _required(path, registers, "GITS0", name)
    for vcpu in range(vcpus):
        for name in REDISTRIBUTOR_NEEDED:
            _required(path, registers, f"GICR{vcpu}", name)


def _required(path: Path, registers: Registers, frame: str, name: str) -> int:
    value = registers.get(frame, {}).get(name)
    if value is None:
        raise UnusableInput(f"{path}: its registers lack {name} in [{frame}], without which it cannot be resumed")
    return value
