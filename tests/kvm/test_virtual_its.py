# SPDX-License-Identifier: Apache-2.0
"""The virtual ITS's registers, as the guest and as userspace access them."""

import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR, GITS_TYPER
from tests.kvm.guest import COLLECTIONS, DEVICES, QUEUE, RAM_BASE, Guest, offset_of

CTLR, IIDR, TYPER = offset_of("GITS_CTLR"), offset_of("GITS_IIDR"), offset_of("GITS_TYPER")
CBASER, CWRITER, CREADR = offset_of("GITS_CBASER"), offset_of("GITS_CWRITER"), offset_of("GITS_CREADR")
BASER0, BASER1, BASER2 = (offset_of(f"GITS_BASER{n}") for n in range(3))


@pytest.fixture
def disabled(guest):
    guest.its.write(CTLR, 0, 4)
    return guest.its


def refusal(operation, *arguments):
    with pytest.raises(KvmError) as caught:
        operation(*arguments)
    return caught.value.errno


def test_introspection(guest):
    """kvm-unit-tests arm/gic.c, its-introspection."""
    typer = GITS_TYPER.unpack(guest.its.read(TYPER))
    assert typer["Physical"] == 1
    assert typer["Devbits"] == typer["ID_bits"] == 15
    assert typer["ITT_entry_size"] == 7
    assert (typer["PTA"], typer["CIL"], typer["HCC"], typer["Virtual"]) == (0, 0, 0, 0)
    iidr = guest.its.read(IIDR, 4)
    guest.its.write(TYPER, 0)
    guest.its.write(IIDR, 0, 4)
    assert iidr == guest.its.read(IIDR, 4) == 0x4B00_043B
    assert GITS_TYPER.unpack(guest.its.read(TYPER)) == typer
    assert guest.its.read(offset_of("GITS_PIDR2"), 4) == 0x3B


def test_its_cannot_be_enabled_without_its_tables_and_queue(disabled):
    for offset, layout in ((BASER0, GITS_BASER), (BASER1, GITS_BASER), (CBASER, GITS_CBASER)):
        value = disabled.read(offset)
        disabled.write(offset, layout.pack(**(layout.unpack(value) | {"Valid": 0})))
        disabled.write(CTLR, 1, 4)
        assert not disabled.enabled
        disabled.write(offset, value)
    disabled.write(CTLR, 1, 4)
    assert disabled.enabled


def test_quiescent_says_that_the_queue_is_empty(disabled):
    assert GITS_CTLR.unpack(disabled.read(CTLR, 4)) == GITS_CTLR.unpack(GITS_CTLR.pack(Quiescent=1))
    disabled.write(CWRITER, 32)
    assert not GITS_CTLR.unpack(disabled.read(CTLR, 4))["Quiescent"]
    disabled.write(CTLR, 1, 4)
    assert GITS_CTLR.unpack(disabled.read(CTLR, 4)) == GITS_CTLR.unpack(GITS_CTLR.pack(Quiescent=1, Enabled=1))
    assert disabled.read(CREADR) == 32


def test_table_registers_are_closed_while_the_its_is_enabled(guest):
    for offset in (CBASER, BASER0, BASER1):
        value = guest.its.read(offset)
        guest.its.write(offset, 0)
        assert guest.its.read(offset) == value


def test_baser_keeps_type_entry_size_and_page_size(disabled):
    disabled.write(BASER0, GITS_BASER.pack(Valid=1, Indirect=1, Type=7, Entry_Size=3, Physical_Address=DEVICES, Size=4))
    fields = GITS_BASER.unpack(disabled.read(BASER0))
    assert (fields["Type"], fields["Entry_Size"], fields["Page_Size"]) == (1, 7, 2)
    assert (fields["Valid"], fields["Indirect"], fields["Physical_Address"], fields["Size"]) == (1, 1, DEVICES, 4)
    disabled.write(BASER1, GITS_BASER.pack(Indirect=1, Page_Size=1))
    fields = GITS_BASER.unpack(disabled.read(BASER1))
    assert (fields["Type"], fields["Entry_Size"], fields["Page_Size"], fields["Indirect"]) == (4, 7, 2, 0)
    disabled.write(BASER2, 0xFFFF_FFFF_FFFF_FFFF)
    assert disabled.read(BASER2) == 0


@pytest.mark.parametrize(
    ("written", "kept"),
    [((0, 0, 0), (0, 3, 0)), ((2, 1, 1), (1, 3, 1)), ((1, 7, 7), (1, 7, 0)), ((3, 2, 5), (3, 2, 0))],
)
def test_memory_attributes_are_sanitised(disabled, written, kept):
    names = ("Shareability", "InnerCache", "OuterCache")
    disabled.write(CBASER, GITS_CBASER.pack(**dict(zip(names, written, strict=True))))
    fields = GITS_CBASER.unpack(disabled.read(CBASER))
    assert tuple(fields[name] for name in names) == kept


def test_cbaser_write_empties_the_queue(disabled):
    disabled.write(CWRITER, 64)
    disabled.write(CBASER, GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE + 0x3000, Size=1))
    assert (disabled.read(CREADR), disabled.read(CWRITER)) == (0, 0)
    assert GITS_CBASER.unpack(disabled.read(CBASER))["Physical_Address"] == QUEUE
    disabled.write(CWRITER, 0x2000)
    assert disabled.read(CWRITER) == 0
    disabled.write(CWRITER, 0x1FE0)
    assert disabled.read(CWRITER) == 0x1FE0


def test_halves_of_a_64_bit_register(disabled):
    disabled.write(BASER0, 0)
    disabled.write(BASER0 + 4, 0x8000_0000 | 5, 4)
    disabled.write(BASER0, RAM_BASE | 7, 4)
    fields = GITS_BASER.unpack(disabled.read(BASER0))
    assert (fields["Valid"], fields["Physical_Address"], fields["Size"]) == (1, 5 << 32 | RAM_BASE, 7)
    assert disabled.read(BASER0 + 4, 4) == disabled.read(BASER0) >> 32
    assert disabled.read(BASER0, 4) == disabled.read(BASER0) & 0xFFFF_FFFF


@pytest.mark.parametrize(("offset", "size"), [(CTLR, 8), (CTLR, 2), (BASER0 + 4, 8), (0x20, 4), (0x1_0040, 4)])
def test_accesses_that_are_raz_wi(disabled, offset, size):
    before = disabled.read(BASER0)
    disabled.write(offset, 0xFFFF_FFFF, size)
    assert disabled.read(offset, size) == 0
    assert disabled.read(BASER0) == before
    assert not disabled.enabled


def test_a_changed_baser_frees_what_was_mapped(setup1):
    """Linux 8cd92f77ae4f: any change, not only V=0; the value a guest writes again on resume is none."""
    setup1.its.write(CTLR, 0, 4)
    setup1.its.write(BASER0, setup1.device_baser)
    setup1.its.write(BASER1, setup1.collection_baser)
    assert len(setup1.its.devices) == len(setup1.its.collections) == 2
    setup1.its.write(BASER1, setup1.collection_baser + 1)
    assert not setup1.its.collections
    assert len(setup1.its.devices) == 2
    setup1.its.write(BASER0, setup1.device_baser + 1)
    assert not setup1.its.devices
    assert not len(setup1.vgic.lpis)


def test_the_upper_address_bits_of_64_kib_pages(disabled):
    disabled.write(BASER0, GITS_BASER.pack(Valid=1, Physical_Address=0x1234_0000_3000))
    assert disabled.device_table.address == 0x3_1234_0000_0000


def test_reset(setup1):
    setup1.its.reset()
    assert setup1.mappings() == ({}, {})
    assert not len(setup1.vgic.lpis)
    for offset in (CBASER, CREADR, CWRITER):
        assert setup1.its.read(offset) == 0
    fields = GITS_BASER.unpack(setup1.its.read(BASER0))
    assert (fields["Valid"], fields["Physical_Address"], fields["Type"]) == (0, DEVICES, 1)
    assert GITS_BASER.unpack(setup1.its.read(BASER1))["Physical_Address"] == COLLECTIONS
    assert GITS_CTLR.unpack(setup1.its.read(CTLR, 4))["Enabled"] == 0


def test_userspace_accesses_whole_registers(guest):
    its = guest.its
    assert its.user_read(BASER0) == its.read(BASER0)
    assert its.user_read(CTLR) == its.read(CTLR, 4)
    for offset in (BASER0 + 4, 0x14, 2, 0xFFD2):
        assert refusal(its.user_read, offset) == "EINVAL"
        assert refusal(its.user_write, offset, 0) == "EINVAL"
    for offset in (0x20, 0x1_0040, 0xFFFC + 8, 0x8000_0080, 0x1_0000_0020):
        assert refusal(its.user_read, offset) == "ENXIO"
        assert refusal(its.user_write, offset, 0) == "ENXIO"


def test_alignment_comes_before_busy_and_busy_before_what_there_is(guest):
    """Linux vgic_its_attr_regs_access and vgic_its_ctrl."""
    its = guest.its
    guest.vgic.running.add(1)
    for offset in (BASER0, 0x20, 0x1_0000_0020):
        assert refusal(its.user_read, offset) == "EBUSY"
        assert refusal(its.user_write, offset, 0) == "EBUSY"
    assert refusal(its.user_read, 0x84) == "EINVAL"
    for operation in (its.save_tables, its.restore_tables, its.reset, guest.vgic.save_pending_tables):
        assert refusal(operation) == "EBUSY"


def test_without_a_base_address(guest):
    guest.its.base_address = None
    assert refusal(guest.its.user_read, BASER0) == "ENXIO"
    guest.vgic.running.add(0)
    assert refusal(guest.its.user_read, BASER0) == "EBUSY"
    assert refusal(guest.its.user_read, 0x84) == "EINVAL"


@pytest.mark.parametrize("high", [1 << 32, 0xFFFF_FFFF << 32])
def test_only_32_bits_of_an_attribute_are_looked_at(disabled, high):
    """Linux vgic_find_mmio_region takes an unsigned int; the alignment that is asked for is that of all 64 bits."""
    disabled.user_write(high | CBASER, 1 << 63 | QUEUE)
    assert disabled.user_read(high | CBASER) == disabled.read(CBASER)
    assert disabled.user_read(high | CBASER + 4) == disabled.read(CBASER) >> 32
    disabled.user_write(high | CBASER + 4, 0x15)
    assert GITS_CBASER.unpack(disabled.read(CBASER))["Physical_Address"] == 0x15 << 32 | QUEUE
    disabled.user_write(high | CBASER + 4, 0)
    assert disabled.read(CBASER + 4, 4) & 0xFFFF == 0x15
    disabled.user_write(high | CREADR + 4, 0x20)
    assert disabled.read(CREADR) == 0x20
    assert refusal(disabled.user_read, high | 0x22) == "EINVAL"


def test_every_identification_register_is_one(disabled):
    values = {offset: disabled.user_read(offset) for offset in range(0xFFD0, 0x1_0000, 4)}
    named = {
        0xFFD0: 0x40,
        0xFFE0: 0x92,
        0xFFE4: 0xB4,
        0xFFE8: 0x3B,
        0xFFF0: 0x0D,
        0xFFF4: 0xF0,
        0xFFF8: 5,
        0xFFFC: 0xB1,
    }
    assert values == dict.fromkeys(values, 0) | named
    for offset in values:
        disabled.user_write(offset, 0xFFFF_FFFF)
        assert disabled.user_read(offset) == disabled.read(offset, 4) == values[offset]


def test_cbaser_keeps_its_reserved_bits(disabled):
    """Linux vgic_sanitise_its_cbaser touches the attributes and bits 15:12 only."""
    disabled.write(CBASER, 0xFFFF_FFFF_FFFF_FFFF)
    reserved = 1 << 62 | 1 << 52 | 3 << 8
    assert disabled.read(CBASER) & reserved == reserved
    disabled.write(CBASER + 4, 0x8000_0000, 4)
    assert disabled.read(CBASER) & reserved == 3 << 8
    disabled.user_write(CBASER, 1 << 63 | 1 << 52)
    assert disabled.read(CBASER) & reserved == 1 << 52


def test_userspace_writes_creadr_of_a_disabled_its(guest):
    its = guest.its
    assert refusal(its.user_write, CREADR, 32) == "EBUSY"
    its.user_write(CTLR, 0)
    assert refusal(its.user_write, CREADR, 0x1_0000) == "EINVAL"
    its.user_write(CREADR, 0xFFE0)
    assert its.read(CREADR) == 0xFFE0
    its.write(CREADR, 0)
    assert its.read(CREADR) == 0xFFE0


def test_userspace_chooses_the_abi_revision(guest):
    iidr = guest.its.user_read(IIDR)
    guest.its.user_write(IIDR, iidr)
    assert refusal(guest.its.user_write, IIDR, iidr | 1 << 12) == "EINVAL"
    assert guest.its.user_read(IIDR) == iidr


def test_signal_msi(setup1):
    assert setup1.vgic.inject_msi(2, 20) == 1
    assert setup1.vgic.acknowledge(3) == 8195
    assert setup1.vgic.inject_msi(2, 21) == 0
    assert setup1.vgic.inject_msi(9, 20) == 0
    setup1.mapti(2, 22, 8400, 77)
    assert setup1.vgic.inject_msi(2, 22) == 0


def test_signal_msi_while_the_its_or_the_lpis_are_disabled(setup1):
    setup1.vgic.redistributors[3].write(offset_of("GICR_CTLR"), 0, 4)
    assert refusal(setup1.vgic.inject_msi, 2, 20) == "EBUSY"
    assert setup1.vgic.inject_msi(7, 255) == 1
    setup1.its.write(CTLR, 0, 4)
    assert refusal(setup1.vgic.inject_msi, 7, 255) == "EBUSY"


def test_two_itss_share_the_lpis():
    guest = Guest(nr_its=2)
    guest.mapd(1)
    guest.mapc(0, 0)
    guest.mapti(1, 1, 8200, 0)
    guest.its.write(CTLR, 0, 4)
    other = guest.its = guest.vgic.its[1]
    guest.set_up_its()
    guest.mapd(5)
    guest.mapc(0, 2)
    guest.mapti(5, 5, 8200, 0)
    assert guest.vgic.lpis[8200].references == 2
    assert guest.vgic.inject_msi(5, 5, its=1) == 1
    assert guest.vgic.acknowledge(0) == 8200
    other.reset()
    assert guest.vgic.lpis[8200].references == 1
