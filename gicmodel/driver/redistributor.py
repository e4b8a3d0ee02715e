# SPDX-License-Identifier: Apache-2.0
"""One redistributor as the driver keeps it: LPI tables, invalidation registers, residency, vSGI queries."""

from __future__ import annotations

from gicmodel.driver.errors import DriverError
from gicmodel.driver.port import Frame, RegisterFace, Relax
from gicmodel.driver.tables import Table, affinity_key
from gicmodel.layouts.registers import REDISTRIBUTOR_REGISTERS


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
