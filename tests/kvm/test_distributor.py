# SPDX-License-Identifier: Apache-2.0
"""The virtual distributor's registers, as userspace accesses them."""

from functools import partial

import pytest

from gicmodel.kvm import KvmError, Vgic
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR, GICD_TYPER, GICD_TYPER2
from gicmodel.layouts.registers.redistributor import GICR_CTLR
from gicmodel.memory import GuestMemory
from tests.kvm.guest import RAM_BASE, RAM_BYTES
from tests.kvm.host import Host

CTLR, IIDR, TYPER2 = (register(f"GICD_{name}").offset for name in ("CTLR", "IIDR", "TYPER2"))
NASSGICAP = GICD_TYPER2.pack(nASSGIcap=1)


def created(architecture="4.1"):
    """A GIC that is not initialised."""
    return Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, Host(architecture).driver, initialise=False)


def refusal(operation, *arguments):
    with pytest.raises(KvmError) as caught:
        operation(*arguments)
    return caught.value.errno


def test_typer():
    fields = GICD_TYPER.unpack(created().distributor.read(register("GICD_TYPER").offset, 4))
    assert (fields["LPIS"], fields["IDbits"], fields["DVIS"]) == (1, 15, 0)


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_nassgicap_is_what_the_host_has(architecture):
    """Kernel selftests, vgic_init."""
    distributor = created(architecture).distributor
    can = architecture == "4.1"
    assert distributor.user_read(TYPER2) == can * NASSGICAP
    if can:
        distributor.user_write(TYPER2, 0)
        distributor.user_write(TYPER2, NASSGICAP)
    else:
        assert refusal(distributor.user_write, TYPER2, NASSGICAP) == "EINVAL"
    assert refusal(distributor.user_write, TYPER2, NASSGICAP | 1) == "EINVAL"
    assert distributor.user_read(TYPER2) == can * NASSGICAP


def test_nassgicap_is_fixed_by_init():
    vgic = created()
    vgic.distributor.user_write(TYPER2, 0)
    vgic.init()
    vgic.distributor.user_write(TYPER2, 0)
    assert refusal(vgic.distributor.user_write, TYPER2, NASSGICAP) == "EBUSY"
    vgic.distributor.user_write(CTLR, GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1))
    assert not GICD_CTLR.unpack(vgic.distributor.user_read(CTLR))["nASSGIreq"]


def test_other_registers_wait_for_init():
    vgic = created()
    assert refusal(vgic.distributor.user_read, CTLR) == "EBUSY"
    assert refusal(vgic.distributor.user_write, CTLR, 0) == "EBUSY"
    assert refusal(vgic.distributor.user_read, 0x20) == "EBUSY"
    vgic.init()
    vgic.distributor.user_write(CTLR, 0)
    assert GICD_CTLR.unpack(vgic.distributor.user_read(CTLR))["EnableGrp1"] == 0
    vgic.running.add(0)
    assert refusal(vgic.distributor.user_read, CTLR) == "EBUSY"


@pytest.mark.parametrize(("revision", "features"), [(2, 0), (3, 1)])
def test_the_revision_decides_what_the_redistributor_shows(revision, features):
    vgic = created()
    iidr = vgic.distributor.user_read(IIDR)
    assert iidr == 0x4B00_343B
    vgic.distributor.user_write(IIDR, iidr & ~0xF000 | revision << 12)
    vgic.init()
    fields = GICR_CTLR.unpack(vgic.redistributors[0].read(0, 4))
    assert (fields["IR"], fields["CES"]) == (features, features)


@pytest.mark.parametrize("iidr", [0x4B00_143B, 0x4B00_443B, 0x4C00_343B, 0])
def test_other_revisions_are_refused(iidr):
    vgic = created()
    assert refusal(vgic.distributor.user_write, IIDR, iidr) == "EINVAL"
    assert vgic.distributor.user_read(IIDR) == 0x4B00_343B


def test_what_is_no_register_to_userspace(guest):
    for offset in (0x20, 0x2, 0xFFD4, 0x1_0000):
        guest.vgic.distributor.user_write(offset, 0xFFFF_FFFF)
        assert guest.vgic.distributor.user_read(offset) == 0
    guest.vgic.running.add(0)
    assert refusal(guest.vgic.distributor.user_read, 0x20) == "EBUSY"


def test_a_host_whose_cpu_interfaces_have_no_vsgis():
    """Linux system_supports_direct_sgis: the guest and userspace get what a GICv4.0 host gives them."""
    host = Host()
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 2, host.driver, vsgi_cpu_interface=False)
    assert vgic.distributor.user_read(TYPER2) == 0
    for write in (vgic.distributor.user_write, partial(vgic.distributor.write, size=4)):
        write(CTLR, 0)
        write(CTLR, GICD_CTLR.pack(nASSGIreq=1, EnableGrp1=1))
        assert not GICD_CTLR.unpack(vgic.distributor.read(CTLR, 4))["nASSGIreq"]
    vgic.load(0, 0)
    assert host.issued("VSGI") == 0
