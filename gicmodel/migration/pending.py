# SPDX-License-Identifier: Apache-2.0
"""What is pending in a VM now, wherever its bits are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gicmodel.driver import ItsVpe
from gicmodel.hardware.observe import pending_virtual
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS
from gicmodel.migration.machine import Delivery, VirtualMachine


def pending_interrupts(vm: VirtualMachine) -> set[Delivery]:
    """The LPIs and SGIs that are pending now, as (vCPU, INTID): in the VPTs for those in the GIC, else in KVM."""
    return pending_lpis(vm) | pending_sgis(vm)


def pending_lpis(vm: VirtualMachine) -> set[Delivery]:
    """The LPIs among them."""
    rows = vm.vgic.lpis.rows[vm.vgic.lpis.slots()]
    latched = rows[rows["pending_latch"]]
    return pending_vlpis(vm) | set(zip(latched["target_vcpu"].tolist(), latched["intid"].tolist(), strict=True))


def pending_vlpis(vm: VirtualMachine) -> set[Delivery]:
    """The vLPIs that are pending in the VM's VPTs now, as (vCPU, INTID), wherever the hardware holds the bits."""
    return {(vcpu, intid) for vcpu, intid in _in_vpts(vm) if intid >= FIRST_LPI}


def pending_sgis(vm: VirtualMachine) -> set[Delivery]:
    """The SGIs that are pending now, as (vCPU, INTID): vSGIs in the GIC, others in KVM."""
    latched = np.argwhere(vm.vgic.dist.sgis.rows["pending_latch"]).tolist()
    return {(vcpu, number) for vcpu, number in latched} | {found for found in _in_vpts(vm) if found[1] < VSGIS}


def _in_vpts(vm: VirtualMachine) -> Iterator[Delivery]:
    for vcpu, vpe in enumerate(vm.vgic.its_vm.vpes if vm.vgic.its_vm is not None else ()):
        for intid in _pending_of(vm, vpe):
            yield vcpu, intid


def _pending_of(vm: VirtualMachine, vpe: ItsVpe) -> list[int]:
    intids: list[int] = pending_virtual(vm.host.gic, vpe.vpt_page, vm.host.driver.gic.lpi_id_bits).tolist()
    return intids
