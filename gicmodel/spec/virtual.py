# SPDX-License-Identifier: Apache-2.0
"""GICv4.0 and GICv4.1 commands of the oracle. Each is its checks, in order, and then what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gicmodel.spec.physical import Fields, Handler, find_event, find_itt, find_redistributor
from gicmodel.spec.state import (
    NO_DOORBELL,
    SMALLEST_VPT_BITS,
    Its,
    Reason,
    Refused,
    VirtualEvent,
    Vpe,
    Vpt,
    Vsgi,
    check,
)

if TYPE_CHECKING:
    from gicmodel.spec.commands import Oracle


# Lookups and checks.


def find_vpe(oracle: Oracle, its: Its, vpeid: int) -> Vpe:
    """The vPE as this ITS maps it. Refuses one out of range or unmapped."""
    check(vpeid < oracle.vpe_limit, Reason.VCPU_OOR)
    check(vpeid in its.vpes, Reason.VCPU_INVALID)
    return its.vpes[vpeid]


def check_default_doorbell(oracle: Oracle, intid: int) -> None:
    """A default doorbell is an LPI or 1023."""
    check(intid == NO_DOORBELL or oracle.is_lpi(intid), Reason.PHYSICALID_OOR)


def check_individual_doorbell(oracle: Oracle, intid: int) -> None:
    """An individual doorbell is an LPI or 1023; with GITS_TYPER.nID only 1023."""
    has_none = oracle.config.architecture == "4.1" and oracle.config.nid
    check(intid == NO_DOORBELL or (oracle.is_lpi(intid) and not has_none), Reason.PHYSICALID_OOR)


# Mapping events.


def map_virtual(oracle: Oracle, its: Its, f: Fields, vintid: int) -> None:
    """VMAPTI and VMAPI (note VMAPTI)."""
    itt = find_itt(oracle, its, f["DeviceID"], f["EventID"])
    check(oracle.is_lpi(vintid), Reason.VIRTUALID_OOR)
    check_individual_doorbell(oracle, f["Doorbell"])
    check(f["vPEID"] < oracle.vpe_limit, Reason.VCPU_OOR)
    itt[f["EventID"]] = VirtualEvent(vintid, f["vPEID"], f["Doorbell"])


def vmapti(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map an event to a vLPI of a vPE."""
    map_virtual(oracle, its, f, f["vINTID"])


def vmapi(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map an event to the vLPI of the same number."""
    map_virtual(oracle, its, f, f["EventID"])


def vmovi(oracle: Oracle, its: Its, f: Fields) -> None:
    """Move an event and its pending state to another vPE (note VMOVI)."""
    event = find_event(oracle, its, f["DeviceID"], f["EventID"])
    if not isinstance(event, VirtualEvent):
        raise Refused(Reason.ID_IS_PHYSICAL)
    check(event.vpeid in its.vpes, Reason.ITEVCPU_INVALID)
    old = its.vpes[event.vpeid]
    check(event.vintid < 2**old.vintid_bits, Reason.ITEVCPU_INVALID)
    check(f["vPEID"] < oracle.vpe_limit, Reason.VCPU_OOR)
    check(f["vPEID"] in its.vpes, Reason.CMDVCPU_INVALID)
    new = its.vpes[f["vPEID"]]
    check(event.vintid < 2**new.vintid_bits, Reason.VIRTUALID_OOR)
    if f["D"]:
        check_individual_doorbell(oracle, f["Doorbell"])
    doorbell = f["Doorbell"] if f["D"] else event.doorbell
    find_itt(oracle, its, f["DeviceID"], f["EventID"])[f["EventID"]] = VirtualEvent(event.vintid, f["vPEID"], doorbell)
    if old.vpt != new.vpt and event.vintid in oracle.vpts[old.vpt].pending:
        oracle.vpts[old.vpt].pending.discard(event.vintid)
        oracle.set_virtual(new, event.vintid, doorbell)


# Mapping vPEs.


def new_vpe(oracle: Oracle, f: Fields) -> Vpe:
    """The vPE that VMAPP V=1 describes."""
    bits = f["VPT_size"] + 1
    fewest = SMALLEST_VPT_BITS if oracle.config.architecture == "4.1" else 1
    check(fewest <= bits <= oracle.config.intid_bits, Reason.VPTSIZE_OOR)
    redistributor = find_redistributor(oracle, f["RDbase"], Reason.PROCNUM_OOR)
    return Vpe(f["vPEID"], redistributor, f["VPT_addr"], bits)


def vmapp_v40(oracle: Oracle, its: Its, f: Fields) -> None:
    """GICv4.0: bind a vPEID on this ITS, anew if it is bound, or unbind it (note REBIND)."""
    vpe = new_vpe(oracle, f) if f["V"] else None
    check(f["vPEID"] < oracle.vpe_limit, Reason.VCPU_OOR)
    if vpe is not None:
        its.vpes[f["vPEID"]] = vpe
    else:
        its.vpes.pop(f["vPEID"], None)


def vmapp_v41(oracle: Oracle, its: Its, f: Fields) -> None:
    """GICv4.1: make a vPE, or add it to this ITS, or the reverse (note ALLOC)."""
    if f["V"]:
        bind_v41(oracle, its, f)
    else:
        unbind_v41(oracle, its, f)


def bind_v41(oracle: Oracle, its: Its, f: Fields) -> None:
    """VMAPP V=1."""
    vpe = new_vpe(oracle, f)
    check(f["vPEID"] < oracle.vpe_limit, Reason.VCPU_OOR)
    check_default_doorbell(oracle, f["Default_Doorbell"])
    vpe.vconf, vpe.default_doorbell = f["VCONF_addr"], f["Default_Doorbell"]
    check(f["vPEID"] not in its.vpes, Reason.VCPU_MAPPED)
    if f["Alloc"]:
        check(f["vPEID"] not in oracle.vpes, Reason.VCPU_MAPPED)
        oracle.vpes[f["vPEID"]] = vpe
        if f["PTZ"]:
            oracle.vpts[vpe.vpt] = Vpt()
    check(f["vPEID"] in oracle.vpes, Reason.VCPU_INVALID)
    its.vpes[f["vPEID"]] = oracle.vpes[f["vPEID"]]


def unbind_v41(oracle: Oracle, its: Its, f: Fields) -> None:
    """VMAPP V=0."""
    vpeid = f["vPEID"]
    check(vpeid < oracle.vpe_limit, Reason.VCPU_OOR)
    if vpeid not in oracle.vpes:
        return
    check(oracle.residency(oracle.vpes[vpeid]) is None, Reason.VCPU_RESIDENT)
    if f["Alloc"]:
        check(not any(vpeid in other.vpes for other in oracle.its if other is not its), Reason.VCPU_MAPPED)
        del oracle.vpes[vpeid]
    its.vpes.pop(vpeid, None)


def vmovp(oracle: Oracle, its: Its, f: Fields) -> None:
    """Map a vPE to another redistributor (note VMOVP)."""
    redistributor = find_redistributor(oracle, f["RDbase"], Reason.PROCNUM_OOR)
    replaces = oracle.config.architecture == "4.1" and f["DB"]
    find_vpe(oracle, its, f["vPEID"])
    if replaces:
        check_default_doorbell(oracle, f["Default_Doorbell"])
    for each in oracle.its if oracle.config.vmovp else [its]:
        if vpe := each.vpes.get(f["vPEID"]):
            vpe.redistributor = redistributor
            vpe.default_doorbell = f["Default_Doorbell"] if replaces else vpe.default_doorbell


# Synchronisation, invalidation and vSGIs.


def vsync_v40(oracle: Oracle, its: Its, f: Fields) -> None:
    """Wait for a vPE, which may have just been unmapped (note VSYNC): here, only the check."""
    check(f["vPEID"] < oracle.vpe_limit, Reason.VCPU_OOR)


def vsync_v41(oracle: Oracle, its: Its, f: Fields) -> None:
    """Wait for a vPE: here, only the checks. INVDB invalidates a doorbell's byte, which is not cached here."""
    find_vpe(oracle, its, f["vPEID"])


def vinvall(oracle: Oracle, its: Its, f: Fields) -> None:
    """Invalidate the cached configuration of all a vPE's vLPIs."""
    oracle.reconsider(find_vpe(oracle, its, f["vPEID"]))


def vsgi(oracle: Oracle, its: Its, f: Fields) -> None:
    """Clear a vSGI's pending state (Clear=1), or configure it (Clear=0)."""
    vpe = find_vpe(oracle, its, f["vPEID"])
    if f["Clear"]:
        oracle.clear_virtual(vpe, f["vINTID"])
    else:
        oracle.vpts[vpe.vpt].vsgis[f["vINTID"]] = Vsgi(bool(f["Enable"]), f["Priority"] * 16, f["Group"])
        oracle.reconsider(vpe, {f["vINTID"]})


HANDLERS: dict[str, Handler] = {
    "VMAPTI": vmapti,
    "VMAPI": vmapi,
    "VMOVI": vmovi,
    "VMAPP": vmapp_v40,
    "VMOVP": vmovp,
    "VSYNC": vsync_v40,
    "VINVALL": vinvall,
}
V41_HANDLERS: dict[str, Handler] = {"VMAPP": vmapp_v41, "VSYNC": vsync_v41, "VSGI": vsgi, "INVDB": vsync_v41}
