# SPDX-License-Identifier: Apache-2.0
import pytest

from gicmodel.layouts.kvm_abi import KVM_CTE
from tests.kvm.forwarded import ForwardedGuest
from tests.kvm.guest import COLLECTIONS, ITTS, Guest
from tests.kvm.host import Host


@pytest.fixture
def guest():
    return Guest()


@pytest.fixture
def setup1(guest):
    """kvm-unit-tests arm/gic.c, its_setup1: devices 2 and 7, LPIs 8195 and 8196, on PE 3 and PE 2."""
    guest.mapd(2, ITTS)
    guest.mapd(7, ITTS + 0x800)
    guest.mapc(3, 3)
    guest.mapc(2, 2)
    guest.mapti(2, 20, 8195, 3)
    guest.mapti(7, 255, 8196, 2)
    return guest


@pytest.fixture
def fresh(guest):
    """A guest whose ITS is as after RESET, its registers written, with one collection, ICID 5 on vCPU 1, in RAM."""
    guest.restart_its()
    guest.memory.write_u64(COLLECTIONS, KVM_CTE.pack(V=1, RDBase=1, ICID=5))
    return guest


@pytest.fixture
def forwarded():
    """A guest with a device, none of whose events is forwarded yet."""
    guest = ForwardedGuest(Host())
    yield guest
    assert guest.host.gic.errors == []
