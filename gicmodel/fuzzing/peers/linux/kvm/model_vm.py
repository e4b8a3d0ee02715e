# SPDX-License-Identifier: Apache-2.0
"""The virtual machine of `gicmodel.kvm`, on a host with the driver and the hardware of this model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import GicConfig
from gicmodel.driver.objects import ItsDevice
from gicmodel.fuzzing.peers.linux.kvm.machine import HOST_IRQS, RAM_BASE, RAM_BYTES, VirtualMachine
from gicmodel.fuzzing.peers.linux.kvm.vm import OK, OOPS, STORM, Calls, State, Vm
from gicmodel.fuzzing.programs.program import CommandWords
from gicmodel.hardware.observe import pending_virtual
from gicmodel.kvm import HostOops, HostStorm, KvmBehaviour, KvmError, Vgic
from gicmodel.kvm.commands import CommandError, execute_one
from gicmodel.kvm.forwarding import Route
from gicmodel.kvm.vgic import FIRST_ITS_ADDRESS
from gicmodel.kvm.virtual_its import ITS_BYTES
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import DIRTY, GuestMemory
from gicmodel.migration.host import Host

_HOST_CPUS, _HOST_BYTES = 4, 64 << 20
_DEVICE_ID = 0x42
_VINTID_BITS = 16
_LPI_COLUMNS = ("intid", "references", "target_vcpu", "priority", "enabled", "pending_latch", "hw")
_SGI_COLUMNS = ("enabled", "group", "priority", "pending_latch", "hw")


class ModelVm(Vm):
    """The model's side. Of a host whose GIC has vLPIs one device belongs to the VM."""

    _host: Host | None
    _device: ItsDevice

    def __init__(self, machine: VirtualMachine, behaviour: KvmBehaviour) -> None:
        super().__init__(machine)
        self._behaviour = behaviour
        self.boot()

    def create(self) -> object:
        """A new VM on a new host."""
        machine = self._machine
        self._memory = GuestMemory(RAM_BASE, RAM_BYTES)
        self.ram = self._memory.octets
        self._host = driver = None
        if machine.architecture != "3":
            config = GicConfig(architecture=machine.architecture, its=1, redistributors=_HOST_CPUS)  # type: ignore[arg-type]
            self._host = Host("host", config, _HOST_BYTES)
            driver = self._host.driver
            self._device = driver.lpis.create_device(_DEVICE_ID, HOST_IRQS)
            driver.lpis.activate(self._device, np.arange(HOST_IRQS))
        self.vgic = Vgic(
            self._memory, machine.vcpus, driver, machine.its, self._behaviour, False, vsgi_cpu_interface=machine.vsgis
        )
        for number, its in enumerate(self.vgic.its):
            its.set_base_address(FIRST_ITS_ADDRESS + number * ITS_BYTES)
        return OK

    def do(self, verb: str, *values: int) -> object:
        return _result(super().do, verb, *values)

    def calls(self) -> Calls:
        vgic = self.vgic
        return super().calls() | {
            "initialise": vgic.init,
            "send_sgi": vgic.send_sgi,
            "sync": vgic.sync_hwstate,
            "take": lambda vcpu: sorted(vgic.acknowledge_all(vcpu)),
            "load": lambda vcpu: vgic.load(vcpu, vcpu % _HOST_CPUS),
            "put": lambda vcpu, wfi: vgic.put(vcpu, bool(wfi)),
            "save_tables": lambda its: vgic.its[its].save_tables(),
            "restore_tables": lambda its: vgic.its[its].restore_tables(),
            "reset": lambda its: vgic.its[its].reset(),
            "save_pending_tables": lambda lpi_by_lpi: vgic.save_pending_tables(bool(lpi_by_lpi)),
            "msi": lambda its, device_id, event_id: vgic.inject_msi(device_id, event_id, its),
            "forward": self._forward,
            "unforward": self._unforward,
            "change_route": self._change_route,
            "device_event": self._device_event,
        }

    def command(self, its: int, words: CommandWords) -> object:
        return _result(execute_one, self.vgic.its[its], np.array(words, np.uint64))

    def access(self, access: str, face: str, number: int, offset: int, *rest: int) -> object:
        vgic = self.vgic
        frames: dict[str, Sequence[object]] = {"its": vgic.its, "rd": vgic.redistributors, "dist": [vgic.distributor]}
        return getattr(frames[face][number], access)(offset, *rest)

    def _forward(self, its: int, device_id: int, event_id: int, irq: int) -> None:
        self.vgic.set_forwarding(its, device_id, event_id, (self._device, irq))

    def _unforward(self, *values: int) -> None:
        self.vgic.unset_forwarding((self._device, values[-1]))

    def _change_route(self, *values: int) -> None:
        """KVM looks first whether it is another."""
        old, new, irq = values[:3], values[3:6], values[6]
        if old != new:
            its, *event = new
            self.vgic.forwarding.route_changed((self._device, irq), Route(self.vgic.its[its], *event))

    def _device_event(self, irq: int) -> bool:
        assert self._host is not None
        if not self._device.forwarded[irq]:
            return False
        self._host.gic.its[self._device.its].translate(_DEVICE_ID, irq)
        return True

    def take_dirty(self) -> NDArray[np.bool_]:
        dirty = (self._memory.page_state & DIRTY).astype(np.bool_)
        self._memory.clear_dirty()
        return dirty

    def state(self) -> State:
        state: State = {}
        lpis, dist = self.vgic.lpis, self.vgic.dist
        intids = lpis.rows["intid"]
        for number, its in enumerate(self.vgic.its):
            devices = its.all_devices()
            state[f"devices of ITS {number}"] = sorted(
                [device.device_id, device.itt_addr, device.num_eventid_bits] for device in devices
            )
            state[f"events of ITS {number}"] = sorted(
                [device.device_id, ite.event_id, int(intids[ite.lpi]), ite.icid]
                for device in devices
                for ite in device.ites.values()
            )
            state[f"collections of ITS {number}"] = [
                [icid, vcpu & COLLECTION_NOT_MAPPED] for icid, vcpu in its.collections.items()
            ]
            registers = its.cbaser, its.creadr, its.cwriter, *its.basers.values()
            state[f"registers of ITS {number}"] = [int(its.enabled), *registers, its.abi_revision]
        slots = lpis.slots()
        columns = [*(lpis.rows[name][slots] for name in _LPI_COLUMNS), lpis.queued[slots]]
        state["LPIs"] = sorted(np.stack(columns, -1, dtype=np.int64).tolist())
        state["SGIs"] = self._sgis()
        state["GICD_CTLR"] = [int(dist.enabled), int(dist.nassgireq)]
        state["GICR_PROPBASER"] = dist.propbaser
        for vcpu in range(self._machine.vcpus):
            state[f"GICR_PENDBASER of {vcpu}"] = [dist.pendbaser(vcpu), int(dist.lpis_enabled[vcpu])]
        return state

    def state_of_host(self) -> State:
        host, vm = self._host, self.vgic.its_vm
        if host is None or vm is None:
            return {}
        device = self._device
        places = {vpe.vpe_id: vcpu for vcpu, vpe in enumerate(vm.vpes)}
        pending = {vpe.vpe_id: set(pending_virtual(host.gic, vpe.vpt_page, _VINTID_BITS).tolist()) for vpe in vm.vpes}
        fed = []
        for irq in np.flatnonzero(device.forwarded).tolist():
            vpeid, vintid = int(device.vpe_id[irq]), int(device.vintid[irq])
            properties = host.gic.memory.read_u8(vm.vprop_page + vintid - FIRST_LPI)
            fed.append([irq, vintid, places[vpeid], properties, int(vintid in pending[vpeid])])
        if not host.driver.gic.is_v41:
            return {"forwarded": fed}  # The driver of a GICv4.0 has commands of its own to send, for doorbells.
        issued = host.driver.gic.commands_issued
        return {"forwarded": fed, "asked": [issued[name] for name in ("VMAPTI", "VMOVI", "INT", "CLEAR")]}

    def _sgis(self) -> list[list[list[int]]]:
        sgis = self.vgic.dist.sgis
        nothing_there = np.zeros((2, *sgis.rows.shape), np.bool_)
        table = np.stack([*(sgis.rows[name] for name in _SGI_COLUMNS), *nothing_there], -1, dtype=np.int64)
        for vcpu, sgi in np.argwhere(sgis.rows["hw"]).tolist():
            vpe = self.vgic.dist.vlpis.vpe(vcpu)
            table[vcpu, sgi, -2:] = vpe.sgi_config[sgi].enabled, sgis.pending(vcpu, sgi)
        rows: list[list[list[int]]] = table.tolist()
        return rows


def _result(call: Callable[..., object], *arguments: object) -> object:
    """What the call comes to."""
    try:
        value = call(*arguments)
    except KvmError as error:
        return error.errno
    except CommandError as error:
        return str(error)
    except HostStorm:
        return STORM
    except HostOops:
        return OOPS
    return OK if value is None else value
