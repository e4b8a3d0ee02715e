# SPDX-License-Identifier: Apache-2.0
"""A physical device given to a VM: its MSI vectors and the states of the VFIO migration protocol."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from gicmodel.driver import ItsDevice
from gicmodel.kvm import KvmError, Vgic
from gicmodel.migration.host import Host


class DeviceState(Enum):
    """VFIO_DEVICE_STATE_* of Linux include/uapi/linux/vfio.h. Only a RUNNING device raises interrupts."""

    RUNNING = "RUNNING"
    STOP = "STOP"
    STOP_COPY = "STOP_COPY"
    RESUMING = "RESUMING"


class VfioDevice:
    """A device on `host`; its vector v is the guest's EventID `events[v]` of `guest_device_id`.

    Every vector is a physical LPI of the host, mapped and enabled from the start, until it is forwarded.

    Args:
        host: where the device is.
        host_device_id: its DeviceID there.
        guest_device_id: the DeviceID that the guest knows it by.
        events: the guest's EventIDs, one a vector.
    """

    def __init__(self, host: Host, host_device_id: int, guest_device_id: int, events: Sequence[int]) -> None:
        self.host = host
        self.guest_device_id = guest_device_id
        self.events = tuple(events)
        self.state = DeviceState.STOP
        self.its_device: ItsDevice = host.driver.its_create_device(host_device_id, max(len(events), 1))
        if self.events:
            cpus = np.arange(len(self.events)) % host.cpus
            host.driver.activate_events(self.its_device, 0, len(self.events), cpus)

    def fire(self, vectors: Sequence[int]) -> None:
        """Raise the interrupts of these vectors, in order: writes of GITS_TRANSLATER. Nothing unless RUNNING."""
        if self.state is DeviceState.RUNNING and len(vectors):
            devices = np.full(len(vectors), self.its_device.device_id, np.uint64)
            self.host.gic.its[self.its_device.its].translate_many(devices, np.asarray(vectors, np.uint64))

    def forward(self, vgic: Vgic) -> int:
        """VFIO SET_IRQS with an irqfd for every vector: KVM forwards those that it can; how many are new."""
        vectors = ((event, (self.its_device, vector)) for vector, event in enumerate(self.events))
        return vgic.set_forwarding_many(0, self.guest_device_id, vectors)

    def unforward(self, vgic: Vgic) -> int:
        """VFIO SET_IRQS without eventfds: forwarding ends for every vector; for how many it did."""
        return vgic.unset_forwarding_many((self.its_device, vector) for vector in range(len(self.events)))

    def release(self, vgic: Vgic) -> None:
        """Stop, end every forwarding, and give the device's LPIs back to the host."""
        self.state = DeviceState.STOP
        self.unforward(vgic)
        self.host.driver.its_free_device(self.its_device)

    def signal(self, vgic: Vgic, vector: int) -> bool:
        """What the host's handler does for a vector that is not forwarded: the eventfd makes KVM inject it.

        Whether the guest has a mapping for it; an interrupt for a guest that does not take it is dropped.
        """
        try:
            return vgic.inject_msi(self.guest_device_id, self.events[vector]) == 1
        except KvmError:
            return False
