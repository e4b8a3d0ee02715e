# SPDX-License-Identifier: Apache-2.0
"""Bugs of gem5's GIC (src/dev/arm/gic_v3_its.cc, gic_v3_redistributor.cc) that this model could have too.

A test names the commit that fixed it; those without one are open in gem5 24.0.
"""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CTLR
from tests.hardware.bench import DISABLED, ENABLED, PROPERTIES, QUEUE_SLOTS, SPARE, Bench, furnished

LPI = FIRST_LPI + 3
EVENT = {"DeviceID": 1, "EventID": 7}


def test_g1_the_queue_wraps():
    """59370dde2e: the read pointer went beyond the end."""
    bench = Bench()
    for number in range(QUEUE_SLOTS + 5):
        bench.run("MAPC", ICID=number, RDbase=1, V=1)
    assert bench.creadr() == (5 * 32, 0)


def test_g2_and_g3_the_itt_is_indexed_by_entries_and_baser_by_its_fields(bench):
    """3126e84db7: the size of an ITE was not applied; b90fcd7357: the wrong fields of GITS_BASER were used."""
    bench.map_lpi(2, LPI)
    assert bench.memory.read_u64(bench.itt(1) + 24) == LPI << 2 | 0b11
    assert GITS_BASER.unpack(bench.read_its("BASER1"))["Type"] == 4


def test_g4_clear_gives_way_to_the_next_pending_lpi(bench):
    """a04da61ce1: the cleared LPI stayed the highest pending one."""
    bench.map_lpi(7, LPI)
    bench.map_lpi(8, LPI + 1)
    for event in (7, 8):
        bench.run("INT", DeviceID=1, EventID=event)
    bench.run("CLEAR", **EVENT)
    assert bench.gic.redistributors[0].cpu.pending() == LPI + 1


@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_g5_quiescent_when_the_queue_is_drained(architecture):
    """f8fbeae6fc: it was never set again."""
    bench = furnished(architecture=architecture, commands_per_step=1)
    bench.queue_command("SYNC")
    bench.ring()
    quiescent = [GITS_CTLR.unpack(bench.read_its("CTLR"))["Quiescent"]]
    bench.gic.step()
    assert [*quiescent, GITS_CTLR.unpack(bench.read_its("CTLR"))["Quiescent"]] == [0, 1]


def test_g6_priority_is_not_the_shifted_field(bench):
    """7ad6c8031a: bits [7:2] were taken for the priority."""
    for intid, byte in [(LPI, 0x41), (LPI + 1, 0x3D), (LPI + 2, 0xFD)]:
        bench.configure(PROPERTIES, intid, byte)
        bench.write_rd("SETLPIR", intid)
    cpu = bench.gic.redistributors[0].cpu
    assert [cpu.acknowledge() for _ in range(3)] == [LPI + 1, LPI, LPI + 2]


@pytest.mark.parametrize("caching", ["none", "retain"])
def test_g7_an_lpi_that_was_enabled_is_seen_after_inv(caching):
    """a4f30167f6: it stayed disabled."""
    bench = furnished(caching=caching)
    bench.configure(PROPERTIES, LPI, DISABLED)
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    assert bench.gic.redistributors[0].cpu.pending() == 1023
    bench.configure(PROPERTIES, LPI, ENABLED)
    bench.run("INV", **EVENT)
    assert bench.gic.redistributors[0].cpu.pending() == LPI


def test_g8_every_bit_of_the_pending_table_is_looked_at(bench):
    """bc300d3112, 2df87bc1fd, 9de1f75f16: the loop over the table ended early and toggled bits."""
    intids = [FIRST_LPI, FIRST_LPI + 63, FIRST_LPI + 64, 12345, (1 << 14) - 1]
    for intid in reversed(intids):
        bench.write_rd("SETLPIR", intid)
    cpu = bench.gic.redistributors[0].cpu
    assert [cpu.acknowledge() for _ in range(6)] == [*intids, 1023]


def test_g9_intids_wider_than_14_bits():
    """Open: the ITE has 14 bits for the INTID."""
    bench = furnished(intid_bits=24)
    bench.map_lpi(7, (1 << 24) - 1)
    assert bench.ite(7)["IntID"] == (1 << 24) - 1


def test_g10_the_first_event_id_that_is_out_of_range(bench):
    """Open: the limit is 2^Size + 1."""
    bench.run("MAPD", DeviceID=2, Size=4, ITT_addr=bench.itt(2), V=1)
    bench.map_lpi(31, LPI, device_id=2)
    assert bench.refused("MAPTI", DeviceID=2, EventID=32, pINTID=LPI) == 0x010A05


def test_g11_pintid_1023_is_no_lpi(bench):
    """Open: it is accepted."""
    assert bench.refused("MAPTI", **EVENT, pINTID=1023) == 0x010A06


@pytest.mark.parametrize("size", [4, 8])
def test_g12_a_second_write_of_baser_clears_bits(bench, size):
    """Open: the new value is ORed to the old one; a 32-bit write fails an assertion."""
    bench.enable_its(False)
    offset = register("GITS_BASER0").offset
    for value in ((1 << 64) - 1, 0):
        for part in range(0, 8, size):
            bench.gic.its[0].write(offset + part, value >> 8 * part & (1 << 8 * size) - 1, size)
    assert bench.read_its("BASER0") == GITS_BASER.pack(Type=1, Entry_Size=7)


def test_g13_movall_keeps_what_is_pending_at_the_target(bench):
    """Open: the target's bits are overwritten."""
    bench.write_rd("SETLPIR", LPI, 0)
    bench.write_rd("SETLPIR", LPI + 1, 1)
    bench.run("MOVALL", RDbase=0, RDbase2=1)
    cpu = bench.gic.redistributors[1].cpu
    assert [cpu.acknowledge(), cpu.acknowledge()] == [LPI, LPI + 1]


@pytest.mark.parametrize("opcode", [0x00, 0x02, 0x23, 0x29, 0x2A, 0xFF])
def test_g14_an_unknown_command_ends_nothing(opcode):
    """Open: a guest ends the simulation with any command of GICv4."""
    bench = furnished(architecture="3")
    bench.queue_words((opcode, 0, 0, 0))
    bench.ring()
    assert [error.number for error in bench.gic.errors] == [0x01_00FD | opcode << 8]


def test_g15_ids_beyond_the_pages_of_the_table(bench):
    """Open: only TYPER bounds DeviceID and ICID, and the entry is written behind the table."""
    assert bench.refused("MAPD", DeviceID=512, ITT_addr=bench.itt(), V=1) == 0x010801
    assert bench.refused("MAPC", ICID=512, V=1) == 0x010903


def test_g16_page_size_3_is_64_kib():
    """Open: it ends the simulation."""
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("BASER0", GITS_BASER.pack(Valid=1, Page_Size=3, Physical_Address=SPARE))
    bench.enable_its(True)
    bench.run("MAPD", DeviceID=0xFFFF // 8, ITT_addr=bench.itt(), V=1)


def test_g17_enabling_after_cwriter_starts_the_queue(bench):
    """Open: it waits for the next write of CWRITER."""
    bench.enable_its(False)
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring()
    assert bench.cte(7)["Valid"] == 0
    bench.enable_its(True)
    assert bench.cte(7)["Valid"] == 1


def test_every_bug_is_here():
    """G1 to G17; G3 is tested with G2."""
    here = {name.split("_")[1] for name in globals() if name.startswith("test_g")} | {"g3"}
    assert here == {f"g{number}" for number in range(1, 18)}
