# SPDX-License-Identifier: Apache-2.0
"""A redistributor that does for a vPE only what the architecture promises of it; see `late`.

What software asks of it for a vPE that is mapped to another CommonLPIAff group is CONSTRAINED UNPREDICTABLE, and has no
effect here.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware import Gic
from gicmodel.hardware.kernels.residency import same_group
from gicmodel.hardware.kernels.vpe_commands import find_allocated
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER_V40

_ABOUT_A_VPE = {
    register(name).offset: (name, register(name).layout) for name in ("GICR_INVLPIR", "GICR_INVALLR", "GICR_VSGIR")
}
_NOT_ABOUT_A_VPE: tuple[str, Layout | None] = "", None
_VPENDBASER = register("GICR_VPENDBASER").offset


class LateRedistributor:
    """The registers of one redistributor as a driver gets them.

    `unheard`, which all of a GIC share: what had no effect, and where it was written, by what is missing.
    """

    def __init__(self, gic: Gic, number: int, unheard: dict[str, str]) -> None:
        self._gic = gic
        self._number = number
        self._face = gic.redistributors[number]
        self._unheard = unheard

    @property
    def resident_vpt(self) -> int | None:
        """GICv4.0: the address of the VPT of the resident vPE, if there is one."""
        vpendbaser = GICR_VPENDBASER_V40.unpack(self._face.read(_VPENDBASER, 8))
        return vpendbaser["Physical_Address"] if vpendbaser["Valid"] else None

    def read(self, offset: int, size: int) -> int:
        """As the hardware."""
        return self._face.read(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """As the hardware, but for a vPE of another group."""
        name, layout = _ABOUT_A_VPE.get(offset, _NOT_ABOUT_A_VPE)
        if layout is not None and size * 8 == layout.bits and self._gic.config.v41:
            fields = layout.unpack(value)
            if fields.get("V", 1) and not self._hears(name, fields["vPEID"]):
                return
        self._face.write(offset, value, size)

    def _hears(self, name: str, vpe_id: int) -> bool:
        """Whether the vPE is mapped to this group, or nowhere; otherwise what is missing is noted."""
        _, home, _ = find_allocated(self._gic.machine, np.uint64(vpe_id))
        missing = f"{name} of vPEID {vpe_id:#x}"
        if home < 0 or same_group(self._gic.machine, self._number, home):
            self._unheard.pop(missing, None)
            return True
        self._unheard[missing] = f"it was written on redistributor {self._number}, not in the group of {home}"
        return False
