# SPDX-License-Identifier: Apache-2.0
"""What software wrote to RAM and no trace records: level 1 entries, configuration tables, zeroed memory.

These bytes come from an image of the same machine, at the moment the hardware is first told to use them. Nothing else
is taken from the image: entries, pending bits and virtual pending tables start as zero, so that comparing them at the
end proves that the hardware wrote them. Without an image the level 2 pages are laid out here, in memory above the
machine's.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware import Its, Redistributor
from gicmodel.images.dump import Dump
from gicmodel.images.qemu_trace.events import Ram
from gicmodel.lab.tables import TableInRam
from gicmodel.layouts.its_tables import ITE, LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION, table_bytes
from gicmodel.layouts.registers.by_name import NamedRegisters
from gicmodel.layouts.table import TableType
from gicmodel.memory import ExternalAbort, GuestMemory

MACHINE_BYTES = 1 << 40
"""The machine's physical addresses: QEMU's `virt` machine has 40 bits of them unless it is made larger."""

INTID_BITS = 16
_ID_BITS = 16
MOST_TOLD = 1 << 30
"""Bytes that lines of a trace may write to RAM."""
_SPARE_BYTES = 1 << 20
MEMORY_BYTES = MACHINE_BYTES + len(TableType) * _SPARE_BYTES
"""What a replay needs: the machine's memory, and the spare level 2 pages."""
_LARGEST_TABLE = ITE.bytes << _ID_BITS


class Software:
    """The untraced half of the machine. `written` lists (address, length) of what was taken from the image.

    Of a trace that tells what software wrote, `is_told`, nothing is taken, zeroed or laid out.
    """

    def __init__(self, memory: GuestMemory, image: Dump | None, is_told: bool) -> None:
        self.written: list[tuple[int, int]] = []
        self._told = 0 if is_told else None
        self._memory = memory
        self._image = None if is_told else image
        self._asked: set[tuple[int, int]] = set()
        self._spare = memory.end - len(TableType) * _SPARE_BYTES

    def told(self, event: Ram) -> None:
        """A line says what software wrote. Raises ValueError: not into RAM, or more than any software would."""
        if self._told is None:
            raise ValueError("a trace tells of RAM only where its first line says which model wrote it")
        self._told += 8 * event.words
        if self._told > MOST_TOLD:
            raise ValueError(f"the trace writes more than {MOST_TOLD:#x} bytes to RAM")
        try:
            self._memory.view(event.address, event.words, "<u8")[:] = event.data
        except ExternalAbort as abort:
            raise ValueError(str(abort)) from None

    def its_enabled(self, its: Its) -> None:
        """Before GITS_CTLR.Enabled is set: the level 1 entries of the two-level tables."""
        for kind in TableType if self._told is None else ():
            table = TableInRam.of(its, kind)
            if table is not None and table.indirect:
                self._copy(table.address, table.size)
                if self._image is None:
                    self._lay_out(table)

    def lpis_enabled(self, redistributor: Redistributor, zeroed: bool) -> None:
        """Before GICR_CTLR.EnableLPIs is set: the LPI configuration table; `zeroed`: PENDBASER.PTZ promised zeros."""
        registers = NamedRegisters(redistributor, "4.0")
        propbaser = registers.fields("GICR_PROPBASER")
        self._copy_configuration(propbaser["Physical_Address"], propbaser["IDbits"])
        if zeroed:
            self.hand_over(
                registers.fields("GICR_PENDBASER")["Physical_Address"],
                table_bytes(min(propbaser["IDbits"] + 1, INTID_BITS)),
            )

    def vpe_scheduled(self, redistributor: Redistributor) -> None:
        """Before GICR_VPENDBASER is written: the vLPI configuration table of the vPE."""
        vpropbaser = NamedRegisters(redistributor, "4.0").fields("GICR_VPROPBASER")
        self._copy_configuration(vpropbaser["Physical_Address"], vpropbaser["IDbits"])

    def hand_over(self, address: int, length: int) -> None:
        """Zero memory that a command gives to the hardware for a new use, as the architecture asks of software."""
        if self._told is None and length <= _LARGEST_TABLE and self._memory.covers(address, length):
            self._memory.zero(address, length)

    def _copy_configuration(self, address: int, id_bits: int) -> None:
        length = ((1 << min(id_bits + 1, INTID_BITS)) - FIRST_LPI) * LPI_CONFIGURATION.bytes
        if length > 0:
            self._copy(address, length)

    def _copy(self, address: int, length: int) -> None:
        """Take a range from the image, once: later the hardware may have written beside it."""
        if self._image is None or (address, length) in self._asked or not self._memory.covers(address, length):
            return
        self._asked.add((address, length))
        octets, _ = self._image.read(address, length)
        if octets.any():
            self._memory.write(address, octets)
            self.written.append((address, length))

    def _lay_out(self, table: TableInRam) -> None:
        """Give the first pages of every ID that can exist a level 2 page (8-byte entries, 16-bit IDs)."""
        pages = min(table.size // LEVEL1.bytes, max(1, (LEVEL1.bytes << _ID_BITS) // table.page_bytes))
        addresses = self._spare + np.arange(pages) * table.page_bytes
        entries = LEVEL1.encode(Valid=1, Physical_Address=addresses)
        if self._memory.covers(table.address, pages * LEVEL1.bytes):
            self._memory.write(table.address, entries.astype("<u8").view(np.uint8).reshape(-1))
            self._spare += _SPARE_BYTES
