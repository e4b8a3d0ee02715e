# SPDX-License-Identifier: Apache-2.0
"""Bugs of QEMU's GIC (hw/intc/arm_gicv3_its.c, arm_gicv3_redist.c) that this model could have too.

A test names the commit that fixed it; those without one are open in QEMU 10.1.
"""

import numpy as np
import pytest

from gicmodel.hardware import load_snapshot, save_snapshot
from gicmodel.layouts.its_tables import ITE, LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER
from gicmodel.layouts.registers.redistributor import (
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER_V40,
)
from tests.hardware.bench import (
    COLLECTION_TABLES,
    DEVICE_TABLES,
    DOORBELL,
    OUTSIDE,
    PROPERTIES,
    QUEUE_SLOTS,
    SPARE,
    UNIT,
    Bench,
    furnished,
)

LPI = FIRST_LPI + 3
EVENT = {"DeviceID": 1, "EventID": 7}


def with_device_table(bench: Bench, **fields: int) -> None:
    """The device table is at SPARE."""
    bench.enable_its(False)
    bench.write_its("BASER0", GITS_BASER.pack(**({"Valid": 1, "Physical_Address": SPARE} | fields)))
    bench.enable_its(True)


def test_q1_rdbase_equal_to_the_number_of_redistributors(bench):
    """a120157b24: off by one in MAPC and MOVALL."""
    bench.run("MAPC", ICID=2, RDbase=3, V=1)
    bench.run("MOVALL", RDbase=3, RDbase2=3)
    assert bench.refused("MAPC", ICID=2, RDbase=4, V=1) == 0x010902
    assert bench.refused("MOVALL", RDbase=3, RDbase2=4) == 0x010E01
    assert bench.refused("MOVALL", RDbase=4, RDbase2=3) == 0x010E01


def test_q2_ids_equal_to_the_limit(bench):
    """80dcd37feb: off by one for DeviceID, ICID and the index of a command."""
    bench.run("MAPD", DeviceID=511, ITT_addr=bench.itt(), V=1)
    bench.run("MAPC", ICID=511, V=1)
    assert bench.refused("MAPD", DeviceID=512, ITT_addr=bench.itt(), V=1) == 0x010801
    assert bench.refused("MAPC", ICID=512, V=1) == 0x010903
    for _ in range(2 * QUEUE_SLOTS):
        bench.run("SYNC")


@pytest.mark.parametrize("size", [0, 4, 13])
def test_q3_event_id_near_the_limit(bench, size):
    """8f809f6992: the bound of EventID was computed wrongly."""
    bench.run("MAPD", DeviceID=2, Size=size, ITT_addr=bench.itt(), V=1)
    bench.map_lpi((2 << size) - 1, LPI, device_id=2)
    assert bench.refused("MAPTI", DeviceID=2, EventID=2 << size, pINTID=LPI) == 0x010A05


def test_q4_entries_are_as_far_apart_as_they_are_long(bench):
    """9ae8543190: sizes were used as they are coded, minus one."""
    bench.run("MAPD", DeviceID=2, Size=4, ITT_addr=bench.itt(2), V=1)
    bench.map_lpi(0, LPI, icid=1, device_id=2)
    bench.map_lpi(1, LPI + 1, icid=1, device_id=2)
    assert [bench.memory.read_u64(DEVICE_TABLES + 8 * n) & 1 for n in range(4)] == [0, 1, 1, 0]
    assert [bench.memory.read_u64(COLLECTION_TABLES + 8 * n) & 1 for n in range(3)] == [1, 1, 0]
    assert ITE.decode(ITE.words_of(bench.memory.read(bench.itt(2), 36)))["IntID"].tolist() == [LPI, LPI + 1, 0]


def test_q5_the_doorbell_is_the_third_word_of_an_ite():
    """a1ce993da6: the high word went to +4, over the INTID's."""
    bench = furnished(architecture="4.0")
    bench.map_vlpi(7, LPI, vpe_id=3, Doorbell=DOORBELL)
    words = np.frombuffer(bench.memory.read(bench.itt(1) + 7 * 12, 16), "<u4").tolist()
    assert words == [LPI << 2 | 1, 3 << 16, DOORBELL, 0]


def test_q6_a_table_smaller_than_typer_allows(bench):
    """8b8bb0146b: only the width of the ID was checked, and the table's end was passed."""
    assert bench.config.device_id_bits == 16
    with bench.unchanged():
        bench.gic.its[0].translate(512, 0)
    assert bench.refused("MAPD", DeviceID=0xFFFF, ITT_addr=bench.itt(), V=1) == 0x010801


def test_q7_a_write_to_a_baser_that_is_not_there(bench):
    """0ffe88e691: an assertion that a guest could trigger."""
    bench.enable_its(False)
    for number in range(3, 8):
        bench.write_its(f"BASER{number}", (1 << 64) - 1)
        assert bench.read_its(f"BASER{number}") == 0


def test_q8_an_invalid_table_before_a_valid_one():
    """62df780e3d: with BASER0 invalid the tables behind it were not set up."""
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("BASER0", 0)
    bench.enable_its(True)
    bench.run("MAPC", ICID=1, RDbase=2, V=1)
    assert bench.cte(1)["Valid"] == 1


def test_q9_cbaser_after_cwriter():
    """0cc38f359c: CBASER cleared CWRITER."""
    bench = Bench(boot=False)
    bench.write_its("CWRITER", 0x40)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=bench.queue()))
    assert (bench.read_its("CWRITER"), bench.read_its("CREADR")) == (0x40, 0)


def test_q10_and_q11_disable_and_enable(bench):
    """1e794a3be1: enabling reset CREADR and replayed commands; 2f459cd1a8: Enabled could not be cleared."""
    bench.map_lpi(7, LPI)
    bench.run("MAPD", DeviceID=1)
    before = bench.creadr()
    bench.enable_its(False)
    assert bench.read_its("CTLR") & 1 == 0
    with bench.unchanged():
        bench.enable_its(True)
    assert bench.creadr() == before
    assert bench.dte(1)["Valid"] == 0


def test_q12_a_memory_error_of_mapti_stalls(bench):
    """7d62b2dcdb: the result was kept in the wrong variable, and the stall was lost."""
    bench.run("MAPD", DeviceID=2, Size=4, ITT_addr=OUTSIDE, V=1)
    offset = bench.queue_command("MAPTI", DeviceID=2, pINTID=LPI)
    bench.ring()
    assert bench.creadr() == (offset, 1)


def test_q13_a_command_that_cannot_be_read_is_not_executed():
    """f0b4b2a28c: what happened to be in the variable was."""
    bench = furnished()
    bench.run("MAPC", ICID=2, V=1)
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=OUTSIDE))
    bench.enable_its(True)
    with bench.unchanged():
        bench.write_its("CWRITER", 0x40)
    assert bench.creadr() == (0, 1)
    assert bench.gic.errors[0].words == (0, 0, 0, 0)


@pytest.mark.parametrize("mnemonic", ["MAPD", "MAPTI", "MAPI", "MOVI", "INT", "CLEAR", "DISCARD", "INV"])
def test_q14_the_range_is_checked_before_the_table_is_read(bench, mnemonic):
    """b13148d918: the table was read at the place of a DeviceID that is out of range."""
    with_device_table(bench, Physical_Address=OUTSIDE)
    assert bench.refused(mnemonic, DeviceID=512) & 0xFF == 0x01


def test_q15_icid_beyond_the_table_and_intids_that_are_no_lpis(bench):
    """58b88779f0, b87fab1c8e, 3330241407: all were accepted."""
    assert bench.refused("MAPTI", **EVENT, pINTID=LPI, ICID=512) == 0x010A03
    assert bench.refused("MAPI", **EVENT) == 0x010B06
    assert bench.refused("MAPTI", **EVENT, pINTID=1023) == 0x010A06


def test_q16_mapc_v0_with_any_rdbase(bench):
    """84d43d2e82: RDbase was checked, and the collection could not be unmapped."""
    bench.run("MAPC", ICID=1, RDbase=0xF_FFFF_FFFF)
    assert bench.cte(1)["Valid"] == 0


def test_q17_the_next_lpi_after_an_acknowledge(bench):
    """101f27f3c8: the one just taken was still the highest pending."""
    for intid in (LPI, LPI + 1):
        bench.write_rd("SETLPIR", intid)
    cpu = bench.gic.redistributors[0].cpu
    assert [cpu.acknowledge(), cpu.pending(), cpu.acknowledge(), cpu.pending()] == [LPI, LPI + 1, LPI + 1, 1023]


def test_q19_inv_checks_its_event_and_errors_are_of_two_kinds():
    """593a7cc2d3, a686e85d2b: a parameter error stalled like a memory error; INV was an INVALL without checks."""
    bench = furnished(command_errors="ignore")
    assert bench.refused("INV", DeviceID=1, EventID=7) == 0x010C07
    bench.run("MAPD", DeviceID=2, ITT_addr=OUTSIDE, V=1)
    offset = bench.queue_command("INV", DeviceID=2)
    bench.ring()
    assert bench.creadr() == (offset, 1)


def test_q21_several_itss():
    """e5ff041f62: a second ITS was initialised with the state of the first."""
    bench = furnished(its=2, svpet=0)
    bench.run("MAPC", its=1, ICID=5, RDbase=3, V=1)
    assert (bench.cte(5, its=0)["Valid"], bench.cte(5, its=1)["Valid"]) == (0, 1)
    assert bench.gic.its[0].translate(2, 0) == bench.gic.its[1].translate(1, 0) != 0


@pytest.mark.parametrize("mnemonic", ["INT", "MAPTI"])
def test_q22_an_entry_whose_level_2_page_is_missing(mnemonic):
    """0df11497c2, 9678b9c505: an uninitialised entry was used."""
    bench = furnished(indirect=True)
    bench.memory.write_u64(DEVICE_TABLES, 0)
    assert bench.refused(mnemonic, **EVENT, **({"pINTID": LPI} if mnemonic == "MAPTI" else {})) & 0xFF == 0x04
    bench.memory.write_u64(bench.vpe_table(), 0)
    assert bench.refused("VINVALL") == 0x012D14


def test_q24_pending_lpis_survive_a_restore_although_ptz_was_set(tmp_path):
    """618bacabd3: the restored GICR_PENDBASER had PTZ set, and pending LPIs were lost."""
    bench = Bench()
    bench.enable_lpis(False)
    bench.write_rd("PENDBASER", GICR_PENDBASER.pack(PTZ=1, Physical_Address=bench.pending_table()))
    bench.enable_lpis(True)
    bench.write_rd("SETLPIR", LPI)
    save_snapshot(bench.gic, tmp_path / "machine")
    assert load_snapshot(tmp_path / "machine").redistributors[0].cpu.acknowledge() == LPI


@pytest.mark.parametrize("pages", [63, 64, 65, 128, 256])
def test_q27_two_levels_of_64_kib_pages_by_the_64(pages):
    """Open: the number of entries overflows 32 bits, and every ID is out of range."""
    bench = Bench()
    with_device_table(bench, Page_Size=2, Indirect=1, Size=pages - 1)
    bench.memory.write_u64(SPARE, LEVEL1.pack(Valid=1, Physical_Address=SPARE + UNIT))
    bench.run("MAPD", DeviceID=8191, ITT_addr=bench.itt(), V=1)


def test_q28_pending_last_of_a_vpe_that_was_resident_over_a_migration(tmp_path):
    """Open: the highest pending vLPI is not computed anew, and PendingLast is 0."""
    bench = furnished()
    bench.map_vpe()
    bench.map_vlpi(7, LPI)
    bench.schedule()
    bench.run("INT", **EVENT)
    save_snapshot(bench.gic, tmp_path / "machine")
    bench.gic = load_snapshot(tmp_path / "machine")
    assert bench.deschedule() == 1


def test_q29_movi_of_an_intid_beyond_the_pending_table():
    """Open: the bound compares bytes with bits, and memory behind the table is changed."""
    bench = furnished(intid_bits=16, pending_writeback="immediate")
    for rd in (0, 1):
        bench.enable_lpis(False, rd)
        bench.write_rd("PROPBASER", GICR_PROPBASER.pack(Physical_Address=PROPERTIES, IDbits=13), rd)
        bench.enable_lpis(True, rd)
    bench.map_lpi(7, 60_000)
    bench.set_bit(bench.pending_table(0), 60_000)
    bench.run("MOVI", **EVENT, ICID=1)
    assert [bench.bit(bench.pending_table(rd), 60_000) for rd in (0, 1)] == [1, 0]


def test_q30_int_with_an_unreadable_collection_page_stalls():
    """Open: the result of the lookup is dropped; DISCARD of an event with an unmapped collection leaves the ITE."""
    bench = furnished(indirect=True)
    bench.map_lpi(7, LPI)
    bench.run("MAPC", ICID=0)
    bench.run("DISCARD", **EVENT)
    assert bench.ite(7)["Valid"] == 0
    bench.map_lpi(7, LPI)
    bench.memory.write_u64(COLLECTION_TABLES, LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE))
    offset = bench.queue_command("INT", **EVENT)
    bench.ring()
    assert bench.creadr() == (offset, 1)


def test_q31_vpropbaser_idbits_wider_than_the_implementation():
    """Open: 30 bits take seconds to scan. GICD_TYPER.IDbits applies (DDI0601 GICR_PROPBASER)."""
    bench = furnished(architecture="4.0")
    bench.map_vpe(VPT_addr=bench.memory.end - UNIT)
    bench.map_vlpi(7, LPI)
    bench.run("INT", **EVENT)
    bench.write_rd("VPROPBASER", GICR_VPROPBASER_V40.pack(Physical_Address=bench.vconf(), IDbits=31))
    bench.write_rd("VPENDBASER", GICR_VPENDBASER_V40.pack(Valid=1, Physical_Address=bench.memory.end - UNIT))
    assert bench.deschedule() == 1, "a wider VPT would end outside RAM"


def test_q32_reserved_bits_and_pa_51_of_a_level_1_entry():
    """Open: bit 51 is dropped and bits [15:0] are used as address."""
    bench = furnished(indirect=True)
    bench.memory.write_u64(DEVICE_TABLES, bench.memory.read_u64(DEVICE_TABLES) | 0xFFF)
    bench.run("MAPD", DeviceID=3, ITT_addr=bench.itt(), V=1)
    assert bench.memory.read_u64(DEVICE_TABLES + 0x1000 + 3 * 8) & 1 == 1
    bench.memory.write_u64(DEVICE_TABLES, bench.memory.read_u64(DEVICE_TABLES) | 1 << 51)
    assert bench.refused("MAPD", DeviceID=3) == 0x0108FE


def test_q33_unmapping_with_a_bad_size():
    """Open: MAPD and VMAPP with V=0 check a size that they do not use, and the mapping survives."""
    for architecture in ("4.0", "4.1"):
        bench = furnished(architecture=architecture)
        bench.map_vpe()
        bench.run("MAPD", DeviceID=1, Size=31)
        bench.unmap_vpe(VPT_size=255)
        assert (bench.dte(1)["Valid"], bench.vpe()["Valid"]) == (0, 0)


CANNOT_APPLY = {
    "q18": "703090770c: the CPU interface has no group enable for physical LPIs, ICC_IGRPEN1_EL1 is always 1",
    "q20": "33a0c404fb: a snapshot has one version, and any other is refused (tests/hardware/test_snapshot.py)",
    "q23": "c297a1b8ce: RAM is declared little-endian whatever the host; there is no MSI structure of the kernel",
    "q25": "2024, ICH_APR bit 31: there are no active priorities, LPIs have none",
    "q26": "d6afe18b72, 9084479e3b: there is no ACPI, and no restart that keeps RAM alone",
}


def test_every_bug_is_here_or_cannot_apply():
    """Q1 to Q33; Q11 is tested with Q10."""
    here = {name.split("_")[1] for name in globals() if name.startswith("test_q")} | {"q11"}
    assert here | set(CANNOT_APPLY) == {f"q{number}" for number in range(1, 34)}
    assert not here & set(CANNOT_APPLY)
