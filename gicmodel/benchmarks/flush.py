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

from gicmodel.benchmarks.flush_points import MEASURED, PARTS, Flush, FlushPoint, devices_of
from gicmodel.benchmarks.harness import PeakMemory, no_collection, require, spread_of, timed
from gicmodel.benchmarks.machines import HOST_CPUS, GuestTables, size_of
from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.layouts.lpi_tables import intids_of
from gicmodel.layouts.registers.by_name import RegisterFrame
from gicmodel.migration.guest import Spread as GuestSpread
from gicmodel.migration.guest import in_runs, in_turn, new_virtual_machine
from gicmodel.migration.host import Host, config_for
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


class Flushing(GuestTables):
    """A VM at a point, stopped."""

    def __init__(self, point: FlushPoint) -> None:
        self.point = point
        host = Host("host", config_of(point), port=self._watched)
        vm = new_virtual_machine(host, point.vcpus, *devices_of(point.vlpis), spread=_spread(point))
        vm.run_vcpus()
        self._workload = Workload(vm)
        self._pending = self._chosen(list(self._workload.targets))
        self._workload.fire(self._pending)
        vm.pause_vcpus()
        super().__init__(vm)

    def prepare(self) -> None:
        """The guest's tables hold nothing, and the redistributors hold the pending bits, not yet written back."""
        self.clear()
        for number, device in enumerate(self.vm.devices if self.vlpis else ()):
            events = np.array([vector for of, vector in self._pending if of == number], np.int64)
            if len(events):
                for pending in (False, True):
                    self.vm.host.driver.lpis.set_irqchip_state(device.its_device, events, pending)

    def flush(self, lpi_by_lpi: bool) -> dict[str, float]:
        """The seconds of each part, and of the whole."""
        write = partial(self.write, lpi_by_lpi)
        if self.vlpis is None:
            tables = timed(None, write)
            return {"tables": tables, "whole": tables}
        unmap, clean = self._timed_hardware(partial(self.vlpis.unmap_vpes, self.vpes))
        tables = timed(None, write)
        map_, read = self._timed_hardware(partial(self.vlpis.map_vpes, self.vpes))
        times = (unmap, clean, tables, map_, read)
        return dict(zip(PARTS, times, strict=True)) | {"whole": unmap + tables + map_}

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
            for vcpu, octets in enumerate(self.octets())
            for intid in intids_of(np.frombuffer(octets, np.uint8)).tolist()
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
    return config_for(config, size_of(point.vlpis, point.vcpus).lpis)


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
    seconds = {name: spread_of([times[name] for times in rounds]) for name in MEASURED if name in rounds[0]}
    return Flush(point, seconds, flushing.bytes * point.vcpus, peak.octets())


def _spread(point: FlushPoint) -> GuestSpread:
    if point.spread == "random":
        return _at_random
    return in_turn if point.spread == "in-turn" else in_runs(-(-point.vlpis // point.vcpus))


def _at_random(events: NDArray[np.int64], vcpus: int) -> NDArray[np.int64]:
    return np.random.default_rng([SEED, int(events[0])]).integers(0, vcpus, len(events))
