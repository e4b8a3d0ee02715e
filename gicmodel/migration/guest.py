# SPDX-License-Identifier: Apache-2.0
"""A guest kernel: it boots the GIC that KVM shows it with the same driver that a host uses, maps its devices, and
sends commands to its ITS later."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.kvm import Vgic
from gicmodel.layouts.commands import COMMAND_BYTES, encode
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR, GICD_TYPER2
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CWRITER, queue_bytes
from gicmodel.layouts.registers.redistributor import GICR_IGROUPR0, GICR_IPRIORITYR, GICR_ISENABLER0, SGI_PRIORITIES
from gicmodel.memory import GuestMemory
from gicmodel.migration.host import Host
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.steps import Progress, no_progress
from gicmodel.migration.vfio import DeviceState

GUEST_RAM_BASE, GUEST_RAM_BYTES = 0x4000_0000, 1 << 30
FUNCTIONS_PER_DEVICE = 8
SGI_PRIORITY = 0xA0
ALL_SGIS = (1 << VSGIS) - 1

SGI_SETTINGS = {
    "IGROUPR0": GICR_IGROUPR0.pack(SGI=ALL_SGIS),
    **{
        f"IPRIORITYR{n}": GICR_IPRIORITYR.pack(**dict.fromkeys(GICR_IPRIORITYR.fields, SGI_PRIORITY))
        for n in range(SGI_PRIORITIES)
    },
    "ISENABLER0": GICR_ISENABLER0.pack(SGI=ALL_SGIS),
}
"""What the guest writes to the SGI registers of each redistributor, in this order."""


Spread = Callable[[NDArray[np.int64], int], NDArray[np.int64]]
"""To which of so many vCPUs the guest gives each event; events are counted over all devices."""


def in_turn(events: NDArray[np.int64], vcpus: int) -> NDArray[np.int64]:
    """Each event to the next vCPU."""
    return events % vcpus


def in_runs(length: int) -> Spread:
    """So many events to each vCPU in turn."""
    return lambda events, vcpus: events // length % vcpus


def boot_guest(
    vgic: Vgic,
    devices: Sequence[tuple[int, Sequence[int]]],
    progress: Progress = no_progress,
    spread: Spread = in_turn,
) -> GicDriver:
    """Boot the guest's GIC driver and map events of its devices, to the vCPUs that `spread` says.

    Raises:
        DriverError: the virtual GIC refuses, or the guest has not enough RAM.
    """
    memory = vgic.memory
    driver = GicDriver(vgic, PageAllocator(memory, memory.base, memory.end))
    driver.probe()
    mapped = 0
    for number, (device_id, events) in enumerate(devices):
        device = driver.lpis.create_device(device_id, max(events, default=0) + 1)
        cpus = spread(mapped + np.arange(len(events)), len(vgic.redistributors))
        driver.lpis.activate(device, np.arange(len(events)), cpus)
        mapped += len(events)
        progress("boot the guest", number + 1, len(devices))
    return driver


def enable_sgis(vgic: Vgic) -> None:
    """The guest enables its SGIs, all in Group 1 with one priority, and its distributor.

    The GIC injects them if it can: nASSGIreq follows GICD_TYPER2.nASSGIcap, as in Linux' gic_dist_init. KvmError as the
    host driver.
    """
    distributor, (ctlr, typer2) = vgic.distributor, (register(name).offset for name in ("GICD_CTLR", "GICD_TYPER2"))
    direct = GICD_TYPER2.unpack(distributor.read(typer2, 4))["nASSGIcap"]
    distributor.write(ctlr, GICD_CTLR.pack(), 4)
    for redistributor in vgic.redistributors:
        for name, value in SGI_SETTINGS.items():
            redistributor.write(register(f"GICR_{name}").offset, value, 4)
    distributor.write(ctlr, GICD_CTLR.pack(ARE=1, nASSGIreq=direct, EnableGrp1=1), 4)


def send_command(vgic: Vgic, mnemonic: str, **fields: int) -> None:
    """The guest writes a command into the queue of its first ITS and rings GITS_CWRITER."""
    its, (cbaser, cwriter) = vgic.its[0], (register(name, "3") for name in ("GITS_CBASER", "GITS_CWRITER"))
    queue = GITS_CBASER.unpack(its.read(cbaser.offset))
    offset = GITS_CWRITER.unpack(its.read(cwriter.offset))["Offset"]
    vgic.memory.write(queue["Physical_Address"] + offset, np.array(encode(mnemonic, "3", **fields), "<u8").tobytes())
    following = (offset + COMMAND_BYTES) % queue_bytes(queue)
    its.write(cwriter.offset, GITS_CWRITER.pack(Offset=following))


def new_virtual_machine(
    host: Host, vcpus: int, devices: int, vectors: int, progress: Progress = no_progress, spread: Spread = in_turn
) -> VirtualMachine:
    """A VM whose guest has booted, with `devices` running VFIO devices of `vectors` vectors, all forwarded.

    Vectors go to vCPUs as `boot_guest` says.

    Raises:
        DriverError, KvmError: the host or the guest has not enough of something.
    """
    vm = VirtualMachine(host, GuestMemory(GUEST_RAM_BASE, GUEST_RAM_BYTES), vcpus)
    layout = [(FUNCTIONS_PER_DEVICE * (number + 1), range(vectors)) for number in range(devices)]
    boot_guest(vm.vgic, layout, progress, spread)
    vm.attach(layout)
    for number, device in enumerate(vm.devices):
        device.forward(vm.vgic)
        progress("forward its vectors", number + 1, devices)
    vm.set_devices(DeviceState.RUNNING)
    return vm
