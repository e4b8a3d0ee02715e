# SPDX-License-Identifier: Apache-2.0
"""A physical device given to a VM: its MSI vectors and the states of the VFIO migration protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import numpy as np

from gicmodel.driver import DriverError, ItsDevice
from gicmodel.kvm import KvmError, Vgic
from gicmodel.migration.host import Host
from gicmodel.policy import Policy


class DeviceState(Enum):
    """VFIO_DEVICE_STATE_* of Linux include/uapi/linux/vfio.h, version 2 of the migration protocol."""

    RUNNING = "RUNNING"
    RUNNING_P2P = "RUNNING_P2P"
    PRE_COPY = "PRE_COPY"
    PRE_COPY_P2P = "PRE_COPY_P2P"
    STOP = "STOP"
    STOP_COPY = "STOP_COPY"
    RESUMING = "RESUMING"
    ERROR = "ERROR"

    @property
    def raises_interrupts(self) -> bool:
        """Whether a device in this state sends interrupts; the P2P states only end DMA from device to device."""
        return self in _ACTIVE


_ACTIVE = {DeviceState.RUNNING, DeviceState.RUNNING_P2P, DeviceState.PRE_COPY, DeviceState.PRE_COPY_P2P}


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
        self.resets = 0
        """How often the monitor had to reset it (VFIO_DEVICE_RESET)."""
        self.its_device: ItsDevice = host.driver.lpis.create_device(host_device_id, max(len(events), 1))
        if self.events:
            cpus = np.arange(len(self.events)) % host.cpus
            host.driver.lpis.activate(self.its_device, np.arange(len(self.events)), cpus)

    def enter(self, state: DeviceState) -> None:
        """Change the state.

        DriverError ETIMEDOUT from a device that does not respond, EIO from one in ERROR; it stays as it was.
        """
        if self.state is DeviceState.ERROR:
            raise DriverError("EIO", f"{self} is in ERROR, out of which only a reset leads")
        if state is not self.state and self.its_device.device_id in self.host.unresponsive:
            raise DriverError("ETIMEDOUT", f"{self} does not respond: it was to become {state.value}")
        self.state = state

    def reset(self) -> None:
        """VFIO_DEVICE_RESET: the device forgets what it did, and runs; what is pending in the GIC stays pending.

        DriverError EIO if it cannot be reset either: it is in ERROR then, and raises no interrupt.
        """
        self.resets += 1
        if self.its_device.device_id in self.host.broken:
            self.state = DeviceState.ERROR
            raise DriverError("EIO", f"{self} cannot be reset: it is in ERROR")
        self.host.unresponsive.discard(self.its_device.device_id)
        self.state = DeviceState.RUNNING

    def run_or_reset(self) -> None:
        """Let the device run; if it does not follow, reset it, as QEMU's vfio_migration_set_state does.

        DriverError as `reset`.
        """
        try:
            self.enter(DeviceState.RUNNING)
        except DriverError:
            self.reset()

    def __str__(self) -> str:
        return f"device {self.its_device.device_id:#x} of {self.host.name}"

    def fire(self, vectors: Sequence[int]) -> None:
        """Raise the interrupts of these vectors, in order: writes of GITS_TRANSLATER. Nothing from a stopped device."""
        if self.state.raises_interrupts and len(vectors):
            devices = np.full(len(vectors), self.its_device.device_id, np.uint64)
            self.host.gic.its[self.its_device.its].translate_many(devices, np.asarray(vectors, np.uint64))

    def forward(self, vgic: Vgic, count: int | None = None, transfer: bool = True) -> int:
        """VFIO SET_IRQS with an irqfd for the first `count` vectors: KVM forwards those it can; how many are new.

        Without `transfer`, what is pending in software stays there until `Vgic.transfer_pending`.
        """
        events = self.events[:count]
        vectors = range(len(events))
        return vgic.set_forwarding_many(0, self.guest_device_id, events, self.its_device, vectors, transfer)

    def is_forwarded(self, vgic: Vgic) -> bool:
        """Whether every vector of the device is forwarded."""
        return all(vgic.is_forwarded((self.its_device, vector)) for vector in range(len(self.events)))

    def unforward(self, vgic: Vgic, retrieve: bool = False) -> int:
        """VFIO SET_IRQS without eventfds: forwarding ends for every vector; for how many it did.

        What is pending is lost, unless KVM is to `retrieve` it; KvmError as `Forwarding.unset`.
        """
        hosts = [(self.its_device, vector) for vector in range(len(self.events))]
        return vgic.unset_forwarding_many(hosts, retrieve)

    def release(self, vgic: Vgic) -> None:
        """Stop, end every forwarding, and give the device's LPIs back to the host."""
        self.state = DeviceState.STOP
        self.unforward(vgic)
        self.host.driver.lpis.free_device(self.its_device)

    def signal(self, vgic: Vgic, vector: int) -> bool:
        """What the host's handler does for a vector that is not forwarded: the eventfd makes KVM inject it.

        Whether the guest has a mapping for it; an interrupt for a guest that does not take it is dropped.
        """
        try:
            return vgic.inject_msi(self.guest_device_id, self.events[vector]) == 1
        except KvmError:
            return False


def enable_vectors(device: VfioDevice, vgic: Vgic, policy: Policy, resets: int) -> None:
    """Forward every vector of a loaded device, whose forwarding is reset `resets` times if the policy lets it be.

    Raises:
        KvmError: EBUSY, RETRIEVE_ON_UNSET while the VM runs; or as the host driver.
    """
    if policy.avoids_resets:
        device.forward(vgic)
        return
    for vectors in growing(len(device.events), resets):
        device.unforward(vgic, retrieve=policy.retrieves)
        device.forward(vgic, vectors, transfer=not policy.transfers_at_the_end)


def growing(vectors: int, resets: int) -> Iterator[int]:
    """How many vectors are enabled at first and after each reset: one more each time, and after the last one all.

    `vectors` - 1 resets are QEMU's; with more, all vectors are enabled again and again.
    """
    for reset in range(resets):
        yield min(reset + 1, vectors)
    yield vectors
