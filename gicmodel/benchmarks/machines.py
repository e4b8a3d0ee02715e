# SPDX-License-Identifier: Apache-2.0
"""Virtual machines to measure: all events forwarded, some pending."""

from __future__ import annotations

import numpy as np

from gicmodel.benchmarks.flush_points import VECTORS
from gicmodel.config import GicConfig
from gicmodel.migration.guest import in_runs, new_virtual_machine
from gicmodel.migration.host import Host, config_for
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.trial import VmSize, raise_some

PENDING = 0.25
HOST_CPUS = 16


def size_of(vlpis: int, vcpus: int) -> VmSize:
    """A VM of that many vLPIs, in devices of 128 vectors or one smaller device."""
    vectors = min(VECTORS, vlpis)
    return VmSize(vcpus, vlpis // vectors, vectors)


def new_host(name: str, size: VmSize) -> Host:
    """A host on which such a VM fits."""
    return Host(name, config_for(GicConfig(redistributors=HOST_CPUS), size.lpis))


def running_machine(size: VmSize, in_a_row: int = 1) -> VirtualMachine:
    """A VM whose devices have raised a quarter of their interrupts; so many `in_a_row` go to each vCPU in turn."""
    vm = new_virtual_machine(new_host("source", size), size.vcpus, size.devices, size.vectors, spread=in_runs(in_a_row))
    vm.run_vcpus()
    raise_some(vm, PENDING, np.random.default_rng(1))
    return vm
