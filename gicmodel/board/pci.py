# SPDX-License-Identifier: Apache-2.0
"""PCI Express: a host bridge with one bus (ECAM), and a function of ours that does nothing but raise MSI-X interrupts.

PCI Express Base Specification, 7.2 (ECAM), 7.5 (configuration space), 7.7.2 (MSI-X). There is no DMA but messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gicmodel.board.device_tree import DeviceTree, pair

VENDOR, DEVICE = 0x1234, 0x5678
"""Of nobody: QEMU's `edu` and Bochs use the vendor too."""
CLASS_UNASSIGNED = 0xFF
FUNCTION_BYTES = 0x1000
BAR_BYTES = 0x1000
REGISTERS, TABLE = 0, 1
"""The function's BARs: its own registers, MSI-X table and pending bits."""
RAISE = 0x0
"""Own register: a write raises the vector of this number."""
PBA = 0x800
_ENTRY_BYTES = 16
_COMMAND, _STATUS, _CLASS, _BAR0, _SUBSYSTEM, _CAPABILITIES, _LINE = 0x04, 0x06, 0x08, 0x10, 0x2C, 0x34, 0x3C
_EXPRESS, _MSIX = 0x40, 0x80
_MEMORY, _BUS_MASTER = 1 << 1, 1 << 2
_MSIX_ENABLE, _MSIX_MASK = 1 << 15, 1 << 14
_FUNCTION_LEVEL_RESET = 1 << 15
_VECTOR_MASK = 1
_BUS_BYTES = 1 << 20

Send = Callable[[int, int, int], None]
"""A message: RequesterID, address, data."""


class Msix:
    """The function of a device number, with so many MSI-X vectors, at most 128; `send` sends its messages.

    A vector that is raised while it is masked waits in the pending bits, as 7.7.2 has it.
    """

    def __init__(self, device: int, vectors: int, send: Send) -> None:
        self.requester_id = device << 3
        self.vectors = vectors
        self._send = send
        self._space, self._writable = bytearray(FUNCTION_BYTES), bytearray(FUNCTION_BYTES)
        self._table = bytearray(vectors * _ENTRY_BYTES)
        self._declare()
        self._reset()

    def read_configuration(self, offset: int, size: int) -> int:
        """Configuration space."""
        return int.from_bytes(self._space[offset : offset + size], "little")

    def write_configuration(self, offset: int, value: int, size: int) -> None:
        """The bits that software may write. A function level reset happens at once."""
        for place, octet in enumerate((value & (1 << 8 * size) - 1).to_bytes(size, "little"), offset):
            mask = self._writable[place]
            self._space[place] = self._space[place] & ~mask | octet & mask
        if self.read_configuration(_EXPRESS + 8, 2) & _FUNCTION_LEVEL_RESET:
            self._reset()
        self._send_pending()

    def bars(self) -> Iterator[tuple[int, int]]:
        """The number and the address of each BAR, if the function decodes memory."""
        if self.read_configuration(_COMMAND, 2) & _MEMORY:
            for bar in (REGISTERS, TABLE):
                yield bar, self.read_configuration(_BAR0 + 4 * bar, 4) & -BAR_BYTES

    def read(self, bar: int, offset: int, size: int) -> int:
        """Memory of a BAR; what is nothing reads as zero."""
        if bar == TABLE and offset < self.vectors * _ENTRY_BYTES:
            return int.from_bytes(self._table[offset : offset + size], "little")
        if bar == TABLE and offset >= PBA:
            return self._pending >> 8 * (offset - PBA) & (1 << 8 * size) - 1
        return 0

    def write(self, bar: int, offset: int, value: int, size: int) -> None:
        """Memory of a BAR; the pending bits are read-only."""
        if bar == REGISTERS and offset == RAISE:
            self.raise_vector(value & 0xFFFF_FFFF)
        elif bar == TABLE and offset < self.vectors * _ENTRY_BYTES:
            self._table[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            self._send_pending()

    def raise_vector(self, vector: int) -> None:
        """The device wants an interrupt: a message now, or a pending bit while the vector is masked.

        Of a vector that there is not, or without MSI-X, nothing.
        """
        if vector >= self.vectors or not self._enabled:
            return
        entry = self._table[vector * _ENTRY_BYTES : (vector + 1) * _ENTRY_BYTES]
        if self._control & _MSIX_MASK or entry[12] & _VECTOR_MASK:
            self._pending |= 1 << vector
            return
        self._send(self.requester_id, int.from_bytes(entry[:8], "little"), int.from_bytes(entry[8:12], "little"))

    def state(self) -> dict[str, Any]:
        """What software has written, and what waits, for a snapshot."""
        return {"space": self._space.hex(), "table": self._table.hex(), "pending": self._pending}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave. KeyError, TypeError or ValueError if it is none of such a function."""
        space, table, pending = bytes.fromhex(state["space"]), bytes.fromhex(state["table"]), int(state["pending"])
        if len(space) != FUNCTION_BYTES or len(table) != len(self._table) or not 0 <= pending < 1 << self.vectors:
            raise ValueError("the PCI function is another")
        for place, mask in enumerate(self._writable):
            self._space[place] = self._space[place] & ~mask | space[place] & mask
        self._table[:] = table
        self._pending = pending

    @property
    def _control(self) -> int:
        return self.read_configuration(_MSIX + 2, 2)

    @property
    def _enabled(self) -> bool:
        return bool(self._control & _MSIX_ENABLE and self.read_configuration(_COMMAND, 2) & _BUS_MASTER)

    def _send_pending(self) -> None:
        waiting = self._pending if self._enabled else 0
        for vector in range(waiting.bit_length()):
            if waiting >> vector & 1:
                self._pending &= ~(1 << vector)
                self.raise_vector(vector)

    def _declare(self) -> None:
        """What configuration space says: an endpoint that can be reset, MSI-X, two BARs of 4 KiB."""
        self._put(0, 4, DEVICE << 16 | VENDOR)
        self._put(_COMMAND, 2, 0, _MEMORY | _BUS_MASTER | 1 << 10)
        self._put(_STATUS, 2, 1 << 4)
        self._put(_CLASS, 4, CLASS_UNASSIGNED << 24 | 1)
        for bar in (REGISTERS, TABLE):
            self._put(_BAR0 + 4 * bar, 4, 0, -BAR_BYTES & 0xFFFF_FFFF)
        self._put(_SUBSYSTEM, 4, DEVICE << 16 | VENDOR)
        self._put(_CAPABILITIES, 1, _EXPRESS)
        self._put(_LINE, 1, 0, 0xFF)
        self._put(_EXPRESS, 4, 2 << 16 | _MSIX << 8 | 0x10)
        self._put(_EXPRESS + 4, 4, 1 << 28 | 1 << 15)
        self._put(_EXPRESS + 8, 2, 0, 0xFFFF)
        self._put(_EXPRESS + 0xC, 4, 1 << 4 | 1)
        self._put(_EXPRESS + 0x12, 2, 1 << 4 | 1)
        self._put(_MSIX, 2, 0x11)
        self._put(_MSIX + 2, 2, self.vectors - 1, _MSIX_ENABLE | _MSIX_MASK)
        self._put(_MSIX + 4, 4, TABLE)
        self._put(_MSIX + 8, 4, PBA | TABLE)

    def _put(self, offset: int, size: int, value: int, writable: int = 0) -> None:
        self._space[offset : offset + size] = value.to_bytes(size, "little")
        self._writable[offset : offset + size] = writable.to_bytes(size, "little")

    def _reset(self) -> None:
        """What software wrote is gone; every vector is masked."""
        for place, mask in enumerate(self._writable):
            self._space[place] &= ~mask
        self._pending = 0
        self._table[:] = bytes(([0] * 12 + [_VECTOR_MASK, 0, 0, 0]) * self.vectors)


class Ecam:
    """The host bridge's configuration space: a page for each function of bus 0, all ones where there is none.

    Its node has the memory window, and says that a RequesterID is the ITS's DeviceID and the SMMU's StreamID.
    """

    name = "PCI configuration space"
    size = _BUS_BYTES

    def __init__(self, base: int, window: Window, msi_parent: str, smmu: str) -> None:
        self.base = base
        self._window = window
        self._parents = msi_parent, smmu

    def read(self, offset: int, size: int) -> int:
        """Configuration space of the function at an offset."""
        function = self._window.function(offset // FUNCTION_BYTES)
        if function is None:
            return (1 << 8 * size) - 1
        return function.read_configuration(offset % FUNCTION_BYTES, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """The same."""
        function = self._window.function(offset // FUNCTION_BYTES)
        if function is not None:
            function.write_configuration(offset % FUNCTION_BYTES, value, size)

    def describe(self, tree: DeviceTree) -> None:
        """pci-host-ecam-generic (Linux, Documentation/devicetree/bindings/pci/host-generic-pci.yaml)."""
        its, smmu = map(tree.phandle, self._parents)
        window = self._window
        tree.node(
            f"/pcie@{self.base:x}",
            {
                "compatible": "pci-host-ecam-generic",
                "device_type": "pci",
                "#address-cells": 3,
                "#size-cells": 2,
                "reg": [*pair(self.base), *pair(self.size)],
                "bus-range": [0, 0],
                "ranges": [_MEMORY_32, *pair(window.base), *pair(window.base), *pair(window.size)],
                "dma-coherent": True,
                "msi-map": [0, its, 0, 1 << 16],
                "iommu-map": [0, smmu, 0, 1 << 16],
            },
        )


_MEMORY_32 = 0x0200_0000


class Window:
    """The memory window behind the host bridge, where BARs are. Accesses of no BAR read as ones."""

    name = "PCI memory window"

    def __init__(self, base: int, size: int, functions: Sequence[Msix]) -> None:
        self.base = base
        self.size = size
        self._functions = {function.requester_id: function for function in functions}

    def function(self, requester_id: int) -> Msix | None:
        """The function of a RequesterID, if there is one."""
        return self._functions.get(requester_id)

    def read(self, offset: int, size: int) -> int:
        """Memory of the BAR that is there."""
        found = self._find(self.base + offset)
        return (1 << 8 * size) - 1 if found is None else found[0].read(found[1], found[2], size)

    def write(self, offset: int, value: int, size: int) -> None:
        """The same."""
        found = self._find(self.base + offset)
        if found is not None:
            found[0].write(found[1], found[2], value, size)

    def describe(self, tree: DeviceTree) -> None:
        """The bridge describes it."""

    def _find(self, address: int) -> tuple[Msix, int, int] | None:
        for function in self._functions.values():
            for bar, base in function.bars():
                if base <= address < base + BAR_BYTES:
                    return function, bar, address - base
        return None
