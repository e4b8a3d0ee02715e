# SPDX-License-Identifier: Apache-2.0
"""save_pending_tables of a VM: 64 LPIs at a time, beside KVM's own loop compiled, LPI by LPI, and beside memcpy.

On a GICv4.1 host the save unmaps every vPE, writes the guest's tables from the VPTs, and maps every vPE again. KVM's
loop is the part between; it is measured alone, and the whole save too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Point, Side, require
from gicmodel.benchmarks.machines import running_machine, size_of
from gicmodel.kvm.pending_tables import write_pending_tables
from gicmodel.layouts.registers import GICR_PROPBASER, register
from gicmodel.layouts.vpt import table_bytes

VLPIS, VCPUS = 57_344, 64
QUICK_VLPIS, QUICK_VCPUS = 64, 2


class Saving:
    """A stopped VM and its tables."""

    def __init__(self, vlpis: int, vcpus: int, quick: bool) -> None:
        size = size_of(min(vlpis, QUICK_VLPIS), min(vcpus, QUICK_VCPUS)) if quick else size_of(vlpis, vcpus)
        self.vlpis = size.devices * size.vectors
        self.vm = running_machine(size)
        self.vm.pause_vcpus()
        self.vgic = self.vm.vgic
        propbaser = register("GICR_PROPBASER").offset
        self.bytes = table_bytes(GICR_PROPBASER.unpack(self.vgic.redistributors[0].read(propbaser, 8))["IDbits"] + 1)

    def clear(self) -> None:
        """The guest's pending tables hold nothing."""
        for table in self.vgic.dist.pending_tables:
            self.vm.memory.zero(table, self.bytes)

    def tables(self) -> list[bytes]:
        """The guest's pending tables."""
        return [self.vm.memory.read(table, self.bytes) for table in self.vgic.dist.pending_tables]

    def save(self, lpi_by_lpi: bool) -> None:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES."""
        self.vgic.save_pending_tables(lpi_by_lpi)

    def write(self, lpi_by_lpi: bool) -> None:
        """Its loop, with the vPEs unmapped."""
        write_pending_tables(self.vgic.dist, self.vgic.dist.vlpis, lpi_by_lpi)

    def copy(self) -> None:
        """Each VPT to the guest's pending table."""
        guest, host = self.vm.memory, self.vm.host.memory
        assert self.vgic.its_vm is not None
        for table, vpe in zip(self.vgic.dist.pending_tables, self.vgic.its_vm.vpes, strict=True):
            source, target = vpe.vpt_page - host.base, table - guest.base
            np.copyto(guest.octets[target : target + self.bytes], host.octets[source : source + self.bytes])

    def prove(self, save: Callable[[bool], None]) -> None:
        """Raise Unproven unless both ways of `save` write the same bytes, not all of them zero."""
        found = []
        for lpi_by_lpi in (False, True):
            self.clear()
            save(lpi_by_lpi)
            found.append(self.tables())
        require(any(map(any, found[0])) and found[0] == found[1], "pending tables")


@contextmanager
def whole_save(vlpis: int, vcpus: int, quick: bool) -> Iterator[Case]:
    """Unmap, write, map."""
    saving = Saving(vlpis, vcpus, quick)
    batch, loop = (
        Side(name, partial(saving.save, lpi_by_lpi), saving.vlpis, saving.clear)
        for name, lpi_by_lpi in (("model", False), ("LPI by LPI", True))
    )
    yield Case(batch, loop, "vLPI", partial(saving.prove, saving.save))


@contextmanager
def loop_beside_kvm(vlpis: int, vcpus: int, quick: bool) -> Iterator[Case]:
    """The loop alone."""
    saving = Saving(vlpis, vcpus, quick)
    saving.vgic.unmap_all_vpes()
    batch, loop = (
        Side(name, partial(saving.write, lpi_by_lpi), saving.vlpis, saving.clear)
        for name, lpi_by_lpi in (("model", False), ("LPI by LPI", True))
    )
    yield Case(batch, loop, "vLPI", partial(saving.prove, saving.write))


@contextmanager
def loop_beside_memcpy(vlpis: int, vcpus: int, quick: bool) -> Iterator[Case]:
    """The loop alone, and a copy of all VPTs to the guest's tables."""
    saving = Saving(vlpis, vcpus, quick)
    saving.vgic.unmap_all_vpes()
    batch = Side("model", partial(saving.write, False), vcpus * saving.bytes, saving.clear)
    yield Case(
        batch, Side("numpy.copyto", saving.copy, vcpus * saving.bytes), "byte", partial(saving.prove, saving.write)
    )


BENCHMARKS = (
    Benchmark("tables, beside LPI by LPI", partial(loop_beside_kvm, VLPIS, VCPUS), Goal("speed", 30)),
    Benchmark("tables, beside memcpy", partial(loop_beside_memcpy, VLPIS, VCPUS), Goal("speed", 0.3)),
    Benchmark("whole save, beside LPI by LPI", partial(whole_save, VLPIS, VCPUS)),
    *(
        Benchmark(
            f"tables, {vlpis} vLPIs",
            partial(loop_beside_kvm, vlpis, VCPUS),
            point=Point("save_pending_tables", "vLPIs", vlpis),
        )
        for vlpis in (1024, 4096, 16_384, VLPIS)
    ),
)
