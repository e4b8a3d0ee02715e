# SPDX-License-Identifier: Apache-2.0
"""VPTs between the redistributors' caches and RAM: cleaned by VMAPP {V,Alloc} = {0,1}, read by VMAPP V=1.

One queue of VMAPP commands, a vPE each, beside numpy.copyto of the same bytes. A command has more to do than the copy;
where little is copied, the cost of unmapping as many clean vPEs is taken off, and what it is with it stands beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.boards import (
    DEVICES,
    PAGE,
    VCONFIGURATION,
    VPTS,
    Fields,
    Packets,
    booted_model,
    executed,
    load_queue,
    publish,
    run,
)
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Point, Side, require
from gicmodel.config import WAYS, GicConfig
from gicmodel.hardware.kernels.pending import LINE_BYTES
from gicmodel.hardware.kernels.state import SLOT
from gicmodel.layouts.commands import encode_many
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI, FIRST_LPI_BYTE, table_bytes

LINE_INTIDS = int(LINE_BYTES) * 8
QUICK_VPES = 4


@dataclass(frozen=True)
class Vpes:
    """vPEs with VPTs of `id_bits`, a `dirty` fraction of whose lines differ from RAM; `clean` more have none."""

    count: int = 64
    id_bits: int = 16
    dirty: float = 1.0
    clean: int = 0

    @property
    def stride(self) -> int:
        """From one VPT to the next."""
        return max(PAGE, table_bytes(self.id_bits))

    def smaller(self, quick: bool) -> Vpes:
        """Few of them, for a quick run."""
        if not quick:
            return self
        return Vpes(min(self.count, QUICK_VPES), min(self.id_bits, 16), self.dirty, min(self.clean, QUICK_VPES))


class Cleaning:
    """vPEs whose VPTs become dirty and are cleaned."""

    def __init__(self, vpes: Vpes) -> None:
        self.vpes = vpes
        everyone = vpes.count + vpes.clean
        # A set has four ways, and consecutive VPTs are in different sets.
        config = GicConfig(intid_bits=vpes.id_bits, vpt_cache_sets=everyone * max(1, vpes.stride // PAGE))
        self.board = booted_model(config)
        self.unmap = unmapping(np.arange(vpes.count))
        self.map = mapping(np.arange(vpes.count), vpes, empty=True)
        run(self.board, mapping(vpes.count + np.arange(vpes.clean), vpes, empty=True))
        self.interrupts = self._interrupts()
        self.expected = self._expected()
        self._mapped = False

    def prepare(self) -> None:
        """Map the vPEs with empty VPTs and make lines dirty."""
        self.prepare_clean()
        run(self.board, self.interrupts)
        load_queue(self.board, self.unmap)

    def prepare_clean(self) -> None:
        """Map the vPEs with empty VPTs."""
        if self._mapped:
            run(self.board, self.unmap)
        for vpe in range(self.vpes.count):
            self.board.memory.zero(VPTS + vpe * self.vpes.stride, table_bytes(self.vpes.id_bits))
        run(self.board, self.map)
        self._mapped = True
        load_queue(self.board, self.unmap)

    def clean(self) -> None:
        """What is measured."""
        publish(self.board, self.unmap)
        self._mapped = False

    def prepare_nothing(self) -> None:
        """As `prepare`, which leaves caches cold, and an empty queue."""
        self.prepare()
        load_queue(self.board, self.unmap[:0])

    def publish_nothing(self) -> None:
        """The register write alone."""
        publish(self.board, self.unmap[:0])

    def copy(self) -> None:
        """The same bytes between the same places."""
        np.copyto(self.vpts(), self.held())

    def held(self) -> NDArray[np.uint64]:
        """The pending bits that the redistributors hold, as `vpts`. Consecutive VPTs are in different sets."""
        slots = self.board.gic.machine.slots[self.board.config.redistributors :]
        rows = slots[:: WAYS * self.vpes.stride // PAGE][: self.vpes.count, SLOT.bits :]
        return rows[:, FIRST_LPI_BYTE // 8 : table_bytes(self.vpes.id_bits) // 8]

    def vpts(self) -> NDArray[np.uint64]:
        """The VPTs in RAM without their first KiB, as uint64 [vPEs, words]."""
        stride, count = self.vpes.stride, self.vpes.count
        rows = self.board.memory.view(VPTS, stride * count // 8, np.uint64).reshape(count, -1)
        return rows[:, FIRST_LPI_BYTE // 8 : table_bytes(self.vpes.id_bits) // 8]

    def prove(self) -> None:
        """Raise Unproven unless the VPTs in RAM hold exactly the pending bits that were set."""
        self.prepare()
        require(np.array_equal(self.held(), self.expected), "bits held")
        self.clean()
        executed(self.board, self.unmap)
        require(np.array_equal(self.vpts(), self.expected), "VPTs")

    def _lines(self) -> NDArray[np.int64]:
        lines = ((1 << self.vpes.id_bits) - FIRST_LPI) // LINE_INTIDS
        everyone = np.arange(self.vpes.count * lines)
        chosen = np.random.default_rng(1).permutation(everyone)[: round(self.vpes.dirty * len(everyone))]
        return np.stack(np.divmod(np.sort(chosen), lines))

    def _interrupts(self) -> Packets:
        """An INT for one vLPI of each line that becomes dirty, with the VMAPTI that its event needs."""
        vpe, line = self._lines()
        intid = FIRST_LPI + line * LINE_INTIDS + vpe
        number = np.arange(len(vpe))
        event: Fields = {"DeviceID": number % DEVICES, "EventID": 0}
        map_event = encode_many("VMAPTI", vINTID=intid, vPEID=vpe, Doorbell=NO_DOORBELL, **event)
        return np.stack([map_event, encode_many("INT", **event)], 1).reshape(-1, 4)

    def _expected(self) -> NDArray[np.uint64]:
        vpe, line = self._lines()
        bits = np.zeros((self.vpes.count, (1 << self.vpes.id_bits) - FIRST_LPI), np.uint8)
        bits[vpe, line * LINE_INTIDS + vpe] = 1
        return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)


def mapping(vpe: NDArray[np.int64], vpes: Vpes, *, empty: bool) -> Packets:
    """VMAPP V=1 for vPEs, of which `empty` tells the redistributor that it need not read their VPTs (PTZ)."""
    return encode_many(
        "VMAPP",
        vPEID=vpe,
        V=1,
        Alloc=1,
        PTZ=empty,
        VCONF_addr=VCONFIGURATION,
        VPT_addr=VPTS + vpe * vpes.stride,
        VPT_size=vpes.id_bits - 1,
        Default_Doorbell=NO_DOORBELL,
    )


def unmapping(vpe: NDArray[np.int64]) -> Packets:
    """VMAPP {V,Alloc} = {0,1}: the VPT in RAM is current when it is complete (IHI0069 5.3.19)."""
    return encode_many("VMAPP", vPEID=vpe, V=0, Alloc=1)


@contextmanager
def clean_beside_memcpy(vpes: Vpes, quick: bool) -> Iterator[Case]:
    """All VPTs cleaned; in another machine, as warm, numpy.copyto of the same bytes between the same places."""
    cleaning, copying = Cleaning(vpes.smaller(quick)), Cleaning(vpes.smaller(quick))
    size = cleaning.expected.nbytes
    model = Side("model", cleaning.clean, size, cleaning.prepare)
    yield Case(model, Side("numpy.copyto", copying.copy, size, copying.prepare), "byte", cleaning.prove)


@contextmanager
def clean_beside_full(vpes: Vpes, whole: bool, quick: bool) -> Iterator[Case]:
    """Few dirty lines, and as many vPEs all of whose lines are dirty; not `whole`, less the VMAPPs when none are.

    Of the whole, the register write that executes the VMAPPs is taken off: it is Python's, once for all of them.
    """
    few = Cleaning(vpes.smaller(quick))
    full = Cleaning(replace(few.vpes, dirty=1.0))

    def side(name: str, cleaning: Cleaning) -> Side:
        written = cleaning.publish_nothing, cleaning.prepare_nothing
        overhead = written if whole else (cleaning.clean, cleaning.prepare_clean)
        return Side(f"model, {name}", cleaning.clean, few.vpes.count, cleaning.prepare, *overhead)

    yield Case(side(f"{vpes.dirty:.0%} of lines dirty", few), side("all dirty", full), "vPE", few.prove)


@contextmanager
def clean_among_others(vpes: Vpes, quick: bool) -> Iterator[Case]:
    """The same vPEs cleaned, with and without many clean ones mapped."""
    among, alone = Cleaning(vpes.smaller(quick)), Cleaning(Vpes(vpes.count, vpes.id_bits, vpes.dirty).smaller(quick))
    model = Side(f"model, {among.vpes.clean} more", among.clean, among.vpes.count, among.prepare)
    yield Case(model, Side("model, no more", alone.clean, alone.vpes.count, alone.prepare), "vPE", among.prove)


@contextmanager
def read_beside_memcpy(vpes: Vpes, quick: bool) -> Iterator[Case]:
    """VMAPP V=1 of vPEs whose VPTs in RAM hold pending state, and numpy.copyto of the same VPTs."""
    vpes = vpes.smaller(quick)
    board = booted_model(GicConfig(vpt_cache_sets=vpes.count))
    map_all, unmap_all = mapping(np.arange(vpes.count), vpes, empty=False), unmapping(np.arange(vpes.count))
    rows = board.memory.view(VPTS, vpes.stride * vpes.count // 8, np.uint64).reshape(vpes.count, -1)
    source = rows[:, : table_bytes(vpes.id_bits) // 8]
    source[:] = np.random.default_rng(1).integers(0, 1 << 64, source.shape[1], np.uint64)
    run(board, map_all)

    def prepare() -> None:
        run(board, unmap_all)
        load_queue(board, map_all)

    def prove() -> None:
        """The caches hold what is in RAM: it survives the loss of RAM."""
        prepare()
        publish(board, map_all)
        executed(board, map_all)
        slots = board.gic.machine.slots[board.config.redistributors :]
        held = slots[slots[:, SLOT.tag] != 0, SLOT.bits :]
        require(len(held) == vpes.count, "VPTs held")
        require(bool((held[:, : source.shape[1]] == source[0]).all()), "VPTs")

    model = Side("model", partial(publish, board, map_all), source.nbytes, prepare)
    copy = partial(np.copyto, np.zeros(source.shape, np.uint64), source)
    yield Case(model, Side("numpy.copyto", copy, source.nbytes), "byte", prove)


FEW, SPARSE = Vpes(64, dirty=0.01), Vpes(16, 20, dirty=0.01)
BENCHMARKS = (
    Benchmark("clean, all dirty, 20-bit VPTs", partial(clean_beside_memcpy, Vpes(16, 20)), Goal("speed", 0.9)),
    Benchmark("clean, 1 % dirty", partial(clean_beside_full, FEW, False), Goal("cost", 0.03)),
    Benchmark("clean, 1 % dirty, with the VMAPPs", partial(clean_beside_full, FEW, True), Goal("cost", 0.12)),
    Benchmark("clean, 1 % dirty, 20-bit VPTs", partial(clean_beside_full, SPARSE, False), Goal("cost", 0.03)),
    Benchmark(
        "clean, 1 % dirty, 20-bit VPTs, with the VMAPPs", partial(clean_beside_full, SPARSE, True), Goal("cost", 0.12)
    ),
    Benchmark("clean, among 960 clean vPEs", partial(clean_among_others, Vpes(clean=960)), Goal("cost", 1.1)),
    Benchmark("read on VMAPP", partial(read_beside_memcpy, Vpes()), Goal("speed", 0.5)),
    *(
        Benchmark(
            f"clean, {density:.0%} dirty of 64",
            partial(clean_beside_memcpy, Vpes(dirty=density)),
            point=Point("VPT clean", "dirty lines, %", 100 * density),
        )
        for density in (0.01, 0.03, 0.1, 0.3)
    ),
    Benchmark(
        "clean, all dirty",
        partial(clean_beside_memcpy, Vpes()),
        Goal("speed", 0.9),
        Point("VPT clean", "dirty lines, %", 100),
    ),
    *(
        Benchmark(
            f"clean, {count} vPEs",
            partial(clean_beside_memcpy, Vpes(count)),
            point=Point("VPT clean", "vPEs", count),
        )
        for count in (4, 16, 64, 256)
    ),
)
