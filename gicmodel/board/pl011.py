# SPDX-License-Identifier: Apache-2.0
"""An Arm PL011 UART (DDI0183): what is written is sent at once; what is received waits in a FIFO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gicmodel.board.device_tree import DeviceTree, interrupt, pair
from gicmodel.memory import PAGE_BYTES

DR, FR, IBRD, FBRD, LCR_H, CR, IFLS, IMSC, RIS, MIS, ICR = (
    *(0x00, 0x18, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40, 0x44),
)
_FR_RXFE, _FR_TXFE = 1 << 4, 1 << 7
_RX, _TX, _RECEIVE_TIMEOUT = 1 << 4, 1 << 5, 1 << 6
_ALL = 0x7FF
_IDENTITY = dict(zip(range(0xFE0, 0x1000, 4), (0x11, 0x10, 0x14, 0x00, 0x0D, 0xF0, 0x05, 0xB1), strict=True))
_STORED = {IBRD: 0xFFFF, FBRD: 0x3F, LCR_H: 0xFF, CR: 0xFFFF, IFLS: 0x3F, IMSC: _ALL}
_RESET = {CR: 0x300, IFLS: 0x12}
_CLOCK_HZ = 24_000_000
_CLOCK = "uart-clock"


class Pl011:
    """A UART whose interrupt is `set_line(level)`, and whose output goes to `send(octet)`."""

    name = "PL011"
    size = PAGE_BYTES

    def __init__(self, base: int, intid: int, send: Callable[[int], None], set_line: Callable[[bool], None]) -> None:
        self.base = base
        self.intid = intid
        self._send = send
        self._set_line = set_line
        self.registers = dict.fromkeys(_STORED, 0) | _RESET
        self.raw_interrupts = 0
        self.received: deque[int] = deque()
        self._level = False

    def receive(self, octets: bytes) -> None:
        """What comes from outside."""
        self.received.extend(octets)
        self._update()

    def read(self, offset: int, size: int) -> int:
        """A register; reserved ones read as zero."""
        if offset == DR:
            octet = self.received.popleft() if self.received else 0
            self._update()
            return octet
        if offset == FR:
            return _FR_TXFE | (0 if self.received else _FR_RXFE)
        if offset == RIS:
            return self.raw_interrupts
        if offset == MIS:
            return self.raw_interrupts & self.registers[IMSC]
        return self.registers.get(offset, _IDENTITY.get(offset, 0))

    def write(self, offset: int, value: int, size: int) -> None:
        """A register; reserved ones ignore it."""
        if offset == DR:
            self._send(value & 0xFF)
            self.raw_interrupts |= _TX
        elif offset == ICR:
            self.raw_interrupts &= ~value
        elif offset in _STORED:
            self.registers[offset] = value & _STORED[offset]
        self._update()

    def describe(self, tree: DeviceTree) -> None:
        """The UART, its clock, and that it is the console."""
        clock = tree.phandle(_CLOCK)
        tree.node(
            f"/{_CLOCK}",
            {"compatible": "fixed-clock", "#clock-cells": 0, "clock-frequency": _CLOCK_HZ, "phandle": clock},
        )
        path = f"/serial@{self.base:x}"
        tree.node(
            path,
            {
                "compatible": ["arm,pl011", "arm,primecell"],
                "reg": [*pair(self.base), *pair(self.size)],
                "interrupts": interrupt(self.intid),
                "clocks": [clock, clock],
                "clock-names": ["uartclk", "apb_pclk"],
            },
        )
        tree.node("/chosen", {"stdout-path": path})

    def _update(self) -> None:
        """Receive interrupts stand as long as there is anything: as if the FIFO's trigger were one octet."""
        self.raw_interrupts &= ~(_RX | _RECEIVE_TIMEOUT)
        if self.received:
            self.raw_interrupts |= _RX | _RECEIVE_TIMEOUT
        level = bool(self.raw_interrupts & self.registers[IMSC])
        if level != self._level:
            self._level = level
            self._set_line(level)
