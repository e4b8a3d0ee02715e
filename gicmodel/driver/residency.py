# SPDX-License-Identifier: Apache-2.0
"""Scheduling vPEs through GICR_VPENDBASER, in both of its formats (DDI0601, Linux' its_vpe_schedule)."""

from __future__ import annotations

from gicmodel.driver.objects import ItsVpe
from gicmodel.driver.port import Fields
from gicmodel.driver.redistributor import Redistributor
from gicmodel.layouts.registers import INNER_SHAREABLE, RAWAWB, RAWB


def forget_vpes(rd: Redistributor) -> None:
    """GICv4.1: end an earlier owner's residency and take its vPE table away, before any other table changes.

    Linux' __gic_update_rdist_properties.
    """
    if rd.is_v41:
        evict(rd)
        rd.frame.update("GICR_VPROPBASER", Valid=0)


def evict(rd: Redistributor) -> None:
    """GICv4.1: make whatever is resident non-resident. PendingLast asks for no doorbell.

    Linux does it again in allocate_vpe_l1_table, before it writes GICR_VPROPBASER: the first time it may be in vain, as
    the redistributor may still be parsing the VPT.
    """
    if rd.frame.fields("GICR_VPENDBASER")["Valid"]:
        rd.frame.write("GICR_VPENDBASER", rd.frame.layout("GICR_VPENDBASER").pack(PendingLast=1))


def prepare(rd: Redistributor, id_bits: int) -> None:
    """GICv4.0: say how wide vINTIDs are, and end an earlier owner's residency.

    vLPIs may reach the redistributor before a vPE was ever resident on it, and would be dropped as out of range.
    """
    rd.frame.write("GICR_VPROPBASER", rd.frame.layout("GICR_VPROPBASER").pack(IDbits=id_bits - 1))
    _clear_valid(rd)


def schedule(rd: Redistributor, vpe: ItsVpe, vgrp0: bool, vgrp1: bool) -> None:
    """Make a vPE resident. The groups are GICv4.1's; in GICv4.0 the virtual CPU interface has them."""
    vpendbaser = rd.frame.layout("GICR_VPENDBASER")
    if rd.is_v41:
        value = vpendbaser.pack(Valid=1, VGrp0En=vgrp0, VGrp1En=vgrp1, vPEID=vpe.vpe_id)
    else:
        rd.frame.write("GICR_VPROPBASER", _vpropbaser(rd, vpe))
        # PendingLast always: that the table is empty is nothing software can know, a doorbell may be on its way.
        value = vpendbaser.pack(
            Valid=1,
            IDAI=vpe.idai,
            PendingLast=1,
            Physical_Address=vpe.vpt_page,
            Shareability=INNER_SHAREABLE,
            InnerCache=RAWAWB,
        )
    rd.frame.write("GICR_VPENDBASER", value)


def _vpropbaser(rd: Redistributor, vpe: ItsVpe) -> int:
    """The vLPI configuration table of the vPE's VM, which GICv4.0 switches with the vPE."""
    vprop = vpe.vm.vprop
    return rd.frame.layout("GICR_VPROPBASER").pack(
        Physical_Address=vprop.address, IDbits=vprop.id_bits - 1, Shareability=INNER_SHAREABLE, InnerCache=RAWB
    )


def commit(rd: Redistributor) -> None:
    """Wait until the redistributor has parsed the VPT, where GICR_TYPER.Dirty says that it tells."""
    if rd.typer["Dirty"]:
        rd.frame.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])


def deschedule(rd: Redistributor, vpe: ItsVpe, doorbell: bool) -> None:
    """Make the resident vPE non-resident and note in it what the redistributor says is left pending."""
    if rd.is_v41 and not doorbell:
        # The vCPU will be back soon: PendingLast written as 1 spares the redistributor finding out.
        _clear_valid(rd, PendingLast=1)
        vpe.pending_last = True
        return
    # PendingLast 0 and Doorbell 1: if PendingLast then reads as 0, the next interrupt rings the doorbell.
    left = _clear_valid(rd, PendingLast=0, Doorbell=1) if rd.is_v41 else _clear_valid(rd)
    vpe.pending_last = bool(left["PendingLast"])
    vpe.idai = bool(left.get("IDAI", 0))


def _clear_valid(rd: Redistributor, **fields: int) -> Fields:
    """Clear Valid with some fields replaced, and return what the register holds when it is done.

    Valid may not be cleared while the redistributor still parses the VPT (Linux af27e41612ec), nor set again before it
    is done.
    """
    rd.frame.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])
    rd.frame.update("GICR_VPENDBASER", Valid=0, **fields)
    return rd.frame.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])
