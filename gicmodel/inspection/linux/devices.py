# SPDX-License-Identifier: Apache-2.0
"""What the ITS driver keeps of each device: DeviceID, ITT, LPI, CPU, and vINTID and vPE of what is forwarded.

`struct its_device`, `event_lpi_map`, `its_vlpi_map`, `its_vpe` and `its_vm` (drivers/irqchip/irq-gic-v3-its.c,
include/linux/irqchip/arm-gic-v4.h), by the offsets that the kernel's BTF gives. What cannot be as the driver has it is
refused (Unreadable): a damaged structure must not look like an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.btf import Btf, Structure, read_btf
from gicmodel.inspection.linux.kernels import Found, FoundKernel
from gicmodel.inspection.linux.nodes import ItsNode
from gicmodel.inspection.linux.pages import Pages, Unreadable
from gicmodel.inspection.linux.rdists import LPI_ID_BITS, Rdists, read_rdists
from gicmodel.inspection.linux.scan import MOST_CPUS
from gicmodel.inspection.linux.vmlinux import Guest, GuestEvent, Interrupt, Vmlinux
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import ADDRESS_BITS

_Owner = TypeVar("_Owner")

_MOST_EVENTS = 1 << 16
LPIS = 1 << LPI_ID_BITS
_INTIDS = 1 << 24
"""No INTID is wider (IHI0069, "INTIDs")."""
_ALIGNMENT = 8
"""Of all that kmalloc() gives."""
_ITT_ALIGNMENT = 1 << 8
_VPT_ALIGNMENT = 1 << 16
_RDBASE_UNIT = 1 << 16
"""Commands have an address of a redistributor, and its number in its place, without the low bits (IHI0069 RDbase)."""


class KernelVpe(NamedTuple):
    """A vPE: `vpt` and `vprop` are the physical addresses of its VPT and its VM's vLPI configuration table.

    `cpu` is the CPU whose redistributor it is mapped to; `vprop` is None where that cannot be read. `its_vm` is
    where its VM's structure lies, 0 if that is not known; `doorbell` the LPI that wakes it, None if that is not known.
    """

    vpe_id: int
    vpt: int
    vprop: int | None
    cpu: int
    resident: bool
    its_vm: int = 0
    doorbell: int | None = None

    def __str__(self) -> str:
        return f"vPE {self.vpe_id} ({'resident, ' if self.resident else 'not resident, '}cpu {self.cpu})"


class KernelEvent(NamedTuple):
    """An event of a device: its LPI and the CPU that it targets; forwarded ones have `vintid` and `vpe`."""

    event_id: int
    intid: int
    cpu: int
    vintid: int | None = None
    vpe: KernelVpe | None = None

    def __str__(self) -> str:
        text = f"LPI {self.intid} cpu {self.cpu}"
        return text if self.vpe is None else f"{text} -> vINTID {self.vintid} of {self.vpe}"


@dataclass
class KernelDevice:
    """A device of an ITS: its ITT's physical address, how many EventIDs that has room for, and its mapped events.

    `managed` says that the driver keeps a list of its events: of the device of GICv4.0's doorbells it keeps none.
    `lpis` are the LPIs that it was given, `memory` its structures in the kernel's addresses: (first, end). `doubt` says
    what another device contradicts; empty if nothing.
    """

    device_id: int
    itt: int
    events_most: int
    managed: bool = False
    events: list[KernelEvent] = field(default_factory=list)
    lpis: range = range(0)
    memory: list[tuple[int, int]] = field(default_factory=list)
    doubt: str = ""


@dataclass
class KernelView:
    """What a kernel's structures say, by ITS: its devices, the RDbase of its collections, and where it broke off.

    `source` says who told it; it is empty, as is all else, where nothing was read.

    With debug information (`debugged`) more is told: how Linux handles each LPI, what KVM has of each `struct its_vm`
    and of guests' events, and the tables of the redistributors. `absent` says what of that the dump lacks, `unread`
    what is damaged.
    """

    source: str = ""
    devices: dict[int, list[KernelDevice]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    interrupts: dict[int, Interrupt] = field(default_factory=dict)
    guests: dict[int, Guest] = field(default_factory=dict)
    guest_events: list[GuestEvent] = field(default_factory=list)
    rdists: Rdists | None = None
    absent: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    debugged: bool = False
    targets: dict[int, dict[int, int]] = field(default_factory=dict)

    def events(self) -> dict[tuple[int, int, int], KernelEvent]:
        """The events by ITS, DeviceID and EventID."""
        devices = ((its, device) for its, found in self.devices.items() for device in found)
        return {(its, device.device_id, event.event_id): event for its, device in devices for event in device.events}

    def vpes(self) -> dict[int, KernelVpe]:
        """The vPEs that events are forwarded to, by vPEID: those of each of two devices of one DeviceID."""
        events = (event for devices in self.devices.values() for device in devices for event in device.events)
        return {event.vpe.vpe_id: event.vpe for event in events if event.vpe is not None}


def view_of(dump: Dump, found: Found, kernel: FoundKernel, vmlinux: Path | None = None) -> KernelView:
    """What the structures of the dumped kernel say, by its debug information in `vmlinux`, or else by its BTF.

    Nothing without either. Raises UnusableInput for a `vmlinux` that cannot be used.
    """
    if vmlinux is not None:
        debugged = Vmlinux(dump, kernel, vmlinux)
        view = _devices_of(dump, kernel, debugged, f"the kernel's structures, by {vmlinux}")
        debugged.tell(view)
        view.debugged = True
        return view
    described = next(((at, btf) for at, btf in read_btf(dump, found.places) if btf.structure("its_node")), None)
    if not kernel.own or described is None:
        return KernelView()
    place, btf = described
    view = _devices_of(dump, kernel, btf, f"the kernel's structures, by its BTF at {place:#x}")
    if kernel.log is None or not kernel.log.pending_tables:
        try:
            view.rdists = read_rdists(_memory(dump, kernel, btf))
        except Unreadable as problem:
            view.absent["the redistributors"] = f"{problem}; nor does the kernel's log name their tables"
    return view


def _memory(dump: Dump, kernel: FoundKernel, structures: Btf | Vmlinux) -> Pages:
    return Pages(dump, kernel.nodes[0].linear, kernel.note, structures.structure)


def _devices_of(dump: Dump, kernel: FoundKernel, structures: Btf | Vmlinux, source: str) -> KernelView:
    view, memory = KernelView(source), _memory(dump, kernel, structures)
    for number, node in enumerate(kernel.nodes):
        devices: list[KernelDevice] = []
        view.devices[number] = devices
        try:
            devices.extend(read_devices(memory, node))
        except Unreadable as problem:
            view.broken[number] = str(problem)
        view.targets[number] = dict(read_targets(memory, node))
        _doubt_twins(devices)
    _doubt_shared([device for devices in view.devices.values() for device in devices])
    return view


def _doubt_twins(devices: list[KernelDevice]) -> None:
    """its_msi_prepare() makes one device of a DeviceID."""
    seen: dict[int, KernelDevice] = {}
    for device in devices:
        if (twin := seen.setdefault(device.device_id, device)) is not device:
            twin.doubt = device.doubt = "the driver has two devices of this DeviceID"


def _doubt_shared(devices: list[KernelDevice]) -> None:
    """its_lpi_alloc() gives an LPI to one device, kcalloc() memory: of two that have it either may be wrong."""
    structures = [(first, end, device) for device in devices for first, end in device.memory]
    for device, twin in overlapping(structures):
        device.doubt = f"its structures overlap those of device {twin.device_id:#x}"
    for device, twin in overlapping((device.lpis.start, device.lpis.stop, device) for device in devices if device.lpis):
        device.doubt = f"device {twin.device_id:#x} has LPIs {_span(twin.lpis)}, this one {_span(device.lpis)}"


def _span(lpis: range) -> str:
    return f"{lpis.start} to {lpis.stop - 1}"


def overlapping(spans: Iterable[tuple[int, int, _Owner]]) -> Iterator[tuple[_Owner, _Owner]]:
    """Of spans (first, end, owner) each owner that begins inside earlier ones, with the furthest's: both ways round."""
    furthest: tuple[int, int, _Owner] | None = None
    for span in sorted(spans, key=lambda span: span[:2]):
        if furthest is not None and span[0] < furthest[1]:
            yield furthest[2], span[2]
            yield span[2], furthest[2]
        if furthest is None or span[1] > furthest[1]:
            furthest = span


def read_devices(memory: Pages, node: ItsNode) -> Iterator[KernelDevice]:
    """The devices of a kernel's ITS, in the order of its list. Raises Unreadable where that breaks off."""
    layout = memory.structure("its_node", "cmd_base", "its_device_list")
    device = memory.structure("its_device", "event_map", "itt", "nr_ites", "its", "entry", "device_id")
    start = node.place + node.linear - layout.offsets["cmd_base"]
    for address in memory.list_entries(start + layout.offsets["its_device_list"], device.offsets["entry"]):
        if memory.number(address + device.offsets["its"]) != start:
            raise Unreadable(f"struct its_device at {address:#x} is of another its_node")
        yield _device(memory, device, address)


def read_targets(memory: Pages, node: ItsNode) -> Iterator[tuple[int, int]]:
    """(ICID, RDbase) of each `struct its_collection` of a kernel's ITS that can be read, up to one of no CPU.

    Their number stands elsewhere (`nr_cpu_ids`); each has its own as `col_id`, and `target_address` is all ones until
    its CPU is up (its_alloc_collections, its_cpu_init_collection).
    """
    try:
        of_node = memory.structure("its_node", "cmd_base", "collections").offsets
        layout = memory.structure("its_collection", "target_address", "col_id")
        first = memory.number(node.place + node.linear - of_node["cmd_base"] + of_node["collections"])
        for icid in range(MOST_CPUS):
            at = layout.at(first + icid * layout.size)
            target = memory.number(at["target_address"])
            if memory.number(at["col_id"], 2) != icid or target >> ADDRESS_BITS or target % _RDBASE_UNIT:
                return
            yield icid, target // _RDBASE_UNIT
    except Unreadable:
        return


def _device(memory: Pages, device: Structure, address: int) -> KernelDevice:
    at = device.at(address)
    itt = memory.physical(memory.number(at["itt"]))
    # its_create_device() takes room for alignment, and the command gets the address rounded up.
    itt = itt + _ITT_ALIGNMENT - 1 & -_ITT_ALIGNMENT
    found = KernelDevice(memory.number(at["device_id"], 4), itt, memory.number(at["nr_ites"], 4))
    found.memory.append((address, address + device.size))
    # its_create_device() makes it a power of two.
    if found.events_most.bit_count() != 1 or found.events_most > _MOST_EVENTS or itt >> ADDRESS_BITS:
        raise Unreadable(f"struct its_device at {address:#x} has {found.events_most} entries at {itt:#x}")
    found.events = list(_events(memory, at["event_map"], found))
    return found


def _events(memory: Pages, address: int, device: KernelDevice) -> Iterator[KernelEvent]:
    layout = memory.structure("event_lpi_map", "lpi_map", "vlpi_maps", "nr_lpis", "lpi_base", "col_map")
    at = layout.at(address)
    count, base = memory.number(at["nr_lpis"], 4), memory.number(at["lpi_base"])
    if not count and not memory.number(at["lpi_map"]):
        return
    device.managed = True
    # its_lpi_alloc() halves the number that it is asked for until there are as many.
    if count.bit_count() != 1 or count > device.events_most or not FIRST_LPI <= base <= LPIS - count:
        raise Unreadable(f"device {device.device_id:#x} has {count} LPIs from {base}, at {address:#x}")
    device.lpis = range(base, base + count)
    bits, cpu_of, maps = (memory.number(at[name]) for name in ("lpi_map", "col_map", "vlpi_maps"))
    sizes = {bits: -(-count // 64) * 8, cpu_of: count * 2, maps: bool(maps) * count * 8}
    device.memory += [(first, first + size) for first, size in sizes.items() if size]
    if any(first % _ALIGNMENT for first in sizes):
        raise Unreadable(f"device {device.device_id:#x} has maps that kmalloc() gives to nobody, at {address:#x}")
    mapped = int.from_bytes(memory.read(bits, sizes[bits]), "little")
    cpus = memory.array(cpu_of, count, "<u2").tolist()
    forwarded = _forwarded(memory, maps, count)
    for event in range(count):
        if mapped >> event & 1:
            if cpus[event] >= MOST_CPUS:
                raise Unreadable(f"event {event} of device {device.device_id:#x} is of CPU {cpus[event]}")
            yield KernelEvent(event, base + event, cpus[event], *forwarded.get(event, (None, None)))


def _forwarded(memory: Pages, maps: int, count: int) -> dict[int, tuple[int, KernelVpe]]:
    """(vINTID, vPE) by event of a device that belongs to a VM."""
    if not maps:
        return {}
    layout = memory.structure("its_vlpi_map", "vpe", "vintid")
    found: dict[int, tuple[int, KernelVpe]] = {}
    for event in range(count):
        address = maps + event * layout.size
        if vpe := memory.number(address + layout.offsets["vpe"]):
            vintid = memory.number(address + layout.offsets["vintid"], 4)
            if not FIRST_LPI <= vintid < _INTIDS:
                raise Unreadable(f"struct its_vlpi_map at {address:#x} is of vINTID {vintid}")
            found[event] = vintid, read_vpe(memory, vpe)
    return found


def read_vpe(memory: Pages, address: int) -> KernelVpe:
    """A `struct its_vpe`."""
    layout = memory.structure("its_vpe", "vpt_page", "its_vm", "vpe_id", "col_idx", "resident", "vpe_db_lpi")
    at = layout.at(address)
    vpt = memory.page_address(memory.number(at["vpt_page"]))
    cpu, resident = memory.number(at["col_idx"], 2), memory.number(at["resident"], 1)
    if vpt % _VPT_ALIGNMENT or vpt >> ADDRESS_BITS or cpu >= MOST_CPUS or resident > 1:
        raise Unreadable(f"struct its_vpe at {address:#x} has its VPT at {vpt:#x}, CPU {cpu}")
    vpe_id, vm = memory.number(at["vpe_id"], 2), memory.number(at["its_vm"])
    if address not in _vpes_of(memory, vm, address):
        raise Unreadable(f"struct its_vpe at {address:#x} is none of its struct its_vm at {vm:#x}")
    return KernelVpe(vpe_id, vpt, _vprop(memory, vm), cpu, bool(resident), vm, memory.number(at["vpe_db_lpi"]))


def _vpes_of(memory: Pages, vm: int, claimed: int) -> list[int]:
    """The vPEs of a `struct its_vm`; where that cannot be read, the one that claims to be."""
    try:
        layout = memory.structure("its_vm", "vpes", "nr_vpes")
        count = memory.number(vm + layout.offsets["nr_vpes"], 4)
        vpes = memory.number(vm + layout.offsets["vpes"])
        found: list[int] = memory.array(vpes, min(count, MOST_CPUS), "<u8").tolist()
    except Unreadable:
        return [claimed]
    return found


def _vprop(memory: Pages, vm: int) -> int | None:
    try:
        layout = memory.structure("its_vm", "vprop_page")
        vprop = memory.page_address(memory.number(vm + layout.offsets["vprop_page"]))
    except Unreadable:
        return None
    return None if vprop % _VPT_ALIGNMENT or vprop >> ADDRESS_BITS else vprop
