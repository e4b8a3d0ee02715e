# SPDX-License-Identifier: Apache-2.0
"""The virtual machine of a kernel: its library, and what it answers."""

from __future__ import annotations

import ctypes
import errno
import re
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_long, c_uint32, c_uint64, c_void_p
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.peers.linux.build import built
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_BYTES, VirtualMachine
from gicmodel.fuzzing.peers.linux.kvm.recipe import VGIC
from gicmodel.fuzzing.peers.linux.kvm.vm import OK, OOPS, STORM, Calls, Face, State, Vm
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.programs.program import CommandWords
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.memory import PAGE_BYTES

_HOSTS = {("3", False): 0, ("4.0", False): 1, ("4.1", False): 2, ("4.1", True): 3}
_DIED = {-10000: OOPS, -10001: STORM}
_FRAMES: dict[Face, int] = {"dist": 0, "rd": 1, "its": 256}
"""The numbers of the first frames."""
_CONTROLS = {"save_tables": 1, "restore_tables": 2, "reset": 4}
"""KVM_DEV_ARM_ITS_SAVE_TABLES, _RESTORE_TABLES and KVM_DEV_ARM_ITS_CTRL_RESET."""
_ITS_REGISTERS, _REGISTERS = 7, 3
_ROOM = 1 << 16
"""Rows of state; of no test's VM there are as many."""

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "vm_create": (c_void_p, (c_int, c_int, c_int, c_uint64, c_uint64, c_void_p, c_void_p)),
    "vm_initialise": (c_long, (c_void_p,)),
    "vm_destroy": (c_long, (c_void_p,)),
    "vm_died_at": (c_char_p, ()),
    "vm_take_warnings": (c_int, ()),
    "vm_write": (c_long, (c_void_p, c_int, c_uint32, c_uint64, c_int)),
    "vm_read": (c_long, (c_void_p, c_int, c_uint32, c_int, POINTER(c_uint64))),
    "vm_command": (c_long, (c_void_p, c_int, c_void_p)),
    "vm_send_sgi": (c_long, (c_void_p, c_int, c_int)),
    "vm_msi": (c_long, (c_void_p, c_int, c_uint32, c_uint32)),
    "vm_its_control": (c_long, (c_void_p, c_int, c_uint64)),
    "vm_its_register": (c_long, (c_void_p, c_int, c_uint64, POINTER(c_uint64), c_bool)),
    "vm_user_register": (c_long, (c_void_p, c_int, c_uint32, POINTER(c_uint32), c_bool)),
    "vm_save_pending_tables": (c_long, (c_void_p,)),
    "vm_sync": (c_long, (c_void_p, c_int)),
    "vm_take": (c_long, (c_void_p, c_int, c_void_p)),
    "vm_load": (c_long, (c_void_p, c_int)),
    "vm_put": (c_long, (c_void_p, c_int, c_bool)),
    "vm_set_forwarding": (c_long, (c_void_p, c_int, c_uint32, c_uint32, c_int)),
    "vm_unset_forwarding": (c_long, (c_void_p, c_int, c_uint32, c_uint32, c_int)),
    "vm_change_route": (c_long, (c_void_p, c_void_p, c_void_p, c_int)),
    "vm_device_event": (c_bool, (c_int,)),
    "vm_devices": (c_int, (c_void_p, c_int, c_void_p, c_int)),
    "vm_events": (c_int, (c_void_p, c_int, c_void_p, c_int)),
    "vm_collections": (c_int, (c_void_p, c_int, c_void_p, c_int)),
    "vm_lpis": (c_int, (c_void_p, c_void_p, c_int)),
    "vm_sgis": (None, (c_void_p, c_void_p)),
    "vm_its_registers": (None, (c_void_p, c_int, c_void_p)),
    "vm_registers": (None, (c_void_p, c_void_p)),
    "vm_forwarded": (c_int, (c_void_p, c_int)),
    "vm_asked": (POINTER(c_int), ()),
}


@cache
def library(path: Path) -> ctypes.CDLL:
    """A library that `VGIC` makes, with the types of its functions."""
    loaded = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class LinuxVm(Vm):
    """Linux' side. `died_at` says where the kernel has died, if it has; then only `boot` makes sense."""

    def __init__(self, machine: VirtualMachine, source: KernelSource) -> None:
        super().__init__(machine)
        self._linux = library(built(source, VGIC))
        self._command_errors = _command_errors(source)
        self._kvm: int | None = None
        self._rows = np.zeros(8 * _ROOM, np.int64)
        self._sgis = np.zeros((machine.vcpus, VSGIS, 7), np.int64)
        self._intids = np.zeros(_ROOM, np.uint32)
        self.boot()

    def create(self) -> object:
        """End the VM that is there, unless it has died, and make a new one; LEAK if the old one has left an LPI."""
        left = self.close()
        machine = self._machine
        self.ram = np.zeros(RAM_BYTES, np.uint8)
        self._dirty = np.zeros(RAM_BYTES // PAGE_BYTES, np.uint8)
        self._routes: dict[int, tuple[int, int, int]] = {}
        self._kvm = self._linux.vm_create(
            machine.vcpus,
            machine.its,
            _HOSTS[machine.architecture, machine.vsgis],
            RAM_BASE,
            RAM_BYTES,
            self.ram.ctypes.data,
            self._dirty.ctypes.data,
        )
        return left

    def close(self) -> object:
        """End the VM."""
        kvm, self._kvm = self._kvm, None
        return OK if kvm is None else self._result(self._linux.vm_destroy(kvm))

    @property
    def died_at(self) -> str:
        """The function that was the kernel's end, if it has died."""
        return str(self._linux.vm_died_at().decode())

    def _result(self, code: int) -> object:
        if code in self._command_errors:
            return self._command_errors[code]
        if code in _DIED:
            self._kvm = None
            return _DIED[code]
        if self._linux.vm_take_warnings():
            return "WARNING"
        return errno.errorcode.get(-code, str(code)) if code < 0 else code or OK

    def _call(self, function: str, *arguments: object) -> object:
        """What a function comes to that is given the VM first."""
        return self._result(getattr(self._linux, function)(self._kvm, *arguments))

    def calls(self) -> Calls:
        return super().calls() | {
            **{verb: partial(self._call, f"vm_{verb}") for verb in ("initialise", "send_sgi", "sync", "load", "put")},
            **{verb: partial(self._control, attribute) for verb, attribute in _CONTROLS.items()},
            "save_pending_tables": lambda _: self._call("vm_save_pending_tables"),
            "take": self._take,
            "msi": self._msi,
            "forward": self._forward,
            "unforward": self._unforward,
            "change_route": self._change_route,
            "device_event": lambda irq: bool(self._linux.vm_device_event(irq)),
        }

    def command(self, its: int, words: CommandWords) -> object:
        return self._call("vm_command", its, np.array(words, np.uint64).ctypes.data)

    def access(self, access: str, face: Face, number: int, offset: int, *rest: int) -> object:
        frame, changes = _FRAMES[face] + number, access == "user_write"
        if access == "write":
            return self._call("vm_write", frame, offset, *rest)
        value: Any = c_uint64()
        if access == "read":
            result = self._call("vm_read", frame, offset, *rest, byref(value))
        elif face == "its":
            value = c_uint64(*rest)
            result = self._call("vm_its_register", number, offset, byref(value), changes)
        else:
            value = c_uint32(*rest)
            result = self._call("vm_user_register", frame, offset, byref(value), changes)
        return value.value if result == OK and not changes else result

    def _control(self, attribute: int, its: int) -> object:
        return self._call("vm_its_control", its, attribute)

    def _take(self, vcpu: int) -> object:
        result = self._call("vm_take", vcpu, self._intids.ctypes.data)
        count = 0 if result == OK else result
        return sorted(self._intids[:count].tolist()) if isinstance(count, int) else result

    def _msi(self, its: int, device_id: int, event_id: int) -> object:
        result = self._call("vm_msi", its, device_id, event_id)
        return 0 if result == OK else result

    def _forward(self, its: int, device_id: int, event_id: int, irq: int) -> object:
        self._routes[irq] = its, device_id, event_id
        return self._call("vm_set_forwarding", its, device_id, event_id, irq)

    def _unforward(self, irq: int) -> object:
        return self._call("vm_unset_forwarding", *self._routes[irq], irq)

    def _change_route(self, its: int, device_id: int, event_id: int, irq: int) -> object:
        old, self._routes[irq] = self._routes[irq], (its, device_id, event_id)
        routes = np.array((old, self._routes[irq]), np.uint32)
        return self._call("vm_change_route", *(each.ctypes.data for each in routes), irq)

    def take_dirty(self) -> NDArray[np.bool_]:
        dirty = self._dirty.astype(np.bool_)
        self._dirty[:] = 0
        return dirty

    def state(self) -> State:
        state: State = {}
        for its in range(self._machine.its):
            state[f"devices of ITS {its}"] = sorted(self._table(3, self._linux.vm_devices, its))
            state[f"events of ITS {its}"] = sorted(self._table(4, self._linux.vm_events, its))
            state[f"collections of ITS {its}"] = self._table(2, self._linux.vm_collections, its)
            state[f"registers of ITS {its}"] = self._values(_ITS_REGISTERS, self._linux.vm_its_registers, its)
        state["LPIs"] = sorted(self._table(8, self._linux.vm_lpis))
        self._linux.vm_sgis(self._kvm, self._sgis.ctypes.data)
        state["SGIs"] = self._sgis.tolist()
        values = self._values(_REGISTERS + 2 * self._machine.vcpus, self._linux.vm_registers)
        state["GICD_CTLR"] = values[:2]
        state["GICR_PROPBASER"] = values[2]
        for vcpu in range(self._machine.vcpus):
            state[f"GICR_PENDBASER of {vcpu}"] = values[_REGISTERS + 2 * vcpu :][:2]
        return state

    def state_of_host(self) -> State:
        if self._machine.architecture == "3":
            return {}
        count = self._linux.vm_forwarded(self._rows.ctypes.data, _ROOM)
        asked = self._linux.vm_asked()
        mapped, remapped, _, raised, cleared = asked[:5]
        return {
            "forwarded": self._rows[: 5 * count].reshape(-1, 5).tolist(),
            "asked": [mapped, remapped, raised, cleared],
        }

    def _table(self, columns: int, function: Any, *arguments: int) -> list[list[int]]:
        count = function(self._kvm, *arguments, self._rows.ctypes.data, _ROOM)
        if count > _ROOM:
            raise MemoryError(f"{count} rows of a VM's state")
        rows: list[list[int]] = self._rows[: columns * count].reshape(-1, columns).tolist()
        return rows

    def _values(self, count: int, function: Any, *arguments: int) -> list[int]:
        function(self._kvm, *arguments, self._rows.ctypes.data)
        values: list[int] = self._rows[:count].view(np.uint64).tolist()
        return values


def _command_errors(source: KernelSource) -> dict[int, str]:
    """The names of the reasons for which a command is dropped."""
    header = source.text("include/linux/irqchip/arm-gic-v3.h")
    return {int(value, 16): name for name, value in re.findall(r"#define (E_ITS_\w+)\s+(0x[0-9a-f]+)", header)}
