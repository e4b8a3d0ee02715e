# SPDX-License-Identifier: Apache-2.0
"""The distributor's registers that size LPIs and vLPIs; SPIs are not modelled."""

from __future__ import annotations

from gicmodel.config import GicConfig
from gicmodel.hardware.register_face import RegisterFace, fixed
from gicmodel.layouts.registers.distributor import DISTRIBUTOR_REGISTERS, GICD_TYPER, GICD_TYPER2
from gicmodel.layouts.registers.identification import DISTRIBUTOR_PART, identification


class Distributor(RegisterFace):
    """Read-only constants. There is no GICD_STATUSR, which is optional."""

    def __init__(self, config: GicConfig) -> None:
        typer = GICD_TYPER.pack(IDbits=config.intid_bits - 1, LPIS=1, DVIS=config.virtual)
        typer2 = GICD_TYPER2.pack(nASSGIcap=1, VIL=1, VID=config.vpe_id_bits - 1)
        identity = identification("GICD", config.arch_rev, DISTRIBUTOR_PART)
        self._constants = {"GICD_TYPER": typer, "GICD_TYPER2": typer2} | identity
        super().__init__(DISTRIBUTOR_REGISTERS, config.architecture, fixed(*self._constants))
