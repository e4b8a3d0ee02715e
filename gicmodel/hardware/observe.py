# SPDX-License-Identifier: Apache-2.0
"""What no software can see: pending bits wherever they are now, in RAM or still in a redistributor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import whole
from gicmodel.hardware.gic import Gic
from gicmodel.hardware.kernels.state import SLOT
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS, intids_of, table_bytes
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER


def pending_virtual(gic: Gic, vpt_addr: int, id_bits: int) -> NDArray[np.int64]:
    """The pending INTIDs of the VPT at an address, ascending: vSGIs below 16, vLPIs from 8192.

    Raises:
        ExternalAbort: not all of the table is held by a redistributor, and it lies outside RAM.
        ValueError: the GIC has no INTIDs of `id_bits` bits, or no such address or redistributor.
    """
    bits = whole(id_bits, "pending_virtual: id_bits", 0, gic.config.intid_bits)
    address = whole(vpt_addr, "pending_virtual: vpt_addr")
    first = gic.config.redistributors
    held = np.flatnonzero(gic.machine.slots[first:, SLOT.tag] == np.uint64(address | 1))
    return _intids(gic, first + int(held[0]) if len(held) else None, address, bits)


def pending_physical(gic: Gic, number: int) -> NDArray[np.int64]:
    """The pending LPIs of redistributor `number`, ascending; as many as GICR_PROPBASER gives it. Errors as above."""
    number = whole(number, "pending_physical: the redistributor", 0, gic.config.redistributors - 1)
    face = gic.redistributors[number]
    base = GICR_PENDBASER.unpack(face.read(register("GICR_PENDBASER").offset))["Physical_Address"]
    id_bits = GICR_PROPBASER.unpack(face.read(register("GICR_PROPBASER").offset))["IDbits"] + 1
    if 1 << id_bits <= FIRST_LPI:
        return np.empty(0, np.int64)
    slot = number if int(gic.machine.slots[number, SLOT.tag]) else None
    return _intids(gic, slot, base, min(id_bits, gic.config.intid_bits))


def _intids(gic: Gic, slot: int | None, base: int, id_bits: int) -> NDArray[np.int64]:
    """What a slot holds of the table, which may be of fewer INTIDs, and the rest from RAM."""
    held = np.empty(0, np.uint8)
    if slot is not None and int(gic.machine.slots[slot, SLOT.held]):
        row = gic.machine.slots[slot]
        held = row[SLOT.bits :].view(np.uint8)[: table_bytes(min(id_bits, int(row[SLOT.id_bits])))]
    rest = gic.memory.read(base + held.size, table_bytes(id_bits) - held.size)
    octets = np.concatenate([held, np.frombuffer(rest, np.uint8)])
    pending = intids_of(octets)
    # Between them a VPT keeps the configuration of its vSGIs.
    return pending[(pending < VSGIS) | (pending >= FIRST_LPI)]
