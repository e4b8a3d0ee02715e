# SPDX-License-Identifier: Apache-2.0
"""The cache of translations: what it delivers that nothing else would, and the interrupt that is lost by it.

The second is a bug that no release of Linux has fixed; `cached_msis_stay_in_software` = False is the repair.
"""

import pytest

from gicmodel.kvm import NEWEST, KvmError
from gicmodel.layouts.registers.its import GITS_CTLR
from tests.kvm.forwarded import DEVICE, ForwardedGuest
from tests.kvm.guest import Guest, offset_of, without
from tests.kvm.host import Host

REPAIRED = without("cached_msis_stay_in_software")
UNCACHED = without("caches_translations", "cached_msis_stay_in_software")


def guest_of(behaviour=NEWEST, lpis_of_vcpu_1=True):
    guest = Guest(behaviour=behaviour)
    guest.vgic.redistributors[1].write(offset_of("GICR_CTLR"), lpis_of_vcpu_1, 4)
    guest.mapd(2)
    guest.mapc(0, 0)
    guest.mapc(1, 2)
    guest.mapti(2, 20, 8195, 0)
    return guest


@pytest.mark.parametrize(("behaviour", "delivered"), [(NEWEST, True), (REPAIRED, True), (UNCACHED, False)])
def test_mapc_forgets_no_translation(behaviour, delivered):
    """The new vCPU has no LPIs, and gets one."""
    guest = guest_of(behaviour, lpis_of_vcpu_1=False)
    assert guest.vgic.inject_msi(2, 20) == 1
    assert guest.vgic.acknowledge_all(0) == [8195]
    guest.mapc(0, 1)
    if delivered:
        assert guest.vgic.inject_msi(2, 20) == 1
        assert guest.vgic.acknowledge_all(1) == [8195]
    else:
        with pytest.raises(KvmError, match="EBUSY"):
            guest.vgic.inject_msi(2, 20)


FORGETS = {
    "MOVI": lambda guest: guest.command("MOVI", DeviceID=2, EventID=20, ICID=1),
    "MOVALL": lambda guest: guest.command("MOVALL", RDbase=0, RDbase2=3),
    "MAPC V=0": lambda guest: guest.mapc(77, 0, valid=0),
    "DISCARD": lambda guest: guest.command("DISCARD", DeviceID=2, EventID=20),
    "MAPD": lambda guest: guest.mapd(2),
    "GITS_CTLR": lambda guest: guest.its.write(offset_of("GITS_CTLR"), 0, 4),
    "EnableLPIs": lambda guest: guest.vgic.redistributors[1].write(offset_of("GICR_CTLR"), 0, 4),
}
KEEPS = {
    "MAPC V=1": lambda guest: guest.mapc(0, 1),
    "MAPD of another device": lambda guest: guest.mapd(3),
    "MOVI of an event that is not mapped": lambda guest: guest.command("MOVI", DeviceID=2, EventID=21, ICID=1),
    "MOVALL to the same vCPU": lambda guest: guest.command("MOVALL", RDbase=0, RDbase2=0),
    "INVALL": lambda guest: guest.command("INVALL", ICID=0),
    "GITS_CTLR as it is": lambda guest: guest.its.write(offset_of("GITS_CTLR"), GITS_CTLR.pack(Enabled=1), 4),
}


@pytest.mark.parametrize("first", ["INT", "KVM_SIGNAL_MSI"])
@pytest.mark.parametrize("step", FORGETS | KEEPS)
def test_what_forgets_translations(step, first):
    """All of them, whichever event it is about."""
    guest = guest_of()
    if first == "INT":
        guest.command("INT", DeviceID=2, EventID=20)
    else:
        guest.vgic.inject_msi(2, 20)
    guest.vgic.acknowledge_all(0)
    assert len(guest.its.translation_cache) == 1
    (FORGETS | KEEPS)[step](guest)
    assert len(guest.its.translation_cache) == (step in KEEPS)
    references = guest.vgic.lpis[8195].references if 8195 in guest.vgic.lpis else 0
    assert references == (step not in ("DISCARD", "MAPD")) + (step in KEEPS)


def test_an_event_beyond_16_bits_is_not_taken_for_another():
    guest = guest_of()
    guest.vgic.inject_msi(2, 20)
    assert guest.vgic.inject_msi(1, 0x1_0014) == 0


@pytest.mark.parametrize(
    ("behaviour", "architecture", "saved"),
    [
        (NEWEST, "4.1", False),
        (REPAIRED, "4.1", True),
        (UNCACHED, "4.1", True),
        (NEWEST, "4.0", True),
        (REPAIRED, "4.0", False),
    ],
)
def test_an_msi_of_a_forwarded_lpi_is_not_saved(behaviour, architecture, saved):
    """set_forwarding translates the event while its LPI is software's: the translation is remembered. KVM_SIGNAL_MSI
    then sets the latch, and SAVE_PENDING_TABLES looks into the VPT. GICv4.0 cannot, and saves the latch."""
    guest = ForwardedGuest(Host(architecture), behaviour)
    guest.forward(1)
    assert guest.vgic.inject_msi(DEVICE, 1) == 1
    assert guest.vgic.lpis[8193].pending_latch == (behaviour == NEWEST)
    guest.vgic.save_pending_tables()
    assert guest.saved_bits()[1] == saved


@pytest.mark.parametrize("behaviour", [NEWEST, REPAIRED])
def test_it_arrives_where_it_was_sent(behaviour):
    """Nothing is lost without a save: what is in the latch software delivers."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(1)
    guest.vgic.inject_msi(DEVICE, 1)
    guest.fire(3)
    assert guest.vgic.acknowledge_all(3) == ([8193] if behaviour == NEWEST else [])


def test_what_is_translated_when_it_is_forwarded_goes_to_the_gic():
    guest = ForwardedGuest(Host())
    guest.forward(1)
    guest.command("MOVI", DeviceID=DEVICE, EventID=2, ICID=3)
    guest.vgic.inject_msi(DEVICE, 1)
    assert not len(guest.its.translation_cache)
    assert guest.vlpis(3) == [8193]
