# SPDX-License-Identifier: Apache-2.0
"""LPI tables as software makes them: configuration, a byte for each INTID from 8192, and pending (IHI0069 5.1.1)."""

from __future__ import annotations

import numpy as np

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.commands import Operand
from gicmodel.driver.errors import DriverError
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION, PENDING_ALIGNMENT, table_bytes

DISABLED = LPI_CONFIGURATION.pack(Priority=0xA0)
ENABLED = LPI_CONFIGURATION.pack(Priority=0xA0, Enable=1)
_GROUP1 = LPI_CONFIGURATION.pack()
"""The RES1 bit of every byte (Linux' LPI_PROP_GROUP1)."""
ENABLE = LPI_CONFIGURATION.pack(Enable=1) ^ _GROUP1


class ConfigurationTable:
    """The table of a machine's LPIs or of a VM's vLPIs, all disabled at first, of `id_bits` INTID bits."""

    def __init__(self, allocator: PageAllocator, id_bits: int) -> None:
        self.id_bits = id_bits
        self.address = _alloc(allocator, (1 << id_bits) - FIRST_LPI)
        self._memory = allocator.memory
        self._octets = self._memory.view(self.address, (1 << id_bits) - FIRST_LPI, np.uint8)
        self._octets[:] = DISABLED
        self._memory.mark(self.address, len(self._octets))

    def read(self, intid: int) -> int:
        """The byte of one LPI; errors as `write`."""
        self._check(intid, intid)
        return int(self._octets[intid - FIRST_LPI])

    def write(self, intids: Operand, octets: Operand) -> None:
        """Set the byte of one LPI or of an array of them, RES1 bit included (Linux' lpi_write_config).

        DriverError EINVAL for an INTID without a byte.
        """
        if isinstance(intids, np.ndarray):
            if not intids.size:
                return
            first, last = int(intids.min()), int(intids.max())
        else:
            first = last = int(intids)
        self._check(first, last)
        self._octets[intids - FIRST_LPI] = octets | _GROUP1
        self._memory.mark(self.address + first - FIRST_LPI, last + 1 - first)

    def _check(self, first: int, last: int) -> None:
        if first < FIRST_LPI or last >= FIRST_LPI + len(self._octets):
            raise DriverError("EINVAL", f"INTIDs {first}..{last} are not all LPIs of {self.id_bits} bits")


def its_allocate_pending_table(allocator: PageAllocator, id_bits: int) -> int:
    """The address of an LPI pending table, or of a VPT, for INTIDs of `id_bits` bits. DriverError ENOMEM."""
    return _alloc(allocator, table_bytes(id_bits))


def _alloc(allocator: PageAllocator, size: int) -> int:
    """Linux aligns and sizes LPI tables to 64 KiB, which GICR_PENDBASER, VPT_addr and VCONF_addr need."""
    return allocator.alloc(-(-size // PENDING_ALIGNMENT) * PENDING_ALIGNMENT, PENDING_ALIGNMENT)
