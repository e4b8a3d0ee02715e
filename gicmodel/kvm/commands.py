# SPDX-License-Identifier: Apache-2.0
"""The commands of the guest's queue as KVM executes them: on its own lists, not on tables in guest RAM.

Linux arch/arm64/kvm/vgic/vgic-its.c. A command that KVM rejects is dropped: CREADR moves on, nothing is reported.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES, write_entry
from gicmodel.kvm.interrupts import (
    clear_pending,
    set_pending,
    update_affinity,
    update_configuration,
    update_configurations,
)
from gicmodel.kvm.ites import NO_COLLECTION, Ite
from gicmodel.kvm.its import ID_BITS, Device, VgicIts
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.layouts.commands import COMMANDS, SYNC
from gicmodel.layouts.lpi_tables import FIRST_LPI

Operands = dict[str, int]
Handler = Callable[[VgicIts, Operands], None]

_OPCODE = SYNC["Opcode"]
_LAYOUTS = COMMANDS("3")
_TARGET = 0xFFFF_FFFF
"""KVM reads 32 bits of RDbase."""


class CommandError(Exception):
    """A command that KVM drops, by Linux's name for the reason (`E_ITS_*`)."""


def execute(its: VgicIts, queue: NDArray[np.uint64]) -> None:
    """Execute the commands `queue`, uint64 [n, 4] of guest RAM, in their order; drop those KVM rejects or fails in.

    They are decoded ahead. One that has changed since, as an entry that an earlier one wrote lies over it, is decoded
    anew: Linux fetches each command after the previous one has run.
    """
    ahead = queue.copy()
    for place, (words, (handler, operands)) in enumerate(zip(ahead.tolist(), _decode(ahead), strict=True)):
        if queue[place].tolist() != words:
            handler, operands = next(_decode(queue[place : place + 1]))
        with suppress(CommandError, KvmError):
            handler(its, operands)


def execute_one(its: VgicIts, words: NDArray[np.uint64]) -> None:
    """Execute a command, uint64 [4], by itself. CommandError or KvmError if KVM drops it, ENODEV if it is none."""
    if int(words[_OPCODE.word]) >> _OPCODE.shift & _OPCODE.mask not in _LAYOUTS:
        raise KvmError("ENODEV", f"command {words[_OPCODE.word]:#x} is none")
    handler, operands = next(_decode(words.reshape(1, -1)))
    handler(its, operands)


def _decode(words: NDArray[np.uint64]) -> Iterator[tuple[Handler, Operands]]:
    """What does each command, uint64 [n, 4], and its operands; nothing is done for one that KVM does not know."""
    opcodes = words[:, _OPCODE.word] >> _OPCODE.shift & _OPCODE.mask
    starts = np.flatnonzero(np.diff(opcodes, prepend=~opcodes[:1]))
    for start, run in zip(starts, np.split(words, starts)[1:], strict=True):
        layout = _LAYOUTS.get(int(opcodes[start]))
        if layout is None:
            yield from repeat((sync, {}), len(run))
            continue
        for row in layout.decode(run).tolist():
            yield _HANDLERS[layout.name], dict(zip(layout.fields, row, strict=True))


def mapd(its: VgicIts, operands: Operands) -> None:
    """Map a device to an ITT, anew if it is mapped; V=0 unmaps it and clears its DTE in RAM."""
    device_id = operands["DeviceID"]
    address = its.device_table.entry_address(its.dist.memory, device_id)
    if address is None:
        raise CommandError("E_ITS_MAPD_DEVICE_OOR")
    num_eventid_bits = operands["Size"] + 1
    if operands["V"] and num_eventid_bits > ID_BITS:
        raise CommandError("E_ITS_MAPD_ITTSIZE_OOR")
    its.free_device(device_id)
    if operands["V"]:
        its.add_device(Device(device_id, operands["ITT_addr"], num_eventid_bits))
    elif its.dist.behaviour.clears_unmapped_entries:
        write_entry(its.dist.memory, address, 0, "DTE")


def mapc(its: VgicIts, operands: Operands) -> None:
    """Map a collection to a vCPU, and its LPIs with it; V=0 frees it and leaves its events without a collection."""
    icid, target = operands["ICID"], operands["RDbase"] & _TARGET
    if target >= its.dist.nr_vcpus and (operands["V"] or not its.dist.behaviour.mapc_checks_target_last):
        raise CommandError("E_ITS_MAPC_PROCNUM_OOR")
    if not operands["V"]:
        its.free_collection(icid)
        its.translation_cache.invalidate()
        return
    if icid not in its.collections:
        its.add_collection(icid, target)
        return
    its.collections[icid] = target
    for device in its.all_devices():
        for lpi in device.ites.lpis[device.ites.icids == icid].tolist():
            update_affinity(its.dist, lpi, target)


def mapti(its: VgicIts, operands: Operands) -> None:
    """Map an event to an LPI; one that is mapped stays as it is. An unknown collection is created, unmapped."""
    device = its.devices.get(operands["DeviceID"])
    if device is None:
        raise CommandError("E_ITS_MAPTI_UNMAPPED_DEVICE")
    event_id = operands["EventID"]
    if not its.event_storable(device, event_id):
        raise CommandError("E_ITS_MAPTI_ID_OOR")
    intid = operands.get("pINTID", event_id)
    if not FIRST_LPI <= intid < its.dist.lpi_limit:
        raise CommandError("E_ITS_MAPTI_PHYSICALID_OOR")
    if event_id in device.ites:
        return
    icid = operands["ICID"]
    known = icid in its.collections
    if not known:
        its.add_collection(icid)
    try:
        its.map_event(device, event_id, icid, intid)
    except KvmError:
        if not known:
            its.free_collection(icid)
        raise


def movi(its: VgicIts, operands: Operands) -> None:
    """Move an event to another collection; both must be mapped."""
    device, ite = _event(its, operands, "E_ITS_MOVI_UNMAPPED_INTERRUPT")
    vcpu = its.target_vcpu(operands["ICID"])
    if NO_VCPU in (its.target_vcpu(ite.icid), vcpu):
        raise CommandError("E_ITS_MOVI_UNMAPPED_COLLECTION")
    device.ites.move(ite.event_id, operands["ICID"])
    its.translation_cache.invalidate()
    update_affinity(its.dist, ite.lpi, vcpu)


def discard(its: VgicIts, operands: Operands) -> None:
    """Unmap an event whose collection is mapped, and clear its ITE in RAM."""
    behaviour = its.dist.behaviour
    device, ite = _event(its, operands, "E_ITS_DISCARD_UNMAPPED_INTERRUPT")
    mapped = its.target_vcpu(ite.icid) != NO_VCPU or not behaviour.discard_needs_mapped_collection
    if ite.icid == NO_COLLECTION or not mapped:
        raise CommandError("E_ITS_DISCARD_UNMAPPED_INTERRUPT")
    its.translation_cache.invalidate()
    its.free_ite(device, ite)
    if behaviour.clears_unmapped_entries:
        write_entry(its.dist.memory, device.itt_addr + ite.event_id * ENTRY_BYTES, 0, "ITE")


def int_(its: VgicIts, operands: Operands) -> None:
    """Make the event's LPI pending."""
    lpi = its.resolve_lpi(operands["DeviceID"], operands["EventID"])
    if lpi is None:
        raise CommandError("E_ITS_INT_UNMAPPED_INTERRUPT")
    set_pending(its.dist, lpi)


def clear(its: VgicIts, operands: Operands) -> None:
    """Make the event's LPI not pending."""
    _, ite = _event(its, operands, "E_ITS_CLEAR_UNMAPPED_INTERRUPT")
    clear_pending(its.dist, ite.lpi)


def inv(its: VgicIts, operands: Operands) -> None:
    """Read the configuration of the event's LPI again."""
    _, ite = _event(its, operands, "E_ITS_INV_UNMAPPED_INTERRUPT")
    update_configuration(its.dist, ite.lpi)


def invall(its: VgicIts, operands: Operands) -> None:
    """Read the configuration of all LPIs again that target the collection's vCPU, whatever their collection."""
    vcpu = its.target_vcpu(operands["ICID"])
    if vcpu == NO_VCPU:
        raise CommandError("E_ITS_INVALL_UNMAPPED_COLLECTION")
    update_configurations(its.dist, vcpu)


def movall(its: VgicIts, operands: Operands) -> None:
    """Let every LPI of the VM that targets one vCPU target another."""
    source, destination = operands["RDbase"] & _TARGET, operands["RDbase2"] & _TARGET
    if source >= its.dist.nr_vcpus or destination >= its.dist.nr_vcpus:
        raise CommandError("E_ITS_MOVALL_PROCNUM_OOR")
    if source == destination:
        return
    lpis = its.dist.lpis
    for slot in lpis.targeting(source) if its.dist.behaviour.movall_filters_source else lpis.slots():
        update_affinity(its.dist, int(slot), destination)
    its.translation_cache.invalidate()


def sync(its: VgicIts, operands: Operands) -> None:
    """Nothing to wait for: each command is complete when the next one starts."""


def _event(its: VgicIts, operands: Operands, reason: str) -> tuple[Device, Ite]:
    ite = its.find_ite(operands["DeviceID"], operands["EventID"])
    if ite is None:
        raise CommandError(reason)
    return its.devices[operands["DeviceID"]], ite


_HANDLERS: dict[str, Handler] = {
    "MAPD": mapd,
    "MAPC": mapc,
    "MAPTI": mapti,
    "MAPI": mapti,
    "MOVI": movi,
    "DISCARD": discard,
    "INT": int_,
    "CLEAR": clear,
    "INV": inv,
    "INVALL": invall,
    "MOVALL": movall,
    "SYNC": sync,
}
