# SPDX-License-Identifier: Apache-2.0
"""System registers that the board itself answers to, by their encoding, and the bits it looks at (DDI0487, D17)."""

from gicmodel.layouts.registers.register import packed

MPIDR_EL1 = packed(3, 0, 0, 0, 5)
ID_AA64PFR0_EL1 = packed(3, 0, 0, 4, 0)
HCR_EL2 = packed(3, 4, 1, 1, 0)
CNTKCTL_EL1, CNTHCTL_EL2, CNTVOFF_EL2 = packed(3, 0, 14, 1, 0), packed(3, 4, 14, 1, 0), packed(3, 4, 14, 0, 3)
CNTFRQ_EL0, CNTPCT_EL0, CNTVCT_EL0 = (packed(3, 3, 14, 0, op2) for op2 in range(3))
CNTP_TVAL_EL0, CNTP_CTL_EL0, CNTP_CVAL_EL0 = (packed(3, 3, 14, 2, op2) for op2 in range(3))
CNTV_TVAL_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0 = (packed(3, 3, 14, 3, op2) for op2 in range(3))
CNTHP_TVAL_EL2, CNTHP_CTL_EL2, CNTHP_CVAL_EL2 = (packed(3, 4, 14, 2, op2) for op2 in range(3))
IDS_CRN, TIMERS_CRN = 0, 14
"""CRn of the identification registers, and of all registers of the timers."""

IC_IALLUIS, IC_IVAU = packed(1, 0, 7, 1, 0), packed(1, 3, 7, 5, 1)
TLBI_CRN = 8
TLBI_LOCAL_CRM = (7, 4)
"""CRm of a TLBI that only the PE itself obeys: stage 1, and stage 2 by address (op1 = 4)."""

HCR_FMO, HCR_IMO, HCR_TID3, HCR_TGE = 1 << 3, 1 << 4, 1 << 18, 1 << 27
CNTHCTL_EL1PCTEN, CNTHCTL_EL1PCEN = 1 << 0, 1 << 1
CNTKCTL_EL0PCTEN, CNTKCTL_EL0VCTEN, CNTKCTL_EL0VTEN, CNTKCTL_EL0PTEN = 1 << 0, 1 << 1, 1 << 8, 1 << 9
CTL_ENABLE, CTL_IMASK, CTL_ISTATUS = 1 << 0, 1 << 1, 1 << 2
PSTATE_F, PSTATE_I = 1 << 6, 1 << 7
FREQUENCY = 1_000_000_000
"""CNTFRQ_EL0 in Hz, as it is from Armv8.6 on (DDI0487, D11.1.2). With an instruction a tick the PE is as fast as real
ones, and a boot of 900 million instructions has 200 timer interrupts: as many as in QEMU."""
