# SPDX-License-Identifier: Apache-2.0
"""Command error numbers: 0x01 · opcode · reason, as Linux, QNX and the GIC-600AE manual list them.

The architecture numbers its errors but leaves to the implementation how software sees them; here they go to
`Gic.errors`. Reasons marked *ours* appear in no public source.
"""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.state import Word
from gicmodel.jit import kernel
from gicmodel.layouts.commands import OPCODES

OK = np.uint64(0)

DEVICE_OOR = np.uint64(0x01)
ITTSIZE_OOR = np.uint64(0x02)
PROCNUM_OOR = np.uint64(0x02)
"""MAPC's number; for the other commands that name an RDbase the pattern is ours."""
MOVALL_PROCNUM_OOR = np.uint64(0x01)
COLLECTION_OOR = np.uint64(0x03)
UNMAPPED_DEVICE = np.uint64(0x04)
ID_OOR = np.uint64(0x05)
PHYSICALID_OOR = np.uint64(0x06)
UNMAPPED_INTERRUPT = np.uint64(0x07)
UNMAPPED_COLLECTION = np.uint64(0x09)
ITE_INVALID = np.uint64(0x10)
"""The ITE leads nowhere: its collection or vPE is out of range or unmapped, or it is of the wrong type."""
VCPU_OOR = np.uint64(0x11)
VPTSIZE_OOR = np.uint64(0x12)
"""Ours: VMAPP with fewer than 14 vINTID bits or more than the implementation has."""
VIRTUALID_OOR = np.uint64(0x13)
VCPU_INVALID = np.uint64(0x14)
ID_IS_PHYSICAL = np.uint64(0x15)
ITEVCPU_INVALID = np.uint64(0x16)
CMDVCPU_INVALID = np.uint64(0x17)
VCPU_MAPPED = np.uint64(0x18)
"""Ours: VMAPP V=1 of a vPEID that is already mapped on this ITS."""
VCPU_RESIDENT = np.uint64(0x19)
"""Ours: VMAPP V=0 of a vPE that is resident."""
UNKNOWN_COMMAND = np.uint64(0xFD)
"""Ours: the opcode does not exist in this architecture."""
EXTERNAL_ABORT = np.uint64(0xFE)
"""Ours: the command, a table or a pending table lies outside RAM. Always stalls."""

OPCODE_CLEAR = np.uint64(OPCODES["CLEAR"])
OPCODE_OF_CLEAR_ERRORS = np.uint64(0x05)
"""CLEAR is opcode 0x04 but every source numbers its errors 0x0105xx."""
FORMAT = np.uint64(0x01_0000)
OPCODE_SHIFT = np.uint64(8)


@kernel
def error_number(opcode: Word, reason: Word) -> Word:
    """The 24-bit number of a command error."""
    if opcode == OPCODE_CLEAR:
        opcode = OPCODE_OF_CLEAR_ERRORS
    return FORMAT | (opcode << OPCODE_SHIFT) | reason
