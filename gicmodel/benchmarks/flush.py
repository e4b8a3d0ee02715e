# SPDX-License-Identifier: Apache-2.0
"""What a flush of pending tables costs for a VM of any size: KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES and its parts.

On GICv4.1 a flush unmaps every vPE, upon which the GIC cleans its cache of the VPTs (VMAPP {V,Alloc} = {0,1}), writes
the guest's pending tables from the VPTs, and maps every vPE again, upon which the GIC reads the VPTs (VMAPP {1,1},
PTZ=0). On GICv3 the pending state is in KVM's latches, and only the tables are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks import peers
from gicmodel.benchmarks.flush_points import PARTS, Flush, FlushPoint
from gicmodel.benchmarks.harness import PeakMemory, no_collection, require, spread_of, timed
from gicmodel.benchmarks.machines import HOST_CPUS
from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS
from gicmodel.kvm.pending_tables import write_pending_tables
from gicmodel.layouts.lpi_tables import intids_of, table_bytes
from gicmodel.layouts.registers.by_name import RegisterFrame
from gicmodel.migration.guest import Spread as GuestSpread
from gicmodel.migration.guest import in_runs, in_turn, new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.trial import VmSize
from gicmodel.migration.workload import Event, Workload

SEED = 1


class _Stopwatch:
    """Counts the seconds that an ITS takes of its driver's time: a write of CWRITER returns when the queue is empty."""

    def __init__(self, gic: Gic) -> None:
        self.seconds = 0.0
        self.its = [_TimedFrame(its, self) for its in gic.its]
        self.redistributors = gic.redistributors


class _TimedFrame:
    def __init__(self, frame: RegisterFrame, watch: _Stopwatch) -> None:
        self._frame, self._watch = frame, watch
        self.read = frame.read

    def write(self, offset: int, value: int, size: int) -> None:
        start = perf_counter()
        self._frame.write(offset, value, size)
        self._watch.seconds += perf_counter() - start


class Flushing:
    """A VM at a point, stopped."""

    def __init__(self, point: FlushPoint) -> None:
        self.point = point
        host = Host("host", config_of(point), port=self._watched)
        self.vm = new_virtual_machine(host, point.vcpus, *point.devices, spread=_spread(point))
        self.dist, self.driver = self.vm.vgic.dist, host.driver
        self.vm.run_vcpus()
        self._workload = Workload(self.vm)
        self._pending = self._chosen(list(self._workload.targets))
        self._workload.fire(self._pending)
        self.vm.pause_vcpus()
        # The guest's tables are of that many bits, whatever the VPTs are of.
        self.bytes = table_bytes(INTERRUPT_ID_BITS_ITS)
        self._tables = np.array(self.dist.pending_tables)

    def prepare(self) -> None:
        """The guest's tables hold nothing, and the redistributors hold the pending bits, not yet written back."""
        for table in self._tables.tolist():
            self.vm.memory.zero(table, self.bytes)
        if not self.driver.gic.is_v4:
            return
        for number, device in enumerate(self.vm.devices):
            events = np.array([vector for of, vector in self._pending if of == number], np.int64)
            if len(events):
                for pending in (False, True):
                    self.driver.lpis.set_irqchip_state(device.its_device, events, pending)

    def flush(self, lpi_by_lpi: bool) -> dict[str, float]:
        """The seconds of each part, and of the whole."""
        if not self.driver.gic.is_v4:
            tables = timed(None, partial(write_pending_tables, self.dist, None, lpi_by_lpi))
            return {"tables": tables, "whole": tables}
        vlpis = self.dist.vlpis
        unmap, clean = self._timed_hardware(partial(vlpis.unmap_vpes, vlpis.vm.vpes))
        tables = timed(None, partial(write_pending_tables, self.dist, vlpis, lpi_by_lpi))
        map_, read = self._timed_hardware(partial(vlpis.map_vpes, vlpis.vm.vpes))
        times = (unmap, clean, tables, map_, read)
        return dict(zip(PARTS, times, strict=True)) | {"whole": unmap + tables + map_}

    def copy(self) -> Callable[[], object]:
        """memcpy between the places of the VPTs and of the guest's tables; on GICv3 among the latter."""
        guest, vm = self.vm.memory, self.vm.vgic.its_vm
        targets = (self._tables - guest.base) // 8
        if vm is None:
            return partial(peers.copy_tables, guest.words, targets, guest.words, targets[::-1].copy(), self.bytes // 8)
        host = self.vm.host.memory
        sources = (np.array([vpe.vpt_page for vpe in vm.vpes]) - host.base) // 8
        return partial(peers.copy_tables, guest.words, targets, host.words, sources, self.bytes // 8)

    def prove(self) -> None:
        """Unproven unless batch and loop write the bits that are pending, and no other."""
        expected = {self._workload.targets[event] for event in self._pending}
        for lpi_by_lpi in (False, True):
            self.prepare()
            self.flush(lpi_by_lpi)
            require(self._saved() == expected, f"pending tables of {self.point}")

    def _saved(self) -> set[tuple[int, int]]:
        return {
            (vcpu, intid)
            for vcpu, table in enumerate(self._tables.tolist())
            for intid in intids_of(np.frombuffer(self.vm.memory.read(table, self.bytes), np.uint8)).tolist()
        }

    def _watched(self, gic: Gic) -> _Stopwatch:
        self._watch = _Stopwatch(gic)
        return self._watch

    def _timed_hardware(self, work: Callable[[], object]) -> tuple[float, float]:
        before = self._watch.seconds
        return timed(None, work), self._watch.seconds - before

    def _chosen(self, events: Sequence[Event]) -> list[Event]:
        count = round(self.point.pending * len(events))
        return [events[n] for n in np.sort(np.random.default_rng(SEED).permutation(len(events))[:count]).tolist()]


def config_of(point: FlushPoint) -> GicConfig:
    """A host on which the VM fits. ValueError if there is none."""
    config = GicConfig(
        architecture=point.architecture,
        redistributors=HOST_CPUS,
        intid_bits=point.vpt_bits,
        vpt_writeback=point.writeback,
        caching=point.caching,
    )
    return config_for(config, VmSize(point.vcpus, *point.devices).lpis)


def measure_flush(point: FlushPoint, repeat: int, progress: Callable[[int], None] = lambda done: None) -> Flush:
    """Prove a flush and measure it `repeat` times; `progress` is told how often it has been.

    Raises:
        Unproven: the tables are wrong.
        DriverError, KvmError, ValueError: no host carries such a VM.
    """
    peak = PeakMemory()
    flushing = Flushing(point)
    flushing.prove()
    copy = flushing.copy()
    rounds: list[dict[str, float]] = []
    with no_collection():
        for number in range(repeat):
            flushing.prepare()
            times = flushing.flush(lpi_by_lpi=False)
            flushing.prepare()
            times["loop"] = flushing.flush(lpi_by_lpi=True)["whole"]
            times["memcpy"] = timed(None, copy)
            rounds.append(times)
            progress(number + 1)
    spreads = {name: spread_of([times[name] for times in rounds]) for name in rounds[0]}
    parts = {name: spreads[name] for name in PARTS if name in spreads}
    size = flushing.bytes * point.vcpus
    return Flush(point, spreads["whole"], parts, spreads["loop"], spreads["memcpy"], size, peak.octets())


def _spread(point: FlushPoint) -> GuestSpread:
    if point.spread == "random":
        return _at_random
    return in_turn if point.spread == "in-turn" else in_runs(-(-point.vlpis // point.vcpus))


def _at_random(events: NDArray[np.int64], vcpus: int) -> NDArray[np.int64]:
    return np.random.default_rng([SEED, int(events[0])]).integers(0, vcpus, len(events))
