# SPDX-License-Identifier: Apache-2.0
"""Writes of GITS_TRANSLATER and GITS_SGIR: an interrupt that comes from outside the command queue.

Nothing stalls here. A message that cannot be translated is dropped and, with GITS_TYPER.UMSI, noted in GITS_STATUSR.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.kernels.delivery import raise_event, set_virtual
from gicmodel.hardware.kernels.entries import KIND_ITE, cache_line, cache_tag, ite_identifier
from gicmodel.hardware.kernels.errors import (
    COLLECTION_OOR,
    DEVICE_OOR,
    ID_OOR,
    OK,
    UNMAPPED_COLLECTION,
    UNMAPPED_DEVICE,
    UNMAPPED_INTERRUPT,
    VCPU_INVALID,
    VCPU_OOR,
)
from gicmodel.hardware.kernels.lookup import find_event, find_vpe
from gicmodel.hardware.kernels.queue import ENABLED
from gicmodel.hardware.kernels.state import CONFIG, ITS, Index, Machine, Truth, Word, its_at, retains
from gicmodel.hardware.kernels.tables import (
    BASER_VALID,
    COLLECTION_TABLE,
    DEVICE_TABLE,
    NO_DOORBELL_ID,
    VPE_TABLE,
)
from gicmodel.hardware.kernels.words import ONE, ZERO, get, put, replace
from gicmodel.jit import inlined, kernel
from gicmodel.layouts.registers.its import GITS_STATUSR, GITS_UMSIR

UMSI, OVERFLOW, SYNDROME = GITS_STATUSR["UMSI"], GITS_STATUSR["Overflow"], GITS_STATUSR["Syndrome"]
UMSIR_DEVICE, UMSIR_EVENT = GITS_UMSIR["DeviceID"], GITS_UMSIR["EventID"]
READ_AHEAD = 64
"""Messages: several times what the processor can wait for at once, and their ITEs stay in its nearest cache."""
SYNDROME_UNKNOWN = np.uint64(0b0000)
SYNDROME_DEVICE_OOR, SYNDROME_DEVICE_UNMAPPED = np.uint64(0b0010), np.uint64(0b0011)
SYNDROME_EVENT_OOR, SYNDROME_EVENT_UNMAPPED = np.uint64(0b0100), np.uint64(0b0101)
SYNDROME_COLLECTION, SYNDROME_VPE = np.uint64(0b0111), np.uint64(0b1001)


@kernel
def tables_valid(m: Machine, its: Index) -> Truth:
    """Messages are discarded while a GITS_BASER<n> the ITS needs is not valid (DDI0601 GITS_BASER<n>.Valid)."""
    baser = its_at(its) + ITS.baser
    collections = get(m.chip[baser + COLLECTION_TABLE], BASER_VALID) == ONE or m.chip[CONFIG.hcc] != ZERO
    vpes = get(m.chip[baser + VPE_TABLE], BASER_VALID) == ONE or m.chip[CONFIG.virtual] != ONE
    return get(m.chip[baser + DEVICE_TABLE], BASER_VALID) == ONE and collections and vpes


@kernel
def translate(m: Machine, its: Index, device_id: Word, event_id: Word) -> Word:
    """A device's message; OK or the reason it was dropped."""
    if not accepts_messages(m, its):
        return OK
    return translate_message(m, its, device_id, event_id)


@kernel
def accepts_messages(m: Machine, its: Index) -> Truth:
    """Whether the ITS translates at all."""
    return get(m.chip[its_at(its) + ITS.ctlr], ENABLED) == ONE and tables_valid(m, its)


@inlined
def translate_message(m: Machine, its: Index, device_id: Word, event_id: Word) -> Word:
    """A message to an ITS that translates."""
    reason, _, low, high = find_event(m, its, device_id, event_id)
    if reason == OK:
        reason = raise_event(m, its, low, high)
    if reason != OK and m.chip[CONFIG.umsi] == ONE:
        report_unmapped(m, its, device_id, event_id, reason)
    return reason


@kernel
def syndrome_of(reason: Word) -> Word:
    """GITS_STATUSR.Syndrome of a dropped message."""
    if reason == DEVICE_OOR:
        return SYNDROME_DEVICE_OOR
    if reason == UNMAPPED_DEVICE:
        return SYNDROME_DEVICE_UNMAPPED
    if reason == ID_OOR:
        return SYNDROME_EVENT_OOR
    if reason == UNMAPPED_INTERRUPT:
        return SYNDROME_EVENT_UNMAPPED
    if reason == UNMAPPED_COLLECTION or reason == COLLECTION_OOR:
        return SYNDROME_COLLECTION
    if reason == VCPU_INVALID or reason == VCPU_OOR:
        return SYNDROME_VPE
    return SYNDROME_UNKNOWN


@kernel
def report_unmapped(m: Machine, its: Index, device_id: Word, event_id: Word, reason: Word) -> None:
    """GITS_STATUSR and GITS_UMSIR keep the first unmapped message until software clears it; more set Overflow."""
    s = its_at(its)
    if get(m.chip[s + ITS.statusr], UMSI) == ONE:
        m.chip[s + ITS.statusr] = replace(m.chip[s + ITS.statusr], OVERFLOW, ONE)
        return
    m.chip[s + ITS.statusr] = replace(replace(m.chip[s + ITS.statusr], UMSI, ONE), SYNDROME, syndrome_of(reason))
    m.chip[s + ITS.umsir] = put(device_id, UMSIR_DEVICE) | put(event_id, UMSIR_EVENT)


@kernel
def translate_many(m: Machine, its: Index, device_ids: NDArray[np.uint64], event_ids: NDArray[np.uint64]) -> Index:
    """A burst of messages, in order; how many were not dropped."""
    if not accepts_messages(m, its):
        return 0
    accepted = 0
    for first in range(0, device_ids.shape[0], READ_AHEAD):
        devices, events = device_ids[first : first + READ_AHEAD], event_ids[first : first + READ_AHEAD]
        if retains(m):
            read_ahead(m, its, devices, events)
        for index in range(devices.shape[0]):
            if translate_message(m, its, devices[index], events[index]) == OK:
                accepted += 1
    return accepted


@inlined
def read_ahead(m: Machine, its: Index, device_ids: NDArray[np.uint64], event_ids: NDArray[np.uint64]) -> None:
    """Read where the cache may hold the ITEs of messages to come, and do nothing with them.

    A translation is long: while the processor waits for one's ITE it does not get as far as the next one's. Here it
    waits for many at once. What was read has to go somewhere, or the compiler would leave the reads out.
    """
    seen = ZERO
    for index in range(device_ids.shape[0]):
        identifier = ite_identifier(device_ids[index], event_ids[index])
        seen ^= m.chip[cache_line(m, cache_tag(KIND_ITE, its, identifier))]
    m.chip[its_at(its) + ITS.ahead] = seen


@kernel
def inject_vsgi(m: Machine, its: Index, vpe_id: Word, vintid: Word) -> Word:
    """A write of GITS_SGIR: a vSGI becomes pending at its vPE (GICv4.1)."""
    if get(m.chip[its_at(its) + ITS.ctlr], ENABLED) != ONE:
        return OK
    reason, entry = find_vpe(m, its, vpe_id)
    if reason == OK:
        reason = set_virtual(m, entry, vpe_id, vintid, NO_DOORBELL_ID)
    return reason
