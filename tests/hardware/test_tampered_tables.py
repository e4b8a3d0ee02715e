# SPDX-License-Identifier: Apache-2.0
"""Entries in RAM that no command has written: each is checked where it is used."""

import pytest

from gicmodel.layouts.its_tables import CTE, ITE, LEVEL1, VPE_CONFIGURATION
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER
from tests.hardware.bench import OUTSIDE, SPARE, Bench, furnished

LPI, VLPI = FIRST_LPI + 3, FIRST_LPI + 5
EVENT, VIRTUAL = {"DeviceID": 1, "EventID": 7}, {"DeviceID": 1, "EventID": 8}


def with_both(**choices: object) -> Bench:
    """Event 7 is an LPI, event 8 a vLPI of vPE 0."""
    bench = furnished(**choices)
    bench.map_lpi(7, LPI)
    bench.map_vpe()
    bench.map_vlpi(8, VLPI)
    return bench


def rewrite(bench: Bench, word: int, table: int | None = None, **fields: int) -> None:
    """Change one word of the vPE configuration entry of vPE 0."""
    address = (table or bench.vpe_table()) + 8 * word
    entry = [0, 0, 0, 0]
    entry[word] = bench.memory.read_u64(address)
    packed = VPE_CONFIGURATION.pack_words(**(VPE_CONFIGURATION.unpack(entry) | fields))
    bench.memory.write_u64(address, packed[word])


@pytest.mark.parametrize("rdbase", [4, 0xFFFF])
def test_a_collection_at_no_redistributor(rdbase):
    bench = with_both()
    bench.memory.write_u64(bench.collection_table(), CTE.pack(Valid=1, RDbase=rdbase))
    for mnemonic, number in [("INT", 0x010310), ("CLEAR", 0x010510), ("INV", 0x010C10), ("DISCARD", 0x010F10)]:
        assert bench.refused(mnemonic, **EVENT) == number
    assert bench.refused("INVALL") == 0x010D02
    assert bench.refused("MOVI", **EVENT, ICID=1) == 0x010102
    assert bench.gic.its[0].translate(1, 7) == 0x02


@pytest.mark.parametrize("intid", [0, 1023, 8191, 1 << 14, (1 << 24) - 1])
def test_an_event_whose_intid_is_no_lpi(intid):
    bench = with_both()
    for event, kind in [(7, 1), (8, 0)]:
        entry = ITE.build(Valid=1, IntType=kind, IntID=intid, Doorbell=1023)
        bench.memory.write(bench.itt(1) + event * ITE.bytes, entry)
        for mnemonic, number in [("INT", 0x010310), ("CLEAR", 0x010510), ("INV", 0x010C10)]:
            assert bench.refused(mnemonic, DeviceID=1, EventID=event) == number


def test_a_vpe_at_no_redistributor():
    bench = with_both()
    rewrite(bench, 1, RDbase=4)
    assert bench.refused("VINVALL") == 0x012D02
    assert bench.refused("INT", **VIRTUAL) == 0x010310
    assert not bench.schedule()
    with bench.unchanged():
        bench.write_rd("INVALLR", 1 << 63)


@pytest.mark.parametrize("size", [0, 12, 14, 31])
def test_a_vpt_size_that_cannot_be(size):
    """The VPT is taken to have as many bits as a VPT can have; vLPIs must fit the size as it stands."""
    bench = with_both()
    rewrite(bench, 0, VPT_size=size)
    if size < 13:
        assert bench.refused("INT", **VIRTUAL) == 0x010310
    else:
        bench.run("INT", **VIRTUAL)
        bench.schedule()
        assert bench.gic.redistributors[0].cpu.acknowledge_virtual() == VLPI
        bench.deschedule()
    bench.run("VSGI", vINTID=15, Enable=1, Group=1)
    bench.unmap_vpe()


def test_a_default_doorbell_that_is_no_lpi():
    bench = with_both()
    bench.schedule()
    bench.deschedule(doorbell=1)
    rewrite(bench, 2, Default_Doorbell=0xFFFF_FFFF)
    bench.run("INVDB")
    bench.run("INT", **VIRTUAL)
    bench.schedule()
    assert bench.gic.redistributors[0].cpu.acknowledge() == 1023


# With caching="retain" an entry is known, but where it would be written is not there any more.


def without_page(table: int, **choices: object) -> Bench:
    """Everything is cached, the doorbell is armed; then the level 2 page of a vPE table leaves RAM.

    The ITSs' table is number 0, or 1 for ITS 1; the redistributors' is the last.
    """
    bench = with_both(caching="retain", indirect=True, svpet=0, **choices)
    bench.schedule()
    bench.deschedule(doorbell=1)
    bench.run("VSGI", vINTID=3)
    bench.run("VINVALL")
    address = bench.vpe_table(table)
    bench.memory.write_u64(address, LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE))
    return bench


def test_a_doorbell_whose_entry_cannot_be_written_aborts():
    bench = without_page(1)
    bench.queue_command("INT", **VIRTUAL)
    bench.ring()
    assert [error.number for error in bench.gic.errors] == [0x0103FE]
    assert bench.gic.redistributors[0].cpu.acknowledge() == 1023


@pytest.mark.parametrize("fields", [{"Alloc": 1}, {"Alloc": 0}])
def test_an_unmap_whose_entry_cannot_be_written_aborts(fields):
    assert without_page(0).refused("VMAPP", **fields) == 0x0129FE


def test_a_move_whose_entry_cannot_be_written_aborts():
    assert without_page(0).refused("VMOVP", RDbase=0) == 0x0122FE


def test_a_move_out_of_a_group_whose_entry_cannot_be_cleared_aborts():
    bench = without_page(1, redistributors=17, common_lpi_aff=3)
    bench.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Valid=1, Physical_Address=SPARE), 16)
    assert bench.refused("VMOVP", RDbase=16) == 0x0122FE


def test_a_move_out_of_a_group_whose_entry_cannot_be_read_aborts():
    bench = without_page(1, redistributors=17, common_lpi_aff=3)
    bench.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Valid=1, Physical_Address=SPARE), 16)
    bench.write_rd("VPROPBASER", bench.read_rd("VPROPBASER"))
    assert bench.refused("VMOVP", RDbase=16) == 0x0122FE


@pytest.mark.parametrize("table", [1, 2])
def test_a_further_map_whose_entry_cannot_be_written_or_read_aborts(table):
    bench = without_page(table, its=2)
    if table == 2:
        bench.write_rd("VPROPBASER", bench.read_rd("VPROPBASER"))
    fields = {"V": 1, "VPT_size": 13, "VPT_addr": bench.vpt(), "Default_Doorbell": 1023}
    assert bench.refused("VMAPP", its=1, **fields) == 0x0129FE


def test_a_further_map_whose_shared_entry_cannot_be_written_aborts():
    """ITS 1 has cached the entry when it found that the vPE is not its own."""
    bench = with_both(caching="retain", indirect=True, its=2)
    assert bench.refused("VINVALL", its=1) == 0x012D14
    bench.run("VSGI", vINTID=3)
    bench.memory.write_u64(bench.vpe_table(), LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE))
    fields = {"V": 1, "VPT_size": 13, "VPT_addr": bench.vpt(), "Default_Doorbell": 1023}
    assert bench.refused("VMAPP", its=1, **fields) == 0x0129FE
