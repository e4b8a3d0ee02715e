# SPDX-License-Identifier: Apache-2.0
"""Bugs that Linux had in saving and restoring vSGIs."""

from contextlib import nullcontext

import pytest

from gicmodel.kvm import NEWEST, HostOops, KvmBehaviour, KvmError, Vgic
from gicmodel.kvm.sgi import Sgis
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.memory import GuestMemory
from tests.kvm.guest import RAM_BASE, RAM_BYTES, without
from tests.kvm.host import Host

IIDR, TYPER2 = register("GICD_IIDR").offset, register("GICD_TYPER2").offset
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


@pytest.mark.parametrize(
    ("behaviour", "oops"),
    [
        (NEWEST, False),
        (without("asks_cpu_interface_for_vsgis"), True),
        (KvmBehaviour.release("6.1.176"), True),
    ],
)
def test_nassgireq_on_a_host_whose_cpu_interfaces_have_no_vsgis(behaviour, oops):
    """Linux 82221a4e66f0, "Disambiguate support for vSGIs v. vLPIs": irq_to_desc(0) is activated. Seen on 6.1.176."""
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, Host().driver, behaviour=behaviour, vsgi_cpu_interface=False)
    boot(vgic)
    vgic.load(0, 0)
    vgic.put(0)
    assert not vgic.dist.nassgireq

    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, Host().driver, behaviour=behaviour, vsgi_cpu_interface=False)
    vgic.distributor.user_write(CTLR, GICD_CTLR.pack(nASSGIreq=1))
    assert vgic.dist.nassgireq == oops
    with pytest.raises(HostOops, match="vgic_v4_configure_vsgis") if oops else nullcontext():
        vgic.load(0, 0)


def test_a_vm_without_nassgicap_has_no_vpes():
    """Linux `vgic_supports_direct_msis` since 6.17. A campaign beside Linux showed that the model forwarded anyway."""
    host = Host()
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, host.driver, initialise=False)
    vgic.distributor.user_write(TYPER2, 0)
    vgic.init()
    assert vgic.its_vm is None
    assert vgic.set_forwarding(0, 0, 0, (host.device(0x10, 1), 0)) is False


def test_before_6_17_nothing_is_chosen_before_init():
    """The series of 82221a4e66f0 let userspace clear nASSGIcap, to have a VM without vPEs."""

    def refusal(operation, *arguments):
        with pytest.raises(KvmError) as caught:
            operation(*arguments)
        return caught.value.errno

    memory, behaviour = GuestMemory(RAM_BASE, RAM_BYTES), without("sizes_before_init")
    vgic = Vgic(memory, 1, Host().driver, behaviour=behaviour, initialise=False)
    for offset in (TYPER2, IIDR):
        assert refusal(vgic.distributor.user_read, offset) == "EBUSY"
        assert refusal(vgic.distributor.user_write, offset, 0) == "EBUSY"
    vgic.init()
    vgic.distributor.user_write(TYPER2, vgic.distributor.user_read(TYPER2))
    assert refusal(vgic.distributor.user_write, TYPER2, 0) == "EINVAL"


ISENABLER0, ICENABLER0 = register("GICR_ISENABLER0").offset, register("GICR_ICENABLER0").offset


def test_a_host_interrupt_of_a_vsgi_counts_its_disables():
    """The model disabled in the GIC at once; what Linux does was seen on 6.1.0-56 (docs/found-in-linux.md)."""
    host, vgic = booted()
    redistributor = vgic.redistributors[0]
    redistributor.write(ICENABLER0, 1 << 5, 4)
    vgic.send_sgi(0, 5)
    assert not redistributor.read(ICENABLER0, 4) & 1 << 5
    assert first_interrupt(host, vgic) == 5
    redistributor.write(ISENABLER0, 1 << 5, 4)
    redistributor.write(ICENABLER0, 1 << 5, 4)
    vgic.send_sgi(0, 5)
    assert first_interrupt(host, vgic) == 1023


def test_what_userspace_has_disabled_a_guest_does_not_disable_in_the_gic():
    """The model did."""
    host, vgic = booted()
    redistributor = vgic.redistributors[0]
    for offset in (ICENABLER0, ISENABLER0):
        redistributor.write(offset, 1 << 5, 4)
    redistributor.user_write(ICENABLER0, 1 << 5)
    redistributor.write(ICENABLER0, 1 << 5, 4)
    vgic.send_sgi(0, 5)
    assert first_interrupt(host, vgic) == 5
