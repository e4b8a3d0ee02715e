# SPDX-License-Identifier: Apache-2.0
"""The registers of the GIC of a dumped Linux kernel, from RAM alone, each with the place that it was read from."""

from __future__ import annotations

from collections.abc import Iterator

from gicmodel.images.registers import RD_BASE, Given, Registers
from gicmodel.inspection.linux.devices import KernelView
from gicmodel.inspection.linux.kernels import FoundKernel
from gicmodel.inspection.linux.log import Log
from gicmodel.inspection.linux.rdists import LPI_ID_BITS, Rdists
from gicmodel.layouts.registers.its import GITS_TYPER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER_V40 as _VPENDBASER
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER_V40 as _VPROPBASER

_LINUX_MOST = "; IDbits: Linux's most"


def registers_of(kernel: FoundKernel, view: KernelView | None = None) -> Registers:
    """The registers that a kernel's structures and its log tell, and where each was read."""
    registers, view = Registers(), view or KernelView()
    for frame, name, value, origin in (*_values(kernel, view), *_resident(kernel, view)):
        registers.setdefault(frame, {})[name] = Given(value, origin)
    return registers


def _resident(kernel: FoundKernel, view: KernelView) -> Iterator[tuple[str, str, int, str]]:
    """GICv4.0's registers of the vPEs that the kernel has as resident."""
    typer = kernel.nodes[0].typer
    if typer is None or GITS_TYPER.unpack(typer)["VMAPP"]:
        return
    for vpe in view.vpes().values():
        origin = f"struct its_vpe of vPE {vpe.vpe_id}: {view.source}"
        if vpe.resident:
            yield f"GICR{vpe.cpu}", "VPENDBASER", _VPENDBASER.pack(Valid=1, Physical_Address=vpe.vpt), origin
            if vpe.vprop is not None:
                value = _VPROPBASER.pack(Physical_Address=vpe.vprop, IDbits=LPI_ID_BITS - 1)
                yield f"GICR{vpe.cpu}", "VPROPBASER", value, origin + _LINUX_MOST


def _of_cpus(told: Rdists | Log, id_bits: int, origin: str, of_bits: str) -> Iterator[tuple[str, str, int, str]]:
    """The registers of the redistributors, by CPU; `of_bits` tells where their width comes from."""
    for cpu, pending in sorted(told.pending_tables.items()):
        if told.property_table is not None:
            value = GICR_PROPBASER.pack(Physical_Address=told.property_table, IDbits=id_bits - 1)
            yield f"GICR{cpu}", "PROPBASER", value, origin + of_bits
        if pending is not None:
            yield f"GICR{cpu}", "PENDBASER", GICR_PENDBASER.pack(Physical_Address=pending), origin
        if (address := told.redistributors.get(cpu)) is not None:
            yield f"GICR{cpu}", RD_BASE, address, origin


def _values(kernel: FoundKernel, view: KernelView) -> Iterator[tuple[str, str, int, str]]:
    for number, node in enumerate(kernel.nodes):
        for name, value in node.registers().items():
            yield f"GITS{number}", name, value, f"struct its_node, cmd_base at {node.place:#x}"
    if kernel.log is not None:
        yield from _of_cpus(kernel.log, LPI_ID_BITS, f"the kernel's log at {kernel.log.first:#x}", _LINUX_MOST)
    if view.rdists is not None:
        yield from _of_cpus(view.rdists, view.rdists.id_bits, f"struct rdists: {view.source}", "")
