# SPDX-License-Identifier: Apache-2.0
"""Bugs of the virtual ITSs of Xen (X), VirtualBox (V), L4Re uvmm, hvisor and axvisor that this model could have too.

A test names the commit that fixed it, the function, or the issue; those without one are open.
"""

import pytest

from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER
from tests.hardware.bench import DEVICE_TABLES, OUTSIDE, SPARE, Bench, furnished

LPI = FIRST_LPI + 3
EVENT = {"DeviceID": 1, "EventID": 7}


def taken(bench: Bench) -> list[int]:
    return [redistributor.cpu.acknowledge() for redistributor in bench.gic.redistributors]


# Xen (xen/arch/arm/vgic-v3-its.c).


def test_x1_every_field_of_baser_is_kept(bench):
    """31309b538f: sanitising the cacheability cleared the whole register."""
    bench.enable_its(False)
    fields = {"Valid": 1, "Indirect": 1, "InnerCache": 7, "OuterCache": 1, "Shareability": 1, "Page_Size": 2, "Size": 3}
    value = GITS_BASER.pack(Physical_Address=SPARE, **fields)
    bench.write_its("BASER0", value)
    assert bench.read_its("BASER0") == value | GITS_BASER.pack(Type=1, Entry_Size=7)


@pytest.mark.parametrize("order", [(0, 4), (4, 0)])
def test_x4_pendbaser_by_32_bit_writes_keeps_ptz(order):
    """a43e2b02df: PTZ, which is write-only, was lost."""
    bench = Bench()
    bench.enable_lpis(False)
    bench.set_bit(bench.pending_table(), LPI)
    value = GICR_PENDBASER.pack(PTZ=1, Physical_Address=bench.pending_table())
    for part in order:
        bench.gic.redistributors[0].write(register("GICR_PENDBASER").offset + part, value >> 8 * part, 4)
    bench.enable_lpis(True)
    assert taken(bench)[0] == 1023


def test_x5_a_64_bit_write_of_a_read_only_register_is_ignored(bench):
    """1f75bd375d: the check was inverted, and the guest was stopped."""
    before = bench.read_its("TYPER"), bench.read_rd("TYPER")
    bench.write_its("TYPER", 0)
    bench.write_rd("TYPER", 0)
    assert (bench.read_its("TYPER"), bench.read_rd("TYPER")) == before


def test_x7_invall_of_an_unmapped_collection(bench):
    """Open: there is no vCPU, and its pointer is followed."""
    assert bench.refused("INVALL", ICID=9) == 0x010D09


@pytest.mark.parametrize("address", [OUTSIDE, 0, (1 << 52) - 0x100])
def test_x8_an_itt_that_is_no_ram(bench, address):
    """Open: the check compares after masking and is never true."""
    bench.run("MAPD", DeviceID=2, ITT_addr=address, V=1)
    offset = bench.queue_command("MAPTI", DeviceID=2, pINTID=LPI)
    with bench.unchanged():
        bench.ring()
    assert bench.creadr() == (offset, 1)


def test_x9_zeroed_tables_map_nothing(bench):
    """Open: a zero DTE is an ITT at address 0, a zero collection is vCPU 0."""
    assert bench.refused("MAPTI", DeviceID=0, pINTID=LPI) == 0x010A04
    assert bench.refused("INVALL", ICID=2) == 0x010D09
    assert bench.refused("INT", DeviceID=1, EventID=0) == 0x010307
    assert bench.refused("VSYNC", vPEID=0) == 0x012514


def test_x10_and_x11_mapc_v0_checks_no_rdbase_and_a_second_mapti_counts(bench):
    """Open: a collection with a bad RDbase cannot be unmapped; the second MAPTI of an event is ignored."""
    bench.map_lpi(7, LPI, icid=0)
    bench.map_lpi(7, LPI + 1, icid=1)
    bench.run("INT", **EVENT)
    assert taken(bench)[:2] == [1023, LPI + 1]
    bench.run("MAPC", ICID=1, RDbase=0xF_FFFF_FFFF)
    assert bench.cte(1)["Valid"] == 0


# VirtualBox (src/VBox/VMM/VMMAll/GITSAll.cpp).


def test_v1_a_disabled_its_executes_nothing(bench):
    """gitsCmdQueueCanProcessRequests: Enabled is looked up in GITS_TYPER, where bit 0 is always 1."""
    bench.enable_its(False)
    bench.queue_command("MAPC", ICID=7, V=1)
    with bench.unchanged():
        bench.ring()


def test_v2_neighbours_share_a_level_2_page():
    """gitsR3DteGetAddr: the level 1 index is the remainder, not the quotient."""
    bench = furnished(indirect=True)
    bench.map_device(2)
    assert bench.memory.read_u64(DEVICE_TABLES + 0x1000 + 2 * 8) & 1 == 1


def test_v3_a_pintid_is_not_cut_to_16_bits(bench):
    """0x1_2000 became 8192 and was accepted."""
    assert bench.refused("MAPTI", **EVENT, pINTID=0x1_2000) == 0x010A06
    wide = furnished(intid_bits=17)
    wide.map_lpi(7, 0x1_2000)
    assert wide.ite(7)["IntID"] == 0x1_2000


@pytest.mark.parametrize("how", ["MAPC", "MAPTI", "MAPD"])
def test_v4_a_mapping_after_a_delivery_is_in_force(how):
    """gitsLpiCache: the old one was used until an INV, INVALL or MAPD V=0."""
    bench = furnished(caching="retain")
    bench.map_lpi(7, LPI)
    bench.gic.its[0].translate(1, 7)
    assert taken(bench)[:2] == [LPI, 1023]
    if how == "MAPC":
        bench.run("MAPC", ICID=0, RDbase=1, V=1)
    elif how == "MAPTI":
        bench.map_lpi(7, LPI, icid=1)
    else:
        bench.run("MAPD", DeviceID=1, Size=4, ITT_addr=bench.itt(3), V=1)
        bench.map_lpi(7, LPI, icid=1, device_id=1)
    bench.gic.its[0].translate(1, 7)
    assert taken(bench)[:2] == [1023, LPI]


def test_v5_no_command_ends_the_machine(bench):
    """INT, CLEAR, MOVI, MOVALL and all of GICv4 were release assertions."""
    numbers = {"INT": 0x010307, "CLEAR": 0x010507, "MOVI": 0x010107, "VMAPTI": 0x012A13, "VMOVI": 0x012107}
    for mnemonic, number in numbers.items():
        assert bench.refused(mnemonic, **EVENT) == number
    bench.run("MOVALL", RDbase=0, RDbase2=1)


def test_v6_creadr_does_not_run_ahead_of_the_commands(bench):
    """It was advanced for the whole batch before the first command."""
    bench.queue_command("MAPC", ICID=7, V=1)
    bad = bench.queue_command("MAPC", ICID=8, RDbase=99, V=1)
    bench.queue_command("MAPC", ICID=9, V=1)
    bench.ring()
    assert bench.creadr() == (bad, 1)
    assert [bench.cte(icid)["Valid"] for icid in (7, 8, 9)] == [1, 0, 0]
    slow = furnished(commands_per_step=1)
    start = slow.creadr()[0]
    for icid in (7, 8):
        slow.queue_command("MAPC", ICID=icid, V=1)
    slow.ring()
    slow.gic.step()
    assert (slow.creadr()[0] - start, slow.cte(7)["Valid"], slow.cte(8)["Valid"]) == (COMMAND_BYTES, 1, 0)


def test_v7_cbaser_clears_creadr(bench):
    """It did not."""
    assert bench.creadr() != (0, 0)
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=bench.queue()))
    assert bench.creadr() == (0, 0)


def test_v8_a_processor_may_write_translater(bench):
    """A release assertion. Here its DeviceID is 0."""
    bench.map_device(0)
    bench.map_lpi(7, LPI, device_id=0)
    bench.gic.its[0].write(register("GITS_TRANSLATER").offset, 7, 4)
    assert taken(bench)[0] == LPI


def test_v9_a_device_id_is_not_cut_to_16_bits():
    """Bit 16 alone was checked, then 16 bits were used."""
    bench = furnished(device_id_bits=20)
    bench.map_lpi(7, LPI)
    for device_id in (0x1_0001, 0x2_0001, 0x8000_0001):
        assert bench.refused("INT", DeviceID=device_id, EventID=7) == 0x010301
        assert bench.gic.its[0].translate(device_id, 7) == 0x01


def test_v10_mapc_with_a_bad_rdbase_does_not_unmap(bench):
    """The collection was silently unmapped."""
    bench.refused("MAPC", ICID=1, RDbase=4, V=1)
    assert bench.cte(1) == {"Valid": 1, "RDbase": 1}


def test_v11_the_limit_of_event_ids_comes_from_the_size(bench):
    """It came from the bits of the ITT's address."""
    for address in (bench.itt(2), bench.itt(3) + 0x100):
        bench.run("MAPD", DeviceID=2, Size=2, ITT_addr=address, V=1)
        bench.map_lpi(7, LPI, device_id=2)
        assert bench.refused("MAPTI", DeviceID=2, EventID=8, pINTID=LPI) == 0x010A05


# uvmm, hvisor, axvisor.


def test_uvmm_b235219_int_that_fails_is_an_error_of_the_command(bench):
    """The failure of INT ended the queue; further, DeviceIDs had 9 bits and the ITS could not be disabled."""
    assert bench.refused("INT", **EVENT) == 0x010307
    bench.run("SYNC")
    bench.enable_its(False)
    assert bench.read_its("CTLR") & 1 == 0


def test_hvisor_1d576a1_icids_of_two_itss_do_not_meet():
    """The ICID was replaced by one that all guests shared."""
    bench = furnished(its=2)
    bench.run("MAPC", its=1, ICID=0, RDbase=3, V=1)
    bench.map_lpi(7, LPI)
    bench.map_lpi(7, LPI, device_id=2, its=1)
    bench.run("INT", **EVENT)
    bench.run("INT", its=1, DeviceID=2, EventID=7)
    assert taken(bench) == [LPI, 1023, 1023, LPI]


def test_hvisor_4e96833_cbaser_may_be_written_before_or_after_enabling_lpis():
    """The queue that was executed was not the one that CBASER named."""
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=SPARE))
    bench.enable_its(True)
    bench.memory.write(SPARE, bytes([0x09]) + bytes(15) + (1 << 63 | 7).to_bytes(8, "little"))
    bench.write_its("CWRITER", COMMAND_BYTES)
    assert bench.cte(7)["Valid"] == 1


def test_tgoskits_1734_cbaser_is_an_address_of_the_guest(bench):
    """A guest's GITS_CBASER was used as an address of the host: here every access is within the window."""
    bench.enable_its(False)
    for address in (0, 0x1000_0000, OUTSIDE, (1 << 52) - 0x1_0000):
        bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=address))
        bench.enable_its(True)
        with bench.unchanged():
            bench.write_its("CWRITER", COMMAND_BYTES)
        assert bench.creadr() == (0, 1)
        bench.enable_its(False)


@pytest.mark.parametrize("offset", [0x0FFC, 0xFFFC, 0x1_0000, 0x1_0044, 0x2_0000, 0x3_0000, 1 << 40])
def test_tgoskits_338_any_offset_of_the_frames_can_be_accessed(bench, offset):
    """Part of the region was not mapped, and an access ended the hypervisor."""
    for face in (bench.gic.its[0], bench.gic.redistributors[0]):
        for size in (1, 2, 4, 8):
            face.write(offset, (1 << 64) - 1, size)
            assert face.read(offset, size) in (0, 0xB1)


CANNOT_APPLY = {
    "x2": "a1f8b32af0: RAM is coherent, there is nothing that software could forget to clean",
    "x3": "49e0ce5b34, 98bea5e531: software that compares memory attributes; the model stores them",
    "x6": "9b3a73a028, 751ec850ec: quirks of host ITSs and when a host allocates its tables",
    "hvisor 655e58a": "a translation of virtual ICIDs, which a model of the hardware does not do",
}


def test_every_bug_is_here_or_cannot_apply():
    """X1 to X11 and V1 to V11; X11 is tested with X10."""
    here = {name.split("_")[1] for name in globals() if name.startswith(("test_x", "test_v"))} | {"x11"}
    numbered = {f"{letter}{number}" for letter in "xv" for number in range(1, 12)}
    assert here | {name for name in CANNOT_APPLY if " " not in name} == numbered
    assert not here & set(CANNOT_APPLY)
