# SPDX-License-Identifier: Apache-2.0
"""One redistributor as the driver keeps it: LPI tables, invalidation, vSGI queries, and which vPE is resident.

GICR_VPENDBASER has two formats, GICv4.0's and GICv4.1's (DDI0601, Linux' its_vpe_schedule).
"""

from __future__ import annotations

from gicmodel.driver.errors import DriverError
from gicmodel.driver.objects import ItsVpe
from gicmodel.driver.port import Fields, Frame, RegisterFace, Relax
from gicmodel.driver.tables import Table, affinity_key
from gicmodel.layouts.registers import INNER_SHAREABLE, RAWAWB, RAWB, REDISTRIBUTOR_REGISTERS


class Redistributor:
    """The redistributor of one CPU. `vpe_table` is the vPE configuration table that it shares (GICv4.1)."""

    def __init__(self, cpu: int, face: RegisterFace, relax: Relax) -> None:
        self.cpu = cpu
        typer = Frame(face, REDISTRIBUTOR_REGISTERS, "3", relax).fields("GICR_TYPER")
        self.typer = typer
        self.is_v4 = bool(typer["VLPIS"])
        # GICR_TYPER.RVPEID: GICR_VPENDBASER names a vPE, not a VPT. Its GICv3 layout has these bits as RES0.
        self.is_v41 = self.is_v4 and bool(typer["RVPEID"])
        architecture = "4.1" if self.is_v41 else "4.0" if self.is_v4 else "3"
        self.frame = Frame(face, REDISTRIBUTOR_REGISTERS, architecture, relax)
        # RVPEID implies the invalidation registers, and so may GICR_CTLR.IR (Linux' gic_data.rdists.has_direct_lpi).
        self.direct_lpi = bool(typer["DirectLPI"] or self.is_v41 or self.frame.fields("GICR_CTLR")["IR"])
        self.processor_number = typer["Processor_Number"]
        self.vpe_table: Table | None = None

    def affinity_group(self) -> int:
        """The key of the redistributors that share tables with this one (GICR_TYPER.CommonLPIAff)."""
        typer = self.typer
        affinity = typer["Aff3"] << 24 | typer["Aff2"] << 16 | typer["Aff1"] << 8 | typer["Aff0"]
        return affinity_key(affinity, typer["CommonLPIAff"])

    def wake(self) -> None:
        """Bring the redistributor out of sleep: LPIs cannot be forwarded to it before (DDI0601 GICR_WAKER)."""
        self.frame.update("GICR_WAKER", ProcessorSleep=0)
        self.frame.poll("GICR_WAKER", lambda fields: not fields["ChildrenAsleep"])

    def enable_lpis(self, configuration_table: int, pending_table: int, id_bits: int) -> None:
        """Program both LPI tables (addresses) and start LPIs.

        Raises:
            DriverError: ENXIO, no physical LPIs; EBUSY, LPIs are on and cannot be turned off.
        """
        if not self.typer["PLPIS"]:
            raise DriverError("ENXIO", f"the redistributor of CPU {self.cpu} has no LPIs (GICR_TYPER.PLPIS)")
        self._disable_lpis()
        self.frame.program("GICR_PROPBASER", Physical_Address=configuration_table, IDbits=id_bits - 1)
        self.frame.program("GICR_PENDBASER", Physical_Address=pending_table)
        self.frame.update("GICR_CTLR", EnableLPIs=1)

    def _disable_lpis(self) -> None:
        if not self.frame.fields("GICR_CTLR")["EnableLPIs"]:
            return
        self.frame.update("GICR_CTLR", EnableLPIs=0)
        # Both tables may be changed only after the redistributor has let go of them (DDI0601 GICR_CTLR.RWP).
        if self.frame.poll("GICR_CTLR", lambda fields: not fields["RWP"])["EnableLPIs"]:
            raise DriverError("EBUSY", f"LPIs of CPU {self.cpu} stay enabled, with tables that are not this driver's")

    def invalidate_lpi(self, intid: int) -> None:
        """Reload the configuration of one physical LPI."""
        self._invalidate("GICR_INVLPIR", INTID=intid)

    def invalidate_vlpi(self, vpe_id: int, vintid: int) -> None:
        """Reload the configuration of one vLPI of a vPE that is mapped to this redistributor (GICv4.1)."""
        self._invalidate("GICR_INVLPIR", V=1, vPEID=vpe_id, INTID=vintid)

    def invalidate_vlpis(self, vpe_id: int) -> None:
        """Reload the configuration of every vLPI of a vPE that is mapped to this redistributor (GICv4.1)."""
        self._invalidate("GICR_INVALLR", V=1, vPEID=vpe_id)

    def _invalidate(self, name: str, **fields: int) -> None:
        self.frame.write(name, self.frame.layout(name).pack(**fields))
        self._synchronise()

    def _synchronise(self) -> None:
        self.frame.poll("GICR_SYNCR", lambda fields: not fields["Busy"])

    def clear_lpi(self, intid: int) -> None:
        """Take back a pending physical LPI (GICR_TYPER.DirectLPI)."""
        self._invalidate("GICR_CLRLPIR", pINTID=intid)

    def pending_vsgis(self, vpe_id: int) -> int:
        """One bit for each pending vSGI of a vPE that is mapped to this redistributor (GICv4.1)."""
        self.frame.write("GICR_VSGIR", self.frame.layout("GICR_VSGIR").pack(vPEID=vpe_id))
        return self.frame.poll("GICR_VSGIPENDR", lambda fields: not fields["Busy"])["Pending"]

    def forget_vpes(self) -> None:
        """GICv4.1: end an earlier owner's residency and take its vPE table away, before any other table changes.

        Linux' __gic_update_rdist_properties.
        """
        if self.is_v41:
            self.evict()
            self.frame.update("GICR_VPROPBASER", Valid=0)

    def evict(self) -> None:
        """GICv4.1: make whatever is resident non-resident. PendingLast asks for no doorbell.

        Linux does it again in allocate_vpe_l1_table, before it writes GICR_VPROPBASER: the first time it may be in
        vain, as the redistributor may still be parsing the VPT.
        """
        if self.frame.fields("GICR_VPENDBASER")["Valid"]:
            self.frame.write("GICR_VPENDBASER", self.frame.layout("GICR_VPENDBASER").pack(PendingLast=1))

    def prepare(self, id_bits: int) -> None:
        """GICv4.0: say how wide vINTIDs are, and end an earlier owner's residency.

        vLPIs may reach the redistributor before a vPE was ever resident on it, and would be dropped as out of range.
        """
        self.frame.write("GICR_VPROPBASER", self.frame.layout("GICR_VPROPBASER").pack(IDbits=id_bits - 1))
        self._clear_valid()

    def schedule(self, vpe: ItsVpe, vgrp0: bool, vgrp1: bool) -> None:
        """Make a vPE resident. The groups are GICv4.1's; in GICv4.0 the virtual CPU interface has them."""
        vpendbaser = self.frame.layout("GICR_VPENDBASER")
        if self.is_v41:
            value = vpendbaser.pack(Valid=1, VGrp0En=vgrp0, VGrp1En=vgrp1, vPEID=vpe.vpe_id)
        else:
            self.frame.write("GICR_VPROPBASER", self._vpropbaser(vpe))
            # PendingLast always: that the table is empty is nothing software can know, a doorbell may be on its way.
            value = vpendbaser.pack(
                Valid=1,
                IDAI=vpe.idai,
                PendingLast=1,
                Physical_Address=vpe.vpt_page,
                Shareability=INNER_SHAREABLE,
                InnerCache=RAWAWB,
            )
        self.frame.write("GICR_VPENDBASER", value)

    def _vpropbaser(self, vpe: ItsVpe) -> int:
        """The vLPI configuration table of the vPE's VM, which GICv4.0 switches with the vPE."""
        vprop = vpe.vm.vprop
        return self.frame.layout("GICR_VPROPBASER").pack(
            Physical_Address=vprop.address, IDbits=vprop.id_bits - 1, Shareability=INNER_SHAREABLE, InnerCache=RAWB
        )

    def commit(self) -> None:
        """Wait until the redistributor has parsed the VPT, where GICR_TYPER.Dirty says that it tells."""
        if self.typer["Dirty"]:
            self.frame.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])

    def deschedule(self, vpe: ItsVpe, doorbell: bool) -> None:
        """Make the resident vPE non-resident and note in it what the redistributor says is left pending."""
        if self.is_v41 and not doorbell:
            # The vCPU will be back soon: PendingLast written as 1 spares the redistributor finding out.
            self._clear_valid(PendingLast=1)
            vpe.pending_last = True
            return
        # PendingLast 0 and Doorbell 1: if PendingLast then reads as 0, the next interrupt rings the doorbell.
        left = self._clear_valid(PendingLast=0, Doorbell=1) if self.is_v41 else self._clear_valid()
        vpe.pending_last = bool(left["PendingLast"])
        vpe.idai = bool(left.get("IDAI", 0))

    def _clear_valid(self, **fields: int) -> Fields:
        """Clear Valid with some fields replaced, and return what the register holds when it is done.

        Valid may not be cleared while the redistributor still parses the VPT (Linux af27e41612ec), nor set again before
        it is done.
        """
        self.frame.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])
        self.frame.update("GICR_VPENDBASER", Valid=0, **fields)
        return self.frame.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])
