# SPDX-License-Identifier: Apache-2.0
"""A host whose driver is `gicmodel.driver`, which is a port of Linux'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.driver.objects import ItsDevice, ItsVpe
from gicmodel.fuzzing.peers.linux.driver.host import PART_BYTES, RAM_BASE, Host, HostBus
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.hardware.bus import Frames

_VPE_ID_BITS = 16
"""GICv4.0 has no GICD_TYPER2: Linux' ITS_MAX_VPEID_BITS."""

DeviceEvent = tuple[ItsDevice, int]


class PortHost(Host):
    """The port's side. `request` needs the CPU, which its caller chooses."""

    def _operation(self, verb: str) -> Callable[..., Any]:
        return self._boot if verb == "boot" else self._operations[verb]

    def _boot(self) -> None:
        self.new_bus()
        self._driver = _driver_of(self.bus, self.machine)
        self._driver.probe()
        self.new_kernel()
        self._operations = self._operations_of(self._driver)

    def _operations_of(self, driver: GicDriver) -> dict[str, Callable[..., Any]]:
        lpis, vpes, vlpis, vsgis = driver.lpis, driver.vpes, driver.vlpis, driver.vsgis
        return {
            "add_device": self._add_device,
            "remove_device": lambda *device: lpis.free_device(self._events.pop(device)[0][0]),
            "request": self._request,
            "free": lambda event: lpis.deactivate(*event),
            "affinity": self._affinity,
            "mask": lambda event, masked: (lpis.mask if masked else lpis.unmask)(*event),
            "set_pending": self._set_pending,
            "begin_vm": self._begin_vm,
            "end_vm": vpes.destroy_vm,
            "unmap_vpes": lambda vm: vpes.deactivate(*vm.vpes),
            "map_vpes": lambda vm: vpes.activate(*vm.vpes),
            "vpt": lambda vpe: vpe.vpt_page,
            "forward": self._forward,
            "unforward": lambda event: vlpis.unmap(*event),
            "configure": self._configure,
            "load": self._load,
            "put": self._put,
            "take_doorbell": self._take_doorbell,
            "invall": vpes.invall,
            "begin_vsgi": lambda vpe, sgi, enabled, *values: vsgis.configure(vpe, sgi, bool(enabled), *values),
            "end_vsgi": vsgis.deactivate,
            "set_vsgi": lambda vpe, sgi, *values: vsgis.configure(vpe, sgi, vpe.sgi_config[sgi].enabled, *values),
            "enable_vsgi": self._enable_vsgi,
            "set_vsgi_pending": lambda vpe, sgi, pending: vsgis.set_pending(vpe, sgi, bool(pending)),
            "vsgi_pending": lambda vpe, sgi: int(vsgis.get_pending(vpe, sgi)),
        }

    def _add_device(self, its: int, device_id: int, vectors: int) -> list[int]:
        device = self._driver.lpis.create_device(device_id, vectors, its)
        self._events[its, device_id] = [(device, event) for event in range(vectors)]
        return [device.lpi_base + event for event in range(vectors)]

    def _request(self, event: DeviceEvent, cpu: int) -> int:
        self._driver.lpis.activate(*event, cpu)
        return cpu

    def _affinity(self, event: DeviceEvent, cpu: int) -> int:
        self._driver.lpis.set_affinity(*event, cpu)
        return cpu

    def _set_pending(self, event: DeviceEvent, pending: int) -> None:
        self._driver.lpis.set_irqchip_state(*event, bool(pending))

    def _begin_vm(self, vm: int, vcpus: int) -> list[int]:
        self._vms[vm] = made = self._driver.vpes.create_vm(vcpus)
        self._vpes[vm] = made.vpes
        return [vpe.doorbell_intid for vpe in made.vpes]

    def _forward(self, event: DeviceEvent, vpe: ItsVpe, vintid: int, byte: int) -> None:
        self._driver.vlpis.map(*event, vpe.vm, vpe.vm.vpes.index(vpe), vintid, byte)

    def _configure(self, event: DeviceEvent, byte: int, inv: int) -> None:
        self._driver.vlpis.prop_update(*event, byte, bool(inv))

    def _load(self, vpe: ItsVpe, cpu: int, group0: int) -> None:
        vpes = self._driver.vpes
        vpes.set_affinity(vpe, cpu)
        vpes.schedule(vpe, cpu, vgrp0=bool(group0))
        if not self.machine.config.v41:
            self._driver.doorbells.clear(vpe)
        vpes.commit(vpe)

    def _put(self, vpe: ItsVpe, doorbell: int) -> int:
        self._driver.vpes.deschedule(vpe, bool(doorbell))
        return int(vpe.pending_last)

    def _take_doorbell(self, vpe: ItsVpe) -> None:
        if not self.machine.config.v41:
            self._driver.doorbells.mask(vpe)

    def _enable_vsgi(self, vpe: ItsVpe, sgi: int, enabled: int) -> None:
        config = vpe.sgi_config[sgi]
        self._driver.vsgis.configure(vpe, sgi, bool(enabled), config.group, config.priority)


class _Registers(NamedTuple):
    its: list[Frames]
    redistributors: list[Frames]


def _driver_of(bus: HostBus, machine: HostMachine) -> GicDriver:
    config = machine.config
    bases = [bus.base(f"GICR{n}") for n in range(config.redistributors)]
    its = [Frames(bus, bus.base(f"GITS{n}")) for n in range(config.its)]
    return GicDriver(
        _Registers(its, [Frames(bus, base) for base in bases]),
        PageAllocator(bus.gic.memory, RAM_BASE, RAM_BASE + PART_BYTES),
        lpi_id_bits=min(16, config.intid_bits),
        vpe_id_bits=config.vpe_id_bits if config.v41 else _VPE_ID_BITS,
        redistributor_bases=bases if config.pta else (),
        relax=bus.relax,
    )
