# SPDX-License-Identifier: Apache-2.0
"""The registers of the GIC of a dumped Linux kernel, from RAM alone, each with the place that it was read from."""

from __future__ import annotations

from collections.abc import Iterator

from gicmodel.images.registers import RD_BASE, Given, Registers
from gicmodel.inspection.linux.kernels import FoundKernel
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER

_LPI_ID_BITS = 16
"""ITS_MAX_LPI_NRBITS: what Linux takes at most."""


def registers_of(kernel: FoundKernel) -> Registers:
    """The registers that a kernel's structures and its log tell, and where each was read."""
    registers: Registers = {}
    for frame, name, value, origin in _values(kernel):
        registers.setdefault(frame, {})[name] = Given(value, origin)
    return registers


def _values(kernel: FoundKernel) -> Iterator[tuple[str, str, int, str]]:
    for number, node in enumerate(kernel.nodes):
        for name, value in node.registers().items():
            yield f"GITS{number}", name, value, f"struct its_node, cmd_base at {node.place:#x}"
    log = kernel.log
    if log is None:
        return
    origin = f"the kernel's log at {log.first:#x}"
    for cpu, pending in sorted(log.pending_tables.items()):
        if log.property_table is not None and not log.contradicted:
            value = GICR_PROPBASER.pack(Physical_Address=log.property_table, IDbits=_LPI_ID_BITS - 1)
            yield f"GICR{cpu}", "PROPBASER", value, f"{origin}; IDbits: Linux's most"
        if pending is not None:
            yield f"GICR{cpu}", "PENDBASER", GICR_PENDBASER.pack(Physical_Address=pending), origin
        if (address := log.redistributors.get(cpu)) is not None:
            yield f"GICR{cpu}", RD_BASE, address, origin
