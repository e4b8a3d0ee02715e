# SPDX-License-Identifier: Apache-2.0
"""The CPU interface of one PE, as far as LPIs, vLPIs and vSGIs need it: acknowledge, or look without taking."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels import cpu
from gicmodel.hardware.kernels.delivery import clear_lpi
from gicmodel.hardware.kernels.state import Machine


class CpuInterface:
    """ICC_* and ICV_* as functions. There is no running priority: each acknowledge sees every pending interrupt.

    Physical LPIs are Group 1. Virtual interrupts are of both groups, as far as GICR_VPENDBASER enables them.
    """

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine = machine
        self._number = number

    def acknowledge(self) -> int:
        """ICC_IAR1_EL1: take the most urgent pending LPI, lowest INTID first among equals; 1023 for none."""
        return int(cpu.acknowledge(self._machine, self._number))

    def acknowledge_virtual(self) -> int:
        """ICV_IAR0_EL1 and ICV_IAR1_EL1: take the most urgent vSGI or vLPI of the resident vPE; 1023 for none."""
        return int(cpu.acknowledge_virtual(self._machine, self._number))

    def pending(self) -> int:
        """ICC_HPPIR1_EL1: what `acknowledge` would return."""
        return int(cpu.highest_lpi(self._machine, self._number))

    def pending_virtual(self) -> int:
        """ICV_HPPIR0_EL1 and ICV_HPPIR1_EL1: what `acknowledge_virtual` would return."""
        return int(cpu.highest_virtual(self._machine, self._number))

    def take(self, intid: int) -> bool:
        """Acknowledge this LPI, out of turn; whether it was pending. A replayed trace says which one was taken."""
        return bool(clear_lpi(self._machine, self._number, np.uint64(intid))[1])

    def take_virtual(self, vintid: int) -> bool:
        """Acknowledge this interrupt of the resident vPE, out of turn; whether it was pending."""
        return bool(cpu.take_virtual(self._machine, self._number, np.uint64(vintid)))
