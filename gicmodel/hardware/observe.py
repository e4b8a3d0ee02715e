# SPDX-License-Identifier: Apache-2.0
"""What no software can see: pending bits wherever they are now, in RAM or still in a redistributor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.gic import Gic
from gicmodel.hardware.kernels.state import SLOT
from gicmodel.layouts.registers import GICR_PENDBASER, register
from gicmodel.layouts.vpt import FIRST_LPI, VSGIS, table_bytes


def pending_virtual(gic: Gic, vpt_addr: int, id_bits: int) -> NDArray[np.int64]:
    """The pending INTIDs of the VPT at an address, ascending: vSGIs below 16, vLPIs from 8192.

    Raises:
        ExternalAbort: no redistributor holds the table and it lies outside RAM.
    """
    first = gic.config.redistributors
    held = np.flatnonzero(gic.machine.slots[first:, SLOT.tag] == np.uint64(vpt_addr | 1))
    slot = first + int(held[0]) if len(held) else None
    return _intids(gic, slot, vpt_addr, id_bits)


def pending_physical(gic: Gic, number: int) -> NDArray[np.int64]:
    """The pending LPIs of redistributor `number`, ascending. ExternalAbort as above."""
    base = GICR_PENDBASER.unpack(gic.redistributors[number].read(register("GICR_PENDBASER").offset))["Physical_Address"]
    return _intids(gic, number if int(gic.machine.slots[number, SLOT.tag]) else None, base, gic.config.intid_bits)


def _intids(gic: Gic, slot: int | None, base: int, id_bits: int) -> NDArray[np.int64]:
    if slot is not None and int(gic.machine.slots[slot, SLOT.held]):
        words = gic.machine.slots[slot, SLOT.bits : SLOT.bits + table_bytes(id_bits) // 8].copy()
        octets = words.view(np.uint8)
    else:
        octets = np.frombuffer(gic.memory.read(base, table_bytes(id_bits)), np.uint8)
    pending: NDArray[np.int64] = np.flatnonzero(np.unpackbits(octets, bitorder="little"))
    # Between them a VPT keeps the configuration of its vSGIs.
    return pending[(pending < VSGIS) | (pending >= FIRST_LPI)]
