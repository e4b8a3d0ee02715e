# SPDX-License-Identifier: Apache-2.0
"""A kernel by its debug information: drgn reads it, with RAM from whatever file a `Dump` can read.

Names are those of drivers/irqchip/irq-gic-v3-its.c, include/linux/irq.h, kernel/irq/ and arch/arm64/kvm/vgic/. Lists
and trees are a dump's, hence hostile: drgn gets so many reads and no more, and none that is not in the dump.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gicmodel.errors import MissingExtra, UnusableInput, printable
from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.btf import Structure
from gicmodel.inspection.linux.kernels import FoundKernel
from gicmodel.inspection.linux.pages import HeldPages
from gicmodel.inspection.linux.rdists import Rdists
from gicmodel.inspection.linux.scan import MOST_CPUS
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import ADDRESS_BITS

if TYPE_CHECKING:
    import drgn

    from gicmodel.inspection.linux.devices import KernelView

_Value = TypeVar("_Value")

_MOST_READS = 1 << 20
_MOST_IRQS = 1 << 16
_MOST_GUESTS, _MOST_EVENTS = 1 << 12, 1 << 18
_MOST_NAME = 64
_MOST_HANDLERS, _MOST_PARENTS = 8, 8
_MOST_NESTED = 8
_ITS_C = "drivers/irqchip/irq-gic-v3-its.c"
_VGIC_ITS_C = "arch/arm64/kvm/vgic/vgic-its.c"
"""`struct its_device` is of both files."""


class Interrupt(NamedTuple):
    """How Linux handles an LPI: its number, the names of its handlers, its device and that one's driver, its CPUs.

    `pending` is IRQS_PENDING: it came while it could not be handled, and waits in software. None: not in the dump.
    """

    irq: int
    handlers: str | None
    device: str | None
    driver: str | None
    cpus: str | None
    pending: bool | None

    def __str__(self) -> str:
        return f"irq {self.irq} {'(handler unknown)' if self.handlers is None else self.handlers or '(no handler)'}"


class Guest(NamedTuple):
    """A VM of KVM: the process that runs it, and its name, None where the dump lacks it."""

    pid: int
    name: str | None

    def __str__(self) -> str:
        return f"VM of pid {self.pid} ({self.name})" if self.name else f"VM of pid {self.pid}"


class GuestEvent(NamedTuple):
    """An event of a guest's own ITS, at `its` in its addresses, as KVM has it: struct its_ite and its struct vgic_irq.

    `host_irq` is Linux's number of the interrupt that is forwarded to it, where `hw` says that one is. `vcpu` is None
    while the event's collection is not mapped.
    """

    pid: int
    its: int
    device_id: int
    event_id: int
    vintid: int
    vcpu: int | None
    enabled: bool
    pending_latch: bool
    active: bool
    hw: bool
    host_irq: int
    priority: int


class _TooMuch(Exception):
    """What drgn follows does not end."""


class Vmlinux:
    """The debug information of the dumped kernel, in the file `path`.

    Raises UnusableInput without drgn, for a file that is no vmlinux, or is another kernel's.
    """

    def __init__(self, dump: Dump, kernel: FoundKernel, path: Path) -> None:
        try:
            import drgn
        except ImportError:
            raise MissingExtra("--vmlinux", "drgn", "vmcore") from None
        if not kernel.own or kernel.note is None:
            raise UnusableInput(f"{path}: --vmlinux needs the dumped kernel's VMCOREINFO, which is not in the dump")
        # drgn logs what this reports: without a handler Python would print it.
        logging.getLogger("drgn").addHandler(logging.NullHandler())
        self._drgn = drgn
        self._reads = 0
        self._held_pages = HeldPages(dump)
        self.path = path
        self._program = drgn.Program(drgn.Platform(drgn.Architecture.AARCH64))
        self._program.add_memory_segment(0, 1 << ADDRESS_BITS, self._read, True)
        self._load(kernel.note.text.encode(), kernel.note.values.get("BUILD-ID"), kernel.note.release)

    def structure(self, name: str, *members: str) -> Structure | None:
        """The struct of that name, of the ITS's driver where it has one, with these members; None if there is none."""
        for filename in (_ITS_C, None):
            try:
                found = self._program.type(f"struct {name}", filename=filename)
            except LookupError:
                continue
            offsets = dict(_members(found, 0))
            if all(member in offsets for member in members):
                return Structure(found.size, offsets)
        return None

    def tell(self, view: KernelView) -> None:
        """Add to a view what debug information leads to; what cannot be read is noted there."""
        self._try(view, "the redistributors", lambda: setattr(view, "rdists", self._rdists()))
        self._try(view, "the kernel's interrupts", lambda: view.interrupts.update(self._interrupts()))
        self._try(view, "KVM's VMs", lambda: self._guests(view))

    def _load(self, note: bytes, build_id: str | None, release: str) -> None:
        if not self.path.is_file():
            raise UnusableInput(f"{self.path}: is no file")
        try:
            self._program.set_linux_kernel_custom(note, False)
            self._program.load_debug_info([str(self.path)], default=False)
            module = self._program.main_module()
        except self._errors() as error:
            raise UnusableInput(f"{self.path}: is no vmlinux of Linux {release}: {error}") from error
        found = "" if module.build_id is None else module.build_id.hex()
        if module.debug_file_path is None or (build_id is not None and build_id != found):
            raise UnusableInput(
                f"{self.path}: is not the vmlinux with debug information of the dump's Linux {release}"
                + (f", build ID {build_id}" if build_id else "")
            )

    def _read(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        """What drgn reads."""
        self._reads += 1
        if self._reads > _MOST_READS:
            raise _TooMuch(f"more than {_MOST_READS} reads: what is followed does not end")
        octets = self._held_pages.read(address, count)
        if octets is None:
            raise self._drgn.FaultError("not in the dump", address)
        return octets

    def _errors(self) -> tuple[type[Exception], ...]:
        """What drgn raises where memory, or a file, is not as it should be."""
        from drgn.helpers import ValidationError

        drgn = self._drgn
        named = (drgn.FaultError, drgn.MissingDebugInfoError, drgn.ObjectAbsentError, drgn.OutOfBoundsError)
        return (*named, ValidationError, _TooMuch, OSError, *_OF_PYTHON)

    def _try(self, view: KernelView, what: str, read: Callable[[], None]) -> None:
        try:
            read()
        except self._drgn.FaultError as error:
            view.absent[what] = printable(str(error))
        except self._errors() as error:
            view.unread[what] = printable(str(error))

    def _held(self, read: Callable[[], _Value]) -> _Value | None:
        """What is read, None if the dump lacks a part of it."""
        try:
            return read()
        except self._drgn.FaultError:
            return None

    def _rdists(self) -> Rdists:
        from drgn.helpers.linux.mm import page_to_phys
        from drgn.helpers.linux.percpu import per_cpu_ptr

        rdists = self._program.object("gic_rdists", filename=_ITS_C)
        found = Rdists(rdists.prop_table_pa.value_(), self._program.object("lpi_id_bits", filename=_ITS_C).value_())
        for cpu in self._bits(self._program["__cpu_possible_mask"].address_of_()):
            one = per_cpu_ptr(rdists.rdist, cpu)
            if one.pend_page:
                found.pending_tables[cpu] = page_to_phys(one.pend_page).value_()
                found.redistributors[cpu] = one.phys_base.value_()
        if problem := found.problem:
            raise ValueError(problem)
        return found

    def _interrupts(self) -> Iterator[tuple[int, Interrupt]]:
        """The descriptors of all interrupts that are LPIs."""
        from drgn.helpers.linux.irq import for_each_irq_desc

        pending = self._program["IRQS_PENDING"].value_()
        for irq, desc in islice(for_each_irq_desc(self._program), _MOST_IRQS):
            lpi = self._held(partial(self._lpi, desc))
            if lpi is not None:
                yield lpi, self._interrupt(irq, desc, pending)

    def _interrupt(self, irq: int, desc: drgn.Object, pending: int) -> Interrupt:
        def held(read: Callable[[drgn.Object], str | None]) -> str | None:
            return self._held(partial(read, desc))

        state = self._held(desc.core_internal_state__do_not_mess_with_it.value_)
        waits = None if state is None else bool(state & pending)
        return Interrupt(irq, held(self._handlers), held(self._device), held(self._driver), held(self._cpus), waits)

    def _lpi(self, desc: drgn.Object) -> int | None:
        """The LPI of an interrupt: its number at the GIC, the last chip on its way."""
        data = desc.irq_data.address_of_()
        for _ in range(_MOST_PARENTS):
            if data.chip and self._text(data.chip.name) == "GICv3":
                lpi: int = data.hwirq.value_()
                return lpi if lpi >= FIRST_LPI else None
            data = data.parent_data.read_()
            if not data:
                break
        return None

    def _handlers(self, desc: drgn.Object) -> str:
        names: list[str] = []
        action = desc.action.read_()
        while action and len(names) < _MOST_HANDLERS:
            names.append(self._text(action.name))
            action = action.next.read_()
        return ",".join(names)

    def _device(self, desc: drgn.Object) -> str | None:
        """The name of an interrupt's device, such as a PCI address; empty where it has none, as a doorbell."""
        msi_desc = desc.irq_common_data.msi_desc.read_()
        if not msi_desc:
            return ""
        # A message has a device, and that a name: where they are not, memory is not as the kernel had it.
        return self._text(msi_desc.dev.kobj.name) or None

    def _driver(self, desc: drgn.Object) -> str | None:
        if not self._device(desc):
            return None
        driver = desc.irq_common_data.msi_desc.dev.driver.read_()
        return self._text(driver.name) if driver else ""

    def _cpus(self, desc: drgn.Object) -> str:
        """The CPUs that an interrupt goes to, as lists of Linux are written."""
        common = desc.irq_common_data
        has_effective = any(member.name == "effective_affinity" for member in common.type_.members)
        mask = common.effective_affinity if has_effective else common.affinity
        # cpumask_var_t is a pointer, or with CONFIG_CPUMASK_OFFSTACK=n an array of one.
        pointer = mask.read_() if mask.type_.kind == self._drgn.TypeKind.POINTER else mask[0].address_of_()
        return _ranges(self._bits(pointer, self._possible()))

    def _possible(self) -> int:
        """The CPUs that there can be: what a mask has beyond is other memory, as it is allocated for these."""
        return sum(1 << cpu for cpu in self._bits(self._program["__cpu_possible_mask"].address_of_()))

    def _bits(self, mask: drgn.Object, among: int = -1) -> list[int]:
        """The bits set in a `struct cpumask` at a pointer."""
        size = min(mask.type_.type.size, MOST_CPUS // 8)
        number = int.from_bytes(self._program.read(mask.value_(), size), "little") & among
        return [bit for bit in range(size * 8) if number >> bit & 1]

    def _text(self, pointer: drgn.Object) -> str:
        """A string of the kernel; empty if there is none."""
        address = pointer.value_()
        if not address:
            return ""
        return printable(self._program.read_c_string(address, max_size=_MOST_NAME).decode("utf-8", "replace"))

    def _guests(self, view: KernelView) -> None:
        """What KVM has: `vm_list`, and of each VM its virtual ITSs."""
        for kvm in islice(self._list("struct kvm", self._program["vm_list"].address_of_(), "vm_list"), _MOST_GUESTS):
            pid = kvm.userspace_pid.value_()
            view.guests[kvm.arch.vgic.its_vm.address_of_().value_()] = Guest(
                pid, self._held(partial(self._process, pid))
            )
            for device in self._list("struct kvm_device", kvm.devices.address_of_(), "vm_node"):
                if self._text(device.ops.name) == "kvm-arm-vgic-its":
                    its = self._drgn.cast("struct vgic_its *", device.private)
                    view.guest_events += islice(self._guest_events(pid, its), _MOST_EVENTS)

    def _process(self, pid: int) -> str:
        from drgn.helpers.linux.pid import find_task

        task = find_task(self._program, pid)
        return printable(task.comm.string_().decode("utf-8", "replace")) if task else ""

    def _guest_events(self, pid: int, its: drgn.Object) -> Iterator[GuestEvent]:
        device_type = self._program.type("struct its_device", filename=_VGIC_ITS_C)
        for device in self._list(device_type, its.device_list.address_of_(), "dev_list"):
            for ite in self._list("struct its_ite", device.itt_head.address_of_(), "ite_list"):
                irq = ite.irq.read_()
                yield GuestEvent(
                    pid=pid,
                    its=its.vgic_its_base.value_(),
                    device_id=device.device_id.value_(),
                    event_id=ite.event_id.value_(),
                    vintid=irq.intid.value_(),
                    vcpu=ite.collection.target_addr.value_() if ite.collection else None,
                    enabled=bool(irq.enabled),
                    pending_latch=bool(irq.pending_latch),
                    active=bool(irq.active),
                    hw=bool(irq.hw),
                    host_irq=irq.host_irq.value_(),
                    priority=irq.priority.value_(),
                )

    def _list(self, of: drgn.Type | str, head: drgn.Object, member: str) -> Iterator[drgn.Object]:
        from drgn.helpers.linux.list import validate_list_for_each_entry

        return iter(validate_list_for_each_entry(of, head, member))


_OF_PYTHON = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


def _members(of: Any, base: int, depth: int = 0) -> Iterator[tuple[str, int]]:
    """(name, offset) of every member that a C program could name."""
    for member in of.members or ():
        if member.name:
            yield member.name, base + member.bit_offset // 8
        elif depth < _MOST_NESTED:
            yield from _members(member.type, base + member.bit_offset // 8, depth + 1)


def _ranges(numbers: list[int]) -> str:
    """Numbers, ascending, as Linux writes them: 0-3,8."""
    groups = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    runs = ([number for _, number in run] for _, run in groups)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
