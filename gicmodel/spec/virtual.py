# SPDX-License-Identifier: Apache-2.0
"""GICv4.0 and GICv4.1 commands, as `physical` has those of GICv3."""

from __future__ import annotations

from gicmodel.spec.interrupts import Interrupts
from gicmodel.spec.lookups import (
    check_default_doorbell,
    check_individual_doorbell,
    find_event,
    find_itt,
    find_redistributor,
    find_vpe,
)
from gicmodel.spec.physical import Handler
from gicmodel.spec.state import SMALLEST_VPT_BITS, Its, Operands, Reason, Refused, VirtualEvent, Vpe, Vpt, Vsgi, check

# Mapping events.


def vmapti(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map an event to a vLPI of a vPE."""
    # Operands.
    device_id, event_id, vintid, vpeid, doorbell = f["DeviceID"], f["EventID"], f["vINTID"], f["vPEID"], f["Doorbell"]
    # Checks.
    # Open: their order is QEMU's.
    itt = find_itt(gic, its, device_id, event_id)  # 0x01_2A01, 0x01_2A04, 0x01_2A05
    check(gic.is_lpi(vintid), Reason.VIRTUALID_OOR)  # 0x01_2A13
    check_individual_doorbell(gic, doorbell)  # 0x01_2A06
    # Open: the vPE need not be mapped, so the size of its VPT counts only when the event is used.
    check(vpeid < gic.vpe_limit, Reason.VCPU_OOR)  # 0x01_2A11
    # Effect.
    itt[event_id] = VirtualEvent(vintid, vpeid, doorbell)


def vmapi(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map an event to the vLPI of the same number: VMAPTI with its EventID as vINTID."""
    vmapti(
        gic, its, Operands(f | {"vINTID": f["EventID"]})
    )  # 0x01_2B01, 0x01_2B04, 0x01_2B05, 0x01_2B13, 0x01_2B06, 0x01_2B11


def vmovi(gic: Interrupts, its: Its, f: Operands) -> None:
    """Move an event and its pending state to another vPE. D=1 replaces its doorbell."""
    # Operands.
    device_id, event_id, vpeid = f["DeviceID"], f["EventID"], f["vPEID"]
    # Checks.
    event = find_event(gic, its, device_id, event_id)  # 0x01_2101, 0x01_2104, 0x01_2105, 0x01_2107
    if not isinstance(event, VirtualEvent):
        raise Refused(Reason.ID_IS_PHYSICAL)  # 0x01_2115
    # Open: the event's own vPE is looked at before the new one.
    check(event.vpeid in its.vpes, Reason.ITEVCPU_INVALID)  # 0x01_2116
    old = its.vpes[event.vpeid]
    check(event.vintid < 2**old.vintid_bits, Reason.ITEVCPU_INVALID)  # 0x01_2116
    check(vpeid < gic.vpe_limit, Reason.VCPU_OOR)  # 0x01_2111
    check(vpeid in its.vpes, Reason.CMDVCPU_INVALID)  # 0x01_2117
    new = its.vpes[vpeid]
    check(event.vintid < 2**new.vintid_bits, Reason.VIRTUALID_OOR)  # 0x01_2113
    doorbell = f["Doorbell"] if f["D"] else event.doorbell
    if f["D"]:
        check_individual_doorbell(gic, doorbell)  # 0x01_2106
    # Effect.
    find_itt(gic, its, device_id, event_id)[event_id] = VirtualEvent(event.vintid, vpeid, doorbell)
    # Open: pending state that arrives at another VPT rings doorbells as an interrupt does.
    if old.vpt != new.vpt and event.vintid in gic.vpts[old.vpt].pending:
        gic.vpts[old.vpt].pending.discard(event.vintid)
        gic.set_virtual(new, event.vintid, doorbell)


# Mapping vPEs.


def vmapp_v40(gic: Interrupts, its: Its, f: Operands) -> None:
    """GICv4.0: bind a vPEID to a redistributor and a VPT on this ITS, or unbind it."""
    # Operands.
    vpeid, valid, rdbase, vpt, bits = f["vPEID"], f["V"], f["RDbase"], f["VPT_addr"], f["VPT_size"] + 1
    # Checks.
    # Open: a VPT may have fewer than 14 vINTID bits (as QEMU).
    check(not valid or 1 <= bits <= gic.config.intid_bits, Reason.VPTSIZE_OOR)  # 0x01_2912
    redistributor = find_redistributor(gic, rdbase) if valid else None  # 0x01_2902
    check(vpeid < gic.vpe_limit, Reason.VCPU_OOR)  # 0x01_2911
    # Effect.
    # Open: V=1 of a vPEID that is bound replaces the binding, V=0 of a resident vPE unbinds it (as QEMU).
    if redistributor is not None:
        its.vpes[vpeid] = Vpe(vpeid, redistributor, vpt, bits)
    else:
        its.vpes.pop(vpeid, None)


def vmapp(gic: Interrupts, its: Its, f: Operands) -> None:
    """GICv4.1: map a vPE to a redistributor, with its VPT and vLPI configuration table, or unmap it.

    Alloc=1 makes (V=1) or ends (V=0) the vPE; Alloc=0 adds or removes this ITS.
    """
    # Operands.
    vpeid, valid, alloc, bits, doorbell = f["vPEID"], f["V"], f["Alloc"], f["VPT_size"] + 1, f["Default_Doorbell"]
    # Checks.
    if valid:
        check(SMALLEST_VPT_BITS <= bits <= gic.config.intid_bits, Reason.VPTSIZE_OOR)  # 0x01_2912
        redistributor = find_redistributor(gic, f["RDbase"])  # 0x01_2902
    check(vpeid < gic.vpe_limit, Reason.VCPU_OOR)  # 0x01_2911
    exists, alone = vpeid in gic.vpes, not any(vpeid in other.vpes for other in gic.its if other is not its)
    if valid:
        check_default_doorbell(gic, doorbell)  # 0x01_2906
        check(vpeid not in its.vpes, Reason.VCPU_MAPPED)  # 0x01_2918
        # Open: the numbers of making a vPE twice, and of adding an ITS to none.
        check(not (alloc and exists), Reason.VCPU_MAPPED)  # 0x01_2918
        check(bool(alloc) or exists, Reason.VCPU_INVALID)  # 0x01_2914
    elif exists:
        # Open: the vPE must not be resident, whichever ITSs map it.
        check(gic.residency(gic.vpes[vpeid]) is None, Reason.VCPU_RESIDENT)  # 0x01_2919
        check(not alloc or alone, Reason.VCPU_MAPPED)  # 0x01_2918
    # Effect.
    if valid and alloc:
        gic.vpes[vpeid] = Vpe(vpeid, redistributor, f["VPT_addr"], bits, f["VCONF_addr"], doorbell)
        # Open: PTZ counts only with Alloc=1. The VPT then has nothing pending, and every vSGI is disabled.
        if f["PTZ"]:
            gic.vpts[f["VPT_addr"]] = Vpt()
    if valid:
        # Open: with Alloc=0 the vPE keeps the parameters of the command with Alloc=1.
        its.vpes[vpeid] = gic.vpes[vpeid]
    else:
        # Open: to unmap what is not mapped succeeds. After the last Alloc=0 the vPE still exists.
        its.vpes.pop(vpeid, None)
        if alloc:
            gic.vpes.pop(vpeid, None)


def vmovp(gic: Interrupts, its: Its, f: Operands) -> None:
    """Map a vPE to another redistributor. DB=1 replaces its default doorbell (GICv4.1)."""
    # Operands.
    vpeid, rdbase, doorbell = f["vPEID"], f["RDbase"], f["Default_Doorbell"]
    replaces = gic.config.architecture == "4.1" and f["DB"]
    # Checks.
    redistributor = find_redistributor(gic, rdbase)  # 0x01_2202
    find_vpe(gic, its, vpeid)  # 0x01_2211, 0x01_2214
    if replaces:
        check_default_doorbell(gic, doorbell)  # 0x01_2206
    # Effect.
    # Open: a pending doorbell stays where it is, an armed one stays armed, a resident vPE stays resident (GICv4.1).
    for each in gic.its if gic.config.vmovp else [its]:
        if vpe := each.vpes.get(vpeid):
            vpe.redistributor = redistributor
            vpe.default_doorbell = doorbell if replaces else vpe.default_doorbell


# Synchronisation, invalidation and vSGIs.


def vsync_v40(gic: Interrupts, its: Its, f: Operands) -> None:
    """GICv4.0: wait for a vPE, which may have just been unmapped, as it is what completes VMAPP V=0."""
    # Operands.
    vpeid = f["vPEID"]
    # Checks.
    check(vpeid < gic.vpe_limit, Reason.VCPU_OOR)  # 0x01_2511
    # Effect: none, as everything has its effect at once here.


def vsync(gic: Interrupts, its: Its, f: Operands) -> None:
    """GICv4.1: wait for a vPE."""
    # Operands.
    vpeid = f["vPEID"]
    # Checks.
    find_vpe(gic, its, vpeid)  # 0x01_2511, 0x01_2514
    # Effect: none, as everything has its effect at once here.


def vinvall(gic: Interrupts, its: Its, f: Operands) -> None:
    """Invalidate the cached configuration of all a vPE's vLPIs."""
    # Operands.
    vpeid = f["vPEID"]
    # Checks.
    vpe = find_vpe(gic, its, vpeid)  # 0x01_2D11, 0x01_2D14
    # Effect.
    gic.reconsider(vpe)


def vsgi(gic: Interrupts, its: Its, f: Operands) -> None:
    """Clear a vSGI's pending state (Clear=1), or configure it (Clear=0)."""
    # Operands.
    vpeid, vintid, configuration = f["vPEID"], f["vINTID"], Vsgi(bool(f["Enable"]), f["Priority"] * 16, f["Group"])
    # Checks.
    vpe = find_vpe(gic, its, vpeid)  # 0x01_2311, 0x01_2314
    # Effect.
    # Open: configuration and pending state belong to the VPT, and survive unmapping.
    if f["Clear"]:
        gic.clear_virtual(vpe, vintid)
    else:
        gic.vpts[vpe.vpt].vsgis[vintid] = configuration
        gic.reconsider(vpe, {vintid})


def invdb(gic: Interrupts, its: Its, f: Operands) -> None:
    """Invalidate the cached configuration of a vPE's default doorbell."""
    # Operands.
    vpeid = f["vPEID"]
    # Checks.
    find_vpe(gic, its, vpeid)  # 0x01_2E11, 0x01_2E14
    # Effect: none, as nothing is cached here.


COMMANDS_V40: dict[str, Handler] = {
    "VMAPTI": vmapti,
    "VMAPI": vmapi,
    "VMOVI": vmovi,
    "VMAPP": vmapp_v40,
    "VMOVP": vmovp,
    "VSYNC": vsync_v40,
    "VINVALL": vinvall,
}
COMMANDS_V41: dict[str, Handler] = COMMANDS_V40 | {"VMAPP": vmapp, "VSYNC": vsync, "VSGI": vsgi, "INVDB": invdb}
