# SPDX-License-Identifier: Apache-2.0
"""The flattened device tree that tells software what the board has (Devicetree Specification 0.4, chapter 5)."""

from __future__ import annotations

import fdt

from gicmodel.config import FIRST_PPI, FIRST_SPI

VERSION, LAST_COMPATIBLE = 17, 16
Value = str | bytes | int | list[int] | list[str] | tuple[int, ...] | bool

SPI, PPI = 0, 1
EDGE_RISING, LEVEL_HIGH = 1, 4
"""Cells of a GICv3 interrupt specifier (Linux, Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3)."""


class DeviceTree:
    """A tree under construction. Addresses and sizes have two cells everywhere."""

    def __init__(self) -> None:
        self._tree = fdt.FDT()
        self._phandles: dict[str, int] = {}
        self.node("/", {"#address-cells": 2, "#size-cells": 2})

    def node(self, path: str, properties: dict[str, Value]) -> None:
        """Add properties to a node, which is made if it is not there. True is a property without a value."""
        for name, value in properties.items():
            told = list(value) if isinstance(value, tuple) else None if value is True else value
            self._tree.set_property(name, told, path)

    def phandle(self, label: str) -> int:
        """The number by which nodes refer to the one of this label."""
        return self._phandles.setdefault(label, len(self._phandles) + 1)

    def blob(self) -> bytes:
        """The tree, flattened."""
        return bytes(self._tree.to_dtb(version=VERSION, last_comp_version=LAST_COMPATIBLE, boot_cpuid_phys=0))


def pair(number: int) -> tuple[int, int]:
    """A 64-bit number in two cells."""
    return number >> 32, number & 0xFFFF_FFFF


def interrupt(intid: int, trigger: int = LEVEL_HIGH) -> tuple[int, int, int]:
    """The specifier of an SPI or PPI."""
    if intid >= FIRST_SPI:
        return SPI, intid - FIRST_SPI, trigger
    return PPI, intid - FIRST_PPI, trigger
