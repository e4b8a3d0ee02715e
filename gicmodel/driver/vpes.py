# SPDX-License-Identifier: Apache-2.0
"""VMs and their vPEs: mapping, moving and scheduling them (Linux' irq-gic-v4.c and its_vpe_* functions)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from gicmodel.driver import commands
from gicmodel.driver.allocator import FreeRanges
from gicmodel.driver.commands import Commands, command, operand
from gicmodel.driver.doorbells import Doorbells
from gicmodel.driver.errors import DriverError
from gicmodel.driver.host_gic import HostGic
from gicmodel.driver.its import ItsNode
from gicmodel.driver.lpis import PhysicalLpis, roundup_pow_of_two
from gicmodel.driver.objects import ItsVm, ItsVpe
from gicmodel.driver.redistributor import Redistributor
from gicmodel.driver.tables import ConfigurationTable, its_alloc_table_entry, its_allocate_pending_table
from gicmodel.layouts.commands import VINVALL, VMAPP, VMAPP_V40, VMOVP, VSYNC


class VirtualPes:
    """vPEs are mapped on every ITS from the start, or on GICv4.0 with an ITS list, where the VM has vLPIs.

    `by_id` has them by vPEID; `ids` are the vPEIDs that nobody has.
    """

    def __init__(self, gic: HostGic, lpis: PhysicalLpis, doorbells: Doorbells) -> None:
        self.gic = gic
        self.ids = FreeRanges(0, 1 << gic.vpe_id_bits)
        self.by_id: dict[int, ItsVpe] = {}
        self._lpis = lpis
        self._doorbells = doorbells
        self._vmovp_sequence = 0

    @property
    def eager(self) -> bool:
        """Linux' gic_requires_eager_mapping: GICv4.1 has vSGIs, which no vLPI announces."""
        return self.gic.is_v41 or not self.gic.its_list

    def create_vm(self, nr_vpes: int) -> ItsVm:
        """A VM with its vLPI configuration table and vPEs, each with a VPT and a doorbell, activated.

        Raises:
            DriverError: ENODEV, the GIC has no vLPIs; ENOSPC, no LPIs or vPEIDs; EINVAL, a vPE table is too small;
                ENOMEM.
        """
        if not self.gic.is_v4:
            raise DriverError("ENODEV", "the GIC has no vLPIs")
        vm = ItsVm(ConfigurationTable(self.gic.allocator, self.gic.lpi_id_bits), np.zeros(len(self.gic.its), np.int64))
        try:
            doorbells = roundup_pow_of_two(nr_vpes)
            vm.db_lpi_base, vm.nr_db_lpis = self._lpis.alloc(doorbells), doorbells
            for index in range(nr_vpes):
                self._create_vpe(vm, vm.db_lpi_base + index)
            self.activate(*vm.vpes)
        except DriverError:
            self.destroy_vm(vm)
            raise
        return vm

    def destroy_vm(self, vm: ItsVm) -> None:
        """Unmap a VM's vPEs and take back its memory. DriverError EBUSY while a vPE is resident or has vLPIs."""
        if any(device.vm is vm for device in self._lpis.devices.values()):
            raise DriverError("EBUSY", "the VM has forwarded events")
        for vpe in vm.vpes:
            self._check_not_resident(vpe)
        for vpe in vm.vpes:
            if vpe.vmapp_count or not self.eager:
                self.deactivate(vpe)
        for vpe in vm.vpes:
            self._doorbells.release(vpe)
            self.gic.allocator.free(vpe.vpt_page)
            self.ids.give(vpe.vpe_id, 1)
            del self.by_id[vpe.vpe_id]
        self.gic.allocator.free(vm.vprop_page)
        self._lpis.intids.give(vm.db_lpi_base, vm.nr_db_lpis)

    def activate(self, *vpes: ItsVpe, ptz: bool = False) -> None:
        """Map vPEs on every ITS, on CPU 0's redistributor, and enable their doorbells (Linux' request_irq of each).

        The redistributor takes what is pending from the VPT, unless `ptz` tells it that nothing is, as Linux did before
        5.13. DriverError EEXIST if a vPE is mapped; the others are then mapped nevertheless.
        """
        if not self.eager:
            return
        unmapped = [vpe for vpe in vpes if not vpe.vmapp_count]
        for vpe in unmapped:
            vpe.col_idx = 0
        with ExitStack() as undo:
            if self.gic.is_v41:
                undo.callback(self._doorbells.enable, unmapped, False)
            for its in self.gic.v4_its if unmapped else ():
                self._map(its, unmapped, ptz, unmask=True)
                undo.callback(self._unmap, its, unmapped, mask=True)
            undo.pop_all()
        if len(unmapped) < len(vpes):
            mapped = ", ".join(f"vPE {vpe.vpe_id}" for vpe in vpes if vpe not in unmapped)
            raise DriverError("EEXIST", f"{mapped} is mapped")

    def deactivate(self, *vpes: ItsVpe) -> None:
        """Mask vPEs' doorbells and unmap the vPEs from every ITS (Linux' free_irq of each doorbell).

        On GICv4.1 their VPTs in RAM are then current. DriverError EBUSY while one is resident, EINVAL if one is not
        mapped; nothing has changed then.
        """
        for vpe in vpes:
            self._check_not_resident(vpe)
            self._check_mapping(vpe)
        with ExitStack() as undo:
            if self.gic.is_v41:
                undo.callback(self._doorbells.enable, vpes, True)
            else:
                for vpe in filter(self._doorbells.unmasked, vpes):
                    undo.callback(self._doorbells.unmask, vpe)
                    self._doorbells.mask(vpe)
            for its in self.gic.v4_its if vpes and self.eager else ():
                self._unmap(its, vpes, mask=True)
                undo.callback(self._map, its, vpes, unmask=True)
            undo.pop_all()

    def set_affinity(self, vpe: ItsVpe, cpu: int) -> None:
        """Map a vPE to another CPU's redistributor (VMOVP).

        Raises:
            DriverError: EINVAL, no such CPU, or the vPE is unmapped where it should be mapped; EBUSY, it is resident.
        """
        self.gic.check_cpus(cpu)
        # Linux 1442ee001198: a vPE that is unmapped may be dying. Where vPEs are mapped on demand it only waits.
        self._check_mapping(vpe)
        if cpu == vpe.col_idx:
            return
        self._check_not_resident(vpe)
        source, vpe.col_idx = vpe.col_idx, cpu
        if vpe.vmapp_count:
            self._vmovp(vpe)
            self._doorbells.move(vpe, source, cpu)

    def schedule(self, vpe: ItsVpe, cpu: int, vgrp0: bool = False, vgrp1: bool = True) -> None:
        """Make a vPE resident on a CPU, which must be the one that it is mapped to, or one of its group on GICv4.1.

        Raises:
            DriverError: EINVAL, as `set_affinity`; EBUSY, the vPE is resident or the CPU has another.
        """
        self.gic.check_cpus(cpu)
        self._check_mapping(vpe)
        occupied = any(other.resident_cpu == cpu for other in self.by_id.values())
        if vpe.resident_cpu is not None or occupied:
            raise DriverError("EBUSY", f"vPE {vpe.vpe_id} or CPU {cpu} is in use")
        if not self.gic.is_v41:
            # The guest is about to look for itself.
            self._doorbells.mask(vpe)
        self.gic.drain()
        self.gic.redistributors[cpu].schedule(vpe, vgrp0, vgrp1)
        vpe.resident_cpu = cpu

    def commit(self, vpe: ItsVpe) -> None:
        """Wait until the VPT of a resident vPE is parsed, before the guest is entered; errors as `deschedule`."""
        self._resident_on(vpe).commit()

    def deschedule(self, vpe: ItsVpe, doorbell: bool) -> None:
        """Make a vPE non-resident and set `pending_last`; with `doorbell` the next interrupt rings it.

        DriverError EINVAL if the vPE is not resident.
        """
        rd = self._resident_on(vpe)
        if doorbell and not self.gic.is_v41:
            self._doorbells.unmask(vpe)
        self.gic.drain()
        rd.deschedule(vpe, doorbell)
        vpe.resident_cpu = None

    def invall(self, vpe: ItsVpe) -> None:
        """Have the configuration of all of a vPE's vLPIs reloaded."""
        if self.gic.is_v41:
            self.gic.drain()
            self.gic.redistributors[vpe.col_idx].invalidate_vlpis(vpe.vpe_id)
            return
        # One ITS that has the vPE mapped is enough, as it reaches the redistributors.
        for its in self._nodes_with(vpe.vm)[:1]:
            its.send(command(VINVALL, vPEID=vpe.vpe_id), commands.vsync(vpe.vpe_id))

    def its_map_vm(self, its: ItsNode, vm: ItsVm, events: int) -> None:
        """Map the VM's vPEs on the ITS that gets its first vLPIs of the VM, unless they are mapped already."""
        if self.eager:
            return
        if not vm.vlpi_count[its.number]:
            self._map(its, vm.vpes)
        vm.vlpi_count[its.number] += events

    def its_unmap_vm(self, its: ItsNode, vm: ItsVm, events: int) -> None:
        """Unmap the VM's vPEs on the ITS that has its last vLPIs of the VM no more."""
        if self.eager:
            return
        vm.vlpi_count[its.number] -= events
        if not vm.vlpi_count[its.number]:
            self._unmap(its, vm.vpes)

    def _create_vpe(self, vm: ItsVm, doorbell_intid: int) -> None:
        vpt_page = its_allocate_pending_table(self.gic.allocator, self.gic.lpi_id_bits)
        vpe_id = self.ids.take(1)
        if vpe_id is None:
            self.gic.allocator.free(vpt_page)
            raise DriverError("ENOSPC", f"no vPEID of {self.gic.vpe_id_bits} bits is free")
        vpe = ItsVpe(vpe_id, vm, vpt_page, doorbell_intid)
        vm.vpes.append(vpe)
        self.by_id[vpe_id] = vpe
        # Every table that the GIC may look the vPE up in, before the first VMAPP (Linux' its_alloc_vpe_table).
        for its in self.gic.v4_its:
            its.require_vpe(vpe_id)
        for rd in self.gic.redistributors:
            if rd.vpe_table and not its_alloc_table_entry(rd.vpe_table, vpe_id, self.gic.allocator):
                raise DriverError(
                    "EINVAL", f"vPEID {vpe_id:#x} is beyond the vPE table of CPU {rd.cpu}'s redistributor"
                )

    def _map(self, its: ItsNode, vpes: Sequence[ItsVpe], ptz: bool = False, unmask: bool = False) -> None:
        """Map vPEs on one ITS; with `unmask`, a GICv4.1's first ITS reloads the doorbells too, which are enabled."""
        ids = operand(vpe.vpe_id for vpe in vpes)
        vsync = command(VSYNC, vPEID=ids)
        blocks = [self._vmapp(its, vpes, ptz), vsync, command(VINVALL, vPEID=ids), vsync]
        if unmask and self.gic.is_v41 and its is self.gic.v4_its[0]:
            blocks += self._doorbells.enable(vpes, True)
        self._send(its, blocks)
        for vpe in vpes:
            vpe.vmapp_count += 1

    def _vmapp(self, its: ItsNode, vpes: Sequence[ItsVpe], ptz: bool) -> Commands:
        operands = {
            "vPEID": operand(vpe.vpe_id for vpe in vpes),
            "RDbase": operand(its.targets[vpe.col_idx] for vpe in vpes),
            "VPT_addr": operand(vpe.vpt_page for vpe in vpes),
            "VPT_size": self.gic.lpi_id_bits - 1,
        }
        if not its.is_v41:
            return command(VMAPP_V40, V=1, **operands)
        first = operand(not vpe.vmapp_count for vpe in vpes)
        operands["Default_Doorbell"] = operand(vpe.doorbell_intid for vpe in vpes)
        return command(VMAPP, V=1, VCONF_addr=vpes[0].vm.vprop_page, Alloc=first, PTZ=ptz and first, **operands)

    def _unmap(self, its: ItsNode, vpes: Sequence[ItsVpe], mask: bool = False) -> None:
        """Unmap vPEs of one VM from one ITS; with `mask`, as `_map`'s `unmask`."""
        ids = operand(vpe.vpe_id for vpe in vpes)
        if its.is_v41:
            # Complete once CREADR is past it (IHI0069 5.3.19); a VSYNC would name an unmapped vPE (Linux 80e9963fb3b5).
            blocks = [command(VMAPP, vPEID=ids, Alloc=operand(vpe.vmapp_count == 1 for vpe in vpes))]
        else:
            blocks = [command(VMAPP_V40, vPEID=ids), command(VSYNC, vPEID=ids)]
        if mask and self.gic.is_v41 and its is self.gic.v4_its[0]:
            blocks = [*self._doorbells.enable(vpes, False), *blocks]
        self._send(its, blocks)
        for vpe in vpes:
            vpe.vmapp_count -= 1

    def _send(self, its: ItsNode, blocks: Sequence[Commands]) -> None:
        """Send what is to be done with each vPE, vPE by vPE, at once; the ITS has done it afterwards, in a batch too.

        Alloc orders it between ITSs: a map with Alloc=1 is complete before another ITS sees one without, unmaps with
        Alloc=0 before the one with Alloc=1, and that before anyone reads the VPT.
        """
        its.send(commands.in_turn(*blocks))
        its.queue.flush()

    def _vmovp(self, vpe: ItsVpe) -> None:
        nodes, sequence, its_list = self.gic.v4_its[:1], 0, 0
        if self.gic.its_list:
            # The same number to every ITS that has the vPE mapped (IHI0069 5.3, "VMOVP"; GITS_TYPER.VMOVP = 0).
            nodes = self._nodes_with(vpe.vm)
            its_list = sum(1 << its.list_number for its in nodes)
            sequence, self._vmovp_sequence = self._vmovp_sequence, (self._vmovp_sequence + 1) & 0xFFFF
        for its in nodes:
            # GICv4.1's names the default doorbell again, as Linux always does.
            doorbell = {"DB": 1, "Default_Doorbell": vpe.doorbell_intid} if its.is_v41 else {}
            target = its.targets[vpe.col_idx]
            vmovp = command(VMOVP, vPEID=vpe.vpe_id, RDbase=target, SeqNum=sequence, ITSList=its_list, **doorbell)
            its.send(vmovp, commands.vsync(vpe.vpe_id))

    def _nodes_with(self, vm: ItsVm) -> list[ItsNode]:
        """The ITSs on which the VM's vPEs are to be mapped."""
        return [its for its in self.gic.v4_its if self.eager or vm.vlpi_count[its.number]]

    def _check_mapping(self, vpe: ItsVpe) -> None:
        if self.eager and not vpe.vmapp_count:
            raise DriverError("EINVAL", f"vPE {vpe.vpe_id} is not mapped")

    def _check_not_resident(self, vpe: ItsVpe) -> None:
        if vpe.resident_cpu is not None:
            raise DriverError("EBUSY", f"vPE {vpe.vpe_id} is resident on CPU {vpe.resident_cpu}")

    def _resident_on(self, vpe: ItsVpe) -> Redistributor:
        if vpe.resident_cpu is None:
            raise DriverError("EINVAL", f"vPE {vpe.vpe_id} is not resident")
        return self.gic.redistributors[vpe.resident_cpu]
