# SPDX-License-Identifier: Apache-2.0
"""A host whose kernel is Linux: the library of its driver, loaded anew for every boot."""

from __future__ import annotations

import _ctypes
import ctypes
import errno
import shutil
import tempfile
from ctypes import POINTER, c_bool, c_char_p, c_int, c_long, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from gicmodel.fuzzing.peers.linux.build import built
from gicmodel.fuzzing.peers.linux.driver.host import PART_BYTES, PARTS, RAM_BASE, EventKey, Host, HostFailure, VpeKey
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.recipe import ITS
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.layouts.lpi_tables import VSGIS

_DIED = {-10000: "an oops", -10001: "a storm", -10002: "a hang"}
_COMPLAINT_BYTES = 256
_VPT, _COLUMN, _PENDING_LAST = 2, 4, 5
"""Places in what `host_vpe` says."""
_DOORBELL = 1

_IRQ, _VPE = (c_int,), (c_void_p, c_int)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "begin": (None, (c_void_p, c_uint64, c_uint64, c_void_p, c_void_p, c_void_p, c_int, c_int, POINTER(c_uint64))),
    "complaint": (c_bool, (c_char_p,)),
    "died_at": (c_char_p, ()),
    "boot": (c_long, (c_uint64, c_uint64)),
    "plug": (c_long, (c_int,)),
    "unplug": (c_long, (c_int, c_int)),
    "run_on": (None, (c_int,)),
    "suspend": (c_long, ()),
    "check_memory": (None, ()),
    "add_device": (c_long, (c_uint64, c_uint32, c_int, POINTER(c_int))),
    "remove_device": (c_long, (POINTER(c_int), c_int)),
    **dict.fromkeys(("request", "free", "get_pending", "unforward", "end_vsgi"), (c_long, _IRQ)),
    "mask": (c_long, (c_int, c_bool)),
    "set_affinity": (c_long, (c_int, c_int)),
    "set_pending": (c_long, (c_int, c_bool)),
    "intid": (c_uint32, _IRQ),
    "cpu_of": (c_int, _IRQ),
    "new_vm": (c_void_p, (c_int,)),
    **dict.fromkeys(("begin_vm", "end_vm"), (c_long, (c_void_p,))),
    **dict.fromkeys(("unmap_vpe", "map_vpe", "take_doorbell", "invall"), (c_long, _VPE)),
    "vpe": (None, (*_VPE, c_void_p)),
    "load": (c_long, (*_VPE, c_bool, c_bool)),
    "put": (c_long, (*_VPE, c_bool)),
    "forward": (c_long, (c_int, *_VPE, c_uint32, c_uint8)),
    "set_property": (c_long, (c_int, c_uint8, c_bool)),
    "vsgi": (c_int, (*_VPE, c_int)),
    "begin_vsgi": (c_long, (c_int, c_bool, c_bool, c_uint8)),
    "set_vsgi": (c_long, (c_int, c_bool, c_uint8)),
    "enable_vsgi": (c_long, (c_int, c_bool)),
}


class LinuxHost(Host):
    """Linux' side; `complaint` takes what its kernel has warned of."""

    def __init__(self, machine: HostMachine, source: KernelSource, records: bool = False) -> None:
        super().__init__(machine, records)
        self._path = built(source, ITS)
        self._library: ctypes.CDLL | None = None
        self._part = 0
        self._text = ctypes.create_string_buffer(_COMPLAINT_BYTES)
        self._values = np.zeros(6, np.uint64)

    # The kernel.

    def boot(self) -> int:
        """Power on."""
        self.new_bus()
        self._part = 0
        return self._boot()

    def kexec(self) -> int:
        """Another kernel over the same GIC, in other RAM; the old one says good-bye to nobody."""
        self._part += 1
        return self._boot()

    def close(self) -> None:
        """Unload the kernel."""
        if self._library is not None:
            _ctypes.dlclose(self._library._handle)
            self._library = None

    def suspend(self) -> int:
        """To sleep and up again."""
        return self._ask("suspend")

    def plug(self, cpu: int) -> int:
        """A CPU comes up again."""
        return self._ask("plug", cpu)

    def unplug(self, cpu: int, other: int) -> int:
        """A CPU goes down; `other` is one that stays."""
        return self._ask("unplug", cpu, other)

    @property
    def complaint(self) -> str:
        """The first warning or error message since the last look, "" for none."""
        assert self._library is not None
        self._library.host_complaint(self._text)
        return self._text.value.decode()

    def check_memory(self) -> None:
        """Whoever has written where memory is free gives cause for a complaint."""
        assert self._library is not None
        self._library.host_check_memory()

    def _boot(self) -> int:
        self.close()
        self._library = _loaded(self._path)
        self._irqs: dict[tuple[int, int], Any] = {}
        self._vms: dict[int, int] = {}
        self._vcpus: dict[int, int] = {}
        self._running: dict[VpeKey, int] = {}
        self._vsgis: dict[tuple[int, int, int], int] = {}
        config, bus = self.machine.config, self.bus
        bases = [bus.bus.base(f"GITS{n}") for n in range(config.its)]
        offset = self._part % PARTS * PART_BYTES
        self._library.host_begin(
            bus.gic.memory.octets.ctypes.data + offset,
            RAM_BASE + offset,
            PART_BYTES,
            *(ctypes.cast(each, c_void_p) for each in bus.callbacks),
            config.redistributors,
            config.its,
            (c_uint64 * config.its)(*bases),
        )
        self._ask("boot", bus.bus.base("GICD"), bus.bus.base("GICR0"))
        for cpu in range(1, config.redistributors):
            self._ask("plug", cpu)
        self._run_on(0)
        return 0

    def _run_on(self, cpu: int) -> None:
        assert self._library is not None
        self._library.host_run_on(cpu)

    def _ask(self, name: str, *arguments: Any) -> int:
        """Call the library. What the model raises comes out here; HostFailure if the kernel fails."""
        assert self._library is not None
        code = int(getattr(self._library, f"host_{name}")(*arguments))
        if self.bus.raised is not None:
            raised, self.bus.raised = self.bus.raised, None
            raise raised
        if code in _DIED:
            raise HostFailure(f"{_DIED[code]} in {self._library.host_died_at().decode()}")
        if code < 0:
            raise HostFailure(errno.errorcode.get(-code, str(code)))
        return code

    # Devices.

    def add_device(self, its: int, device_id: int, vectors: int) -> list[int]:
        assert self._library is not None
        irqs = (c_int * vectors)()
        self._ask("add_device", self.bus.bus.base(f"GITS{its}"), device_id, vectors, irqs)
        self._irqs[its, device_id] = irqs
        return [int(self._library.host_intid(irq)) for irq in irqs]

    def remove_device(self, its: int, device_id: int) -> int:
        irqs = self._irqs.pop((its, device_id))
        return self._ask("remove_device", irqs, len(irqs))

    def _irq(self, event: EventKey) -> int:
        return int(self._irqs[event[:2]][event[2]])

    def request(self, its: int, device_id: int, event_id: int, cpu: int) -> int:
        irq = self._irq((its, device_id, event_id))
        self._ask("request", irq)
        return self._ask("cpu_of", irq)

    def free(self, its: int, device_id: int, event_id: int) -> int:
        return self._ask("free", self._irq((its, device_id, event_id)))

    def affinity(self, its: int, device_id: int, event_id: int, cpu: int) -> int:
        irq = self._irq((its, device_id, event_id))
        self._ask("set_affinity", irq, cpu)
        return self._ask("cpu_of", irq)

    def cpu_of(self, its: int, device_id: int, event_id: int) -> int:
        """The CPU that an interrupt goes to."""
        return self._ask("cpu_of", self._irq((its, device_id, event_id)))

    def mask(self, its: int, device_id: int, event_id: int, masked: int) -> int:
        return self._ask("mask", self._irq((its, device_id, event_id)), masked)

    def set_pending(self, its: int, device_id: int, event_id: int, pending: int) -> int:
        return self._ask("set_pending", self._irq((its, device_id, event_id)), pending)

    # Virtual machines.

    def begin_vm(self, vm: int, vcpus: int) -> list[int]:
        assert self._library is not None
        self._vms[vm] = self._library.host_new_vm(vcpus)
        self._vcpus[vm] = vcpus
        self._ask("begin_vm", self._vms[vm])
        if self.machine.config.v41:
            for vcpu in range(vcpus):
                for sgi in range(VSGIS):
                    self._vsgis[vm, vcpu, sgi] = self._library.host_vsgi(self._vms[vm], vcpu, sgi)
        return [self._vpe((vm, vcpu))[_DOORBELL] for vcpu in range(vcpus)]

    def end_vm(self, vm: int) -> int:
        return self._ask("end_vm", self._vms.pop(vm))

    def unmap_vpes(self, vm: int) -> int:
        return self._each_vpe("unmap_vpe", vm)

    def map_vpes(self, vm: int) -> int:
        return self._each_vpe("map_vpe", vm)

    def _each_vpe(self, name: str, vm: int) -> int:
        for vcpu in range(self._vcpus[vm]):
            self._ask(name, self._vms[vm], vcpu)
        return 0

    def _vpe(self, vpe: VpeKey) -> list[int]:
        assert self._library is not None
        self._library.host_vpe(self._vms[vpe[0]], vpe[1], self._values.ctypes.data)
        values: list[int] = self._values.tolist()
        return values

    def vpt(self, vm: int, vcpu: int) -> int:
        return self._vpe((vm, vcpu))[_VPT]

    def cpu_of_vpe(self, vm: int, vcpu: int) -> int:
        return self._vpe((vm, vcpu))[_COLUMN]

    def forward(self, its: int, device_id: int, event_id: int, vm: int, vcpu: int, vintid: int, byte: int) -> int:
        return self._ask("forward", self._irq((its, device_id, event_id)), self._vms[vm], vcpu, vintid, byte)

    def unforward(self, its: int, device_id: int, event_id: int) -> int:
        return self._ask("unforward", self._irq((its, device_id, event_id)))

    def configure(self, its: int, device_id: int, event_id: int, byte: int, inv: int) -> int:
        return self._ask("set_property", self._irq((its, device_id, event_id)), byte, inv)

    def load(self, vm: int, vcpu: int, cpu: int, group0: int) -> int:
        self._run_on(cpu)
        self._running[vm, vcpu] = cpu
        return self._ask("load", self._vms[vm], vcpu, group0, True)

    def put(self, vm: int, vcpu: int, doorbell: int) -> int:
        self._run_on(self._running.pop((vm, vcpu)))
        self._ask("put", self._vms[vm], vcpu, doorbell)
        return self._vpe((vm, vcpu))[_PENDING_LAST]

    def take_doorbell(self, vm: int, vcpu: int) -> int:
        return self._ask("take_doorbell", self._vms[vm], vcpu)

    def invall(self, vm: int, vcpu: int) -> int:
        return self._ask("invall", self._vms[vm], vcpu)

    # vSGIs.

    def begin_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int, group: int, byte: int) -> int:
        return self._ask("begin_vsgi", self._vsgis[vm, vcpu, sgi], enabled, group, byte)

    def end_vsgi(self, vm: int, vcpu: int, sgi: int) -> int:
        return self._ask("end_vsgi", self._vsgis[vm, vcpu, sgi])

    def set_vsgi(self, vm: int, vcpu: int, sgi: int, group: int, byte: int) -> int:
        return self._ask("set_vsgi", self._vsgis[vm, vcpu, sgi], group, byte)

    def enable_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int) -> int:
        return self._ask("enable_vsgi", self._vsgis[vm, vcpu, sgi], enabled)

    def set_vsgi_pending(self, vm: int, vcpu: int, sgi: int, pending: int) -> int:
        return self._ask("set_pending", self._vsgis[vm, vcpu, sgi], pending)

    def vsgi_pending(self, vm: int, vcpu: int, sgi: int) -> int:
        return self._ask("get_pending", self._vsgis[vm, vcpu, sgi])


def _loaded(path: Path) -> ctypes.CDLL:
    """The library once more, with variables of its own: the loader knows a file that it has by its inode."""
    with tempfile.NamedTemporaryFile(suffix=".so") as copy:
        shutil.copyfile(path, copy.name)
        loaded = ctypes.CDLL(copy.name)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, f"host_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded
