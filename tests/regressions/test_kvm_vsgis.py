# SPDX-License-Identifier: Apache-2.0
"""Bugs that Linux had in saving and restoring vSGIs."""

from gicmodel.kvm import NEWEST, Vgic
from gicmodel.kvm.sgi import Sgis
from gicmodel.layouts.registers import GICD_CTLR, register
from gicmodel.memory import GuestMemory
from tests.kvm.guest import RAM_BASE, RAM_BYTES, without
from tests.kvm.host import Host

CTLR, ISPENDR0 = register("GICD_CTLR").offset, register("GICR_ISPENDR0").offset


def booted(behaviour=NEWEST):
    """A VM of one vCPU whose SGIs are in the GIC."""
    host = Host()
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, host.driver, behaviour=behaviour)
    boot(vgic)
    return host, vgic


def boot(vgic):
    vgic.distributor.write(CTLR, 0, 4)
    vgic.distributor.write(CTLR, GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1), 4)


def first_interrupt(host, vgic):
    vgic.load(0, 0)
    intid = host.gic.redistributors[0].cpu.acknowledge_virtual()
    vgic.put(0)
    return intid


def test_a_reset_by_the_monitor_clears_vsgis():
    """Linux 7b95382f9658, "Restore pending state on host userspace write": a secondary vCPU got an old IPI."""

    def after_reset(behaviour):
        host, vgic = booted(behaviour)
        vgic.send_sgi(0, 5)
        vgic.distributor.user_write(CTLR, 0)
        vgic.redistributors[0].user_write(ISPENDR0, 0)
        boot(vgic)
        return first_interrupt(host, vgic)

    assert after_reset(NEWEST) == 1023
    assert after_reset(without("ispendr_reaches_vsgis")) == 5


def test_pending_vsgis_are_read_where_they_are(monkeypatch):
    """The latch of a vSGI says nothing: userspace gets GICR_VSGIPENDR (DDI0601)."""

    def saved():
        _, vgic = booted()
        vgic.send_sgi(0, 5)
        return vgic.redistributors[0].user_read(ISPENDR0)

    def latch_only(self, vcpu, number):
        return bool(self.rows["pending_latch"][vcpu, number])

    assert saved() == 1 << 5
    monkeypatch.setattr(Sgis, "pending", latch_only)
    assert saved() == 0


def test_an_sgi_is_not_in_two_places(monkeypatch):
    """A latch that stays set when the SGI moves to the GIC is delivered by software once more."""

    def deliveries():
        host = Host()
        vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, host.driver)
        vgic.send_sgi(0, 5)
        boot(vgic)
        return [first_interrupt(host, vgic), vgic.acknowledge(0)].count(5)

    assert deliveries() == 1
    moves = Sgis._to_gic

    def keep_latch(self, vcpu, number):
        latch = self.rows["pending_latch"][vcpu, number]
        moves(self, vcpu, number)
        self.rows["pending_latch"][vcpu, number] = latch

    monkeypatch.setattr(Sgis, "_to_gic", keep_latch)
    assert deliveries() == 2
