# SPDX-License-Identifier: Apache-2.0
"""What is pending in a VM now, wherever its bits are."""

from __future__ import annotations

from gicmodel.driver import ItsVpe
from gicmodel.hardware.observe import pending_virtual
from gicmodel.layouts.vpt import FIRST_LPI
from gicmodel.migration.machine import Delivery, VirtualMachine


def pending_interrupts(vm: VirtualMachine) -> set[Delivery]:
    """The LPIs that are pending now, as (vCPU, INTID): in the VPTs for those forwarded, else in KVM's latch."""
    rows = vm.vgic.lpis.rows[vm.vgic.lpis.slots()]
    latched = rows[rows["pending_latch"]]
    return pending_vlpis(vm) | set(zip(latched["target_vcpu"].tolist(), latched["intid"].tolist(), strict=True))


def pending_vlpis(vm: VirtualMachine) -> set[Delivery]:
    """The vLPIs that are pending in the VM's VPTs now, as (vCPU, INTID), wherever the hardware holds the bits."""
    if vm.vgic.its_vm is None:
        return set()
    return {
        (vcpu, int(intid))
        for vcpu, vpe in enumerate(vm.vgic.its_vm.vpes)
        for intid in _pending_of(vm, vpe)
        if intid >= FIRST_LPI
    }


def _pending_of(vm: VirtualMachine, vpe: ItsVpe) -> list[int]:
    intids: list[int] = pending_virtual(vm.host.gic, vpe.vpt_page, vm.host.driver.lpi_id_bits).tolist()
    return intids
