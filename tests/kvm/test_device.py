# SPDX-License-Identifier: Apache-2.0
"""The device attributes: addresses, initialisation, and what is refused before either."""

import pytest

from gicmodel.kvm import KvmError, Vgic
from gicmodel.layouts.registers.its import GITS_CTLR
from gicmodel.memory import GuestMemory
from tests.kvm.guest import DEVICES, RAM_BASE, RAM_BYTES, offset_of
from tests.kvm.host import Host

IPA_END = 1 << 40
ITS_BASE = 0x40_0000


@pytest.fixture
def created():
    """A GIC with two ITSs as KVM_CREATE_DEVICE leaves it."""
    return Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 2, nr_its=2, initialise=False)


def refusal(operation, *arguments):
    with pytest.raises(KvmError) as caught:
        operation(*arguments)
    return caught.value.errno


@pytest.mark.parametrize(
    ("address", "errno"),
    [(0x40_1000, "EINVAL"), (IPA_END, "E2BIG"), (IPA_END - 0x1_0000, "E2BIG"), (1 << 60, "E2BIG")],
)
def test_an_address_that_an_its_cannot_have(created, address, errno):
    """Kernel selftests, vgic_init."""
    its = created.its[0]
    assert refusal(its.set_base_address, address) == errno
    assert its.base_address is None


def test_the_last_address_and_a_second_one(created):
    its = created.its[0]
    its.set_base_address(IPA_END - 0x2_0000)
    for address in (ITS_BASE, IPA_END - 0x2_0000, IPA_END, 0x1000):
        assert refusal(its.set_base_address, address) == "EEXIST"
    assert its.base_address == IPA_END - 0x2_0000


def test_registers_before_there_is_an_address(created):
    its = created.its[0]
    assert refusal(its.user_read, offset_of("GITS_CTLR")) == "ENXIO"
    assert refusal(its.user_write, offset_of("GITS_BASER0"), 0) == "ENXIO"
    its.set_base_address(ITS_BASE)
    its.user_write(offset_of("GITS_CBASER"), 1 << 63 | DEVICES)
    assert its.cbaser >> 63
    assert its.user_read(offset_of("GITS_CTLR")) == GITS_CTLR.pack(Quiescent=1)


def test_save_reset_and_restore_bring_back_what_was_mapped(setup1):
    its = setup1.its
    setup1.command("INT", DeviceID=2, EventID=20)
    saved = setup1.mappings()
    its.save_tables()
    setup1.vgic.save_pending_tables()
    assert setup1.pending_bit(3, 8195)
    registers = its.cbaser, *its.basers.values()
    its.reset()
    assert setup1.mappings() == ({}, {})
    for name, value in zip(("GITS_CBASER", "GITS_BASER0", "GITS_BASER1"), registers, strict=True):
        its.user_write(offset_of(name), value)
    its.restore_tables()
    assert setup1.mappings() == saved


def test_before_init(created):
    assert refusal(created.save_pending_tables) == "ENXIO"
    assert refusal(created.redistributors[0].user_read, offset_of("GICR_CTLR")) == "EBUSY"
    assert refusal(created.redistributors[0].user_write, offset_of("GICR_CTLR"), 0) == "EBUSY"
    assert refusal(created.load, 0, 0) == "EBUSY"
    assert not created.running
    created.init()
    created.save_pending_tables()
    created.load(0, 0)


def test_init_maps_the_vpes_once():
    host = Host()
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 3, host.driver, initialise=False)
    assert vgic.its_vm is None
    assert not host.driver.vpes.by_id
    vgic.init()
    vpes = vgic.its_vm.vpes
    vgic.init()
    assert vgic.its_vm.vpes is vpes
    assert [vpe.vmapp_count for vpe in vpes] == [1] * 3


def test_several_itss_have_addresses_of_their_own():
    vgic = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 1, nr_its=3)
    assert [its.base_address for its in vgic.its] == [0x0808_0000, 0x080A_0000, 0x080C_0000]
