# SPDX-License-Identifier: Apache-2.0
"""Bugs that Linux has, or had, in forwarding and in moving pending state to the VPT.

Each runs with the fix and without it, and tells them apart; `test_kvm_catalogue` says which are not here, and why.
"""

import pytest

from gicmodel.driver import DriverError, GicDriver
from gicmodel.driver.lpis import PhysicalLpis
from gicmodel.kvm import NEWEST, KvmError
from gicmodel.kvm.forwarding import Forwarding
from tests.kvm.forwarded import DEVICE, SPURIOUS, ForwardedGuest
from tests.kvm.guest import offset_of, without
from tests.kvm.host import Host


def arrives(guest):
    """How often LPI 8193 arrives, in software and in hardware."""
    return (guest.vgic.acknowledge_all(3) + guest.vlpis(3) + guest.vgic.acknowledge_all(3)).count(8193)


def pending_guest(behaviour=NEWEST, driver=GicDriver):
    """LPI 8193 is pending in software, on vCPU 3; nothing is forwarded."""
    guest = ForwardedGuest(Host(driver=driver), behaviour)
    guest.command("INT", DeviceID=DEVICE, EventID=1)
    return guest


def test_pending_state_goes_to_the_vpt():
    """Linux 12df7429213a, "Restore VLPI pending state to physical side"."""

    def in_vpt(behaviour):
        guest = pending_guest(behaviour)
        guest.forward(1)
        return guest.vlpis(3)

    assert in_vpt(NEWEST) == [8193]
    assert in_vpt(without("moves_pending_state")) == []


@pytest.mark.parametrize(("retrieve", "arrivals"), [(True, 1), (False, 0)])
def test_pending_state_when_forwarding_ends(retrieve, arrivals):
    """Unfixed in Linux: set, unset, set loses what was pending. The fix is this model's own."""
    guest = pending_guest()
    guest.vgic.forwarding.devices_stopped = True
    guest.forward(1)
    guest.vgic.unset_forwarding((guest.host_device, 1), retrieve)
    guest.forward(1)
    assert arrives(guest) == arrivals


def test_pending_state_is_not_in_two_places(monkeypatch):
    """A review of the series' second version: the latch left set, software delivers what the VPT delivers too."""
    guest = pending_guest()
    guest.forward(1)
    assert arrives(guest) == 1

    def leave_latch(self, slots):
        if slots:
            self._dist.vlpis.set_pending(slots, True)

    monkeypatch.setattr(Forwarding, "_transfer", leave_latch)
    guest = pending_guest()
    guest.forward(1)
    assert arrives(guest) == 2


class Deaf(PhysicalLpis):
    def set_irqchip_state(self, device, events, pending):
        raise DriverError("ETIMEDOUT", "INT is not accepted")


class DeafDriver(GicDriver):
    lpis_class = Deaf


def test_a_transfer_that_fails_is_reported_and_not_repeated():
    """H11 of the series as merged: Linux clears the latch whether INT worked or not."""
    guest = pending_guest(driver=DeafDriver)
    with pytest.raises(KvmError, match="ETIMEDOUT"):
        guest.forward(1)
    assert guest.vgic.lpis[8193].hw
    assert guest.vgic.acknowledge(3) == SPURIOUS


@pytest.mark.parametrize(("behaviour", "stale"), [(NEWEST, False), (without("unsets_by_host_irq"), True)])
def test_forwarding_ends_without_a_translation(behaviour, stale):
    """Linux 05b9405f2fa1, "Resolve vLPI by host IRQ in vgic_v4_unset_forwarding()": the guest has disabled its ITS."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    assert guest.vgic.unset_forwarding((guest.host_device, 1)) != stale
    assert bool(guest.host_device.forwarded[1]) == stale
    guest.fire(1)
    assert (guest.vlpis(3) == [8193]) == stale


@pytest.mark.parametrize(("behaviour", "arrivals"), [(NEWEST, 0), (without("route_change_unforwards"), 1)])
def test_a_changed_route_ends_forwarding(behaviour, arrivals):
    """Linux 4bf3693d36af, "Unmap vLPIs affected by changes to GSI routing information"."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    assert guest.vgic.route_changed((guest.host_device, 1)) != bool(arrivals)
    guest.fire(1)
    assert arrives(guest) == arrivals


def test_a_route_that_feeds_nothing_may_change():
    guest = ForwardedGuest(Host())
    assert not guest.vgic.route_changed((guest.host_device, 1))


def test_an_event_without_an_lpi_is_left_to_software():
    """Linux 5c57533eb8c1, "Fall back to software irqbypass if LPI not found"; also the way of QEMU before d329f5032e17.

    There, VFIO enabled its vectors before the virtual ITS was restored.
    """
    for behaviour, refused in ((NEWEST, False), (without("forwarding_falls_back"), True)):
        guest = ForwardedGuest(Host(), behaviour)
        guest.its.reset()
        if refused:
            with pytest.raises(KvmError, match="EBUSY: the virtual ITS is disabled"):
                guest.forward(1)
        else:
            assert guest.forward(1) == 0
        assert not guest.host_device.forwarded.any()


@pytest.mark.parametrize(("behaviour", "commands"), [(NEWEST, 0), (without("leaves_forwarded"), 1)])
def test_what_is_forwarded_already(behaviour, commands):
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    guest.fire(1)
    guest.forward(1)
    assert guest.host.issued("VMOVI") == commands
    assert guest.vlpis(3) == [8193]


@pytest.mark.parametrize(("behaviour", "mapped"), [(NEWEST, [1]), (without("leaves_forwarded"), [1, 2])])
def test_a_second_host_interrupt_of_an_lpi(behaviour, mapped):
    """Before 6.12 the first one's mapping stayed, and nobody knew of it any more."""
    guest = ForwardedGuest(Host(), behaviour)
    for host_event in (1, 2):
        guest.vgic.set_forwarding(0, DEVICE, 1, (guest.host_device, host_event))
    assert [event for event in range(8) if guest.host_device.forwarded[event]] == mapped
    for host_event in (1, 2):
        guest.vgic.unset_forwarding((guest.host_device, host_event))
    assert guest.host_device.forwarded.any() == (mapped == [1, 2])
