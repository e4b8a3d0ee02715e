# SPDX-License-Identifier: Apache-2.0
"""Devices and their LPIs: Linux' its_create_device and the callbacks of its_irq_chip.

Every operation takes one event or an array of events. For an array there is one SYNC for each redistributor, after the
last command: a SYNC completes every earlier operation for its redistributor, not only the one before it (IHI0069 5.3,
"SYNC"), and the driver returns when the ITS has passed the SYNC. What Linux does for n events is thus n times the same
commands with n - 1 redundant SYNCs left out.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from contextlib import ExitStack

import numpy as np

from gicmodel.driver import commands
from gicmodel.driver.allocator import FreeRanges
from gicmodel.driver.commands import Commands, Operand, command, every
from gicmodel.driver.errors import DriverError
from gicmodel.driver.host_gic import HostGic
from gicmodel.driver.objects import ItsDevice
from gicmodel.driver.tables import DISABLED, ENABLED
from gicmodel.layouts.commands import CLEAR, DISCARD, INT, INV, MAPD, MAPTI, MOVI
from gicmodel.layouts.lpi_tables import FIRST_LPI

_ITT_ALIGN = 256


class PhysicalLpis:
    """Devices, each with an ITT and as many LPIs as it has events.

    `devices` are found by (ITS, DeviceID); `intids` are the LPIs that nobody has.
    """

    def __init__(self, gic: HostGic) -> None:
        self.gic = gic
        self.intids = FreeRanges(FIRST_LPI, 1 << gic.lpi_id_bits)
        self.devices: dict[tuple[int, int], ItsDevice] = {}
        self._by_lpi: list[ItsDevice] = []

    def create_device(self, device_id: int, nr_events: int, its: int = 0) -> ItsDevice:
        """Map a device with an ITT and LPIs for `nr_events` events, rounded up to a power of two.

        Raises:
            DriverError: EEXIST, the ITS has the device; EINVAL, its tables have no place for it; ENOSPC, no LPIs;
                ENOMEM.
        """
        nr_events = roundup_pow_of_two(nr_events)
        self._check_new(its, device_id)
        lpi_base = self.alloc(nr_events)
        with ExitStack() as undo:
            undo.callback(self.intids.give, lpi_base, nr_events)
            device = self._map_device(device_id, its, nr_events, lpi_base)
            undo.pop_all()
        insort(self._by_lpi, device, key=_lpi_base)
        return device

    def create_proxy(self, device_id: int, nr_events: int, its: int) -> ItsDevice:
        """A device of the driver's own, without LPIs: its events are mapped to whatever they are to invalidate."""
        self._check_new(its, device_id)
        return self._map_device(device_id, its, nr_events, lpi_base=0)

    def free_device(self, device: ItsDevice) -> None:
        """Unmap a device, its physical events first. DriverError EBUSY while any of its events is forwarded."""
        if device.forwarded.any():
            raise DriverError("EBUSY", f"device {device.device_id:#x} has forwarded events")
        events = np.flatnonzero(device.mapped)
        if len(events):
            self.deactivate(device, events)
        # With V=0 the ITT is ignored; Linux names it all the same.
        self.gic.its[device.its].send(_mapd(device, valid=False))
        # The ITT is the ITS' until it has read that command.
        self.gic.drain()
        self.gic.allocator.free(device.itt_addr)
        self.intids.give(device.lpi_base, device.nr_events)
        del self.devices[device.its, device.device_id]
        self._by_lpi.remove(device)

    def alloc(self, count: int) -> int:
        """The first of `count` LPIs in a row (its_lpi_alloc). DriverError ENOSPC if there are none."""
        base = self.intids.take(count)
        if base is None:
            raise DriverError("ENOSPC", f"no {count} LPIs in a row are free of {self.gic.lpi_id_bits} bits of INTID")
        return base

    def event_of(self, intid: int) -> tuple[ItsDevice, int]:
        """The device and EventID of a physical LPI. DriverError ENOENT if no device has it."""
        index = bisect_right(self._by_lpi, intid, key=_lpi_base) - 1
        if index >= 0:
            device = self._by_lpi[index]
            if intid < device.lpi_base + device.nr_events:
                return device, intid - device.lpi_base
        raise DriverError("ENOENT", f"LPI {intid} belongs to no device")

    def activate(self, device: ItsDevice, events: Operand, cpus: Operand = 0) -> None:
        """Map events to their LPIs (MAPTI), on one CPU or on one each, and enable them.

        Raises:
            DriverError: EINVAL, no such event or CPU; EEXIST, an event is mapped.
        """
        device.check_events(events)
        self.gic.check_cpus(cpus)
        if device.mapped[events].any():
            raise DriverError("EEXIST", f"events {events} of device {device.device_id:#x} are not all unmapped")
        device.mapped[events] = True
        device.col[events] = cpus
        self.map(device, events)

    def map(self, device: ItsDevice, events: Operand) -> None:
        """MAPTI of events on the CPUs that they have, and enable them: of new ones, or when their forwarding ends."""
        node, cpus = self.gic.its[device.its], device.col[events]
        pintids = device.lpi_base + events
        mapti = command(MAPTI, DeviceID=device.device_id, EventID=events, pINTID=pintids, ICID=cpus)
        node.send(mapti, node.sync(cpus))
        self._configure(device, events, ENABLED)

    def deactivate(self, device: ItsDevice, events: Operand) -> None:
        """Disable and unmap events (DISCARD). DriverError EINVAL unless all are mapped and not forwarded."""
        device.check_physical(events)
        self._configure(device, events, DISABLED)
        node = self.gic.its[device.its]
        discard = command(DISCARD, DeviceID=device.device_id, EventID=events)
        node.send(discard, node.sync(device.col[events]))
        device.mapped[events] = False

    def set_affinity(self, device: ItsDevice, events: Operand, cpu: int) -> None:
        """Move events' LPIs, pending or not, to another CPU (MOVI); errors as `deactivate`, EINVAL without the CPU."""
        device.check_physical(events)
        self.gic.check_cpus(cpu)
        there = device.col[events] == cpu
        if every(there):
            return
        if isinstance(events, np.ndarray):
            events = events[~there]
        node = self.gic.its[device.its]
        # The SYNC goes to the redistributor that the LPI leaves.
        movi = command(MOVI, DeviceID=device.device_id, EventID=events, ICID=cpu)
        node.send(movi, node.sync(device.col[events]))
        device.col[events] = cpu

    def mask(self, device: ItsDevice, events: Operand) -> None:
        """Disable events' LPIs; errors as `deactivate`."""
        device.check_physical(events)
        self._configure(device, events, DISABLED)

    def unmask(self, device: ItsDevice, events: Operand) -> None:
        """Enable events' LPIs; errors as `deactivate`."""
        device.check_physical(events)
        self._configure(device, events, ENABLED)

    def set_irqchip_state(self, device: ItsDevice, events: Operand, pending: bool) -> None:
        """Make events' interrupts, physical or virtual, pending or not (INT, CLEAR). EINVAL unless all are mapped."""
        device.check_mapped(events)
        change = command(INT if pending else CLEAR, DeviceID=device.device_id, EventID=events)
        self.gic.its[device.its].send(change, *self._event_syncs(device, events))

    def _event_syncs(self, device: ItsDevice, events: Operand) -> list[Commands]:
        """SYNC for where physical events go, VSYNC for where forwarded ones go."""
        node = self.gic.its[device.its]
        forwarded = device.forwarded[events]
        if every(forwarded):
            return [commands.vsync(device.vpe_id[events])]
        if not forwarded.any():
            return [node.sync(device.col[events])]
        assert isinstance(events, np.ndarray)
        return [node.sync(device.col[events[~forwarded]]), commands.vsync(device.vpe_id[events[forwarded]])]

    def _check_new(self, its: int, device_id: int) -> None:
        if (its, device_id) in self.devices:
            raise DriverError("EEXIST", f"{self.gic.its[its].name} has a device {device_id:#x}")
        self.gic.its[its].require_device(device_id)

    def _map_device(self, device_id: int, its: int, nr_events: int, lpi_base: int) -> ItsDevice:
        node = self.gic.its[its]
        device = ItsDevice.create(device_id, its, nr_events, lpi_base)
        device.itt_addr = self.gic.allocator.alloc(node.itt_entry_bytes << device.event_bits, _ITT_ALIGN)
        # If this fails nobody gets the ITT back: an ITS that did not answer may still come to use it.
        node.send(_mapd(device, valid=True))
        self.devices[its, device_id] = device
        return device

    def _configure(self, device: ItsDevice, events: Operand, octet: int) -> None:
        """Write physical LPIs' configuration and have it reloaded (Linux' lpi_update_config)."""
        if isinstance(events, np.ndarray) and len(events) == 1:
            events = int(events[0])
        intids, cpus = device.lpi_base + events, device.col[events]
        self.gic.lpi_configuration.write(intids, octet)
        # Many LPIs are reloaded by command: the registers would take a write and a wait for each.
        if self.gic.direct_lpi and not isinstance(intids, np.ndarray):
            self.gic.drain()
            self.gic.redistributors[cpus].invalidate_lpi(intids)
        else:
            node = self.gic.its[device.its]
            node.send(command(INV, DeviceID=device.device_id, EventID=events), node.sync(cpus))


def roundup_pow_of_two(number: int) -> int:
    """The lowest power of two that is not below `number`, from 1."""
    return 1 << max(0, number - 1).bit_length()


def _mapd(device: ItsDevice, valid: bool) -> Commands:
    size = device.event_bits - 1
    return command(MAPD, DeviceID=device.device_id, Size=size, ITT_addr=device.itt_addr, V=valid)


def _lpi_base(device: ItsDevice) -> int:
    return device.lpi_base
