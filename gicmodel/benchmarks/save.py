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

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Point, Side, Work, require
from gicmodel.benchmarks.machines import GuestTables, running_machine, size_of
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


class Saving(GuestTables):
    """The tables of a stopped VM of `count` vLPIs."""

    def __init__(self, vlpis: int, vcpus: int, in_a_row: int, quick: bool) -> None:
        if quick:
            vlpis, vcpus = min(vlpis, QUICK_VLPIS), min(vcpus, QUICK_VCPUS)
        super().__init__(stopped_machine(vlpis, vcpus, in_a_row))
        self.count = vlpis
        self.driver = self.vm.host.driver.vpes

    def clear_and_move(self) -> None:
        """The guest's pending tables hold nothing, and the bitmaps of who has which LPI are out of date."""
        self.clear()
        lpis = self.dist.lpis
        slot = int(lpis.slots()[0])
        lpis.retarget(slot, int(lpis.rows["target_vcpu"][slot]))

    def save(self, lpi_by_lpi: bool = False) -> None:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES; `lpi_by_lpi` with KVM's loop."""
        self.vm.vgic.save_pending_tables(lpi_by_lpi)

    def save_one_by_one(self) -> None:
        """The same as KVM does it: it unmaps and maps vPE by vPE, and writes LPI by LPI."""
        for vpe in self.vpes:
            self.driver.deactivate(vpe)
        self.write(lpi_by_lpi=True)
        for vpe in self.vpes:
            self.driver.activate(vpe)

    def map(self) -> None:
        """The guest's pending tables hold nothing, and the vPEs are mapped."""
        self.clear()
        self.driver.activate(*(vpe for vpe in self.vpes if not vpe.vmapp_count))

    def unmap(self) -> None:
        """The guest's pending tables hold nothing, and the vPEs are unmapped."""
        self.map()
        self.vm.vgic.unmap_all_vpes()

    @contextmanager
    def unmapped(self) -> Iterator[None]:
        """Between the unmapping of all vPEs and their mapping."""
        assert self.vlpis is not None
        with self.vlpis.unmapped(self.vpes):
            yield

    def side(self, name: str, run: Work, prepare: Work | None = None) -> Side:
        """A way to write the tables, which are empty before."""
        return Side(name, run, self.count, prepare or self.clear)

    def prove(self, *ways: Work) -> None:
        """Raise Unproven unless both ways to save write the same bytes, not all of them zero."""
        found = []
        for save in ways:
            self.clear()
            save()
            found.append(self.octets())
        require(any(map(any, found[0])) and found[0] == found[1], "pending tables")


@contextmanager
def whole_save(vpe_by_vpe: bool, quick: bool) -> Iterator[Case]:
    """Unmap, write, map: beside KVM's loop between an unmap and a map that are the same, or go `vpe_by_vpe` too."""
    saving = Saving(VLPIS, VCPUS, 1, quick)
    name, save = ("one by one", saving.save_one_by_one) if vpe_by_vpe else ("LPI by LPI", partial(saving.save, True))
    prove = partial(saving.prove, saving.save, save)
    yield Case(saving.side("model", saving.save), saving.side(name, save), "vLPI", prove)


@contextmanager
def whole_save_beside_its_loop(lpi_by_lpi: bool, quick: bool) -> Iterator[Case]:
    """The whole save, and between an unmap and a map that are not measured the loop alone."""
    saving = Saving(VLPIS, VCPUS, 1, quick)
    name = "LPI by LPI" if lpi_by_lpi else "batch alone"
    loop = saving.side(name, partial(saving.write, lpi_by_lpi), saving.unmap)
    prove = partial(saving.prove, saving.save, saving.save_one_by_one)
    try:
        yield Case(saving.side("model", saving.save, saving.map), loop, "vLPI", prove)
    finally:
        saving.map()


@contextmanager
def loop_beside_kvm(vlpis: int, vcpus: int, in_a_row: int, moved: bool, quick: bool) -> Iterator[Case]:
    """The loop alone; with `moved`, the first one after a mapping has changed."""
    saving = Saving(vlpis, vcpus, in_a_row, quick)
    batch, loop = partial(saving.write, False), partial(saving.write, True)
    prepare = saving.clear_and_move if moved else saving.clear
    sides = saving.side("model", batch, prepare), saving.side("LPI by LPI", loop, prepare)
    with saving.unmapped():
        yield Case(*sides, "vLPI", partial(saving.prove, batch, loop))


@contextmanager
def loop_beside_memcpy(vcpus: int, quick: bool) -> Iterator[Case]:
    """The loop alone, and a copy of all VPTs to the guest's tables."""
    saving = Saving(VLPIS, vcpus, 1, quick)
    batch, loop = partial(saving.write, False), partial(saving.write, True)
    size = len(saving.addresses) * saving.bytes
    model, memcpy = Side("model", batch, size, saving.clear), Side("memcpy", saving.copy(), size, saving.clear)
    with saving.unmapped():
        yield Case(model, memcpy, "byte", partial(saving.prove, batch, loop))


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
    Benchmark("in turn, beside memcpy", partial(loop_beside_memcpy, VCPUS), Goal("speed", 0.66)),
    Benchmark("in turn, after a move, beside LPI by LPI", partial(loop_beside_kvm, VLPIS, VCPUS, 1, True)),
    Benchmark("whole save, beside LPI by LPI", partial(whole_save, False), Goal("speed", 10)),
    Benchmark("whole save, beside vPE by vPE and LPI by LPI", partial(whole_save, True)),
    Benchmark("whole save, beside LPI by LPI alone", partial(whole_save_beside_its_loop, True)),
    Benchmark("whole save, beside the batch alone", partial(whole_save_beside_its_loop, False)),
    Benchmark(
        f"in runs of {RUN}, beside LPI by LPI", partial(loop_beside_kvm, VLPIS, VCPUS, RUN, False), Goal("speed", 30)
    ),
    Benchmark(f"{MANY_VCPUS} vCPUs, in turn, beside LPI by LPI", MANY),
    Benchmark(
        f"{MANY_VCPUS} vCPUs, in turn, beside memcpy",
        partial(loop_beside_memcpy, MANY_VCPUS),
        Goal("speed", 0.3),
    ),
)
