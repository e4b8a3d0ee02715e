# SPDX-License-Identifier: Apache-2.0
"""Two hosts with one driver's code: on hardware that retains nothing, and on hardware that is as late as it may be.

What software can tell apart, it must not: where the two differ, the driver has left out a command.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver
from gicmodel.driver.objects import ItsDevice, ItsVpe
from gicmodel.hardware import Gic
from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.lab.late import LateGic
from gicmodel.lab.placement import RAM_BYTES
from gicmodel.memory import PAGE_BYTES
from gicmodel.migration.host import Host


class MissingCommand(AssertionError):
    """The driver has left out the command that the message names."""


class TwinHost(Host):
    """A host whose driver is of some class. `late`: its GIC retains and puts off what it may."""

    def __init__(self, config: GicConfig, driver_class: type[GicDriver], late: bool) -> None:
        self.late: LateGic | None = None
        config = replace(config, caching="retain" if late else "none")
        super().__init__("twin", config, RAM_BYTES, port=self._late if late else None, driver_class=driver_class)

    def _late(self, gic: Gic) -> LateGic:
        self.late = LateGic(gic)
        return self.late

    # What the machine's rules do, in numbers that mean the same on both hosts.

    @property
    def vpes(self) -> list[ItsVpe]:
        """The VM's vPEs by vCPU; none without a VM."""
        return list(self.driver.vpes.by_id.values())

    def device(self, device_id: int) -> ItsDevice:
        """The device, on whichever ITS it is: the last."""
        return self.driver.lpis.devices[self.config.its - 1, device_id]

    def event(self, event: tuple[int, int]) -> tuple[ItsDevice, int]:
        """(DeviceID, EventID) as the driver's operations want it."""
        return self.device(event[0]), event[1]

    def forwarded_to(self, vcpu: int) -> list[tuple[int, int]]:
        """(DeviceID, EventID) of every event that is forwarded to a vCPU."""
        return [
            (device.device_id, event)
            for device in self.driver.lpis.devices.values()
            for event in np.flatnonzero(device.forwarded & (device.vpe_id == self.vpes[vcpu].vpe_id)).tolist()
        ]

    def create_device(self, device_id: int, events: int) -> None:
        """Map a device on the last ITS."""
        self.driver.lpis.create_device(device_id, events, self.config.its - 1)

    def activate_all(self, device_id: int) -> None:
        """Map every event of a device, to CPU 0."""
        device = self.device(device_id)
        self.driver.lpis.activate(device, np.arange(device.nr_events))

    def fire(self, device_id: int, event: int) -> None:
        """The device writes GITS_TRANSLATER."""
        self.gic.its[self.config.its - 1].translate(device_id, event)

    def mask_all(self, events: list[tuple[int, int]]) -> None:
        """lpis.mask of several events in one batch."""
        with self.driver.gic.batch():
            for event in events:
                self.driver.lpis.mask(*self.event(event))

    def update_all(self, vcpu: int, events: list[tuple[int, int]], byte: int) -> None:
        """Write vLPIs' configuration bytes, then have all of them reloaded."""
        for event in events:
            self.driver.vlpis.prop_update(*self.event(event), byte, inv=False)
        self.driver.vpes.invall(self.vpes[vcpu])

    def deschedule(self, vcpu: int, doorbell: bool) -> bool:
        """vpes.deschedule; GICR_VPENDBASER.PendingLast."""
        self.driver.vpes.deschedule(self.vpes[vcpu], doorbell)
        return self.vpes[vcpu].pending_last

    # What can be seen of it.

    def pending(self) -> dict[str, list[int]]:
        """What is pending, and what comes next, wherever it is held."""
        bits = self.config.intid_bits
        seen = {f"LPIs of CPU {n}": pending_physical(self.gic, n).tolist() for n in range(self.config.redistributors)}
        for vpe in self.driver.vpes.by_id.values():
            seen[f"interrupts of vPE {vpe.vpe_id}"] = pending_virtual(self.gic, vpe.vpt_page, bits).tolist()
        for number, rd in enumerate(self.gic.redistributors):
            seen[f"ICC_HPPIR1 of CPU {number}"] = [rd.cpu.pending()]
            seen[f"ICV_HPPIR of CPU {number}"] = [rd.cpu.pending_virtual()]
        return seen

    def missing(self) -> str | None:
        """The first command that the driver owes the hardware; None if it owes none."""
        return next(iter(self.late.missing if self.late else ()), None)


def difference(plain: TwinHost, late: TwinHost) -> str | None:
    """What software can see of the two that is not the same, in one line; None if nothing."""
    if plain.gic.errors != late.gic.errors:
        return f"command errors {plain.gic.errors} against {late.gic.errors}"
    wanted, seen = plain.pending(), late.pending()
    for name in wanted:
        if wanted[name] != seen[name]:
            return f"{name}: {wanted[name]} against {seen[name]}"
    for page in np.union1d(plain.memory.dirty_pages(), late.memory.dirty_pages()).tolist():
        if plain.memory.read(page, PAGE_BYTES) != late.memory.read(page, PAGE_BYTES):
            return f"RAM at {page:#x}"
    plain.memory.clear_dirty()
    late.memory.clear_dirty()
    return "nothing of it shows yet" if late.missing() else None


def check(plain: TwinHost, late: TwinHost, operation: str) -> None:
    """Raise MissingCommand if `operation` has left the two different."""
    what = difference(plain, late)
    if what is not None:
        owed = late.missing() or "the two differ, and no command that is missing explains it"
        raise MissingCommand(f"{operation}: {owed} ({what})")
