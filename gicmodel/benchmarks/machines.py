# SPDX-License-Identifier: Apache-2.0
"""Virtual machines to measure, all events forwarded, some pending, and the pending tables of their guests."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.flush_points import devices_of
from gicmodel.benchmarks.harness import Work
from gicmodel.config import GicConfig
from gicmodel.hardware.kernels.ram import copy_words
from gicmodel.jit import kernel
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS
from gicmodel.kvm.pending_tables import write_pending_tables
from gicmodel.layouts.lpi_tables import table_bytes
from gicmodel.migration.guest import in_runs, new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.trial import VmSize, raise_some

PENDING = 0.25
HOST_CPUS = 16


def size_of(vlpis: int, vcpus: int) -> VmSize:
    """A VM of that many vLPIs; see `devices_of`."""
    return VmSize(vcpus, *devices_of(vlpis))


def new_host(name: str, size: VmSize) -> Host:
    """A host on which such a VM fits."""
    return Host(name, config_for(GicConfig(redistributors=HOST_CPUS), size.lpis))


def running_machine(size: VmSize, in_a_row: int = 1) -> VirtualMachine:
    """A VM whose devices have raised a quarter of their interrupts; so many `in_a_row` go to each vCPU in turn."""
    vm = new_virtual_machine(new_host("source", size), size.vcpus, size.devices, size.vectors, spread=in_runs(in_a_row))
    vm.run_vcpus()
    raise_some(vm, PENDING, np.random.default_rng(1))
    return vm


class GuestTables:
    """The pending tables of a guest that is stopped, and the VPTs that they are written from; GICv3 has no `vlpis`."""

    def __init__(self, vm: VirtualMachine) -> None:
        self.vm, self.dist = vm, vm.vgic.dist
        self.vlpis = self.dist.vlpis if self.dist.has_gicv4 else None
        self.vpes = self.vlpis.vm.vpes if self.vlpis else []
        # They are of that many bits, whatever the VPTs are of.
        self.bytes = table_bytes(INTERRUPT_ID_BITS_ITS)
        self.addresses = np.array(self.dist.pending_tables)

    def clear(self) -> None:
        """They hold nothing."""
        for table in self.addresses.tolist():
            self.vm.memory.zero(table, self.bytes)

    def octets(self) -> list[bytes]:
        """What they hold."""
        return [self.vm.memory.read(table, self.bytes) for table in self.addresses.tolist()]

    def write(self, lpi_by_lpi: bool) -> None:
        """What a save does with the vPEs unmapped."""
        write_pending_tables(self.dist, self.vlpis, lpi_by_lpi)

    def copy(self) -> Work:
        """memcpy of the VPTs to the tables; on GICv3 among the latter."""
        guest, host = self.vm.memory, self.vm.host.memory
        targets = (self.addresses - guest.base) // 8
        if self.vlpis is None:
            return partial(copy_tables, guest.words, targets, guest.words, targets[::-1].copy(), self.bytes // 8)
        sources = (np.array([vpe.vpt_page for vpe in self.vpes]) - host.base) // 8
        return partial(copy_tables, guest.words, targets, host.words, sources, self.bytes // 8)


@kernel
def copy_tables(
    target: NDArray[np.uint64],
    targets: NDArray[np.int64],
    source: NDArray[np.uint64],
    sources: NDArray[np.int64],
    words: int,
) -> None:
    """Copy tables of so many `words` from RAM to RAM; where each starts, in words."""
    for table in range(len(targets)):
        here, there = sources[table], targets[table]
        copy_words(source[here : here + words], target[there : there + words])
