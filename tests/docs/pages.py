# SPDX-License-Identifier: Apache-2.0
"""python -m tests.docs.pages: write the pages of docs/ that are made from the package."""

from pathlib import Path

from gicmodel.hardware.command_errors import error_name
from gicmodel.hardware.kernels import errors
from gicmodel.inspection.rules import RULES
from gicmodel.layouts.commands import OPCODES

DOCS = Path(__file__).parents[2] / "docs"


FINDINGS = """\
# Findings and their rules

What `gicmodel inspect` finds wrong in a dump. An error is something that the architecture or KVM forbids; a warning is
legal, and how interrupts get lost or late. `gicmodel inspect --explain FINDING` tells one.

| finding | | rule | source |
|---|---|---|---|
"""
REASONS = """\
# Command errors

A command that fails has a number: `0x01`, the opcode, and a reason. The architecture leaves to the implementation where
software sees it; here it is in `Gic.errors`, and in what `fuzz` and `replay` report. Each function of `gicmodel/spec/`
(`mapd`, `vmapp`, ...) has its checks in their order. `CLEAR` has opcode 0x04 and numbers of 0x05, as all sources do.

| reason | names, for MAPD, MAPC and VMAPP where they differ |
|---|---|
"""
OPCODE_TABLE = """
VPTSIZE_OOR, VCPU_MAPPED, VCPU_RESIDENT, UNKNOWN_COMMAND and EXTERNAL_ABORT are ours: no public source has them.

| opcode | command |
|---|---|
"""


def findings() -> str:
    """Every finding of `gicmodel inspect` with its rule."""
    rows = (f"| `{rule.identifier}` | {rule.severity} | {rule.text} | {rule.source} |\n" for rule in RULES.values())
    return FINDINGS + "".join(rows)


def command_errors() -> str:
    """Every number of a command error."""
    reasons = sorted({int(value) for name, value in vars(errors).items() if name.endswith(_SUFFIXES)})
    rows = (f"| `{reason:#04x}` | {_names(reason)} |\n" for reason in reasons)
    opcodes = (f"| `{opcode:#04x}` | {mnemonic} |\n" for mnemonic, opcode in OPCODES.items())
    return REASONS + "".join(rows) + OPCODE_TABLE + "".join(opcodes)


_SUFFIXES = ("_OOR", "_DEVICE", "_INTERRUPT", "_COLLECTION", "_INVALID", "_PHYSICAL", "_MAPPED", "_RESIDENT")
_SUFFIXES += ("UNKNOWN_COMMAND", "EXTERNAL_ABORT")
PAGES = {"findings.md": findings, "command-errors.md": command_errors}


def _names(reason: int) -> str:
    names = {error_name(0x01_0000 | OPCODES[mnemonic] << 8 | reason) for mnemonic in ("MAPD", "MAPC", "VMAPP")}
    ends = {name.partition("_")[2] for name in names}
    return ", ".join(f"`{end}`" for end in sorted(ends))


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
