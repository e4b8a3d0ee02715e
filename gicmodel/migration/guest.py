# SPDX-License-Identifier: Apache-2.0
"""A guest kernel: it boots the GIC that KVM shows it with the same driver that a host uses, maps its devices, and
sends commands to its ITS later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.kvm import Vgic
from gicmodel.layouts.commands import COMMAND_BYTES, encode
from gicmodel.layouts.registers import GITS_CBASER, GITS_CWRITER, register
from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.migration.host import Host
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.steps import Progress, no_progress
from gicmodel.migration.vfio import DeviceState

GUEST_RAM_BASE, GUEST_RAM_BYTES = 0x4000_0000, 1 << 30
FUNCTIONS_PER_DEVICE = 8


def boot_guest(vgic: Vgic, devices: Sequence[tuple[int, Sequence[int]]], progress: Progress = no_progress) -> GicDriver:
    """Boot the guest's GIC driver and map events of its devices, event e of all to vCPU e modulo the number of them.

    Raises:
        DriverError: the virtual GIC refuses, or the guest has not enough RAM.
    """
    memory = vgic.memory
    driver = GicDriver(vgic, memory, PageAllocator(memory, memory.base, memory.end))
    driver.probe()
    mapped = 0
    for number, (device_id, events) in enumerate(devices):
        device = driver.its_create_device(device_id, max(events, default=0) + 1)
        cpus = (mapped + np.arange(len(events))) % len(vgic.redistributors)
        driver.activate_events(device, 0, len(events), cpus)
        mapped += len(events)
        progress("boot the guest", number + 1, len(devices))
    return driver


def send_command(vgic: Vgic, mnemonic: str, **fields: int) -> None:
    """The guest writes a command into the queue of its first ITS and rings GITS_CWRITER."""
    its, (cbaser, cwriter) = vgic.its[0], (register(name, "3") for name in ("GITS_CBASER", "GITS_CWRITER"))
    queue = GITS_CBASER.unpack(its.read(cbaser.offset))
    offset = GITS_CWRITER.unpack(its.read(cwriter.offset))["Offset"]
    vgic.memory.write(queue["Physical_Address"] + offset, np.array(encode(mnemonic, "3", **fields), "<u8").tobytes())
    following = (offset + COMMAND_BYTES) % ((queue["Size"] + 1) * PAGE_BYTES)
    its.write(cwriter.offset, GITS_CWRITER.pack(Offset=following))


def new_virtual_machine(
    host: Host, vcpus: int, devices: int, vectors: int, progress: Progress = no_progress
) -> VirtualMachine:
    """A VM whose guest has booted, with `devices` running VFIO devices of `vectors` vectors, all forwarded.

    Raises:
        DriverError, KvmError: the host or the guest has not enough of something.
    """
    vm = VirtualMachine(host, GuestMemory(GUEST_RAM_BASE, GUEST_RAM_BYTES), vcpus)
    layout = [(FUNCTIONS_PER_DEVICE * (number + 1), range(vectors)) for number in range(devices)]
    boot_guest(vm.vgic, layout, progress)
    vm.attach(layout)
    for number, device in enumerate(vm.devices):
        device.forward(vm.vgic)
        progress("forward its vectors", number + 1, devices)
    vm.set_devices(DeviceState.RUNNING)
    return vm
