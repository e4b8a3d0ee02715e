# SPDX-License-Identifier: Apache-2.0
"""Bugs that Linux had in SAVE_PENDING_TABLES, and in mapping, moving and scheduling vPEs.

Each runs with the fix and with a KVM or a driver without it, and tells them apart; `test_kvm_catalogue` says which are
not here, and why.
"""

import pytest

from gicmodel.driver import DriverError, GicDriver, commands
from gicmodel.driver.redistributor import Redistributor
from gicmodel.driver.vpes import VirtualPes
from gicmodel.kvm import KvmBehaviour, KvmError
from gicmodel.layouts.lpi_tables import FIRST_LPI_BYTE
from tests.kvm.forwarded import EVENTS, ForwardedGuest
from tests.kvm.guest import Guest, pending_table, without
from tests.kvm.host import Host


def test_two_vcpus_in_one_byte():
    """Linux ca185b260951, "Don't rely on the wrong pending table": 8192 on vCPU 0 and 8193 on vCPU 1."""

    def saved(behaviour):
        guest = Guest(behaviour=behaviour)
        guest.mapd(0)
        for vcpu in (0, 1):
            guest.mapc(vcpu, vcpu)
            guest.mapti(0, vcpu, 8192 + vcpu, vcpu)
            guest.command("INT", DeviceID=0, EventID=vcpu)
        guest.vgic.save_pending_tables()
        return [guest.memory.read_u8(pending_table(vcpu) + FIRST_LPI_BYTE) for vcpu in (0, 1)]

    assert saved(KvmBehaviour()) == [1, 2]
    assert saved(without("pending_byte_per_vcpu")) == [1, 3]


def test_a_forwarded_lpi_can_be_saved():
    """Linux 8082d50f4817, "Give a chance to save VLPI state"."""
    guest = ForwardedGuest(Host(), without("saves_forwarded_lpis"))
    guest.forward()
    with pytest.raises(KvmError, match="EACCES"):
        guest.its.save_tables()
    ready = ForwardedGuest(Host())
    ready.forward()
    ready.its.save_tables()


def test_the_state_of_a_forwarded_lpi_is_saved():
    """Linux f66b7b151e00, "Try to save VLPI state in save_pending_tables"."""

    def saved(behaviour):
        guest = ForwardedGuest(Host(), behaviour)
        guest.forward()
        guest.fire(3)
        guest.vgic.save_pending_tables()
        return guest.saved_bits()

    assert saved(KvmBehaviour()) == [0, 0, 0, 1, 0, 0, 0, 0]
    assert saved(without("moves_pending_state")) == [0] * EVENTS


def test_a_vpt_that_is_mapped_again_is_not_empty():
    """Linux c21bc068cdbe, "Drop the setting of PTZ altogether": the source went on without what was pending."""

    def resumed(behaviour):
        guest = ForwardedGuest(Host(), behaviour)
        guest.forward()
        guest.fire(1)
        guest.vgic.save_pending_tables()
        return guest.vlpis(3)

    assert resumed(KvmBehaviour()) == [8193]
    assert resumed(without("drops_ptz")) == []


def driver_of(vpes):
    """A driver whose part for vPEs is of another class."""

    class Driver(GicDriver):
        vpes_class = vpes

    return Driver


class VsyncAfterUnmap(VirtualPes):
    def _unmap(self, its, vpes, mask=False):
        super()._unmap(its, vpes, mask)
        its.send(*(commands.vsync(vpe.vpe_id) for vpe in vpes))
        its.queue.flush()


def test_no_vsync_of_an_unmapped_vpe():
    """Linux 80e9963fb3b5, "Fix VSYNC referencing an unmapped VPE on GIC v4.1"."""

    def complaints(vpes_class):
        guest = ForwardedGuest(Host(driver=driver_of(vpes_class), command_errors="ignore"))
        guest.vgic.save_pending_tables()
        return len(guest.host.gic.errors)

    assert complaints(VirtualPes) == 0
    assert complaints(VsyncAfterUnmap) == 4


class VmovpOfTheDying(VirtualPes):
    def _check_mapping(self, vpe):
        """Whether it is mapped or not."""

    def set_affinity(self, vpe, cpu):
        super().set_affinity(vpe, cpu)
        if not vpe.vmapp_count:
            self._vmovp(vpe)


def test_no_vmovp_of_an_unmapped_vpe():
    """Linux 1442ee001198, "Don't allow a VMOVP on a dying VPE"."""

    def moved(vpes_class):
        guest = ForwardedGuest(Host(driver=driver_of(vpes_class), command_errors="ignore"))
        guest.vgic.unmap_all_vpes()
        try:
            guest.vgic.load(3, 1)
        except KvmError as error:
            return error.errno, len(guest.host.gic.errors)
        return None, len(guest.host.gic.errors)

    assert moved(VirtualPes) == ("EINVAL", 0)
    assert moved(VmovpOfTheDying)[1] > 0


class RefusesTheUnmapped(VirtualPes):
    def _check_mapping(self, vpe):
        if not vpe.vmapp_count:
            raise DriverError("EINVAL", f"vPE {vpe.vpe_id} is not mapped")


def test_a_vpe_that_is_mapped_on_demand_may_move_before():
    """Linux, "Correctly deal with set_affinity on lazily-mapped VPEs": 1442ee001198 refused the first load."""

    def delivered(vpes_class):
        guest = ForwardedGuest(Host("4.0", its=2, vmovp=False, driver=driver_of(vpes_class)))
        assert guest.vgic.its_vm.vpes[3].vmapp_count == 0
        guest.vgic.load(3, 1)
        guest.vgic.put(3)
        guest.forward()
        guest.fire(1)
        return guest.vlpis(3, cpu=1)

    assert delivered(VirtualPes) == [8193]
    with pytest.raises(KvmError, match="EINVAL"):
        delivered(RefusesTheUnmapped)


class ForgetsWhereItMaps(VirtualPes):
    """VMAPP goes to CPU 0's redistributor; the driver believes that the vPE is where it was."""

    def activate(self, *vpes, ptz=False):
        remembered = [vpe.col_idx for vpe in vpes]
        super().activate(*vpes, ptz=ptz)
        for vpe, cpu in zip(vpes, remembered, strict=True):
            vpe.col_idx = cpu


def test_a_vpe_is_where_it_was_mapped():
    """Linux 7d2c2048a864, "Always configure affinity on VPE activation": CPU 17 shares no vPE table with CPU 0."""

    def delivered(vpes_class):
        guest = ForwardedGuest(Host(redistributors=18, common_lpi_aff=3, driver=driver_of(vpes_class)))
        guest.forward()
        guest.vlpis(3, cpu=17)
        guest.fire(1)
        guest.vgic.save_pending_tables()
        return guest.vlpis(3, cpu=17)

    assert delivered(VirtualPes) == [8193]
    assert delivered(ForgetsWhereItMaps) == []


def test_a_vpe_leaves_only_when_its_table_is_parsed(monkeypatch):
    """Linux af27e41612ec, "Wait for GICR_VPENDBASER.Dirty to clear before descheduling"."""

    def resident_after_preemption():
        host = Host(commands_per_step=4)
        vpe = host.driver.vpes.create_vm(1).vpes[0]
        host.driver.vpes.schedule(vpe, 0)
        host.driver.vpes.deschedule(vpe, doorbell=False)
        return host.driver.gic.redistributors[0].registers.fields("GICR_VPENDBASER")["Valid"]

    def clear_valid_at_once(rd, **fields):
        rd.registers.update("GICR_VPENDBASER", Valid=0, **fields)
        return rd.registers.fields("GICR_VPENDBASER")

    assert not resident_after_preemption()
    monkeypatch.setattr(Redistributor, "_clear_valid", clear_valid_at_once)
    assert resident_after_preemption()
