# SPDX-License-Identifier: Apache-2.0
"""save_pending_tables of a VM: 64 LPIs at a time, beside KVM's own loop compiled, LPI by LPI, and beside memcpy.

On a GICv4.1 host the save unmaps every vPE, writes the guest's tables from the VPTs, and maps every vPE again. KVM's
loop is the part between; it is measured alone, and the whole save too. 576 commands, which both ways to save have in
common, keep a whole save from being as much faster as the part between is.

How the guest spreads its LPIs decides what a word is worth: sent to the vCPUs in turn, as the queues of a device are,
every word of every table holds one bit; a run of them for each vCPU fills few words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np

from gicmodel.benchmarks import peers
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Point, Side, Work, require
from gicmodel.benchmarks.machines import running_machine, size_of
from gicmodel.kvm.pending_tables import write_pending_tables
from gicmodel.layouts.lpi_tables import table_bytes
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER
from gicmodel.migration.machine import VirtualMachine

VLPIS, VCPUS = 57_344, 64
QUICK_VLPIS, QUICK_VCPUS = 64, 2
MACHINES = 2
"""Kept between benchmarks: a large one takes seconds to boot, and a save changes nothing but the tables it writes."""


@lru_cache(maxsize=MACHINES)
def stopped_machine(vlpis: int, vcpus: int, in_a_row: int) -> VirtualMachine:
    """A VM whose vCPUs are paused, some of its vLPIs pending."""
    vm = running_machine(size_of(vlpis, vcpus), in_a_row)
    vm.pause_vcpus()
    return vm


class Saving:
    """A stopped VM and its tables."""

    def __init__(self, vlpis: int, vcpus: int, in_a_row: int, quick: bool) -> None:
        if quick:
            vlpis, vcpus = min(vlpis, QUICK_VLPIS), min(vcpus, QUICK_VCPUS)
        self.vlpis, self.vcpus = vlpis, vcpus
        self.vm = stopped_machine(vlpis, vcpus, in_a_row)
        self.vgic = self.vm.vgic
        propbaser = register("GICR_PROPBASER").offset
        self.bytes = table_bytes(GICR_PROPBASER.unpack(self.vgic.redistributors[0].read(propbaser, 8))["IDbits"] + 1)

    def clear(self) -> None:
        """The guest's pending tables hold nothing."""
        for table in self.vgic.dist.pending_tables:
            self.vm.memory.zero(table, self.bytes)

    def clear_and_move(self) -> None:
        """The same, and the bitmaps of who has which LPI are out of date."""
        self.clear()
        lpis = self.vgic.dist.lpis
        slot = int(lpis.slots()[0])
        lpis.retarget(slot, int(lpis.rows["target_vcpu"][slot]))

    def tables(self) -> list[bytes]:
        """The guest's pending tables."""
        return [self.vm.memory.read(table, self.bytes) for table in self.vgic.dist.pending_tables]

    def save(self) -> None:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES."""
        self.vgic.save_pending_tables()

    def save_lpi_by_lpi(self) -> None:
        """The same with KVM's loop."""
        self.vgic.save_pending_tables(lpi_by_lpi=True)

    def save_one_by_one(self) -> None:
        """The same as KVM does it: it unmaps and maps vPE by vPE, and writes LPI by LPI."""
        vpes, vm = self.vm.host.driver.vpes, self.vgic.its_vm
        assert vm is not None
        for vpe in vm.vpes:
            vpes.deactivate(vpe)
        self.write(lpi_by_lpi=True)
        for vpe in vm.vpes:
            vpes.activate(vpe)

    def map(self) -> None:
        """The guest's pending tables hold nothing, and the vPEs are mapped."""
        self.clear()
        vpes, vm = self.vm.host.driver.vpes, self.vgic.its_vm
        assert vm is not None
        vpes.activate(*(vpe for vpe in vm.vpes if not vpe.vmapp_count))

    def unmap(self) -> None:
        """The guest's pending tables hold nothing, and the vPEs are unmapped."""
        self.map()
        self.vgic.unmap_all_vpes()

    def write(self, lpi_by_lpi: bool) -> None:
        """Its loop, with the vPEs unmapped."""
        write_pending_tables(self.vgic.dist, self.vgic.dist.vlpis, lpi_by_lpi)

    def copy(self) -> Work:
        """A copy of each VPT to the guest's pending table."""
        guest, host, vm = self.vm.memory, self.vm.host.memory, self.vgic.its_vm
        assert vm is not None
        tables = (np.array(self.vgic.dist.pending_tables) - guest.base) // 8
        vpts = (np.array([vpe.vpt_page for vpe in vm.vpes]) - host.base) // 8
        return partial(peers.copy_tables, guest.words, tables, host.words, vpts, self.bytes // 8)

    def prove(self, *ways: Work) -> None:
        """Raise Unproven unless both ways to save write the same bytes, not all of them zero."""
        found = []
        for save in ways:
            self.clear()
            save()
            found.append(self.tables())
        require(any(map(any, found[0])) and found[0] == found[1], "pending tables")


@contextmanager
def unmapped(saving: Saving) -> Iterator[Saving]:
    """Between the unmapping of all vPEs and their mapping."""
    saving.vgic.unmap_all_vpes()
    try:
        yield saving
    finally:
        saving.vgic.map_all_vpes()


@contextmanager
def whole_save(vlpis: int, vcpus: int, vpe_by_vpe: bool, quick: bool) -> Iterator[Case]:
    """Unmap, write, map: beside KVM's loop between an unmap and a map that are the same, or go `vpe_by_vpe` too."""
    saving = Saving(vlpis, vcpus, 1, quick)
    name, save = ("one by one", saving.save_one_by_one) if vpe_by_vpe else ("LPI by LPI", saving.save_lpi_by_lpi)
    batch, single = (
        Side(name, save, saving.vlpis, saving.clear) for name, save in (("model", saving.save), (name, save))
    )
    yield Case(batch, single, "vLPI", partial(saving.prove, saving.save, save))


@contextmanager
def whole_save_beside_its_loop(vlpis: int, vcpus: int, lpi_by_lpi: bool, quick: bool) -> Iterator[Case]:
    """The whole save, and between an unmap and a map that are not measured the loop alone."""
    saving = Saving(vlpis, vcpus, 1, quick)
    loop = Side(
        "LPI by LPI" if lpi_by_lpi else "batch alone", partial(saving.write, lpi_by_lpi), saving.vlpis, saving.unmap
    )
    whole = Side("model", saving.save, saving.vlpis, saving.map)
    try:
        yield Case(whole, loop, "vLPI", partial(saving.prove, saving.save, saving.save_one_by_one))
    finally:
        saving.map()


@contextmanager
def loop_beside_kvm(vlpis: int, vcpus: int, in_a_row: int, moved: bool, quick: bool) -> Iterator[Case]:
    """The loop alone; with `moved`, the first one after a mapping has changed."""
    with unmapped(Saving(vlpis, vcpus, in_a_row, quick)) as saving:
        prepare = saving.clear_and_move if moved else saving.clear
        batch, loop = (
            Side(name, partial(saving.write, lpi_by_lpi), saving.vlpis, prepare)
            for name, lpi_by_lpi in (("model", False), ("LPI by LPI", True))
        )
        yield Case(
            batch, loop, "vLPI", partial(saving.prove, *(partial(saving.write, by_lpi) for by_lpi in (False, True)))
        )


@contextmanager
def loop_beside_memcpy(vlpis: int, vcpus: int, quick: bool) -> Iterator[Case]:
    """The loop alone, and a copy of all VPTs to the guest's tables."""
    with unmapped(Saving(vlpis, vcpus, 1, quick)) as saving:
        size = saving.vcpus * saving.bytes
        batch = Side("model", partial(saving.write, False), size, saving.clear)
        yield Case(
            batch,
            Side("memcpy", saving.copy(), size, saving.clear),
            "byte",
            partial(saving.prove, *(partial(saving.write, by_lpi) for by_lpi in (False, True))),
        )


CURVE = "save_pending_tables"
RUN, MANY_VCPUS = VLPIS // VCPUS, 256
IN_TURN, MANY = partial(loop_beside_kvm, VLPIS, VCPUS, 1, False), partial(loop_beside_kvm, VLPIS, MANY_VCPUS, 1, False)
BENCHMARKS = (
    *(
        Benchmark(
            f"{vlpis} vLPIs in turn",
            partial(loop_beside_kvm, vlpis, VCPUS, 1, False),
            point=Point(CURVE, "vLPIs", vlpis),
        )
        for vlpis in (1024, 4096, 16_384)
    ),
    Benchmark("in turn, beside LPI by LPI", IN_TURN, point=Point(CURVE, "vLPIs", VLPIS)),
    Benchmark("in turn, beside memcpy", partial(loop_beside_memcpy, VLPIS, VCPUS), Goal("speed", 0.66)),
    Benchmark("in turn, after a move, beside LPI by LPI", partial(loop_beside_kvm, VLPIS, VCPUS, 1, True)),
    Benchmark("whole save, beside LPI by LPI", partial(whole_save, VLPIS, VCPUS, False), Goal("speed", 10)),
    Benchmark("whole save, beside vPE by vPE and LPI by LPI", partial(whole_save, VLPIS, VCPUS, True)),
    Benchmark("whole save, beside LPI by LPI alone", partial(whole_save_beside_its_loop, VLPIS, VCPUS, True)),
    Benchmark("whole save, beside the batch alone", partial(whole_save_beside_its_loop, VLPIS, VCPUS, False)),
    Benchmark(
        f"in runs of {RUN}, beside LPI by LPI", partial(loop_beside_kvm, VLPIS, VCPUS, RUN, False), Goal("speed", 30)
    ),
    Benchmark(f"{MANY_VCPUS} vCPUs, in turn, beside LPI by LPI", MANY),
    Benchmark(
        f"{MANY_VCPUS} vCPUs, in turn, beside memcpy",
        partial(loop_beside_memcpy, VLPIS, MANY_VCPUS),
        Goal("speed", 0.3),
    ),
)
