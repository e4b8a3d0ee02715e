# SPDX-License-Identifier: Apache-2.0
"""The doorbell LPIs of vPEs: physical LPIs that no device has (Linux' its_vpe_irq_chip and its_vpe_4_1_irq_chip).

No EventID names a doorbell, so INV cannot. GICv4.1 has INVDB for it. On GICv4.0 the redistributor's GICR_INVLPIR does
it, or where that does not exist a proxy: a device of the driver's own, whose events are mapped to doorbells as needed.
"""

from __future__ import annotations

from collections.abc import Callable

from gicmodel.driver import commands
from gicmodel.driver.commands import Commands
from gicmodel.driver.configuration import ENABLE
from gicmodel.driver.lpis import PhysicalLpis, roundup_pow_of_two
from gicmodel.driver.objects import ItsDevice, ItsVpe


class Doorbells(PhysicalLpis):
    """Masking of doorbells, whose configuration bytes are those of any physical LPI."""

    def doorbell_vpe(self, intid: int) -> ItsVpe | None:
        """The vPE whose doorbell is LPI `intid`."""
        return next((vpe for vpe in self.vpes.values() if vpe.doorbell_intid == intid), None)

    def vpe_clear_doorbell(self, vpe: ItsVpe) -> None:
        """GICv4.0: take back a doorbell that is pending where the vPE is mapped (Linux' its_vpe_set_irqchip_state)."""
        if self.direct_lpi:
            self.drain()
            self.redistributors[vpe.col_idx].clear_lpi(vpe.doorbell_intid)
        else:
            self._proxy_send(vpe, commands.clear)

    def _mask_doorbell(self, vpe: ItsVpe) -> None:
        self._configure_doorbell(vpe, self.lpi_configuration.read(vpe.doorbell_intid) & ~ENABLE)

    def _unmask_doorbell(self, vpe: ItsVpe) -> None:
        self._configure_doorbell(vpe, self.lpi_configuration.read(vpe.doorbell_intid) | ENABLE)

    def _configure_doorbell(self, vpe: ItsVpe, octet: int) -> None:
        if self.lpi_configuration.read(vpe.doorbell_intid) == octet:
            return
        self.lpi_configuration.write(vpe.doorbell_intid, octet)
        if self.is_v41:
            # To one ITS, from which it reaches every redistributor.
            self.v4_its[0].send(commands.invdb(vpe.vpe_id), commands.vsync(vpe.vpe_id))
        elif self.direct_lpi:
            self.drain()
            self.redistributors[vpe.col_idx].invalidate_lpi(vpe.doorbell_intid)
        else:
            self._proxy_send(vpe, commands.inv)

    def _move_doorbell(self, vpe: ItsVpe, source: int, target: int) -> None:
        """GICv4.0: take the doorbell along to another CPU; one that is pending at the old CPU has lost its purpose."""
        if self.is_v41:
            return
        if self.direct_lpi:
            self.drain()
            self.redistributors[source].clear_lpi(vpe.doorbell_intid)
            return
        device, event = self._proxy.device, self._proxy_event(vpe)
        node = self.its[device.its]
        node.send(commands.movi(device.device_id, event, target), node.sync(int(device.col[event])))
        device.col[event] = target

    def _proxy_send(self, vpe: ItsVpe, command: Callable[[int, int], Commands]) -> None:
        """INV or CLEAR of the event that is mapped to the vPE's doorbell (Linux' its_vpe_send_cmd)."""
        device, event = self._proxy.device, self._proxy_event(vpe)
        node = self.its[device.its]
        node.send(command(device.device_id, event), node.sync(int(device.col[event])))

    def _proxy_event(self, vpe: ItsVpe) -> int:
        """The proxy's event that is mapped to the vPE's doorbell, taken from another vPE if none is free."""
        proxy = self._proxy
        if vpe in proxy.vpes:
            return proxy.vpes.index(vpe)
        event = proxy.next_victim
        if (victim := proxy.vpes[event]) is not None:
            self._proxy_release(victim)
        proxy.vpes[event] = vpe
        proxy.next_victim = (event + 1) % len(proxy.vpes)
        proxy.device.col[event] = vpe.col_idx
        node = self.its[proxy.device.its]
        mapti = commands.mapti(proxy.device.device_id, event, vpe.doorbell_intid, vpe.col_idx)
        node.send(mapti, node.sync(vpe.col_idx))
        return event

    def _proxy_release(self, vpe: ItsVpe) -> None:
        if self.is_v41 or self.direct_lpi or vpe not in self._proxy.vpes:
            return
        proxy = self._proxy
        event = proxy.vpes.index(vpe)
        node = self.its[proxy.device.its]
        node.send(commands.discard(proxy.device.device_id, event), node.sync(int(proxy.device.col[event])))
        proxy.vpes[event] = None
        if proxy.vpes[proxy.next_victim] is not None:
            # A free event is better than one that is taken.
            proxy.next_victim = event

    def _its_init(self) -> None:
        super()._its_init()
        if self.is_v4 and not self.direct_lpi:
            self._proxy = self._create_proxy()

    def _create_proxy(self) -> _Proxy:
        """As many events as there are CPUs, but two at least, on the first ITS, under its highest DeviceID."""
        node = self.its_nodes[0]
        device_id = (1 << node.device_bits) - 1
        self._check_new_device(node.number, device_id)
        return _Proxy(self._map_device(device_id, node.number, max(2, roundup_pow_of_two(self.nr_cpus)), lpi_base=0))


class _Proxy:
    """Linux' vpe_proxy: `vpes[event]` is the vPE to whose doorbell the event is mapped."""

    def __init__(self, device: ItsDevice) -> None:
        self.device = device
        self.vpes: list[ItsVpe | None] = [None] * device.nr_events
        self.next_victim = 0
