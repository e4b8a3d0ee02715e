# SPDX-License-Identifier: Apache-2.0
"""What QEMU 7.2 is known to do otherwise than the model, each with its reason.

GICv3 leaves much to the implementation. Where QEMU (hw/intc/arm_gicv3_its.c, arm_gicv3_redist.c) and the model make
different choices, or where QEMU leaves the architecture, a comparison of the two has to know. A command that the two
take differently is not sent, because everything after it would differ; a register is compared under a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.distributor import GICD_IROUTER
from gicmodel.layouts.registers.its import BASERS, GITS_BASER, GITS_CBASER, GITS_CREADR, GITS_CTLR, GITS_CWRITER
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER_V40,
    GICR_WAKER,
)

_ID_BITS = 16
_PROCESSOR_NUMBERS = 1 << 16


def _is_no_lpi(intid: Any) -> Any:
    """Whether an INTID is not an LPI, and not 1023, which says that there is no doorbell."""
    return (intid != NO_DOORBELL) & ((intid < FIRST_LPI) | (intid >= 1 << _ID_BITS))


class Avoided(NamedTuple):
    """A command that is not sent to both, and why. `applies` takes a command's fields as numbers, or as arrays."""

    mnemonic: str
    applies: Callable[[Mapping[str, Any]], Any]
    reason: str


AVOIDED = (
    Avoided(
        "MAPD",
        lambda fields: (fields["V"] == 0) & (fields["Size"] >= _ID_BITS),
        "process_mapd checks Size even for V=0, so that a bad one leaves the device mapped; "
        "the model looks at Size only if V=1",
    ),
    Avoided(
        "VMAPP",
        lambda fields: (fields["V"] == 0) & (fields["VPT_size"] >= _ID_BITS),
        "process_vmapp checks VPT_size even for V=0, so that a bad one leaves the vPE mapped; "
        "with V=0 the model takes the other fields as RES0",
    ),
    Avoided(
        "MAPC",
        lambda fields: (fields["V"] == 1) & (fields["RDbase"] >= _PROCESSOR_NUMBERS),
        "process_mapc takes 16 of RDbase's 36 bits, so that 0x1_0000 is redistributor 0; "
        "the model refuses a redistributor that does not exist",
    ),
    Avoided(
        "VMOVI",
        lambda fields: (fields["D"] == 1) & _is_no_lpi(fields["Doorbell"]),
        "process_vmovi checks Doorbell before it reads the ITE, so that a bad one hides an ITT outside RAM; "
        "the model checks it last, and stalls",
    ),
)


NEVER_DONE = {
    "a command queue outside RAM": (
        "address_space_map answers with a buffer of zeros, and opcode 0 is skipped; the model stalls"
    ),
    "a VPT outside RAM": "arm_gicv3_redist.c ignores the result of its accesses; the model stalls",
    "INT with a collection table page outside RAM": (
        "process_its_cmd drops the result of looking up the collection; the model stalls, as QEMU does for INV"
    ),
    "GITS_CWRITER without Retry after a stall": "any write resumes a queue with commands; the model asks for Retry",
    "a write of GITS_CREADR": "is stored if GICD_CTLR.DS is 1; the register is read-only",
    "GICR_PROPBASER and GICR_PENDBASER while LPIs are enabled": "are stored; the model ignores what is UNPREDICTABLE",
    "a level 1 table of 64 pages of 64 KiB": "has no entries: their number overflows 32 bits in extract_table_params",
    "RES0 bits in a level 1 entry": "are used as address bits; the model ignores them",
    "MOVI of an INTID beyond GICR_PROPBASER.IDbits": (
        "is done in the pending tables: gicv3_redist_mov_lpi compares a number of bytes with an INTID"
    ),
    "a vLPI enabled without an invalidation": "is not in PendingLast until the VPT is scanned; the model reads on use",
    "a vPE moved while it is resident": "leaves PendingLast of its old redistributor 0; the model looks at the VPT",
}
"""What a comparison must not do, because QEMU answers otherwise, and how."""


def avoided(mnemonic: str, fields: Mapping[str, Any]) -> Any:
    """Whether QEMU is known to take this command differently; for arrays of fields, which of the commands."""
    found: Any = False
    for known in AVOIDED:
        if known.mnemonic == mnemonic:
            found = found | known.applies(fields)
    return found


COMPARED = {
    # Quiescent reads 1 even if commands wait; ImDe and ITS_Number do not exist. RES0 bits of all are stored as written.
    "GITS_CTLR": GITS_CTLR.pack(Enabled=1),
    "GITS_CBASER": GITS_CBASER.field_mask(),
    "GITS_CWRITER": GITS_CWRITER.field_mask(),
    "GITS_CREADR": GITS_CREADR.field_mask(),
    **{f"GITS_BASER{number}": GITS_BASER.field_mask() for number in range(BASERS)},
    "GICR_CTLR": GICR_CTLR.pack(EnableLPIs=1, CES=1, IR=1, RWP=1),
    "GICR_WAKER": GICR_WAKER.pack(ProcessorSleep=1, ChildrenAsleep=1),
    "GICR_PROPBASER": GICR_PROPBASER.field_mask(),
    # PTZ reads back as written.
    "GICR_PENDBASER": GICR_PENDBASER.field_mask(without=("PTZ",)),
    "GICR_VPROPBASER": GICR_VPROPBASER_V40.field_mask(),
    "GICR_VPENDBASER": GICR_VPENDBASER_V40.field_mask(),
}
"""The bits of the registers that are compared; others are constants of the implementation, or write-only."""

COMPARED_EACH = {
    # All eight bits of a priority are stored.
    "IPRIORITYR": 0xF8F8_F8F8,
    # RES0 bits, and the routing mode, which TYPER.No1N says it has not, are stored.
    "IROUTER": GICD_IROUTER.field_mask(without=("Interrupt_Routing_Mode",)),
}
"""The bits that are compared of the registers that have something for each SGI, PPI or SPI; of others it is all. ICC_*,
ICH_* and ICV_* are not compared: they are reached by instructions of a CPU, and over qtest none runs."""

PENDING_LAST = GICR_VPENDBASER_V40.pack(PendingLast=1)
"""Not compared where a vPE is resident on another redistributor than it is mapped to, or was moved while resident: QEMU
sets bits in its VPT but no longer keeps track of its highest pending vLPI (gicv3_redist_process_vlpi)."""
