# SPDX-License-Identifier: Apache-2.0
"""The doorbell LPIs of vPEs: physical LPIs that no device has (Linux' its_vpe_irq_chip and its_vpe_4_1_irq_chip).

No EventID names a doorbell, so INV cannot. GICv4.1 has INVDB for it. On GICv4.0 the redistributor's GICR_INVLPIR does
it, or where that does not exist a proxy: a device of the driver's own, whose events are mapped to doorbells as needed.
"""

from __future__ import annotations

from collections.abc import Sequence

from gicmodel.driver.commands import Commands, command, operand
from gicmodel.driver.host_gic import HostGic
from gicmodel.driver.its import ItsNode
from gicmodel.driver.lpis import PhysicalLpis, roundup_pow_of_two
from gicmodel.driver.objects import ItsDevice, ItsVpe
from gicmodel.driver.tables import DISABLED, ENABLE, ENABLED
from gicmodel.layouts.commands import CLEAR, DISCARD, INV, INVDB, MAPTI, MOVI, VSYNC
from gicmodel.layouts.layout import Layout


class Doorbells:
    """Masking of doorbells, whose configuration bytes are those of any physical LPI."""

    def __init__(self, gic: HostGic, lpis: PhysicalLpis) -> None:
        self.gic = gic
        self._lpis = lpis

    def its_init_vpe_domain(self) -> None:
        """At boot: map the proxy, if one is needed; errors as `PhysicalLpis.create_device`.

        It has as many events as there are CPUs, but two at least, on the first ITS, under its highest DeviceID.
        """
        if self.gic.is_v4 and not self.gic.direct_lpi:
            node = self.gic.its_nodes[0]
            events = max(2, roundup_pow_of_two(self.gic.nr_cpus))
            self._proxy = _Proxy(node, self._lpis.create_proxy((1 << node.device_bits) - 1, events, node.number))

    def unmasked(self, vpe: ItsVpe) -> bool:
        """Whether the vPE's doorbell is enabled."""
        return bool(self.gic.lpi_configuration.read(vpe.doorbell_intid) & ENABLE)

    def enable(self, vpes: Sequence[ItsVpe], on: bool) -> list[Commands]:
        """GICv4.1: enable or disable doorbells; the INVDB and the VSYNC of each vPE, which are to be sent then.

        To one ITS, from which they reach every redistributor.
        """
        self.gic.lpi_configuration.write(operand(vpe.doorbell_intid for vpe in vpes), ENABLED if on else DISABLED)
        ids = operand(vpe.vpe_id for vpe in vpes)
        return [command(INVDB, vPEID=ids), command(VSYNC, vPEID=ids)]

    def mask(self, vpe: ItsVpe) -> None:
        """GICv4.0: disable the vPE's doorbell."""
        self._configure(vpe, self.gic.lpi_configuration.read(vpe.doorbell_intid) & ~ENABLE)

    def unmask(self, vpe: ItsVpe) -> None:
        """GICv4.0: enable the vPE's doorbell."""
        self._configure(vpe, self.gic.lpi_configuration.read(vpe.doorbell_intid) | ENABLE)

    def clear(self, vpe: ItsVpe) -> None:
        """GICv4.0: take back a doorbell that is pending where the vPE is mapped (Linux' its_vpe_set_irqchip_state)."""
        if self.gic.direct_lpi:
            self.gic.drain()
            self.gic.redistributors[vpe.col_idx].clear_lpi(vpe.doorbell_intid)
        else:
            self._proxy.send(vpe, CLEAR)

    def move(self, vpe: ItsVpe, source: int, target: int) -> None:
        """GICv4.0: take the doorbell along to another CPU; one that is pending at the old CPU has lost its purpose."""
        if self.gic.is_v41:
            return
        if self.gic.direct_lpi:
            self.gic.drain()
            self.gic.redistributors[source].clear_lpi(vpe.doorbell_intid)
        else:
            self._proxy.move(vpe, target)

    def release(self, vpe: ItsVpe) -> None:
        """Take the proxy's event back from a vPE that ends."""
        if not (self.gic.is_v41 or self.gic.direct_lpi):
            self._proxy.unmap(vpe)

    def _configure(self, vpe: ItsVpe, octet: int) -> None:
        if self.gic.lpi_configuration.read(vpe.doorbell_intid) == octet:
            return
        self.gic.lpi_configuration.write(vpe.doorbell_intid, octet)
        if self.gic.direct_lpi:
            self.gic.drain()
            self.gic.redistributors[vpe.col_idx].invalidate_lpi(vpe.doorbell_intid)
        else:
            self._proxy.send(vpe, INV)


class _Proxy:
    """Linux' vpe_proxy: `vpes[event]` is the vPE to whose doorbell the event of `device` is mapped."""

    def __init__(self, node: ItsNode, device: ItsDevice) -> None:
        self.node = node
        self.device = device
        self.vpes: list[ItsVpe | None] = [None] * device.nr_events
        self.next_victim = 0

    def send(self, vpe: ItsVpe, layout: Layout) -> None:
        """INV, CLEAR or DISCARD of the event that is mapped to the vPE's doorbell (Linux' its_vpe_send_cmd)."""
        event = self._event(vpe)
        named = command(layout, DeviceID=self.device.device_id, EventID=event)
        self.node.send(named, self.node.sync(self.device.col[event]))

    def move(self, vpe: ItsVpe, target: int) -> None:
        """MOVI of that event."""
        event = self._event(vpe)
        movi = command(MOVI, DeviceID=self.device.device_id, EventID=event, ICID=target)
        self.node.send(movi, self.node.sync(self.device.col[event]))
        self.device.col[event] = target

    def unmap(self, vpe: ItsVpe) -> None:
        """DISCARD of that event, if the vPE has one."""
        if vpe not in self.vpes:
            return
        event = self.vpes.index(vpe)
        self.send(vpe, DISCARD)
        self.vpes[event] = None
        if self.vpes[self.next_victim] is not None:
            # A free event is better than one that is taken.
            self.next_victim = event

    def _event(self, vpe: ItsVpe) -> int:
        """The event that is mapped to the vPE's doorbell, taken from another vPE if none is free."""
        if vpe in self.vpes:
            return self.vpes.index(vpe)
        event = self.next_victim
        if (victim := self.vpes[event]) is not None:
            self.unmap(victim)
        self.vpes[event] = vpe
        self.next_victim = (event + 1) % len(self.vpes)
        self.device.col[event] = vpe.col_idx
        pintid, icid = vpe.doorbell_intid, vpe.col_idx
        mapti = command(MAPTI, DeviceID=self.device.device_id, EventID=event, pINTID=pintid, ICID=icid)
        self.node.send(mapti, self.node.sync(vpe.col_idx))
        return event
