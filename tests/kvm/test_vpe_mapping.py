# SPDX-License-Identifier: Apache-2.0
"""vPEs that are unmapped to read their VPTs are mapped again, whatever fails in between."""

import pytest

from tests.kvm.forwarded import ForwardedGuest, refusal
from tests.kvm.host import Host


@pytest.fixture
def guest() -> ForwardedGuest:
    """A guest of four vCPUs on GICv4.1, events 0 (vCPU 2) and 1 (vCPU 3) pending, vCPU 3's vPE resident.

    KVM does not know that it is, as after a bug of its own: the host driver refuses to unmap it (EBUSY).
    """
    guest = ForwardedGuest(Host())
    guest.forward()
    guest.fire(0, 1)
    guest.host.driver.vpes.schedule(guest.vgic.its_vm.vpes[3], 0)
    return guest


def mapped(guest: ForwardedGuest) -> list[int]:
    return [vpe.vmapp_count for vpe in guest.vgic.its_vm.vpes]


def test_a_save_that_cannot_unmap_every_vpe_leaves_all_mapped(guest: ForwardedGuest) -> None:
    assert refusal(guest.vgic.save_pending_tables) == "EBUSY"
    assert mapped(guest) == [1, 1, 1, 1]
    guest.host.driver.vpes.deschedule(guest.vgic.its_vm.vpes[3], doorbell=False)
    guest.vgic.save_pending_tables()
    assert guest.saved_bits() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_all_vpes_are_unmapped_or_none(guest: ForwardedGuest) -> None:
    assert refusal(guest.vgic.unmap_all_vpes) == "EBUSY"
    assert mapped(guest) == [1, 1, 1, 1]


def test_retrieving_that_cannot_unmap_every_vpe_leaves_all_mapped(guest: ForwardedGuest) -> None:
    guest.vgic.forwarding.devices_stopped = True
    hosts = [(guest.host_device, event) for event in (1, 0)]
    assert refusal(guest.vgic.unset_forwarding_many, hosts, True) == "EBUSY"
    assert mapped(guest) == [1, 1, 1, 1]
    assert guest.vgic.dist.vlpis.slot_of(hosts[0]) is not None


def test_one_vpe_that_cannot_be_mapped_does_not_keep_the_others_from_it() -> None:
    guest = ForwardedGuest(Host())
    guest.vgic.unmap_all_vpes()
    guest.host.driver.vpes.activate(guest.vgic.its_vm.vpes[1])
    assert refusal(guest.vgic.map_all_vpes) == "EEXIST"
    assert mapped(guest) == [1, 1, 1, 1]
