# SPDX-License-Identifier: Apache-2.0
"""A host whose driver is `gicmodel.driver`, which is a port of Linux'."""

from __future__ import annotations

from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.driver.objects import ItsDevice, ItsVm, ItsVpe
from gicmodel.fuzzing.peers.linux.driver.bus import HostBus
from gicmodel.fuzzing.peers.linux.driver.host import PART_BYTES, RAM_BASE, Host
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.hardware.bus import Frames

_VPE_ID_BITS = 16
"""GICv4.0 has no GICD_TYPER2: Linux' ITS_MAX_VPEID_BITS."""


class PortHost(Host):
    """The port's side."""

    def boot(self) -> int:
        """Power on."""
        self.new_bus()
        self._driver = _driver_of(self.bus, self.machine)
        self._driver.probe()
        self._devices: dict[tuple[int, int], ItsDevice] = {}
        self._vms: dict[int, ItsVm] = {}
        return 0

    # Devices.

    def add_device(self, its: int, device_id: int, vectors: int) -> list[int]:
        self._devices[its, device_id] = device = self._driver.lpis.create_device(device_id, vectors, its)
        return [device.lpi_base + event for event in range(vectors)]

    def remove_device(self, its: int, device_id: int) -> int:
        self._driver.lpis.free_device(self._devices.pop((its, device_id)))
        return 0

    def request(self, its: int, device_id: int, event_id: int, cpu: int) -> int:
        self._driver.lpis.activate(self._devices[its, device_id], event_id, cpu)
        return cpu

    def free(self, its: int, device_id: int, event_id: int) -> int:
        self._driver.lpis.deactivate(self._devices[its, device_id], event_id)
        return 0

    def affinity(self, its: int, device_id: int, event_id: int, cpu: int) -> int:
        self._driver.lpis.set_affinity(self._devices[its, device_id], event_id, cpu)
        return cpu

    def mask(self, its: int, device_id: int, event_id: int, masked: int) -> int:
        lpis = self._driver.lpis
        (lpis.mask if masked else lpis.unmask)(self._devices[its, device_id], event_id)
        return 0

    def set_pending(self, its: int, device_id: int, event_id: int, pending: int) -> int:
        self._driver.lpis.set_irqchip_state(self._devices[its, device_id], event_id, bool(pending))
        return 0

    # Virtual machines.

    def begin_vm(self, vm: int, vcpus: int) -> list[int]:
        self._vms[vm] = self._driver.vpes.create_vm(vcpus)
        return [vpe.doorbell_intid for vpe in self._vms[vm].vpes]

    def end_vm(self, vm: int) -> int:
        self._driver.vpes.destroy_vm(self._vms.pop(vm))
        return 0

    def unmap_vpes(self, vm: int) -> int:
        self._driver.vpes.deactivate(*self._vms[vm].vpes)
        return 0

    def map_vpes(self, vm: int) -> int:
        self._driver.vpes.activate(*self._vms[vm].vpes)
        return 0

    def vpt(self, vm: int, vcpu: int) -> int:
        return self._vpe(vm, vcpu).vpt_page

    def cpu_of_vpe(self, vm: int, vcpu: int) -> int:
        return self._vpe(vm, vcpu).col_idx

    def forward(self, its: int, device_id: int, event_id: int, vm: int, vcpu: int, vintid: int, byte: int) -> int:
        self._driver.vlpis.map(self._devices[its, device_id], event_id, self._vms[vm], vcpu, vintid, byte)
        return 0

    def unforward(self, its: int, device_id: int, event_id: int) -> int:
        self._driver.vlpis.unmap(self._devices[its, device_id], event_id)
        return 0

    def configure(self, its: int, device_id: int, event_id: int, byte: int, inv: int) -> int:
        self._driver.vlpis.prop_update(self._devices[its, device_id], event_id, byte, bool(inv))
        return 0

    def load(self, vm: int, vcpu: int, cpu: int, group0: int) -> int:
        vpe, vpes = self._vpe(vm, vcpu), self._driver.vpes
        vpes.set_affinity(vpe, cpu)
        vpes.schedule(vpe, cpu, vgrp0=bool(group0))
        if not self.machine.config.v41:
            self._driver.doorbells.clear(vpe)
        vpes.commit(vpe)
        return 0

    def put(self, vm: int, vcpu: int, doorbell: int) -> int:
        vpe = self._vpe(vm, vcpu)
        self._driver.vpes.deschedule(vpe, bool(doorbell))
        return int(vpe.pending_last)

    def take_doorbell(self, vm: int, vcpu: int) -> int:
        if not self.machine.config.v41:
            self._driver.doorbells.mask(self._vpe(vm, vcpu))
        return 0

    def invall(self, vm: int, vcpu: int) -> int:
        self._driver.vpes.invall(self._vpe(vm, vcpu))
        return 0

    # vSGIs.

    def begin_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int, group: int, byte: int) -> int:
        self._driver.vsgis.configure(self._vpe(vm, vcpu), sgi, bool(enabled), group, byte)
        return 0

    def end_vsgi(self, vm: int, vcpu: int, sgi: int) -> int:
        self._driver.vsgis.deactivate(self._vpe(vm, vcpu), sgi)
        return 0

    def set_vsgi(self, vm: int, vcpu: int, sgi: int, group: int, byte: int) -> int:
        vpe = self._vpe(vm, vcpu)
        self._driver.vsgis.configure(vpe, sgi, vpe.sgi_config[sgi].enabled, group, byte)
        return 0

    def enable_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int) -> int:
        vpe = self._vpe(vm, vcpu)
        config = vpe.sgi_config[sgi]
        self._driver.vsgis.configure(vpe, sgi, bool(enabled), config.group, config.priority)
        return 0

    def set_vsgi_pending(self, vm: int, vcpu: int, sgi: int, pending: int) -> int:
        self._driver.vsgis.set_pending(self._vpe(vm, vcpu), sgi, bool(pending))
        return 0

    def vsgi_pending(self, vm: int, vcpu: int, sgi: int) -> int:
        return int(self._driver.vsgis.get_pending(self._vpe(vm, vcpu), sgi))

    def _vpe(self, vm: int, vcpu: int) -> ItsVpe:
        return self._vms[vm].vpes[vcpu]


class _Registers:
    """The frames of a GIC, as the port wants them."""

    def __init__(self, bus: HostBus, machine: HostMachine) -> None:
        config = machine.config
        self.its = [Frames(bus, bus.bus.base(f"GITS{n}")) for n in range(config.its)]
        self.redistributors = [Frames(bus, bus.bus.base(f"GICR{n}")) for n in range(config.redistributors)]


def _driver_of(bus: HostBus, machine: HostMachine) -> GicDriver:
    config = machine.config
    bases = [bus.bus.base(f"GICR{n}") for n in range(config.redistributors)]
    return GicDriver(
        _Registers(bus, machine),
        PageAllocator(bus.gic.memory, RAM_BASE, RAM_BASE + PART_BYTES),
        lpi_id_bits=min(16, config.intid_bits),
        vpe_id_bits=config.vpe_id_bits if config.v41 else _VPE_ID_BITS,
        redistributor_bases=bases if config.pta else (),
        relax=bus.relax,
    )
