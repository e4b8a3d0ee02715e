# SPDX-License-Identifier: Apache-2.0
"""What campaigns against the sources of Linux 6.1.192 and 6.12.117 showed, and no changelog had said."""

import pytest

from gicmodel.kvm import NEWEST, KvmError
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER
from tests.kvm.forwarded import ForwardedGuest
from tests.kvm.guest import ITTS, RAM_BASE, Guest, offset_of, without
from tests.kvm.host import Host

OUTSIDE = RAM_BASE - 0x1_0000


@pytest.mark.parametrize(("behaviour", "mapped"), [(NEWEST, False), (without("mapc_checks_target_last"), True)])
def test_mapc_of_an_unmapped_collection_names_a_vcpu_that_is_none(behaviour, mapped):
    guest = Guest(behaviour=behaviour)
    guest.mapc(3, 0)
    guest.mapc(3, 77, valid=0)
    assert (3 in guest.its.collections) == mapped


@pytest.mark.parametrize(("behaviour", "remembered"), [(NEWEST, 1), (without("caches_per_its"), 0)])
def test_one_its_forgets_the_translations_of_another(behaviour, remembered):
    guest = Guest(nr_its=2, behaviour=behaviour)
    guest.mapd(2)
    guest.mapc(0, 0)
    guest.mapti(2, 20, 8195, 0)
    assert guest.vgic.inject_msi(2, 20) == 1
    other = guest.vgic.its[1]
    other.write(offset_of("GITS_CTLR"), 0, 4)
    assert len(guest.its.translation_cache) == remembered
    assert guest.vgic.lpis[8195].references == 2 + remembered, "the event's, the ap_list's and the cache's"


@pytest.mark.parametrize(("behaviour", "references"), [(NEWEST, [2] * 17), (without("caches_per_its"), [1] + [2] * 16)])
def test_a_cache_of_sixteen_translations_a_vcpu(behaviour, references):
    """The one that was not used for longest makes room."""
    guest = Guest(nr_vcpus=1, behaviour=behaviour)
    guest.mapd(2)
    guest.mapc(0, 0)
    for event in range(17):
        guest.mapti(2, event, 8192 + event, 0)
        guest.vgic.inject_msi(2, event)
    guest.vgic.acknowledge_all(0)
    assert [guest.vgic.lpis[8192 + event].references for event in range(17)] == references


def test_in_a_shared_cache_the_first_translation_stays():
    """Until it is forgotten: MAPTI of another LPI comes after a DISCARD, which forgets all."""
    guest = Guest(behaviour=without("caches_per_its"))
    guest.mapd(2)
    guest.mapd(3, itt_addr=ITTS + 0x1000)
    guest.mapc(0, 0)
    guest.mapti(2, 20, 8195, 0)
    guest.mapti(3, 20, 8196, 0)
    for device in (2, 3, 2):
        guest.vgic.inject_msi(device, 20)
    assert len(guest.its.translation_cache) == 2
    assert guest.vgic.acknowledge_all(0) == [8195, 8196]


@pytest.mark.parametrize(("behaviour", "bit"), [(NEWEST, 0), (without("walks_every_lpi"), 1)])
@pytest.mark.parametrize("lpi_by_lpi", [False, True])
def test_a_save_that_fails_has_saved_what_came_before(behaviour, bit, lpi_by_lpi):
    """By INTID, or as the LPIs were created."""
    guest = Guest(behaviour=behaviour)
    redistributor = guest.vgic.redistributors[1]
    redistributor.write(offset_of("GICR_CTLR"), 0, 4)
    guest.mapd(2)
    guest.mapc(0, 0)
    guest.mapc(1, 1)
    guest.mapti(2, 0, 8195, 0)
    guest.mapti(2, 1, 8192, 1)
    redistributor.write(offset_of("GICR_PENDBASER"), GICR_PENDBASER.pack(Physical_Address=OUTSIDE))
    guest.vgic.inject_msi(2, 0)
    with pytest.raises(KvmError, match="EFAULT"):
        guest.vgic.save_pending_tables(lpi_by_lpi)
    assert guest.pending_bit(0, 8195) == bit


def test_nassgireq_matters_at_the_first_run_only():
    """kvm_vgic_map_resources does nothing the second time."""
    guest = ForwardedGuest(Host(), without("asks_cpu_interface_for_vsgis"))
    guest.vgic.dist._vsgi_cpu_interface = False
    guest.vgic.load(0, 0)
    guest.vgic.put(0)
    guest.vgic.distributor.user_write(offset_of("GICD_CTLR"), GICD_CTLR.pack(EnableGrp1=1, nASSGIreq=1))
    guest.vgic.load(0, 0)
    assert guest.vgic.running == {0}
