# SPDX-License-Identifier: Apache-2.0
"""The virtual machine of a kernel: its library, and what it answers."""

from __future__ import annotations

import ctypes
import errno
import re
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_long, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.peers.linux.build import built
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_BYTES, VirtualMachine
from gicmodel.fuzzing.peers.linux.kvm.recipe import VGIC
from gicmodel.fuzzing.peers.linux.kvm.vm import OK, OOPS, STORM, Face, State, Vm
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.programs.program import CommandWords
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.memory import PAGE_BYTES

_HOSTS = {("3", False): 0, ("4.0", False): 1, ("4.1", False): 2, ("4.1", True): 3}
_DIED = {-10000: OOPS, -10001: STORM}
_FIRST_RD, _FIRST_ITS = 1, 256
"""The numbers of frames."""
_SAVE, _RESTORE, _RESET = 1, 2, 4
_ITS_REGISTERS, _REGISTERS = 7, 3
_ASKED = 4
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

    def initialise(self) -> object:
        return self._result(self._linux.vm_initialise(self._kvm))

    def close(self) -> object:
        """End the VM."""
        kvm, self._kvm = self._kvm, None
        return OK if kvm is None else self._result(self._linux.vm_destroy(kvm))

    @property
    def died_at(self) -> str:
        """The function that was the kernel's end, if it has died."""
        return str(self._linux.vm_died_at().decode())

    def _result(self, code: int) -> object:
        if code in _DIED:
            self._kvm = None
            return _DIED[code]
        if self._linux.vm_take_warnings():
            return "WARNING"
        return errno.errorcode.get(-code, str(code)) if code < 0 else code or OK

    def command(self, its: int, words: CommandWords) -> object:
        code = self._linux.vm_command(self._kvm, its, np.array(words, np.uint64).ctypes.data)
        return self._command_errors.get(code) or self._result(code)

    def read(self, face: Face, number: int, offset: int, size: int) -> object:
        value = c_uint64()
        result = self._result(self._linux.vm_read(self._kvm, _frame(face, number), offset, size, byref(value)))
        return value.value if result == OK else result

    def write(self, face: Face, number: int, offset: int, value: int, size: int) -> object:
        mask = (1 << 8 * size) - 1
        return self._result(self._linux.vm_write(self._kvm, _frame(face, number), offset, value & mask, size))

    def user_read(self, face: Face, number: int, attribute: int) -> object:
        value: Any = c_uint64() if face == "its" else c_uint32()
        result = self._user_register(face, number, attribute, value, False)
        return value.value if result == OK else result

    def user_write(self, face: Face, number: int, attribute: int, value: int) -> object:
        register = c_uint64(value) if face == "its" else c_uint32(value)
        return self._user_register(face, number, attribute, register, True)

    def _user_register(self, face: Face, number: int, attribute: int, value: Any, write: bool) -> object:
        if face == "its":
            return self._result(self._linux.vm_its_register(self._kvm, number, attribute, byref(value), write))
        frame = _frame(face, number)
        return self._result(self._linux.vm_user_register(self._kvm, frame, attribute, byref(value), write))

    def send_sgi(self, vcpu: int, sgi: int) -> object:
        return self._result(self._linux.vm_send_sgi(self._kvm, vcpu, sgi))

    def sync(self, vcpu: int) -> object:
        return self._result(self._linux.vm_sync(self._kvm, vcpu))

    def take(self, vcpu: int) -> object:
        result = self._result(self._linux.vm_take(self._kvm, vcpu, self._intids.ctypes.data))
        count = 0 if result == OK else result
        return sorted(self._intids[:count].tolist()) if isinstance(count, int) else result

    def load(self, vcpu: int) -> object:
        return self._result(self._linux.vm_load(self._kvm, vcpu))

    def put(self, vcpu: int, wfi: int) -> object:
        return self._result(self._linux.vm_put(self._kvm, vcpu, bool(wfi)))

    def save_tables(self, its: int) -> object:
        return self._result(self._linux.vm_its_control(self._kvm, its, _SAVE))

    def restore_tables(self, its: int) -> object:
        return self._result(self._linux.vm_its_control(self._kvm, its, _RESTORE))

    def reset(self, its: int) -> object:
        return self._result(self._linux.vm_its_control(self._kvm, its, _RESET))

    def save_pending_tables(self, lpi_by_lpi: int) -> object:
        return self._result(self._linux.vm_save_pending_tables(self._kvm))

    def msi(self, its: int, device_id: int, event_id: int) -> object:
        result = self._result(self._linux.vm_msi(self._kvm, its, device_id, event_id))
        return 0 if result == OK else result

    def forward(self, its: int, device_id: int, event_id: int, irq: int) -> object:
        self._routes[irq] = its, device_id, event_id
        code = self._linux.vm_set_forwarding(self._kvm, its, device_id, event_id, irq)
        return self._command_errors.get(code) or self._result(code)

    def unforward(self, irq: int) -> object:
        its, device_id, event_id = self._routes[irq]
        return self._result(self._linux.vm_unset_forwarding(self._kvm, its, device_id, event_id, irq))

    def change_route(self, its: int, device_id: int, event_id: int, irq: int) -> object:
        old, self._routes[irq] = self._routes[irq], (its, device_id, event_id)
        routes = np.array((old, self._routes[irq]), np.uint32)
        return self._result(self._linux.vm_change_route(self._kvm, *(each.ctypes.data for each in routes), irq))

    def device_event(self, irq: int) -> object:
        return bool(self._linux.vm_device_event(irq))

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


def _frame(face: Face, number: int) -> int:
    if face == "dist":
        return 0
    return (_FIRST_ITS if face == "its" else _FIRST_RD) + number


def _command_errors(source: KernelSource) -> dict[int, str]:
    """The names of the reasons for which a command is dropped."""
    header = source.text("include/linux/irqchip/arm-gic-v3.h")
    return {int(value, 16): name for name, value in re.findall(r"#define (E_ITS_\w+)\s+(0x[0-9a-f]+)", header)}
