# SPDX-License-Identifier: Apache-2.0
"""Forwarding: events that are vLPIs of a VM (Linux' its_irq_set_vcpu_affinity).

Operations take one event or an array of events, with one SYNC or VSYNC for each redistributor or vPE at the end of each
kind of command; `lpis` says why that orders as much as one for each event.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import commands
from gicmodel.driver.commands import Commands, Operand
from gicmodel.driver.configuration import ENABLE
from gicmodel.driver.errors import DriverError
from gicmodel.driver.its import ItsNode
from gicmodel.driver.objects import ItsDevice, ItsVm, ItsVpe
from gicmodel.driver.undo import all_or_nothing
from gicmodel.driver.vpes import VirtualPes
from gicmodel.layouts.itt import NO_DOORBELL


class VirtualLpis(VirtualPes):
    """An event is a physical LPI until it is forwarded, and again when forwarding ends."""

    def its_map_vlpi(
        self, device: ItsDevice, event: int, vpe: ItsVpe, vintid: int, properties: int, db_enabled: bool = True
    ) -> None:
        """Forward an event to a vPE as vLPI `vintid` with configuration byte `properties`, or move it to another vPE.

        A pending physical LPI of the event is lost (DISCARD); a pending vLPI moves along (VMOVI). With `db_enabled`
        a GICv4.0 vPE's doorbell rings for the event.

        Raises:
            DriverError: EINVAL, the event is not mapped, is forwarded to another VM or as another vLPI, or the device
                feeds another VM, or no such vINTID.
        """
        self._check_forwardable(device, event, vpe.vm)
        if device.forwarded[event]:
            self._move_vlpi(device, event, vpe, vintid, db_enabled)
        else:
            self._map_vlpis(device, event, vpe.vm, vpe.vpe_id, vintid, properties, db_enabled)

    def map_vlpis(
        self,
        device: ItsDevice,
        events: NDArray[np.int64],
        vm: ItsVm,
        vcpus: NDArray[np.int64],
        vintids: NDArray[np.int64],
        properties: NDArray[np.int64],
    ) -> None:
        """Forward many events, none of them forwarded yet: event events[i] to vm.vpes[vcpus[i]] as vintids[i], all [n].

        Errors as `its_map_vlpi`, before anything is changed.
        """
        self._check_forwardable(device, events, vm)
        if device.forwarded[events].any() or not commands.within(vcpus, len(vm.vpes)):
            raise DriverError(
                "EINVAL", f"an event of device {device.device_id:#x} is forwarded, or its vCPU does not exist"
            )
        vpe_ids = np.array([vpe.vpe_id for vpe in vm.vpes], np.int64)
        self._map_vlpis(device, events, vm, vpe_ids[vcpus], vintids, properties, db_enabled=True)

    def its_unmap_vlpi(self, device: ItsDevice, event: int) -> None:
        """Make a vLPI a physical LPI again; what is pending is lost (DISCARD). DriverError EINVAL if not forwarded."""
        self._unmap_vlpis(device, event)

    def unmap_vlpis(self, device: ItsDevice, events: NDArray[np.int64]) -> None:
        """`its_unmap_vlpi` for many events, int64 [n]."""
        self._unmap_vlpis(device, events)

    def its_prop_update_vlpi(self, device: ItsDevice, event: int, properties: int, inv: bool = True) -> None:
        """Write a vLPI's configuration byte and, with `inv`, have it reloaded. DriverError EINVAL if not forwarded.

        On GICv4.0 the vPE's doorbell rings for the event from now on if the vLPI is enabled, and else does not.
        """
        self._check_forwarded(device, event)
        self.vpes[int(device.vpe_id[event])].vm.vprop.write(int(device.vintid[event]), properties)
        if inv:
            self._reload_vlpi(device, event)
        self._set_doorbell(device, event, bool(properties & ENABLE))

    def its_set_irqchip_state(self, device: ItsDevice, event: int, pending: bool) -> None:
        """Make an event's interrupt, physical or virtual, pending or not (INT, CLEAR). EINVAL if it is not mapped."""
        self._set_pending(device, event, pending)

    def set_irqchip_states(self, device: ItsDevice, events: NDArray[np.int64], pending: bool) -> None:
        """`its_set_irqchip_state` for many events, int64 [n]."""
        self._set_pending(device, events, pending)

    def _set_pending(self, device: ItsDevice, events: Operand, pending: bool) -> None:
        self._check_mapped(device, events)
        command = commands.int_ if pending else commands.clear
        self.its[device.its].send(command(device.device_id, events), *self._event_syncs(device, events))

    def _event_syncs(self, device: ItsDevice, events: Operand) -> list[Commands]:
        """SYNC for where physical events go, VSYNC for where forwarded ones go."""
        node = self.its[device.its]
        forwarded = device.forwarded[events]
        if not isinstance(events, np.ndarray):
            return [commands.vsync(device.vpe_id[events]) if forwarded else node.sync(device.col[events])]
        return [node.sync(device.col[events[~forwarded]]), commands.vsyncs(device.vpe_id[events[forwarded]])]

    def _map_vlpis(
        self,
        device: ItsDevice,
        events: Operand,
        vm: ItsVm,
        vpe_ids: Operand,
        vintids: Operand,
        properties: Operand,
        db_enabled: bool,
    ) -> None:
        vm.vprop.write(vintids, properties)
        device.vm = vm
        device.forwarded[events] = True
        device.vpe_id[events] = vpe_ids
        device.vintid[events] = vintids
        device.db_enabled[events] = db_enabled
        node = self.its[device.its]
        self._its_map_vm(node, vm, np.size(events))
        node.send(
            commands.discard(device.device_id, events),
            node.sync(device.col[events]),
            commands.vmapti(device.device_id, events, vpe_ids, vintids, self._doorbells(device, events)),
            commands.vsyncs(vpe_ids),
        )

    def _move_vlpi(self, device: ItsDevice, event: int, vpe: ItsVpe, vintid: int, db_enabled: bool) -> None:
        if vintid != device.vintid[event]:
            raise DriverError(
                "EINVAL", f"event {event} is vLPI {device.vintid[event]}, and VMOVI cannot make it {vintid}"
            )
        device.vpe_id[event] = vpe.vpe_id
        device.db_enabled[event] = db_enabled
        self._send_vmovi(device, event)

    def _reload_vlpi(self, device: ItsDevice, event: int) -> None:
        vpe = self.vpes[int(device.vpe_id[event])]
        if self.is_v41:
            self.drain()
            self.redistributors[vpe.col_idx].invalidate_vlpi(vpe.vpe_id, int(device.vintid[event]))
        else:
            self.its[device.its].send(commands.inv(device.device_id, event), commands.vsync(vpe.vpe_id))

    def _set_doorbell(self, device: ItsDevice, event: int, enable: bool) -> None:
        """Linux' its_vlpi_set_doorbell. A second VMAPTI of an event is UNPREDICTABLE; VMOVI to the same vPE is not."""
        if self.its[device.its].is_v41 or device.db_enabled[event] == enable:
            return
        device.db_enabled[event] = enable
        self._send_vmovi(device, event)

    def _send_vmovi(self, device: ItsDevice, event: int) -> None:
        vpe_id = int(device.vpe_id[event])
        vmovi = commands.vmovi(device.device_id, event, vpe_id, self._doorbells(device, event))
        self.its[device.its].send(vmovi, commands.vsync(vpe_id))

    def _unmap_vlpis(self, device: ItsDevice, events: Operand) -> None:
        self._check_forwarded(device, events)
        vm = self.vpes[int(np.atleast_1d(device.vpe_id[events])[0])].vm
        node = self.its[device.its]
        node.send(commands.discard(device.device_id, events), node.sync(device.col[events]))
        device.forwarded[events] = False
        self._map_physical(device, events)
        self._its_unmap_vm(node, vm, np.size(events))
        if not device.forwarded.any():
            device.vm = None

    def _its_map_vm(self, node: ItsNode, vm: ItsVm, events: int) -> None:
        """Map the VM's vPEs on the ITS that gets its first vLPIs of the VM, unless they are mapped already."""
        if self.eager:
            return
        if not vm.vlpi_count[node.number]:
            with all_or_nothing() as undo:
                for vpe in vm.vpes:
                    self._map_vpe(node, vpe)
                    undo.callback(self._unmap_vpe, node, vpe)
        vm.vlpi_count[node.number] += events

    def _its_unmap_vm(self, node: ItsNode, vm: ItsVm, events: int) -> None:
        if self.eager:
            return
        vm.vlpi_count[node.number] -= events
        if not vm.vlpi_count[node.number]:
            for vpe in vm.vpes:
                self._unmap_vpe(node, vpe)

    def _doorbells(self, device: ItsDevice, events: Operand) -> Operand:
        """The doorbells of forwarded events: none of their own on GICv4.1, whose vPEs have default doorbells."""
        if self.its[device.its].is_v41:
            return NO_DOORBELL
        if isinstance(events, np.ndarray):
            return np.array([self._doorbell(device, event) for event in events.tolist()], np.int64)
        return self._doorbell(device, events)

    def _doorbell(self, device: ItsDevice, event: int) -> int:
        return self.vpes[int(device.vpe_id[event])].doorbell_intid if device.db_enabled[event] else NO_DOORBELL

    def _check_mapped(self, device: ItsDevice, events: Operand) -> None:
        self._check_events(device, events)
        if not device.mapped[events].all():
            raise DriverError("EINVAL", f"events {events} of device {device.device_id:#x} are not all mapped")

    def _check_forwarded(self, device: ItsDevice, events: Operand) -> None:
        self._check_events(device, events)
        if not device.forwarded[events].all():
            raise DriverError("EINVAL", f"events {events} of device {device.device_id:#x} are not all forwarded")

    def _check_forwardable(self, device: ItsDevice, events: Operand, vm: ItsVm) -> None:
        self._check_mapped(device, events)
        if device.vm is not None and device.vm is not vm:
            raise DriverError("EINVAL", f"device {device.device_id:#x} has events forwarded to another VM")
