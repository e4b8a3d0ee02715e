# SPDX-License-Identifier: Apache-2.0
"""What commands look up, and refuse if it is not there. Each says with which reasons."""

from __future__ import annotations

from gicmodel.spec.interrupts import Interrupts
from gicmodel.spec.state import (
    NO_DOORBELL,
    Device,
    Event,
    Its,
    Lpi,
    PhysicalEvent,
    Reason,
    Refused,
    Vlpi,
    Vpe,
    check,
)


def find_device(gic: Interrupts, its: Its, device_id: int) -> Device:
    """The device's ITT: DEVICE_OOR, UNMAPPED_DEVICE."""
    check(device_id < gic.devices, Reason.DEVICE_OOR)
    check(device_id in its.devices, Reason.UNMAPPED_DEVICE)
    return its.devices[device_id]


def find_itt(gic: Interrupts, its: Its, device_id: int, event_id: int) -> dict[int, Event]:
    """The ITT that has an entry for the event: as `find_device`, ID_OOR."""
    device = find_device(gic, its, device_id)
    check(event_id < device.events, Reason.ID_OOR)
    return gic.itts[device.itt]


def find_event(gic: Interrupts, its: Its, device_id: int, event_id: int) -> Event:
    """What an event leads to: as `find_itt`, UNMAPPED_INTERRUPT."""
    itt = find_itt(gic, its, device_id, event_id)
    check(event_id in itt, Reason.UNMAPPED_INTERRUPT)
    return itt[event_id]


def find_target(its: Its, event: Event) -> Lpi | Vlpi:
    """The interrupt that an event becomes: ITE_INVALID.

    Open: which number an unmapped collection or vPE has, and a vINTID beyond the VPT. All three are ITE_INVALID.
    """
    if isinstance(event, PhysicalEvent):
        check(event.icid in its.collections, Reason.ITE_INVALID)
        return Lpi(its.collections[event.icid], event.intid)
    check(event.vpeid in its.vpes, Reason.ITE_INVALID)
    vpe = its.vpes[event.vpeid]
    check(event.vintid < 2**vpe.vintid_bits, Reason.ITE_INVALID)
    return Vlpi(vpe, event.vintid, event.doorbell)


def find_redistributor(gic: Interrupts, rdbase: int, reason: Reason = Reason.PROCNUM_OOR) -> int:
    """The redistributor of an RDbase field: `reason`."""
    redistributor = gic.redistributor(rdbase)
    if redistributor is None:
        raise Refused(reason)
    return redistributor


def find_vpe(gic: Interrupts, its: Its, vpeid: int) -> Vpe:
    """The vPE as this ITS maps it: VCPU_OOR, VCPU_INVALID."""
    check(vpeid < gic.vpe_limit, Reason.VCPU_OOR)
    check(vpeid in its.vpes, Reason.VCPU_INVALID)
    return its.vpes[vpeid]


def check_default_doorbell(gic: Interrupts, intid: int) -> None:
    """A default doorbell is an LPI or 1023: PHYSICALID_OOR."""
    check(intid == NO_DOORBELL or gic.is_lpi(intid), Reason.PHYSICALID_OOR)


def check_individual_doorbell(gic: Interrupts, intid: int) -> None:
    """An individual doorbell is an LPI or 1023, with GITS_TYPER.nID only 1023: PHYSICALID_OOR."""
    has_none = gic.config.architecture == "4.1" and gic.config.nid
    check(intid == NO_DOORBELL or (gic.is_lpi(intid) and not has_none), Reason.PHYSICALID_OOR)
