# SPDX-License-Identifier: Apache-2.0
"""Where the board has what: our choice, near QEMU's `virt`, with room for 16 ITSs and 512 redistributors."""

from gicmodel.hardware.bus import DISTRIBUTOR_BASE

ITS_BASE = DISTRIBUTOR_BASE + 0x8_0000
UART_BASE = 0x0900_0000
SMMU_BASE = 0x0905_0000
PCI_WINDOW_BASE, PCI_WINDOW_BYTES = 0x1000_0000, 0x100_0000
REDISTRIBUTOR_BASE = 0x2000_0000
ECAM_BASE = 0x3F00_0000
RAM_BASE = 0x4000_0000

UART_INTID = 33
SMMU_INTIDS = (106, 107, 108, 109)
VIRTUAL_TIMER_INTID, HYP_TIMER_INTID, PHYSICAL_TIMER_INTID = 27, 26, 30
"""Base System Architecture (DEN0094), 3.8.1: which PPI is what; SPIs are our choice."""
