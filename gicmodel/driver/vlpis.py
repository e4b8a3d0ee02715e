# SPDX-License-Identifier: Apache-2.0
"""Forwarding: events that are vLPIs of a VM (Linux' its_irq_set_vcpu_affinity).

Mapping and unmapping take one event or an array of events, with one SYNC or VSYNC for each redistributor or vPE at the
end of each kind of command; `lpis` says why that orders as much as one for each event.
"""

from __future__ import annotations

import numpy as np

from gicmodel.driver import commands
from gicmodel.driver.commands import Operand, command
from gicmodel.driver.errors import DriverError
from gicmodel.driver.host_gic import HostGic
from gicmodel.driver.lpis import PhysicalLpis
from gicmodel.driver.objects import ItsDevice, ItsVm, ItsVpe
from gicmodel.driver.tables import ENABLE
from gicmodel.driver.vpes import VirtualPes
from gicmodel.layouts.commands import DISCARD, INV, VMAPTI, VMOVI
from gicmodel.layouts.its_tables import NO_DOORBELL


class VirtualLpis:
    """An event is a physical LPI until it is forwarded, and again when forwarding ends."""

    def __init__(self, gic: HostGic, lpis: PhysicalLpis, vpes: VirtualPes) -> None:
        self.gic = gic
        self._lpis = lpis
        self._vpes = vpes

    def map(
        self,
        device: ItsDevice,
        events: Operand,
        vm: ItsVm,
        vcpus: Operand,
        vintids: Operand,
        properties: Operand,
        db_enabled: bool = True,
    ) -> None:
        """Forward events to `vm.vpes[vcpus]` as `vintids` with their configuration bytes, or move them to other vPEs.

        A pending physical LPI of an event is lost (DISCARD); a pending vLPI moves along (VMOVI), and its byte stays.
        With `db_enabled` a GICv4.0 vPE's doorbell rings for the events.

        Raises:
            DriverError: EINVAL, an event is not mapped, or is forwarded as another vLPI; some are forwarded and others
                are not; the device feeds another VM; there is no such vCPU or vINTID. Nothing is changed then.
        """
        device.check_mapped(events)
        if device.vm is not None and device.vm is not vm:
            raise DriverError("EINVAL", f"device {device.device_id:#x} has events forwarded to another VM")
        vpe_ids = vm.vpe_ids(vcpus)
        if device.forwarded[events].any():
            self._check_move(device, events, vintids)
            self._move(device, events, vpe_ids, db_enabled)
            return
        vm.vprop.write(vintids, properties)
        device.vm = vm
        device.forwarded[events] = True
        device.vpe_id[events] = vpe_ids
        device.vintid[events] = vintids
        device.db_enabled[events] = db_enabled
        node = self.gic.its[device.its]
        self._vpes.its_map_vm(node, vm, np.size(events))
        named = {"DeviceID": device.device_id, "EventID": events}
        node.send(
            command(DISCARD, **named),
            node.sync(device.col[events]),
            command(VMAPTI, **named, vPEID=vpe_ids, vINTID=vintids, Doorbell=self._doorbells(device, events)),
            commands.vsync(vpe_ids),
        )

    def unmap(self, device: ItsDevice, events: Operand) -> None:
        """Make vLPIs physical LPIs again; what is pending is lost (DISCARD). DriverError EINVAL if not forwarded."""
        device.check_forwarded(events)
        if (vm := device.vm) is None:
            # Nothing of the device is forwarded: there are no events.
            return
        node = self.gic.its[device.its]
        discard = command(DISCARD, DeviceID=device.device_id, EventID=events)
        node.send(discard, node.sync(device.col[events]))
        device.forwarded[events] = False
        self._lpis.map(device, events)
        self._vpes.its_unmap_vm(node, vm, np.size(events))
        if not device.forwarded.any():
            device.vm = None

    def prop_update(self, device: ItsDevice, event: int, properties: int, inv: bool = True) -> None:
        """Write a vLPI's configuration byte and, with `inv`, have it reloaded. DriverError EINVAL if not forwarded.

        On GICv4.0 the vPE's doorbell rings for the event from now on if the vLPI is enabled, and else does not.
        """
        device.check_forwarded(event)
        vpe = self._vpe(device, event)
        vpe.vm.vprop.write(int(device.vintid[event]), properties)
        if inv:
            self._reload(device, event, vpe)
        self._set_doorbell(device, event, bool(properties & ENABLE))

    def _check_move(self, device: ItsDevice, events: Operand, vintids: Operand) -> None:
        """EINVAL unless all of the events are forwarded already, as these vLPIs."""
        device.check_forwarded(events)
        if np.any(device.vintid[events] != vintids):
            was = device.vintid[events]
            raise DriverError("EINVAL", f"event {events} is vLPI {was}, and VMOVI cannot make it {vintids}")

    def _move(self, device: ItsDevice, events: Operand, vpe_ids: Operand, db_enabled: bool) -> None:
        device.vpe_id[events] = vpe_ids
        device.db_enabled[events] = db_enabled
        # Linux always replaces the doorbell too.
        doorbells = {"D": 1, "Doorbell": self._doorbells(device, events)}
        vmovi = command(VMOVI, DeviceID=device.device_id, EventID=events, vPEID=vpe_ids, **doorbells)
        self.gic.its[device.its].send(vmovi, commands.vsync(vpe_ids))

    def _reload(self, device: ItsDevice, event: int, vpe: ItsVpe) -> None:
        if self.gic.is_v41:
            self.gic.drain()
            self.gic.redistributors[vpe.col_idx].invalidate_vlpi(vpe.vpe_id, int(device.vintid[event]))
        else:
            inv = command(INV, DeviceID=device.device_id, EventID=event)
            self.gic.its[device.its].send(inv, commands.vsync(vpe.vpe_id))

    def _set_doorbell(self, device: ItsDevice, event: int, enable: bool) -> None:
        """Linux' its_vlpi_set_doorbell. A second VMAPTI of an event is UNPREDICTABLE; VMOVI to the same vPE is not."""
        if not self.gic.its[device.its].is_v41 and device.db_enabled[event] != enable:
            self._move(device, event, int(device.vpe_id[event]), enable)

    def _doorbells(self, device: ItsDevice, events: Operand) -> Operand:
        """The doorbells of forwarded events: none of their own on GICv4.1, whose vPEs have default doorbells."""
        if self.gic.its[device.its].is_v41:
            return NO_DOORBELL
        if isinstance(events, np.ndarray):
            return np.array([self._doorbell(device, event) for event in events.tolist()], np.int64)
        return self._doorbell(device, events)

    def _doorbell(self, device: ItsDevice, event: int) -> int:
        return self._vpe(device, event).doorbell_intid if device.db_enabled[event] else NO_DOORBELL

    def _vpe(self, device: ItsDevice, event: int) -> ItsVpe:
        return self._vpes.by_id[int(device.vpe_id[event])]
