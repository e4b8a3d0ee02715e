# SPDX-License-Identifier: Apache-2.0
"""Forwarding that is set up again and again, as VFIO's enabling of vectors one by one does: what survives, and how."""

import pytest

from gicmodel.kvm import KvmError
from tests.kvm.forwarded import DEVICE, EVENTS, SPURIOUS, ForwardedGuest
from tests.kvm.host import Host


@pytest.fixture
def pending():
    """A guest on its destination: odd events are pending in software, nothing is forwarded, everything is stopped."""
    guest = ForwardedGuest(Host())
    for event_id in range(1, EVENTS, 2):
        guest.command("INT", DeviceID=DEVICE, EventID=event_id)
    guest.vgic.forwarding.devices_stopped = True
    yield guest
    assert guest.host.gic.errors == []


ODD = [8193, 8195, 8197, 8199]


def vectors(guest, count=EVENTS):
    return range(count), guest.host_device, range(count)


def hosts_of(guest, count=EVENTS):
    return [(guest.host_device, event_id) for event_id in range(count)]


def reset(guest, transfer=True, retrieve=False):
    """VFIO enables one vector more, and for that the others again; how many forwardings ended."""
    ended = 0
    for count in range(1, EVENTS + 1):
        ended += guest.vgic.unset_forwarding_many(hosts_of(guest, count - 1), retrieve)
        guest.vgic.set_forwarding_many(0, DEVICE, *vectors(guest, count), transfer)
    return ended


def taken(guest):
    """Everything that arrives, in software and in hardware, in a first and a second run of all vCPUs."""
    arrived = []
    for vcpu in (2, 3, 2, 3):
        arrived += guest.vlpis(vcpu) + guest.vgic.acknowledge_all(vcpu)
    return sorted(arrived)


def test_without_a_remedy_all_but_the_last_vector_are_lost(pending):
    """What the cover letter leaves open."""
    assert reset(pending) == sum(range(EVENTS))
    assert taken(pending) == [8199]


def test_one_set_of_all_vectors_loses_nothing(pending):
    """The cover letter's solution 1, avoid unset_forwarding."""
    pending.vgic.set_forwarding_many(0, DEVICE, *vectors(pending))
    assert pending.host.issued("INT") == len(ODD)
    assert taken(pending) == ODD


def test_a_dedicated_interface_loses_nothing(pending):
    """The cover letter's solution 2: transfer when the VM starts, in the GIC's state change handler."""
    reset(pending, transfer=False)
    assert pending.host.issued("INT") == 0
    assert pending.vgic.transfer_pending() == len(ODD)
    assert pending.vgic.transfer_pending() == 0
    assert [pending.vgic.acknowledge(vcpu) for vcpu in (2, 3)] == [SPURIOUS] * 2
    assert taken(pending) == ODD


def test_retrieving_loses_nothing(pending):
    reset(pending, retrieve=True)
    # Event 1 is there from the second vector on, and comes back with each of the six that follow, and so on.
    assert pending.host.issued("INT") == len(ODD) + 6 + 4 + 2
    assert pending.vgic.dist.vlpis.unmaps == 1 + 2 * (EVENTS - 2)
    assert taken(pending) == ODD


def test_what_a_retrieved_vlpi_leaves_is_delivered_by_software(pending):
    pending.vgic.set_forwarding_many(0, DEVICE, *vectors(pending))
    hosts = hosts_of(pending)
    assert pending.vgic.unset_forwarding_many(hosts, retrieve=True) == EVENTS
    assert pending.vgic.acknowledge_all(3) == ODD
    assert taken(pending) == []


def test_only_what_ends_is_taken_back(pending):
    """Unmapping does not touch the pending state of vLPIs that stay, on the same vPE or another."""
    pending.vgic.set_forwarding_many(0, DEVICE, *vectors(pending))
    pending.fire(4)
    assert pending.vgic.unset_forwarding((pending.host_device, 3), retrieve=True)
    assert pending.vgic.acknowledge_all(3) == [8195]
    assert (pending.vlpis(2), pending.vlpis(3)) == ([8196], [8193, 8197, 8199])


@pytest.mark.parametrize("obstacle", ["vcpu", "devices", "gicv4.0"])
def test_retrieval_that_cannot_be_is_refused_and_changes_nothing(obstacle):
    guest = ForwardedGuest(Host("4.0" if obstacle == "gicv4.0" else "4.1"))
    guest.forward()
    guest.fire(1)
    guest.vgic.forwarding.devices_stopped = obstacle != "devices"
    if obstacle == "vcpu":
        guest.vgic.load(2, 1)
    issued = guest.host.driver.gic.commands_issued
    with pytest.raises(KvmError, match="EACCES" if obstacle == "gicv4.0" else "EBUSY"):
        guest.vgic.unset_forwarding((guest.host_device, 1), retrieve=True)
    assert guest.host.driver.gic.commands_issued == issued
    assert guest.vgic.lpis[8193].hw
    assert guest.vlpis(3) == [8193]


def test_there_is_nothing_to_refuse_where_nothing_is_forwarded(pending):
    pending.vgic.forwarding.devices_stopped = False
    assert pending.vgic.unset_forwarding_many([(pending.host_device, 0)], retrieve=True) == 0
    assert ForwardedGuest(Host("3")).vgic.unset_forwarding_many([(pending.host_device, 0)], retrieve=True) == 0


def test_a_save_takes_what_is_held_back_along(pending):
    pending.vgic.set_forwarding_many(0, DEVICE, *vectors(pending), transfer=False)
    pending.vgic.save_pending_tables()
    assert pending.saved_bits() == [0, 1] * 4
    assert taken(pending) == ODD


def test_an_lpi_that_is_unmapped_meanwhile_is_not_transferred(pending):
    """It is queued, and software delivers it."""
    pending.vgic.set_forwarding_many(0, DEVICE, *vectors(pending), transfer=False)
    pending.command("DISCARD", DeviceID=DEVICE, EventID=1)
    pending.mapti(DEVICE, 1, 9000, 3)
    pending.command("INT", DeviceID=DEVICE, EventID=1)
    assert pending.vgic.transfer_pending() == 3
    assert taken(pending) == [*ODD, 9000]


def test_a_vcpu_that_has_run_may_have_taken_its_interrupts(pending):
    pending.vgic.set_forwarding_many(0, DEVICE, *vectors(pending))
    assert pending.vlpis(3) == ODD
    assert pending.vgic.unset_forwarding_many(hosts_of(pending)) == EVENTS
    assert taken(pending) == []
