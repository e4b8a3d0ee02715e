# SPDX-License-Identifier: Apache-2.0
"""The GICv3 commands: one function each, named by its mnemonic, returning a reason.

All follow one rhythm: decode, check, walk, update (IHI0069, "ITS commands"). The order of checks is QEMU's where no
text fixes it.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.configuration import forget_byte, id_bits_of
from gicmodel.hardware.kernels.delivery import (
    ENABLE_LPIS,
    ITE_DOORBELL,
    clear_lpi,
    forget_event,
    invalidate_event,
    lpi_pending,
    lpi_reachable,
    lpi_table,
    raise_event,
    set_lpi,
    withdraw_event,
)
from gicmodel.hardware.kernels.errors import (
    COLLECTION_OOR,
    DEVICE_OOR,
    EXTERNAL_ABORT,
    ID_OOR,
    ITE_INVALID,
    ITTSIZE_OOR,
    MOVALL_PROCNUM_OOR,
    OK,
    PHYSICALID_OOR,
    PROCNUM_OOR,
    UNMAPPED_DEVICE,
)
from gicmodel.hardware.kernels.highest import table_readable
from gicmodel.hardware.kernels.lookup import (
    CTE_RDBASE,
    DTE_SIZE,
    ITE_ICID,
    ITE_INTID,
    ITE_TYPE,
    PHYSICAL,
    event_out_of_range,
    find_collection,
    find_device,
    find_event,
    invalid_ite,
    is_lpi,
    is_physical,
    is_unmapped,
    lpi_target,
    redistributor_of,
)
from gicmodel.hardware.kernels.pending import (
    FIRST_LPI_WORD,
    forget_configuration,
    pending_word,
    table_bytes,
    write_pending_word,
)
from gicmodel.hardware.kernels.state import CONFIG, RD, Index, Machine, Packet, Truth, Word, rd_at, retains
from gicmodel.hardware.kernels.tables import (
    CTE_VALID,
    DTE_ITT_ADDR,
    DTE_VALID,
    ITE_VALID,
    NO_DOORBELL_ID,
    collection_out_of_range,
    device_out_of_range,
    write_cte,
    write_dte,
    write_ite,
)
from gicmodel.hardware.kernels.words import BYTES_SHIFT, ONE, ZERO, get, operand, put, replace
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.commands import MAPC, MAPD, MAPTI, MOVALL

DEVICE_ID, EVENT_ID, PINTID, ICID = (MAPTI[name] for name in ("DeviceID", "EventID", "pINTID", "ICID"))
SIZE, ITT_ADDR, VALID = MAPD["Size"], MAPD["ITT_addr"], MAPD["V"]
RDBASE, RDBASE2 = MAPC["RDbase"], MOVALL["RDbase2"]


@inlined
def mapd(m: Machine, its: Index, packet: Packet) -> Word:
    """Give a device its ITT, or take it away."""
    device_id, size, valid = operand(packet, DEVICE_ID), operand(packet, SIZE), operand(packet, VALID)
    if unlikely(device_out_of_range(m, its, device_id)):
        return DEVICE_OOR
    if valid != ONE:
        return write_dte(m, its, device_id, ZERO)
    if unlikely(size >= m.chip[CONFIG.event_id_bits]):
        return ITTSIZE_OOR
    dte = put(operand(packet, ITT_ADDR), DTE_ITT_ADDR) | put(size, DTE_SIZE) | put(ONE, DTE_VALID)
    return write_dte(m, its, device_id, dte)


@inlined
def mapc(m: Machine, its: Index, packet: Packet) -> Word:
    """Give a collection its redistributor, or take it away."""
    icid = operand(packet, ICID)
    if unlikely(collection_out_of_range(m, its, icid)):
        return COLLECTION_OOR
    if operand(packet, VALID) != ONE:
        return write_cte(m, its, icid, ZERO)
    rd = redistributor_of(m, operand(packet, RDBASE))
    if unlikely(rd < 0):
        return PROCNUM_OOR
    return write_cte(m, its, icid, put(np.uint64(rd), CTE_RDBASE) | put(ONE, CTE_VALID))


@inlined
def map_lpi(m: Machine, its: Index, packet: Packet, intid: Word) -> Word:
    """MAPTI and MAPI. The collection need not be mapped yet."""
    device_id, event_id, icid = operand(packet, DEVICE_ID), operand(packet, EVENT_ID), operand(packet, ICID)
    reason, dte = find_device(m, its, device_id)
    if unlikely(reason != OK and reason != UNMAPPED_DEVICE):
        return reason
    if unlikely(collection_out_of_range(m, its, icid)):
        return COLLECTION_OOR
    if unlikely(reason != OK):
        return reason
    if unlikely(event_out_of_range(m, dte, event_id)):
        return ID_OOR
    if unlikely(not is_lpi(m, intid)):
        return PHYSICALID_OOR
    low = put(ONE, ITE_VALID) | put(PHYSICAL, ITE_TYPE) | put(intid, ITE_INTID) | put(icid, ITE_ICID)
    return write_ite(m, its, device_id, dte, event_id, low, put(NO_DOORBELL_ID, ITE_DOORBELL))


@inlined
def mapti(m: Machine, its: Index, packet: Packet) -> Word:
    """Map an event to an LPI of its own choice."""
    return map_lpi(m, its, packet, operand(packet, PINTID))


@inlined
def mapi(m: Machine, its: Index, packet: Packet) -> Word:
    """Map an event to the LPI with the EventID's number."""
    return map_lpi(m, its, packet, operand(packet, EVENT_ID))


@inlined
def movi(m: Machine, its: Index, packet: Packet) -> Word:
    """Give an event to another collection, its pending state to that collection's redistributor."""
    device_id, event_id, icid = operand(packet, DEVICE_ID), operand(packet, EVENT_ID), operand(packet, ICID)
    reason, dte, low, high = find_event(m, its, device_id, event_id)
    if unlikely(reason != OK):
        return reason
    if unlikely(not is_physical(low)):
        return ITE_INVALID
    reason, old = lpi_target(m, its, low)
    if unlikely(reason != OK):
        return reason
    reason, new = find_collection(m, its, icid)
    if unlikely(reason != OK):
        return reason
    if old != new:
        # INV and GICR_INVLPIR reach the new redistributor only: what the old one holds would be stale on its return.
        forget_byte(m, old, get(low, ITE_INTID))
        reason = move_lpi(m, old, new, get(low, ITE_INTID))
    if reason == OK:
        reason = write_ite(m, its, device_id, dte, event_id, replace(low, ITE_ICID, icid), high)
    return reason


@inlined
def move_lpi(m: Machine, old: Index, new: Index, intid: Word) -> Word:
    """Move one LPI's pending state; nothing moves while LPIs are off at either end (CONSTRAINED UNPREDICTABLE).

    An LPI that the new redistributor does not have (GICR_PROPBASER.IDbits) is no longer pending anywhere.
    """
    reason, was = lpi_pending(m, old, intid)
    if not was or not lpis_on(m, new):
        return reason
    reason = lpi_reachable(m, new, intid)
    if reason == OK:
        clear_lpi(m, old, intid)
        reason = set_lpi(m, new, intid)
    return reason


@kernel
def lpis_on(m: Machine, rd: Index) -> Truth:
    """GICR_CTLR.EnableLPIs."""
    return get(m.chip[rd_at(rd) + RD.ctlr], ENABLE_LPIS) == ONE


@inlined
def movall(m: Machine, its: Index, packet: Packet) -> Word:
    """Move every pending LPI of one redistributor to another."""
    old, new = redistributor_of(m, operand(packet, RDBASE)), redistributor_of(m, operand(packet, RDBASE2))
    if unlikely(old < 0 or new < 0):
        return MOVALL_PROCNUM_OOR
    if old == new or not (lpis_on(m, old) and lpis_on(m, new)):
        return OK
    bits = id_bits_of(m, m.chip[rd_at(old) + RD.propbaser])
    if bits > id_bits_of(m, m.chip[rd_at(new) + RD.propbaser]):
        bits = id_bits_of(m, m.chip[rd_at(new) + RD.propbaser])
    if bits == ZERO:
        return OK
    source, target = lpi_table(m, old), lpi_table(m, new)
    if unlikely(not (table_readable(m, old, source, bits) and table_readable(m, new, target, bits))):
        return EXTERNAL_ABORT
    for index in range(FIRST_LPI_WORD, np.int64(table_bytes(bits) >> BYTES_SHIFT)):
        word = pending_word(m, old, source, index)
        if word != ZERO:
            write_pending_word(m, new, target, index, pending_word(m, new, target, index) | word)
            write_pending_word(m, old, source, index, ZERO)
    return OK


@inlined
def int_command(m: Machine, its: Index, packet: Packet) -> Word:
    """INT: the event happens, as if the device had written it."""
    reason, _, low, high = find_event(m, its, operand(packet, DEVICE_ID), operand(packet, EVENT_ID))
    if reason == OK:
        reason = invalid_ite(raise_event(m, its, low, high))
    return reason


@inlined
def clear(m: Machine, its: Index, packet: Packet) -> Word:
    """CLEAR: the event's interrupt is no longer pending."""
    reason, _, low, _ = find_event(m, its, operand(packet, DEVICE_ID), operand(packet, EVENT_ID))
    if reason == OK:
        reason = invalid_ite(withdraw_event(m, its, low))
    return reason


@inlined
def discard(m: Machine, its: Index, packet: Packet) -> Word:
    """DISCARD: CLEAR, and the event is unmapped; also if its target is not (`GicConfig.discard_unmapped`)."""
    device_id, event_id = operand(packet, DEVICE_ID), operand(packet, EVENT_ID)
    reason, dte, low, _ = find_event(m, its, device_id, event_id)
    if unlikely(reason != OK):
        return reason
    reason = withdraw_event(m, its, low)
    if unlikely(reason != OK and not (is_unmapped(reason) and m.chip[CONFIG.discard_unmapped] == ONE)):
        return invalid_ite(reason)
    if reason == OK and retains(m):
        # Linux sends no INV after the VMAPTI that may map it again (its_map_vlpi): what is retained would be stale.
        reason = forget_event(m, its, low)
    return write_ite(m, its, device_id, dte, event_id, ZERO, ZERO)


@inlined
def inv(m: Machine, its: Index, packet: Packet) -> Word:
    """INV: the configuration of the event's LPI or vLPI is read anew."""
    reason, _, low, _ = find_event(m, its, operand(packet, DEVICE_ID), operand(packet, EVENT_ID))
    if reason == OK:
        reason = invalid_ite(invalidate_event(m, its, low))
    return reason


@inlined
def invall(m: Machine, its: Index, packet: Packet) -> Word:
    """INVALL: the configuration of the LPIs of a collection is read anew."""
    reason, rd = find_collection(m, its, operand(packet, ICID))
    if reason == OK:
        forget_configuration(m, rd)
    return reason


@inlined
def sync(m: Machine, its: Index, packet: Packet) -> Word:
    """SYNC: everything before is complete, which in this model it always is."""
    if unlikely(redistributor_of(m, operand(packet, RDBASE)) < 0):
        return PROCNUM_OOR
    return OK
