# SPDX-License-Identifier: Apache-2.0
"""What the ITS driver keeps of each device: DeviceID, ITT, LPI, CPU, and vINTID and vPE of what is forwarded.

`struct its_device`, `event_lpi_map`, `its_vlpi_map`, `its_vpe` and `its_vm` (drivers/irqchip/irq-gic-v3-its.c,
include/linux/irqchip/arm-gic-v4.h), by the offsets that the kernel's BTF gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gicmodel.inspection.linux.btf import Structure
from gicmodel.inspection.linux.kernel import Kernel
from gicmodel.inspection.linux.pages import Unreadable

_MOST_EVENTS = 1 << 16
_MOST_VPES = 1 << 12


class KernelVpe(NamedTuple):
    """A vPE: `vpt` is the physical address of its VPT, `cpu` the CPU whose redistributor it is mapped to."""

    vpe_id: int
    vpt: int
    cpu: int
    resident: bool


class KernelEvent(NamedTuple):
    """An event of a device: its LPI and the CPU that it targets; forwarded ones have `vintid` and `vpe`."""

    event_id: int
    intid: int
    cpu: int
    vintid: int | None = None
    vpe: KernelVpe | None = None


@dataclass
class KernelDevice:
    """A device of an ITS: its ITT's physical address, how many EventIDs that has room for, and its mapped events."""

    device_id: int
    itt: int
    events_most: int
    events: list[KernelEvent] = field(default_factory=list)


def read_devices(kernel: Kernel) -> Iterator[KernelDevice]:
    """The devices of the kernel's ITS, in the order of its list. Raises Unreadable where that breaks off."""
    node, device = (
        kernel.structure("its_node", "cmd_base", "its_device_list"),
        kernel.structure("its_device", "event_map"),
    )
    head = kernel.node.place + kernel.node.linear - node.offsets["cmd_base"] + node.offsets["its_device_list"]
    for address in kernel.list_entries(head, device.offsets["entry"]):
        yield _device(kernel, device, address)


def _device(kernel: Kernel, device: Structure, address: int) -> KernelDevice:
    at = {name: address + offset for name, offset in device.offsets.items()}
    itt = kernel.memory.physical(kernel.memory.number(at["itt"]))
    found = KernelDevice(kernel.memory.number(at["device_id"], 4), itt, kernel.memory.number(at["nr_ites"], 4))
    found.events = list(_events(kernel, at["event_map"]))
    return found


def _events(kernel: Kernel, address: int) -> Iterator[KernelEvent]:
    layout = kernel.structure("event_lpi_map", "lpi_map", "vlpi_maps")
    at = {name: address + offset for name, offset in layout.offsets.items()}
    count, base = kernel.memory.number(at["nr_lpis"], 4), kernel.memory.number(at["lpi_base"])
    if not count:
        return
    if count > _MOST_EVENTS:
        raise Unreadable(f"a device with {count} LPIs at {address:#x}")
    mapped = int.from_bytes(kernel.memory.read(kernel.memory.number(at["lpi_map"]), -(-count // 64) * 8), "little")
    cpus = kernel.memory.array(kernel.memory.number(at["col_map"]), count, "<u2").tolist()
    forwarded = _forwarded(kernel, kernel.memory.number(at["vlpi_maps"]), count)
    for event in range(count):
        if mapped >> event & 1:
            yield KernelEvent(event, base + event, cpus[event], *forwarded.get(event, (None, None)))


def _forwarded(kernel: Kernel, maps: int, count: int) -> dict[int, tuple[int, KernelVpe]]:
    """(vINTID, vPE) by event of a device that belongs to a VM."""
    if not maps:
        return {}
    layout = kernel.structure("its_vlpi_map", "vpe", "vintid")
    found: dict[int, tuple[int, KernelVpe]] = {}
    for event in range(count):
        address = maps + event * layout.size
        if vpe := kernel.memory.number(address + layout.offsets["vpe"]):
            vintid = kernel.memory.number(address + layout.offsets["vintid"], 4)
            found[event] = vintid, read_vpe(kernel, vpe)
    return found


def read_vpe(kernel: Kernel, address: int) -> KernelVpe:
    """A `struct its_vpe`."""
    layout = kernel.structure("its_vpe", "vpt_page", "vpe_id")
    at = {name: address + offset for name, offset in layout.offsets.items()}
    return KernelVpe(
        kernel.memory.number(at["vpe_id"], 2),
        kernel.memory.page_address(kernel.memory.number(at["vpt_page"])),
        kernel.memory.number(at["col_idx"], 2),
        bool(kernel.memory.number(at["resident"], 1)),
    )
