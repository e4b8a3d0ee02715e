# SPDX-License-Identifier: Apache-2.0
"""A host whose kernel is Linux: the library of its driver, loaded anew for every boot."""

from __future__ import annotations

import _ctypes
import ctypes
import errno
import shutil
import tempfile
from collections.abc import Callable
from ctypes import POINTER, c_bool, c_char_p, c_int, c_long, c_uint32, c_uint64, c_void_p
from functools import partial
from pathlib import Path
from typing import Any

from gicmodel.fuzzing.peers.linux.build import built
from gicmodel.fuzzing.peers.linux.driver.host import PART_BYTES, PARTS, RAM_BASE, Host, HostFailure
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine, VpeKey
from gicmodel.fuzzing.peers.linux.driver.recipe import ITS
from gicmodel.fuzzing.peers.linux.source import KernelSource

_DIED = {-10000: "an oops", -10001: "a storm", -10002: "a hang"}
_COMPLAINT_BYTES = 256

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "begin": (None, (c_void_p, c_uint64, c_uint64, c_void_p, c_void_p, c_void_p, c_int, c_int, POINTER(c_uint64))),
    "complaint": (c_bool, (c_char_p,)),
    "died_at": (c_char_p, ()),
    "boot": (c_long, (c_uint64, c_uint64)),
    "check_memory": (None, ()),
    "add_device": (c_long, (c_uint64, c_uint32, c_int, POINTER(c_int), POINTER(c_uint32))),
}
"""Of functions that take or return something else than numbers of 32 bits and pointers that ctypes knows."""


class LinuxHost(Host):
    """Linux' side; `complaint` takes what its kernel has warned of.

    What it is asked is a function of its library, host_<verb>, unless it is a method here.
    """

    def __init__(self, machine: HostMachine, source: KernelSource, records: bool = False) -> None:
        super().__init__(machine, records)
        self._path = built(source, ITS)
        self._loaded: ctypes.CDLL | None = None
        self._part = 0
        self._text = ctypes.create_string_buffer(_COMPLAINT_BYTES)

    @property
    def complaint(self) -> str:
        """The first warning or error message since the last look, "" for none."""
        self._library.host_complaint(self._text)
        return self._text.value.decode()

    def check_memory(self) -> None:
        """Whoever has written where memory is free gives cause for a complaint."""
        self._library.host_check_memory()

    def close(self) -> None:
        """Unload the kernel."""
        if self._loaded is not None:
            _ctypes.dlclose(self._loaded._handle)
            self._loaded = None

    @property
    def _library(self) -> ctypes.CDLL:
        assert self._loaded is not None
        return self._loaded

    def _operation(self, verb: str) -> Callable[..., Any]:
        return getattr(self, f"_{verb}", None) or partial(self._ask, verb)

    def event(self, its: int, device_id: int, number: int) -> int:
        """Its interrupt."""
        return int(self._irqs[its, device_id][number])

    def vpe(self, vm: int, vcpu: int) -> c_void_p:
        """Its address."""
        return self._vpes[vm, vcpu]

    def vm(self, number: int) -> c_void_p:
        """Its address."""
        return self._vms[number]

    def _ask(self, name: str, *arguments: Any) -> int:
        """Call the library. What the model raises comes out here; HostFailure if the kernel fails."""
        function = getattr(self._library, f"host_{name}")
        function.restype = c_long
        code = int(function(*arguments))
        if self.bus.raised is not None:
            raised, self.bus.raised = self.bus.raised, None
            raise raised
        if code in _DIED:
            raise HostFailure(f"{_DIED[code]} in {self._library.host_died_at().decode()}")
        if code < 0:
            raise HostFailure(errno.errorcode.get(-code, str(code)))
        return code

    # What is not just a call of the library.

    def _boot(self) -> None:
        """Power on."""
        self.new_bus()
        self._part = 0
        self._begin()

    def _kexec(self) -> None:
        """Another kernel over the same GIC, in other RAM; the old one says good-bye to nobody."""
        self._part += 1
        self._begin()

    def _begin(self) -> None:
        self.close()
        self._loaded = _loaded(self._path)
        self._irqs: dict[tuple[int, int], Any] = {}
        self._vms: dict[int, c_void_p] = {}
        self._vpes: dict[VpeKey, c_void_p] = {}
        config, bus = self.machine.config, self.bus
        bases = [bus.base(f"GITS{n}") for n in range(config.its)]
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
        self._ask("boot", bus.base("GICD"), bus.base("GICR0"))

    def _add_device(self, its: int, device_id: int, vectors: int) -> list[int]:
        self._irqs[its, device_id] = irqs = (c_int * vectors)()
        intids = (c_uint32 * vectors)()
        self._ask("add_device", self.bus.base(f"GITS{its}"), device_id, vectors, irqs, intids)
        return list(intids)

    def _remove_device(self, its: int, device_id: int) -> None:
        irqs = self._irqs.pop((its, device_id))
        self._ask("remove_device", irqs, len(irqs))

    def _begin_vm(self, vm: int, vcpus: int) -> list[int]:
        self._vms[vm], vpes, doorbells = c_void_p(), (c_void_p * vcpus)(), (c_uint32 * vcpus)()
        self._ask("begin_vm", vcpus, ctypes.byref(self._vms[vm]), vpes, doorbells)
        self._vpes |= {(vm, vcpu): c_void_p(vpe) for vcpu, vpe in enumerate(vpes)}
        return list(doorbells)


def _loaded(path: Path) -> ctypes.CDLL:
    """The library once more, with variables of its own: the loader knows a file that it has by its inode."""
    with tempfile.NamedTemporaryFile(suffix=".so") as copy:
        shutil.copyfile(path, copy.name)
        loaded = ctypes.CDLL(copy.name)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, f"host_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded
