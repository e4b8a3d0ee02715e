# SPDX-License-Identifier: Apache-2.0
"""Devices and their physical LPIs: Linux' its_create_device and the callbacks of its_irq_chip.

Every operation takes one event or an array of events. For an array there is one SYNC for each redistributor, after the
last command: a SYNC completes every earlier operation for its redistributor, not only the one before it (IHI0069 5.3,
"SYNC"), and the driver returns when the ITS has passed the SYNC. What Linux does for n events is thus n times the same
commands with n - 1 redundant SYNCs left out.
"""

from __future__ import annotations

from bisect import bisect_right, insort

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import commands
from gicmodel.driver.boot import Boot
from gicmodel.driver.commands import Operand, within
from gicmodel.driver.configuration import DISABLED, ENABLED
from gicmodel.driver.errors import DriverError
from gicmodel.driver.objects import ItsDevice
from gicmodel.driver.undo import all_or_nothing

_ITT_ALIGN = 256


class PhysicalLpis(Boot):
    """Devices, each with an ITT and as many LPIs as it has events."""

    def its_create_device(self, device_id: int, nr_events: int, its: int = 0) -> ItsDevice:
        """Map a device with an ITT and LPIs for `nr_events` events, rounded up to a power of two.

        Raises:
            DriverError: EEXIST, the ITS has the device; EINVAL, its tables have no place for it; ENOSPC, no LPIs;
                ENOMEM.
        """
        nr_events = roundup_pow_of_two(nr_events)
        self._check_new_device(its, device_id)
        lpi_base = self.its_lpi_alloc(nr_events)
        with all_or_nothing() as undo:
            undo.callback(self.lpi_ids.give, lpi_base, nr_events)
            device = self._map_device(device_id, its, nr_events, lpi_base)
        insort(self._devices_by_lpi, device, key=_lpi_base)
        return device

    def its_free_device(self, device: ItsDevice) -> None:
        """Unmap a device, its physical events first. DriverError EBUSY while any of its events is forwarded."""
        if device.forwarded.any():
            raise DriverError("EBUSY", f"device {device.device_id:#x} has forwarded events")
        events = np.flatnonzero(device.mapped)
        if len(events):
            self._deactivate(device, events)
        self.its[device.its].send(commands.mapd_unmap(device.device_id, device.event_bits, device.itt_addr))
        # The ITT is the ITS' until it has read that command.
        self.drain()
        self.allocator.free(device.itt_addr)
        self.lpi_ids.give(device.lpi_base, device.nr_events)
        del self.devices[device.its, device.device_id]
        self._devices_by_lpi.remove(device)

    def its_lpi_alloc(self, count: int) -> int:
        """The first of `count` LPIs in a row. DriverError ENOSPC if there are none."""
        base = self.lpi_ids.take(count)
        if base is None:
            raise DriverError("ENOSPC", f"no {count} LPIs in a row are free of {self.lpi_id_bits} bits of INTID")
        return base

    def lpi_to_event(self, intid: int) -> tuple[ItsDevice, int]:
        """The device and EventID of a physical LPI. DriverError ENOENT if no device has it."""
        index = bisect_right(self._devices_by_lpi, intid, key=_lpi_base) - 1
        if index >= 0:
            device = self._devices_by_lpi[index]
            if intid < device.lpi_base + device.nr_events:
                return device, intid - device.lpi_base
        raise DriverError("ENOENT", f"LPI {intid} belongs to no device")

    def irq_activate(self, device: ItsDevice, event: int, cpu: int = 0) -> None:
        """Map and enable one event (MAPTI); errors as `activate_events`."""
        self._activate(device, event, cpu)

    def activate_events(self, device: ItsDevice, first: int, count: int, cpus: int | NDArray[np.int64] = 0) -> None:
        """Map events first .. first + count - 1 to their LPIs on one CPU, or on `cpus` [count], and enable them.

        Raises:
            DriverError: EINVAL, no such event or CPU; EEXIST, an event is mapped.
        """
        self._activate(device, np.arange(first, first + count), np.broadcast_to(cpus, count))

    def irq_deactivate(self, device: ItsDevice, event: int) -> None:
        """Disable and unmap one event (DISCARD). DriverError EINVAL unless it is mapped and not forwarded."""
        self._check_physical(device, event)
        self._deactivate(device, event)

    def irq_set_affinity(self, device: ItsDevice, event: int, cpu: int) -> None:
        """Move an event's LPI, pending or not, to another CPU (MOVI); errors as `irq_deactivate`."""
        self._check_physical(device, event)
        self._check_cpus(cpu)
        if cpu == device.col[event]:
            return
        node = self.its[device.its]
        # The SYNC goes to the redistributor that the LPI leaves.
        node.send(commands.movi(device.device_id, event, cpu), node.sync(int(device.col[event])))
        device.col[event] = cpu

    def irq_mask(self, device: ItsDevice, event: int) -> None:
        """Disable an event's LPI; errors as `irq_deactivate`."""
        self._check_physical(device, event)
        self._configure(device, event, DISABLED)

    def irq_unmask(self, device: ItsDevice, event: int) -> None:
        """Enable an event's LPI; errors as `irq_deactivate`."""
        self._check_physical(device, event)
        self._configure(device, event, ENABLED)

    def _check_new_device(self, its: int, device_id: int) -> None:
        if (its, device_id) in self.devices:
            raise DriverError("EEXIST", f"{self.its[its].name} has a device {device_id:#x}")
        self.its[its].require_device(device_id)

    def _map_device(self, device_id: int, its: int, nr_events: int, lpi_base: int) -> ItsDevice:
        node = self.its[its]
        device = ItsDevice.create(device_id, its, nr_events, lpi_base)
        device.itt_addr = self.allocator.alloc(node.itt_entry_bytes << device.event_bits, _ITT_ALIGN)
        # If this fails nobody gets the ITT back: an ITS that did not answer may still come to use it.
        node.send(commands.mapd(device_id, device.event_bits, device.itt_addr))
        self.devices[its, device_id] = device
        return device

    def _activate(self, device: ItsDevice, events: Operand, cpus: Operand) -> None:
        self._check_events(device, events)
        self._check_cpus(cpus)
        if device.mapped[events].any():
            raise DriverError("EEXIST", f"events {events} of device {device.device_id:#x} are not all unmapped")
        device.mapped[events] = True
        device.col[events] = cpus
        self._map_physical(device, events)

    def _map_physical(self, device: ItsDevice, events: Operand) -> None:
        node = self.its[device.its]
        cpus = device.col[events]
        node.send(commands.mapti(device.device_id, events, device.lpi_base + events, cpus), node.sync(cpus))
        self._configure(device, events, ENABLED)

    def _deactivate(self, device: ItsDevice, events: Operand) -> None:
        self._configure(device, events, DISABLED)
        node = self.its[device.its]
        node.send(commands.discard(device.device_id, events), node.sync(device.col[events]))
        device.mapped[events] = False

    def _configure(self, device: ItsDevice, events: Operand, octet: int) -> None:
        """Write physical LPIs' configuration and have it reloaded (Linux' lpi_update_config)."""
        if isinstance(events, np.ndarray) and len(events) == 1:
            events = int(events[0])
        intids, cpus = device.lpi_base + events, device.col[events]
        self.lpi_configuration.write(intids, octet)
        # Many LPIs are reloaded by command: the registers would take a write and a wait for each.
        if self.direct_lpi and not isinstance(intids, np.ndarray):
            self.drain()
            self.redistributors[cpus].invalidate_lpi(intids)
        else:
            node = self.its[device.its]
            node.send(commands.inv(device.device_id, events), node.sync(cpus))

    def _check_physical(self, device: ItsDevice, event: int) -> None:
        self._check_events(device, event)
        if not device.mapped[event] or device.forwarded[event]:
            raise DriverError("EINVAL", f"event {event} of device {device.device_id:#x} is no physical LPI")

    def _check_events(self, device: ItsDevice, events: Operand) -> None:
        if not within(events, device.nr_events):
            raise DriverError("EINVAL", f"device {device.device_id:#x} has events 0..{device.nr_events - 1} only")

    def _check_cpus(self, cpus: Operand) -> None:
        if not within(cpus, self.nr_cpus):
            raise DriverError("EINVAL", f"CPUs are 0..{self.nr_cpus - 1}")


def roundup_pow_of_two(number: int) -> int:
    """The lowest power of two that is not below `number`, from 1."""
    return 1 << max(0, number - 1).bit_length()


def _lpi_base(device: ItsDevice) -> int:
    return device.lpi_base
