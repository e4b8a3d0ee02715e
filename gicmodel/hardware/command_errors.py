# SPDX-License-Identifier: Apache-2.0
"""Command errors as software would read them: number, name, and the command that caused it."""

from __future__ import annotations

from typing import NamedTuple

from gicmodel.hardware.kernels import errors
from gicmodel.layouts.commands import OPCODES

_NAMES = (
    "DEVICE_OOR COLLECTION_OOR UNMAPPED_DEVICE ID_OOR PHYSICALID_OOR UNMAPPED_INTERRUPT UNMAPPED_COLLECTION "
    "ITE_INVALID VCPU_OOR VPTSIZE_OOR VIRTUALID_OOR VCPU_INVALID ID_IS_PHYSICAL ITEVCPU_INVALID "
    "CMDVCPU_INVALID VCPU_MAPPED VCPU_RESIDENT UNKNOWN_COMMAND EXTERNAL_ABORT"
).split()
_REASONS = {int(getattr(errors, name)): name for name in _NAMES}
_MNEMONICS = {opcode: mnemonic for mnemonic, opcode in OPCODES.items()}


class CommandError(NamedTuple):
    """One command that failed: on which ITS, at which CREADR offset, with which number, and its four words."""

    its: int
    offset: int
    number: int
    words: tuple[int, int, int, int]

    def __str__(self) -> str:
        return f"{self.number:#08x} {error_name(self.number)} at {self.offset:#x} of ITS {self.its}"


def error_name(number: int) -> str:
    """The name of a command error number, such as MAPD_ITTSIZE_OOR for 0x010802."""
    opcode, reason = (number >> 8) & 0xFF, number & 0xFF
    if opcode == int(errors.OPCODE_OF_CLEAR_ERRORS) and reason != int(errors.PROCNUM_OOR):
        opcode = OPCODES["CLEAR"]
    mnemonic = _MNEMONICS.get(opcode, f"OPCODE_{opcode:#04x}")
    if reason == int(errors.ITTSIZE_OOR):
        return f"{mnemonic}_{'ITTSIZE' if mnemonic == 'MAPD' else 'PROCNUM'}_OOR"
    if mnemonic == "MOVALL" and reason == int(errors.MOVALL_PROCNUM_OOR):
        return "MOVALL_PROCNUM_OOR"
    return f"{mnemonic}_{_REASONS.get(reason, hex(reason))}"
