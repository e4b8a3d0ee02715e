# SPDX-License-Identifier: Apache-2.0
"""SGIs that the GIC injects into vPEs, GICv4.1 only (Linux' its_sgi_irq_chip)."""

from __future__ import annotations

from gicmodel.driver import commands
from gicmodel.driver.commands import command
from gicmodel.driver.errors import DriverError
from gicmodel.driver.host_gic import HostGic
from gicmodel.driver.objects import ItsVpe
from gicmodel.layouts.commands import VSGI
from gicmodel.layouts.lpi_tables import VSGIS


class VirtualSgis:
    """vSGI 0..15 of each vPE. Everything here takes a vPE that is mapped, or raises DriverError EINVAL."""

    def __init__(self, gic: HostGic) -> None:
        self.gic = gic

    def configure(self, vpe: ItsVpe, vintid: int, enable: bool, group: int, priority: int) -> None:
        """Set a vSGI's configuration and leave alone whether it is pending; `priority` is 8 bits wide."""
        self._check(vpe, vintid)
        config = vpe.sgi_config[vintid]
        config.enabled, config.group, config.priority = enable, group, priority
        self._send(vpe, vintid, clear=False)

    def deactivate(self, vpe: ItsVpe, vintid: int) -> None:
        """Disable a vSGI and clear it: two commands, as one changes either the configuration or what is pending."""
        self._check(vpe, vintid)
        vpe.sgi_config[vintid].enabled = False
        self._send(vpe, vintid, clear=False)
        self._send(vpe, vintid, clear=True)

    def set_pending(self, vpe: ItsVpe, vintid: int, pending: bool) -> None:
        """Make a vSGI pending (GITS_SGIR), or not (VSGI with Clear)."""
        self._check(vpe, vintid)
        if not pending:
            self._send(vpe, vintid, clear=True)
            return
        self.gic.drain()
        self.gic.v4_its[0].registers.set("GITS_SGIR", vPEID=vpe.vpe_id, vINTID=vintid)

    def get_pending(self, vpe: ItsVpe, vintid: int) -> bool:
        """Whether a vSGI is pending, as the redistributor that the vPE is mapped to says."""
        self._check(vpe, vintid)
        self.gic.drain()
        return bool(self.gic.redistributors[vpe.col_idx].pending_vsgis(vpe.vpe_id) >> vintid & 1)

    def _send(self, vpe: ItsVpe, vintid: int, clear: bool) -> None:
        config = vpe.sgi_config[vintid]
        vsgi = command(
            VSGI,
            vPEID=vpe.vpe_id,
            vINTID=vintid,
            Enable=config.enabled,
            Group=config.group,
            Priority=config.priority >> 4,
            Clear=clear,
        )
        # Any ITS will do: every one of them has the vPE mapped.
        self.gic.v4_its[0].send(vsgi, commands.vsync(vpe.vpe_id))

    def _check(self, vpe: ItsVpe, vintid: int) -> None:
        if not self.gic.is_v41 or not vpe.vmapp_count or not 0 <= vintid < VSGIS:
            raise DriverError("EINVAL", f"vPE {vpe.vpe_id} has no vSGI {vintid}, or is not mapped, or the GIC has none")
