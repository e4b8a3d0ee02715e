# SPDX-License-Identifier: Apache-2.0
"""One redistributor as the driver keeps it: LPI tables, invalidation, vSGI queries, and which vPE is resident.

GICR_VPENDBASER has two formats, GICv4.0's and GICv4.1's (DDI0601, Linux' its_vpe_schedule).
"""

from __future__ import annotations

from collections.abc import Sequence

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.errors import DriverError
from gicmodel.driver.its import ItsNode
from gicmodel.driver.objects import ItsVpe
from gicmodel.driver.port import DriverRegisters, Fields, Relax
from gicmodel.driver.tables import PAGE_CODES, affinity_key, pages_for
from gicmodel.layouts.registers.by_name import RegisterFrame
from gicmodel.layouts.registers.register import INNER_SHAREABLE, RAWAWB, RAWB
from gicmodel.layouts.table import Table, TableType

_MOST_PAGES = 128
"""What GICR_VPROPBASER.Size can say."""


class Redistributor:
    """The redistributor of one CPU. `vpe_table` is the vPE configuration table that its group shares (GICv4.1)."""

    def __init__(self, cpu: int, frame: RegisterFrame, relax: Relax) -> None:
        self.cpu = cpu
        typer = DriverRegisters(frame, "3", relax).fields("GICR_TYPER")
        self.typer = typer
        self.is_v4 = bool(typer["VLPIS"])
        # GICR_TYPER.RVPEID: GICR_VPENDBASER names a vPE, not a VPT. Its GICv3 layout has these bits as RES0.
        self.is_v41 = self.is_v4 and bool(typer["RVPEID"])
        architecture = "4.1" if self.is_v41 else "4.0" if self.is_v4 else "3"
        self.registers = DriverRegisters(frame, architecture, relax)
        # RVPEID implies the invalidation registers, and so may GICR_CTLR.IR (Linux' gic_data.rdists.has_direct_lpi).
        self.direct_lpi = bool(typer["DirectLPI"] or self.is_v41 or self.registers.fields("GICR_CTLR")["IR"])
        self.processor_number = typer["Processor_Number"]
        self.vpe_table: Table | None = None

    def affinity_group(self) -> int:
        """The key of the redistributors that share tables with this one (GICR_TYPER.CommonLPIAff)."""
        typer = self.typer
        affinity = typer["Aff3"] << 24 | typer["Aff2"] << 16 | typer["Aff1"] << 8 | typer["Aff0"]
        return affinity_key(affinity, typer["CommonLPIAff"])

    def wake(self) -> None:
        """Bring the redistributor out of sleep: LPIs cannot be forwarded to it before (DDI0601 GICR_WAKER)."""
        self.registers.update("GICR_WAKER", ProcessorSleep=0)
        self.registers.poll("GICR_WAKER", lambda fields: not fields["ChildrenAsleep"])

    def enable_lpis(self, configuration_table: int, pending_table: int, id_bits: int) -> None:
        """Program both LPI tables (addresses) and start LPIs.

        Raises:
            DriverError: ENXIO, no physical LPIs; EBUSY, LPIs are on and cannot be turned off.
        """
        if not self.typer["PLPIS"]:
            raise DriverError("ENXIO", f"the redistributor of CPU {self.cpu} has no LPIs (GICR_TYPER.PLPIS)")
        self._disable_lpis()
        self.registers.program("GICR_PROPBASER", Physical_Address=configuration_table, IDbits=id_bits - 1)
        self.registers.program("GICR_PENDBASER", Physical_Address=pending_table)
        self.registers.update("GICR_CTLR", EnableLPIs=1)

    def _disable_lpis(self) -> None:
        if not self.registers.fields("GICR_CTLR")["EnableLPIs"]:
            return
        self.registers.update("GICR_CTLR", EnableLPIs=0)
        # Both tables may be changed only after the redistributor has let go of them (DDI0601 GICR_CTLR.RWP).
        if self.registers.poll("GICR_CTLR", lambda fields: not fields["RWP"])["EnableLPIs"]:
            raise DriverError("EBUSY", f"LPIs of CPU {self.cpu} stay enabled, with tables that are not this driver's")

    def allocate_vpe_l1_table(
        self, earlier: Sequence[Redistributor], nodes: Sequence[ItsNode], allocator: PageAllocator, vpe_bits: int
    ) -> None:
        """GICv4.1: take the table of the affinity group, another redistributor's, else an ITS', else a new one.

        `earlier` and `nodes` are those that are set up. DriverError ENOMEM.
        """
        group = self.affinity_group()
        other = next((other for other in earlier if other.affinity_group() == group), None)
        its = next((its for its in nodes if its.shares_vpe_table() and its.affinity_group() == group), None)
        if other is not None:
            # Z reads as 0: the table is live, and the redistributor loads it.
            self.registers.write("GICR_VPROPBASER", other.registers.read("GICR_VPROPBASER"))
        elif its is not None:
            self._inherit_from_its(its)
        else:
            self._allocate_new(allocator, 1 << vpe_bits)
        self.vpe_table = Table.of_vpropbaser(self.registers.read("GICR_VPROPBASER"))

    def _inherit_from_its(self, its: ItsNode) -> None:
        """The ITS' GITS_BASER2, written in the format of GICR_VPROPBASER, whose Size is a bit narrower.

        Of a larger table the redistributor knows only a part, as in Linux.
        """
        baser = its.registers.fields("GITS_BASER2")
        same = {name: baser[name] for name in ("Indirect", "Page_Size", "Shareability", "InnerCache")}
        size, address = baser["Size"] % _MOST_PAGES, its.tables[TableType.VPES].address
        self.registers.set("GICR_VPROPBASER", Valid=1, Physical_Address=address, Size=size, **same)

    def _allocate_new(self, allocator: PageAllocator, entries: int) -> None:
        self.registers.set("GICR_VPROPBASER", Indirect=1, Page_Size=PAGE_CODES[0x1_0000])
        probed = self.registers.read("GICR_VPROPBASER")
        table, fields = Table.of_vpropbaser(probed), self.registers.layout("GICR_VPROPBASER").unpack(probed)
        indirect = table.indirect and table.per_page < entries
        pages = pages_for(entries, table.entry_bytes, table.page_bytes, indirect, _MOST_PAGES)
        self.registers.set(
            "GICR_VPROPBASER",
            Valid=1,
            Indirect=indirect,
            Entry_Size=fields["Entry_Size"],
            Page_Size=fields["Page_Size"],
            Z=1,
            Physical_Address=allocator.alloc(pages * table.page_bytes, table.page_bytes),
            Shareability=INNER_SHAREABLE,
            InnerCache=RAWB,
            Size=pages - 1,
        )

    def invalidate_lpi(self, intid: int) -> None:
        """Reload the configuration of one physical LPI."""
        self._invalidate("GICR_INVLPIR", INTID=intid)

    def invalidate_vlpi(self, vpe_id: int, vintid: int) -> None:
        """Reload the configuration of one vLPI of a vPE that is mapped to this redistributor (GICv4.1)."""
        self._invalidate("GICR_INVLPIR", V=1, vPEID=vpe_id, INTID=vintid)

    def invalidate_vlpis(self, vpe_id: int) -> None:
        """Reload the configuration of every vLPI of a vPE that is mapped to this redistributor (GICv4.1)."""
        self._invalidate("GICR_INVALLR", V=1, vPEID=vpe_id)

    def clear_lpi(self, intid: int) -> None:
        """Take back a pending physical LPI (GICR_TYPER.DirectLPI)."""
        self._invalidate("GICR_CLRLPIR", pINTID=intid)

    def _invalidate(self, name: str, **fields: int) -> None:
        self.registers.set(name, **fields)
        self.registers.poll("GICR_SYNCR", lambda fields: not fields["Busy"])

    def pending_vsgis(self, vpe_id: int) -> int:
        """One bit for each pending vSGI of a vPE that is mapped to this redistributor (GICv4.1)."""
        self.registers.set("GICR_VSGIR", vPEID=vpe_id)
        return self.registers.poll("GICR_VSGIPENDR", lambda fields: not fields["Busy"])["Pending"]

    def forget_vpes(self) -> None:
        """GICv4.1: end an earlier owner's residency and take its vPE table away, before any other table changes.

        Linux' __gic_update_rdist_properties.
        """
        if self.is_v41:
            self.evict()
            self.registers.update("GICR_VPROPBASER", Valid=0)

    def evict(self) -> None:
        """GICv4.1: make whatever is resident non-resident. PendingLast asks for no doorbell.

        Linux does it again in allocate_vpe_l1_table, before it writes GICR_VPROPBASER: the first time it may be in
        vain, as the redistributor may still be parsing the VPT.
        """
        if self.registers.fields("GICR_VPENDBASER")["Valid"]:
            self.registers.set("GICR_VPENDBASER", PendingLast=1)

    def prepare(self, id_bits: int) -> None:
        """GICv4.0: say how wide vINTIDs are, and end an earlier owner's residency.

        vLPIs may reach the redistributor before a vPE was ever resident on it, and would be dropped as out of range.
        """
        self.registers.set("GICR_VPROPBASER", IDbits=id_bits - 1)
        self._clear_valid()

    def schedule(self, vpe: ItsVpe, vgrp0: bool, vgrp1: bool) -> None:
        """Make a vPE resident. The groups are GICv4.1's; in GICv4.0 the virtual CPU interface has them."""
        if self.is_v41:
            self.registers.set("GICR_VPENDBASER", Valid=1, VGrp0En=vgrp0, VGrp1En=vgrp1, vPEID=vpe.vpe_id)
            return
        # GICv4.0 switches the VM's vLPI configuration table with the vPE.
        self.registers.set(
            "GICR_VPROPBASER",
            Physical_Address=vpe.vm.vprop.address,
            IDbits=vpe.vm.vprop.id_bits - 1,
            Shareability=INNER_SHAREABLE,
            InnerCache=RAWB,
        )
        # PendingLast always: that the table is empty is nothing software can know, a doorbell may be on its way.
        self.registers.set(
            "GICR_VPENDBASER",
            Valid=1,
            IDAI=vpe.idai,
            PendingLast=1,
            Physical_Address=vpe.vpt_page,
            Shareability=INNER_SHAREABLE,
            InnerCache=RAWAWB,
        )

    def commit(self) -> None:
        """Wait until the redistributor has parsed the VPT, where GICR_TYPER.Dirty says that it tells."""
        if self.typer["Dirty"]:
            self.registers.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])

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
        self.registers.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])
        self.registers.update("GICR_VPENDBASER", Valid=0, **fields)
        return self.registers.poll("GICR_VPENDBASER", lambda fields: not fields["Dirty"])
