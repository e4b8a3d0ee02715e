# SPDX-License-Identifier: Apache-2.0
"""The GIC's frames as a device: the halves that Unicorn makes of a 64-bit access are put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gicmodel.board.device_tree import DeviceTree, Value, interrupt, pair
from gicmodel.board.watch import Watch
from gicmodel.config import FRAME_BYTES, GicConfig
from gicmodel.hardware.bus import Bus, Frames, Region
from gicmodel.layouts.registers.by_name import REGISTERS

HALF = 4
ITS, GIC = "its", "gic"
"""Labels of nodes."""
_WIDE = {(entry.name.partition("_")[0], entry.offset) for entry in REGISTERS if entry.bits == 64}
"""Unit and offset of the registers with 64 bits."""


class _Half(NamedTuple):
    """The lower half of a register that was written, and what of it waits for the upper one."""

    address: int
    value: int


class GicFrames:
    """All frames of a `Bus`, and the latest lower half.

    A store of 64 bits comes as two of 32, the lower half first. Of a register with 64 bits it is held back until the
    upper half comes, anything else is accessed, or the block of instructions ends, for which `soon` asks.
    """

    def __init__(self, bus: Bus, watch: Watch, soon: Callable[[], None]) -> None:
        self.bus = bus
        self._watch = watch
        self._soon = soon
        self._half: _Half | None = None

    def read(self, address: int, size: int) -> int:
        """A register, or half of one."""
        self.settle()
        region = self.bus.region(address, size)
        value = region.face.read(address - region.base, size)
        self._watch.reads(region, address - region.base, value, size)
        return value

    def write(self, address: int, value: int, size: int) -> None:
        """A register, or half of one."""
        half, self._half = self._half, None
        if half is not None and size == HALF and address == half.address + HALF:
            self._write(half.address, half.value | value << 32, 2 * HALF)
            return
        if half is not None:
            self._write(half.address, half.value, HALF)
        if size == HALF and self._is_lower_half(address):
            self._half = _Half(address, value)
            self._soon()
        else:
            self._write(address, value, size)

    def settle(self) -> None:
        """Let a lower half that waits be one that was written alone."""
        if self._half is not None:
            half, self._half = self._half, None
            self._write(half.address, half.value, HALF)

    def _is_lower_half(self, address: int) -> bool:
        region = self.bus.region(address, HALF)
        return (region.name.rstrip("0123456789"), address - region.base) in _WIDE

    def message(self, device_id: int, address: int, data: int) -> None:
        """A device's write of 32 bits."""
        self._write(address, data, HALF, device_id)

    def _write(self, address: int, value: int, size: int, device_id: int = 0) -> None:
        region = self.bus.region(address, size)
        with self._watch.writing(region, address - region.base, value, size, device_id):
            self.bus.write(address, value, size, device_id=device_id)


class Window(Frames):
    """Frames of the GIC that follow each other without a gap."""

    def __init__(self, frames: GicFrames, regions: list[Region]) -> None:
        first, last = regions[0], regions[-1]
        super().__init__(frames, first.base)
        self.name = first.name if first is last else f"{first.name} to {last.name}"
        self.base = first.base
        self.size = last.base + last.size - first.base

    def describe(self, tree: DeviceTree) -> None:
        """`describe_gic` does it for all parts at once."""


def windows(frames: GicFrames) -> list[Window]:
    """All frames, in as few windows as there can be."""
    parts: list[list[Region]] = []
    for region in frames.bus.regions:
        if parts and parts[-1][-1].base + parts[-1][-1].size == region.base:
            parts[-1].append(region)
        else:
            parts.append([region])
    return [Window(frames, regions) for regions in parts]


def describe_gic(tree: DeviceTree, bus: Bus, config: GicConfig, *, el2: bool) -> None:
    """The nodes of the GIC and its ITSs (Linux, bindings/interrupt-controller/arm,gic-v3)."""
    base = bus.base("GICD")
    path = f"/interrupt-controller@{base:x}"
    redistributors = config.redistributors * config.redistributor_stride
    properties: dict[str, Value] = {
        "compatible": "arm,gic-v3",
        "interrupt-controller": True,
        "#interrupt-cells": 3,
        "#address-cells": 2,
        "#size-cells": 2,
        "ranges": True,
        "redistributor-stride": pair(config.redistributor_stride),
        "reg": [*pair(base), *pair(FRAME_BYTES), *pair(config.redistributor_base), *pair(redistributors)],
        "phandle": tree.phandle(GIC),
    }
    if el2:
        properties["interrupts"] = interrupt(config.maintenance_intid)
    tree.node(path, properties)
    tree.node("/", {"interrupt-parent": tree.phandle(GIC)})
    for region in bus.regions:
        if region.name.startswith("GITS"):
            properties = {
                "compatible": "arm,gic-v3-its",
                "msi-controller": True,
                "#msi-cells": 1,
                "reg": [*pair(region.base), *pair(region.size)],
                "phandle": tree.phandle(ITS if region.name == "GITS0" else region.name),
            }
            tree.node(f"{path}/msi-controller@{region.base:x}", properties)
