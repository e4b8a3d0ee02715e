# SPDX-License-Identifier: Apache-2.0
"""A host whose kernel is Linux: what of it becomes a library, which is loaded anew for every boot."""

from __future__ import annotations

import errno
from collections.abc import Callable
from ctypes import CFUNCTYPE, byref, c_int, c_uint32, c_uint64
from functools import partial
from typing import Any

from gicmodel.fuzzing.peers.linux.build import Library, Recipe, built
from gicmodel.fuzzing.peers.linux.driver.host import PART_BYTES, PARTS, RAM_BASE, Host, HostFailure, Note
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.source import KernelSource

_IRQCHIP = "drivers/irqchip"
_ITS = f"{_IRQCHIP}/irq-gic-v3-its.c"
_HEADER = "include/linux/irqchip/arm-gic-v3.h"

ITS = Recipe(
    unit="its",
    cut={
        f"{_IRQCHIP}/irq-gic-v3.c": (
            "struct redist_region",
            "struct gic_chip_data",
            "gic_enable_redist",
            "gic_iterate_rdists",
            "__gic_populate_rdist",
            "gic_populate_rdist",
            "__gic_update_rdist_properties",
            "gic_update_rdist_properties",
            "gic_dist_supports_lpis",
        ),
        f"{_IRQCHIP}/irq-gic-common.c": ("gic_enable_of_quirks", "gic_enable_quirks"),
    },
    macros={
        "ITS_INIT_TAKES_PRIORITY": (_HEADER, r"int its_init\([^;]*u8 irq_prio"),
        "SYSCORE_HAS_DATA": (_ITS, r"int its_save_disable\(void \*"),
        "HAS_MSI_TEARDOWN": (_ITS, r"\.msi_teardown\b"),
    },
)
"""What of a kernel becomes the library with its ITS driver."""

_DIED = {-10000: "an oops", -10001: "a storm", -10002: "a hang"}
_READ, _WRITE, _RELAX = (
    CFUNCTYPE(c_uint64, c_uint64, c_int),
    CFUNCTYPE(None, c_uint64, c_uint64, c_int),
    CFUNCTYPE(None),
)


class LinuxHost(Host):
    """Linux' side; `complaint` takes what its kernel has warned of.

    What it is asked is a function of its library, host_<verb>, unless it is a method here.
    """

    def __init__(self, machine: HostMachine, source: KernelSource, note: Note | None = None) -> None:
        super().__init__(machine, note)
        self._path = built(source, ITS)
        self._library = Library(self._path)
        self._part = 0
        self._raised: BaseException | None = None

    @property
    def complaint(self) -> str:
        """The first warning or error message since the last look, "" for none."""
        return self._library.text("host_complaint")

    def check_memory(self) -> None:
        """Whoever has written where memory is free gives cause for a complaint."""
        self._library.call("host_check_memory")

    def close(self) -> None:
        """Unload the kernel."""
        self._library.close()

    def _operation(self, verb: str) -> Callable[..., Any]:
        return getattr(self, f"_{verb}", None) or partial(self._ask, verb)

    def _ask(self, name: str, *arguments: Any) -> int:
        """Call the library. What the model raises comes out here; HostFailure if the kernel fails."""
        code = self._library.call(f"host_{name}", *arguments)
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        if code in _DIED:
            raise HostFailure(f"{_DIED[code]} in {self._library.died_at}")
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
        before, self._library = self._library, Library(self._path)
        before.close()
        self.new_kernel()
        config, bus = self.machine.config, self.bus
        bases = [bus.base(f"GITS{n}") for n in range(config.its)]
        offset = self._part % PARTS * PART_BYTES
        part = bus.gic.memory.octets[offset:], RAM_BASE + offset, PART_BYTES
        relax = _RELAX(self._kept(bus.relax, None))
        self._callbacks = _READ(self._kept(bus.read, 0)), _WRITE(self._kept(bus.write, None)), relax
        counts = config.redistributors, config.its
        self._library.call("host_begin", *part, *self._callbacks, *counts, (c_uint64 * config.its)(*bases))
        self._ask("boot", bus.base("GICD"), bus.base("GICR0"))

    def _kept(self, function: Callable[..., Any], otherwise: Any) -> Callable[..., Any]:
        """The function for C, through which no exception can pass: it is kept."""

        def called(*arguments: int) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self._raised = self._raised or error
                return otherwise

        return called

    def _add_device(self, its: int, device_id: int, vectors: int) -> list[int]:
        self._events[its, device_id] = irqs = (c_int * vectors)()
        intids = (c_uint32 * vectors)()
        self._ask("add_device", self.bus.base(f"GITS{its}"), device_id, vectors, irqs, intids)
        return list(intids)

    def _remove_device(self, its: int, device_id: int) -> None:
        irqs = self._events.pop((its, device_id))
        self._ask("remove_device", irqs, len(irqs))

    def _begin_vm(self, vm: int, vcpus: int) -> list[int]:
        self._vpes[vm] = vpes = (c_uint64 * vcpus)()
        made, doorbells = c_uint64(), (c_uint32 * vcpus)()
        self._ask("begin_vm", vcpus, byref(made), vpes, doorbells)
        self._vms[vm] = made.value
        return list(doorbells)
