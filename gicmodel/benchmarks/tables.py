# SPDX-License-Identifier: Apache-2.0
"""SAVE_TABLES and RESTORE_TABLES of a guest's ITS, beside Linux' own vgic-its.c, compiled by the C compiler found here.

Both have the same guest in RAM of their own. Before each restore the ITS is reset, and its tables are as they were
saved; nothing is pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, PeerMissing, Side, require
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.linux.kvm.linux_vm import LinuxVm
from gicmodel.fuzzing.peers.linux.kvm.machine import MOST_VCPUS, RAM_BASE, VirtualMachine
from gicmodel.fuzzing.peers.linux.kvm.model_vm import ModelVm
from gicmodel.fuzzing.peers.linux.kvm.vm import OK, Vm
from gicmodel.fuzzing.peers.linux.source import source_for
from gicmodel.kvm import KvmBehaviour
from gicmodel.layouts.commands import encode
from gicmodel.layouts.kvm_abi import KVM_ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER

OnVm = Callable[[Vm], object]
DEVICES, EVENTS, QUICK = 448, 128, 2
EVENT_BITS = 7
ITT_BYTES = KVM_ITE.bytes << EVENT_BITS
QUEUE, DEVICE_TABLE, COLLECTION_TABLE = RAM_BASE, RAM_BASE + 0x1_0000, RAM_BASE + 0x2_0000
CONFIGURATION, ITTS, PENDING = RAM_BASE + 0x4_0000, RAM_BASE + 0x6_0000, RAM_BASE + 0x10_0000
ITS_TABLES = {
    "GITS_CBASER": GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=15),
    "GITS_BASER0": GITS_BASER.pack(Valid=1, Physical_Address=DEVICE_TABLE),
    "GITS_BASER1": GITS_BASER.pack(Valid=1, Physical_Address=COLLECTION_TABLE),
}


def restart(vm: Vm) -> None:
    """The ITS has forgotten everything, and knows again where its tables are."""
    vm.do("reset", 0)
    for name, value in ITS_TABLES.items():
        vm.do("its_user_write", 0, register(name, "3").offset, value)


def boot(vm: Vm, devices: int) -> None:
    """The guest enables its LPIs and maps `devices` devices of `EVENTS` events each, to the vCPUs in turn."""
    enabled = LPI_CONFIGURATION.pack(Priority=0xA0, Enable=1)
    vm.do("fill", CONFIGURATION, (1 << 16) - FIRST_LPI, enabled)
    for vcpu in range(MOST_VCPUS):
        pending = GICR_PENDBASER.pack(Physical_Address=PENDING + 0x1_0000 * vcpu)
        configuration = GICR_PROPBASER.pack(Physical_Address=CONFIGURATION, IDbits=15)
        for name, value in (("GICR_PENDBASER", pending), ("GICR_PROPBASER", configuration)):
            vm.do("rd_write", vcpu, register(name).offset, value, 8)
        vm.do("rd_write", vcpu, register("GICR_CTLR").offset, GICR_CTLR.pack(EnableLPIs=1), 4)
    restart(vm)
    for vcpu in range(MOST_VCPUS):
        require(vm.command(0, encode("MAPC", "3", ICID=vcpu, RDbase=vcpu, V=1)) == OK, "MAPC")
    for device in range(devices):
        fields = {"Size": EVENT_BITS - 1, "ITT_addr": ITTS + ITT_BYTES * device, "V": 1}
        require(vm.command(0, encode("MAPD", "3", DeviceID=device, **fields)) == OK, "MAPD")
        for event in range(EVENTS):
            intid = FIRST_LPI + device * EVENTS + event
            fields = {"EventID": event, "pINTID": intid, "ICID": intid % MOST_VCPUS}
            require(vm.command(0, encode("MAPTI", "3", DeviceID=device, **fields)) == OK, "MAPTI")


@lru_cache(maxsize=1)
def guests(devices: int) -> tuple[Vm, Vm]:
    """The model's and Linux', as they have booted."""
    try:
        source = source_for(None)
        machine = VirtualMachine("3", MOST_VCPUS, 1, vsgis=False)
        pair = ModelVm(machine, KvmBehaviour.release(source.release)), LinuxVm(machine, source)
    except UnusableInput as error:
        raise PeerMissing(str(error)) from error
    for vm in pair:
        boot(vm, devices)
    return pair


def prove(model: Vm, linux: Vm) -> None:
    """Raise Unproven unless both save the same bytes, and restore the same events."""
    for vm in (model, linux):
        require(vm.do("save_tables", 0) == OK, "SAVE_TABLES")
    require(np.array_equal(model.ram, linux.ram), "guest RAM")
    for vm in (model, linux):
        restart(vm)
        require(vm.do("restore_tables", 0) == OK, "RESTORE_TABLES")
    require(model.state() == linux.state(), "what was restored")


@contextmanager
def beside_linux(operation: OnVm, prepare: OnVm | None, quick: bool) -> Iterator[Case]:
    """One of the two, on both."""
    devices = QUICK if quick else DEVICES
    model, linux = guests(devices)
    ours, theirs = (
        Side(name, partial(operation, vm), devices * EVENTS, partial(prepare, vm) if prepare else None)
        for name, vm in (("model", model), ("vgic-its.c", linux))
    )
    yield Case(ours, theirs, "event", partial(prove, model, linux))


BENCHMARKS = (
    Benchmark("save, 57,344 events", partial(beside_linux, lambda vm: vm.do("save_tables", 0), None), Goal("cost", 3)),
    Benchmark(
        "restore, 57,344 events", partial(beside_linux, lambda vm: vm.do("restore_tables", 0), restart), Goal("cost", 3)
    ),
)
