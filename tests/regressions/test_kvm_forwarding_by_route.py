# SPDX-License-Identifier: Apache-2.0
"""Which LPI KVM takes for that of a host interrupt, before 6.16: the one that its route leads to now.

Seen with the VFIO, irqbypass and KVM of a 6.1.176 kernel.
"""

import pytest

from gicmodel.kvm import NEWEST, HostOops, HostStorm, KvmBehaviour
from tests.kvm.forwarded import DEVICE, ForwardedGuest
from tests.kvm.guest import without
from tests.kvm.host import Host

OLD = KvmBehaviour.release("6.1")


def forward_twice(behaviour):
    """Host events 1 and 2 both feed LPI 8193, if KVM lets them."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.mapti(DEVICE, 9, 9000, 3)
    guest.command("DISCARD", DeviceID=DEVICE, EventID=2)
    guest.mapti(DEVICE, 2, 8193, 3)
    for event in (1, 2):
        guest.vgic.set_forwarding(0, DEVICE, event, (guest.host_device, event))
    return guest


def forwarded_events(guest):
    assert guest.host.gic.errors == []
    return [event for event in range(8) if guest.vgic.is_forwarded((guest.host_device, event))]


@pytest.mark.parametrize(
    ("behaviour", "before", "after_one", "after_both"), [(NEWEST, [1], [], []), (OLD, [1, 2], [2], [2])]
)
def test_two_host_interrupts_of_one_lpi(behaviour, before, after_one, after_both):
    """The first that ends takes the LPI for its own; the second finds it forwarded no more, and is never unmapped."""
    guest = forward_twice(behaviour)
    assert forwarded_events(guest) == before
    assert guest.vgic.unset_forwarding((guest.host_device, 1))
    assert forwarded_events(guest) == after_one
    assert not guest.vgic.lpis[8193].hw
    assert not guest.vgic.unset_forwarding((guest.host_device, 2))
    assert forwarded_events(guest) == after_both
    guest.fire(2)
    assert (guest.vlpis(3) == [8193]) == (behaviour == OLD)


@pytest.mark.parametrize(("behaviour", "left"), [(NEWEST, []), (OLD, [1])])
def test_a_route_that_changed_and_then_ends(behaviour, left):
    """The new route leads to an LPI that is not forwarded: nothing ends, and the old vLPI goes on firing."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    assert guest.vgic.route_changed((guest.host_device, 1), (0, DEVICE, 3)) == (behaviour == NEWEST)
    assert not guest.vgic.unset_forwarding((guest.host_device, 1))
    assert forwarded_events(guest) == left
    guest.fire(1)
    assert (guest.vlpis(3) == [8193]) == (behaviour == OLD)


@pytest.mark.parametrize(("behaviour", "hw"), [(NEWEST, True), (OLD, False)])
def test_a_route_that_changed_to_the_lpi_of_another(behaviour, hw):
    """That LPI is taken for ended, though its own host interrupt still feeds it."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1, 3)
    guest.vgic.route_changed((guest.host_device, 1), (0, DEVICE, 3))
    guest.vgic.unset_forwarding((guest.host_device, 1))
    assert forwarded_events(guest) == [3]
    assert guest.vgic.lpis[8195].hw == hw


@pytest.mark.parametrize("behaviour", [NEWEST, OLD])
def test_a_route_to_no_its(behaviour):
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    assert guest.vgic.route_changed((guest.host_device, 1)) == (behaviour == NEWEST)
    assert not guest.vgic.unset_forwarding((guest.host_device, 1))
    assert forwarded_events(guest) == ([] if behaviour == NEWEST else [1])


def queued_and_unmapped(behaviour):
    """A forwarded LPI that an MSI has made pending in software outlives its event, and another event maps it."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    guest.vgic.inject_msi(DEVICE, 1)
    guest.command("DISCARD", DeviceID=DEVICE, EventID=1)
    guest.mapti(DEVICE, 1, 8193, 3)
    return guest


@pytest.mark.parametrize(
    "trigger",
    [
        lambda guest: guest.vgic.inject_msi(DEVICE, 1),
        lambda guest: guest.command("INT", DeviceID=DEVICE, EventID=1),
    ],
    ids=["device", "INT"],
)
def test_an_lpi_that_kvm_takes_for_forwarded_is_a_storm(trigger):
    """Linux 6.1 and 6.12: INT of the host interrupt, which the host has back, makes its irqfd ask for the LPI again."""
    guest = queued_and_unmapped(without("freed_ite_ends_hw"))
    assert forwarded_events(guest) == []
    assert guest.vgic.lpis[8193].hw
    with pytest.raises(HostStorm, match="LPI 8193 is not forwarded any more"):
        trigger(guest)


@pytest.mark.parametrize("behaviour", [NEWEST, KvmBehaviour.release("6.16")])
def test_since_6_16_kvm_knows(behaviour):
    guest = queued_and_unmapped(behaviour)
    assert not guest.vgic.lpis[8193].hw
    assert guest.vgic.inject_msi(DEVICE, 1) == 1
    assert guest.vgic.acknowledge_all(3) == [8193]


@pytest.mark.parametrize(
    ("commands", "vcpu", "taken"),
    [
        ([("INT", {})], 3, [8195]),
        ([("INT", {}), ("CLEAR", {})], 3, []),
        ([("INT", {}), ("MOVI", {"ICID": 2})], 2, [8195]),
        ([("INT", {}), ("DISCARD", {})], 3, []),
    ],
    ids=["INT", "CLEAR", "MOVI", "DISCARD"],
)
def test_a_host_interrupt_that_feeds_another_lpi_by_now(commands, vcpu, taken):
    """KVM takes host event 1 for that of LPI 8193, too: its calls name it, and reach what the host driver knows."""
    guest = queued_and_unmapped(OLD)
    guest.vgic.set_forwarding(0, DEVICE, 3, (guest.host_device, 1))
    for mnemonic, operands in commands:
        guest.command(mnemonic, DeviceID=DEVICE, EventID=1, **operands)
    assert forwarded_events(guest) == ([] if commands[-1][0] == "DISCARD" else [1])
    assert guest.vlpis(vcpu) == taken


def ended_by_another():
    """Host event 2 ends, whose route leads to the LPI that event 1 feeds: KVM thinks that LPI 8194 is fed still."""
    guest = ForwardedGuest(Host(), OLD)
    guest.forward(1, 2)
    guest.vgic.route_changed((guest.host_device, 2), (0, DEVICE, 1))
    guest.vgic.unset_forwarding((guest.host_device, 2))
    assert (guest.vgic.lpis[8193].hw, guest.vgic.lpis[8194].hw) == (False, True)
    return guest


def test_the_route_of_another_ends_it():
    guest = ended_by_another()
    with pytest.raises(HostStorm, match="LPI 8194 is not forwarded any more"):
        guest.command("INT", DeviceID=DEVICE, EventID=2)


@pytest.mark.parametrize(("mnemonic", "operands"), [("DISCARD", {}), ("MOVI", {"ICID": 3})])
def test_what_another_ended_stays_the_hosts(mnemonic, operands):
    guest = ended_by_another()
    guest.command(mnemonic, DeviceID=DEVICE, EventID=2, **operands)
    assert forwarded_events(guest) == [1]


def test_what_is_cleared_is_the_hosts_own():
    guest = queued_and_unmapped(OLD)
    before = guest.host.driver.gic.commands_issued["CLEAR"]
    guest.command("CLEAR", DeviceID=DEVICE, EventID=1)
    assert guest.host.driver.gic.commands_issued["CLEAR"] == before + 1
    assert guest.host.gic.errors == []


@pytest.mark.parametrize(("mnemonic", "operands"), [("DISCARD", {}), ("INV", {}), ("MOVI", {"ICID": 2})])
def test_the_host_driver_refuses_what_else_is_done_with_it(mnemonic, operands):
    """Commands that find it forwarded do in KVM what they do, and nothing in the GIC."""
    guest = queued_and_unmapped(OLD)
    commands = sum(guest.host.driver.gic.commands_issued.values())
    guest.command(mnemonic, DeviceID=DEVICE, EventID=1, **operands)
    guest.command("INVALL", ICID=2)
    assert guest.vgic.lpis[8193].target_vcpu == (2 if mnemonic == "MOVI" else 3)
    assert sum(guest.host.driver.gic.commands_issued.values()) == commands
    assert guest.host.gic.errors == []


def test_an_lpi_without_a_target_cannot_be_forwarded():
    """Of two events the first has an unmapped collection: Linux dereferences the target. A guest can do that."""
    guest = ForwardedGuest(Host())
    guest.mapd(7, guest.its.devices[DEVICE].itt_addr + 0x1000)
    guest.mapti(7, 0, 9000, 77)
    guest.mapti(7, 1, 9000, 3)
    with pytest.raises(HostOops, match="device 0x7, event 0x1"):
        guest.vgic.set_forwarding(0, 7, 1, (guest.host_device, 1))
    assert not isinstance(HostOops(), HostStorm)
    guest.mapc(77, 0)
    assert guest.vgic.set_forwarding(0, 7, 1, (guest.host_device, 1))
