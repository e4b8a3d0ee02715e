# SPDX-License-Identifier: Apache-2.0
"""The virtual machine of a kernel: what of it becomes a library, and what that answers."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from ctypes import POINTER, byref, c_int64, c_uint64
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.peers.linux.build import Library, Recipe, built
from gicmodel.fuzzing.peers.linux.kvm.machine import RAM_BASE, RAM_BYTES, VirtualMachine
from gicmodel.fuzzing.peers.linux.kvm.vm import OK, OOPS, STORM, Calls, State, Vm
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.programs.program import CommandWords
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.memory import PAGE_BYTES

_VGIC = "arch/arm64/kvm/vgic"
_ARM = "arch/arm64/kvm/arm.c"
_HEADER = "include/kvm/arm_vgic.h"

VGIC = Recipe(
    unit="kvm",
    cut={
        f"{_VGIC}/vgic-v3.c": (
            "vgic_v3_lpi_sync_pending_status",
            "unmap_all_vpes",
            "map_all_vpes",
            "vgic_v3_save_pending_tables",
            "vgic_v3_map_resources",
        ),
        f"{_VGIC}/vgic-kvm-device.c": ("vgic_v3_parse_attr", "vgic_v3_attr_regs_access"),
    },
    may_cut={
        f"{_VGIC}/vgic-kvm-device.c": ("reg_allowed_pre_init",),
        _ARM: ("kvm_arch_update_irqfd_routing",),
    },
    macros={
        "HAS_LPI_XA": (_HEADER, r"struct xarray\s+lpi_xa"),
        "HAS_NASSGICAP": (_HEADER, r"\bnassgicap\b"),
        "PRIVATE_IRQS_ARE_ALLOCATED": (_HEADER, r"struct vgic_irq \*private_irqs"),
        "LPI_REFCOUNT_IS_KREF": (_HEADER, r"struct kref refcount"),
        "LPIS_ENABLED_IS_ATOMIC": (_HEADER, r"atomic_t ctlr"),
        "UPDATES_ROUTES": (_ARM, r"\bkvm_arch_update_irqfd_routing\("),
        "UNSETS_BY_HOST_IRQ": (_HEADER, r"kvm_vgic_v4_unset_forwarding\(struct kvm \*kvm, int host_irq\)"),
        "ITS_UNMAP_VLPI_RETURNS": ("include/linux/irqchip/arm-gic-v4.h", r"int its_unmap_vlpi\("),
    },
)
"""What of a kernel becomes the library with its vgic."""

_HOSTS = {("3", False): 0, ("4.0", False): 1, ("4.1", False): 2, ("4.1", True): 3}
_DIED = {-10000: OOPS, -10001: STORM}
_FRAMES = {"dist": 0, "rd": 1, "its": 256}
"""The numbers of the first frames."""
_PLAIN = ("initialise", "send_sgi", "sync", "load", "put", "forward", "unforward", "change_route")
"""Each is a function of the library, vm_<verb>."""
_CONTROLS = {"save_tables": 1, "restore_tables": 2, "reset": 4}
"""KVM_DEV_ARM_ITS_SAVE_TABLES, _RESTORE_TABLES and KVM_DEV_ARM_ITS_CTRL_RESET."""


class LinuxVm(Vm):
    """Linux' side. `died_at` says where the kernel has died, if it has; then only `boot` makes sense."""

    def __init__(self, machine: VirtualMachine, source: KernelSource) -> None:
        super().__init__(machine)
        self._linux = Library(built(source, VGIC))
        self._command_errors = _command_errors(source)
        self._kvm: int | None = None
        self.boot()

    def create(self) -> object:
        """End the VM that is there, unless it has died, and make a new one; LEAK if the old one has left an LPI."""
        left = self._destroy()
        machine = self._machine
        self.ram = np.zeros(RAM_BYTES, np.uint8)
        self._dirty = np.zeros(RAM_BYTES // PAGE_BYTES, np.uint8)
        host = _HOSTS[machine.architecture, machine.vsgis]
        ram = RAM_BASE, RAM_BYTES, self.ram, self._dirty
        self._kvm = self._linux.call("vm_create", machine.vcpus, machine.its, host, *ram)
        return left

    def _destroy(self) -> object:
        kvm, self._kvm = self._kvm, None
        return OK if kvm is None else self._result(self._linux.call("vm_destroy", kvm))

    def close(self) -> None:
        """End the VM, and unload the kernel."""
        self._destroy()
        self._linux.close()

    @property
    def died_at(self) -> str:
        """The function that was the kernel's end, if it has died."""
        return self._linux.died_at

    def _result(self, code: int) -> object:
        if code in self._command_errors:
            return self._command_errors[code]
        if code in _DIED:
            self._kvm = None
            return _DIED[code]
        if self._linux.call("vm_take_warnings"):
            return "WARNING"
        return errno.errorcode.get(-code, str(code)) if code < 0 else code or OK

    def _call(self, function: str, *arguments: object) -> object:
        """What a function comes to that is given the VM first."""
        return self._result(self._linux.call(function, self._kvm, *arguments))

    def calls(self) -> Calls:
        return super().calls() | {
            **{verb: partial(self._call, f"vm_{verb}") for verb in _PLAIN},
            **{verb: partial(self._call, "vm_its_control", attribute) for verb, attribute in _CONTROLS.items()},
            "save_pending_tables": lambda _: self._call("vm_save_pending_tables"),
            "take": self._take,
            "msi": self._msi,
            "device_event": lambda irq: bool(self._linux.call("vm_device_event", irq)),
        }

    def command(self, its: int, words: CommandWords) -> object:
        return self._call("vm_command", its, np.array(words, np.uint64))

    def access(self, access: str, face: str, number: int, offset: int, *rest: int) -> object:
        who, writes = access.removesuffix("read").removesuffix("write"), access.endswith("write")
        value = c_uint64(rest[0] if writes else 0)
        place = _FRAMES[face] + number, offset, byref(value), writes
        result = self._call(f"vm_{who}access", *place, *rest[writes:])
        return value.value if result == OK and not writes else result

    def _take(self, vcpu: int) -> object:
        intids = POINTER(c_int64)()
        result = self._call("vm_take", vcpu, byref(intids))
        count = 0 if result == OK else result
        return sorted(intids[:count]) if isinstance(count, int) else result

    def _msi(self, its: int, device_id: int, event_id: int) -> object:
        result = self._call("vm_msi", its, device_id, event_id)
        return 0 if result == OK else result

    def take_dirty(self) -> NDArray[np.bool_]:
        dirty = self._dirty.astype(np.bool_)
        self._dirty[:] = 0
        return dirty

    def state(self) -> State:
        state: State = {}
        tables = self._tables("vm_state", self._kvm)
        for its in range(self._machine.its):
            state[f"devices of ITS {its}"] = sorted(next(tables).tolist())
            state[f"events of ITS {its}"] = sorted(next(tables).tolist())
            state[f"collections of ITS {its}"] = next(tables).tolist()
            (state[f"registers of ITS {its}"],) = next(tables).view(np.uint64).tolist()
        state["LPIs"] = sorted(next(tables).tolist())
        state["SGIs"] = next(tables).reshape(self._machine.vcpus, VSGIS, -1).tolist()
        (state["GICD_CTLR"],) = next(tables).tolist()
        state["GICR_PROPBASER"] = int(next(tables).view(np.uint64)[0, 0])
        for vcpu, registers in enumerate(next(tables).view(np.uint64).tolist()):
            state[f"GICR_PENDBASER of {vcpu}"] = registers
        return state

    def state_of_host(self) -> State:
        if self._machine.architecture == "3":
            return {}
        forwarded, asked = (table.tolist() for table in self._tables("vm_state_of_host"))
        return {"forwarded": forwarded, "asked": asked[0]}

    def _tables(self, function: str, *arguments: object) -> Iterator[NDArray[np.int64]]:
        """The tables of a state, int64 [rows, columns], which are there until the next one is asked for."""
        found = POINTER(c_int64)()
        count, at = self._linux.call(function, *arguments, byref(found)), 0
        numbers = np.ctypeslib.as_array(found, (count,))
        while at < count:
            rows, columns = numbers[at : at + 2]
            end = at + 2 + rows * columns
            yield numbers[at + 2 : end].reshape(rows, columns)
            at = end


def _command_errors(source: KernelSource) -> dict[int, str]:
    """The names of the reasons for which a command is dropped."""
    header = source.text("include/linux/irqchip/arm-gic-v3.h")
    return {int(value, 16): name for name, value in re.findall(r"#define (E_ITS_\w+)\s+(0x[0-9a-f]+)", header)}
