# SPDX-License-Identifier: Apache-2.0
"""The GICv4 commands about vPEs: VMAPP in both formats, VMOVP, VSYNC, VINVALL, INVDB, over one ITS and several."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER
from tests.hardware.bench import DISABLED, DOORBELL, INTID_BITS, SPARE, VPE_TABLES, Bench, furnished

VLPI = FIRST_LPI + 5
V4 = pytest.mark.parametrize("architecture", ["4.0", "4.1"])


def entry(bench: Bench, vpe_id: int = 0, its: int = 0) -> list[int]:
    """The four words of a GICv4.1 vPE configuration entry in RAM."""
    return [bench.memory.read_u64(bench.vpe_table(its) + 32 * vpe_id + 8 * word) for word in range(4)]


def pending(bench: Bench, rd: int = 0, vpe_id: int = 0) -> int:
    """The virtual interrupt that a vPE would take if it ran on a redistributor."""
    bench.schedule(vpe_id, rd)
    best = bench.gic.redistributors[rd].cpu.pending_virtual()
    bench.deschedule(rd, pending_last=1)
    return best


# VMAPP.


def test_vmapp_v40_writes_and_zeroes_the_vte():
    bench = furnished(architecture="4.0")
    bench.map_vpe(0x11, 2)
    where = VPE_TABLES + 0x11 * 8
    assert bench.memory.read_u64(where) == 2 << 42 | bench.vpt(0x11) >> 16 << 6 | (INTID_BITS - 1) << 1 | 1
    bench.unmap_vpe(0x11)
    assert bench.memory.read_u64(where) == 0


def test_vmapp_v40_of_a_mapped_vpe_replaces_it():
    bench = furnished(architecture="4.0")
    bench.map_vpe(0, 0)
    bench.map_vpe(0, 3, VPT_addr=bench.vpt(1))
    assert (bench.vpe()["RDbase"], bench.vpe()["VPT_addr"]) == (3, bench.vpt(1))


def test_vmapp_writes_and_zeroes_the_vpe_configuration_entry(bench):
    bench.map_vpe(0x3, 2)
    assert entry(bench, 3) == [bench.vpt(3) | (INTID_BITS - 1) << 1 | 1, bench.vconf(3) | 2, DOORBELL + 3, 1]
    bench.unmap_vpe(3)
    assert entry(bench, 3) == [0, 0, 0, 0]


@V4
def test_unmapping_a_vpe_that_is_not_mapped_succeeds(architecture):
    bench = furnished(architecture=architecture)
    bench.unmap_vpe(3)
    bench.run("VMAPP", vPEID=3, VPT_size=99, RDbase=99)
    assert bench.vpe(3)["Valid"] == 0


def test_ptz_with_alloc_starts_with_nothing_pending(bench):
    """PTZ = 1 promises that the VPT is zero; hardware need not look (IHI0069 VMAPP)."""
    bench.set_bit(bench.vpt(), VLPI)
    bench.map_vpe(PTZ=1)
    assert pending(bench) == 1023
    bench.unmap_vpe()
    bench.map_vpe(PTZ=0)
    assert pending(bench) == VLPI


def test_ptz_counts_for_a_vpt_that_is_held_too(bench):
    """Another vPE has it; what was pending is written back before."""
    bench.map_vpe()
    bench.map_vlpi(7, VLPI)
    bench.run("INT", DeviceID=1, EventID=7)
    bench.map_vpe(1, VPT_addr=bench.vpt(), PTZ=1)
    assert pending(bench, vpe_id=1) == 1023
    assert bench.bit(bench.vpt(), VLPI) == 1


def test_ptz_without_alloc_is_ignored():
    bench = furnished(its=2)
    bench.set_bit(bench.vpt(), VLPI)
    bench.map_vpe()
    bench.map_vpe(its=1, Alloc=0, PTZ=1)
    assert pending(bench) == VLPI


@V4
def test_vmapp_errors(architecture):
    bench = furnished(architecture=architecture)
    limit = 128 if architecture == "4.1" else 512
    valid = {"V": 1, "VPT_addr": bench.vpt(), "VPT_size": 13}
    if architecture == "4.1":
        valid |= {"Alloc": 1, "Default_Doorbell": DOORBELL}
    errors = [({"VPT_size": size}, 0x12) for size in (14, 31, 32, 255)]
    errors += [({"RDbase": rdbase}, 0x02) for rdbase in (4, 0x1_0000, 0xF_FFFF_FFFF)]
    errors += [({"vPEID": limit}, 0x11), ({"V": 0, "vPEID": limit}, 0x11), ({"RDbase": 4, "vPEID": limit}, 0x02)]
    if architecture == "4.1":
        errors += [({"VPT_size": 12}, 0x12), ({"VPT_size": 0}, 0x12)]
        errors += [({"Default_Doorbell": intid}, 0x06) for intid in (0, 1022, 8191, 1 << INTID_BITS, 1 << 31)]
        errors += [({"Alloc": 0}, 0x14)]
    for fields, reason in errors:
        assert hex(bench.refused("VMAPP", **(valid | fields))) == hex(0x012900 | reason), fields
    bench.run("VMAPP", **valid)


def test_no_default_doorbell_is_1023(bench):
    bench.map_vpe(Default_Doorbell=1023)
    assert bench.vpe()["Default_Doorbell"] == 1023


def test_vmapp_of_a_mapped_or_resident_vpe_is_an_error(bench):
    bench.map_vpe()
    again = {"V": 1, "Alloc": 1, "VPT_addr": bench.vpt(), "VPT_size": 13, "Default_Doorbell": 1023}
    assert bench.refused("VMAPP", **again) == 0x012918
    bench.schedule()
    assert bench.refused("VMAPP", Alloc=1) == 0x012919
    bench.deschedule()
    bench.unmap_vpe()


@V4
def test_a_level_2_page_that_is_missing_swallows_the_mapping(architecture):
    """IHI0069: without the level 1 entry it is UNKNOWN whether the command succeeds or is ignored."""
    bench = furnished(architecture=architecture, indirect=True)
    bench.memory.write_u64(bench.vpe_table(), 0)
    bench.map_vpe()
    assert bench.memory.read(bench.vpe_table(), 0x3000) == bytes(8) + bench.memory.read(bench.vpe_table() + 8, 0x2FF8)
    assert bench.refused("VINVALL") == 0x012D14


# VMOVP, VSYNC, VINVALL, INVDB.


@V4
def test_vmovp_changes_the_redistributor_alone(architecture):
    bench = furnished(architecture=architecture)
    bench.map_vpe()
    before = bench.vpe()
    bench.run("VMOVP", RDbase=3, Default_Doorbell=DOORBELL + 7)
    assert bench.vpe() == before | {"RDbase": 3}


def test_vmovp_with_db_replaces_the_default_doorbell(bench):
    bench.map_vpe()
    bench.run("VMOVP", RDbase=3, DB=1, Default_Doorbell=1023)
    assert (bench.vpe()["RDbase"], bench.vpe()["Default_Doorbell"]) == (3, 1023)


@V4
def test_a_moved_vpe_keeps_its_pending_vlpis(architecture):
    bench = furnished(architecture=architecture)
    bench.map_vpe()
    bench.map_vlpi(7, VLPI)
    bench.run("INT", DeviceID=1, EventID=7)
    bench.run("VMOVP", RDbase=3)
    assert pending(bench, 3) == VLPI


@V4
def test_errors_of_commands_that_name_a_vpe(architecture):
    bench = furnished(architecture=architecture)
    limit = 128 if architecture == "4.1" else 512
    for mnemonic, opcode in [("VMOVP", 0x22), ("VINVALL", 0x2D)]:
        assert bench.refused(mnemonic, vPEID=limit) == 0x01_0011 | opcode << 8
        assert bench.refused(mnemonic, vPEID=3) == 0x01_0014 | opcode << 8
    bench.map_vpe()
    assert bench.refused("VMOVP", RDbase=4) == 0x012202
    assert bench.refused("VMOVP", RDbase=4, vPEID=limit) == 0x012202
    assert bench.refused("VSYNC", vPEID=limit) == 0x012511


def test_errors_of_commands_that_gicv41_adds(bench):
    for mnemonic, opcode in [("VSGI", 0x23), ("INVDB", 0x2E)]:
        assert bench.refused(mnemonic, vPEID=128) == 0x01_0011 | opcode << 8
        assert bench.refused(mnemonic, vPEID=3) == 0x01_0014 | opcode << 8
    bench.map_vpe()
    assert bench.refused("VMOVP", DB=1, Default_Doorbell=0) == 0x012206


def test_vsync_needs_a_mapped_vpe_in_gicv41_only(bench):
    """GICv4.0: VMAPP V=0 needs a VSYNC after it; GICv4.1: that VSYNC is an error (Linux 80e9963fb3b5)."""
    for face, number in [(bench, 0x012514), (furnished(architecture="4.0"), None)]:
        face.map_vpe()
        face.run("VSYNC")
        face.unmap_vpe()
        if number is None:
            face.run("VSYNC")
        else:
            assert face.refused("VSYNC") == number


@V4
def test_commands_that_only_synchronise_or_invalidate_change_no_ram(architecture):
    bench = furnished(architecture=architecture)
    bench.map_vpe()
    for mnemonic in ["VSYNC", "VINVALL", *(["INVDB"] if architecture == "4.1" else [])]:
        bench.queue_command(mnemonic)
        with bench.unchanged():
            bench.ring()
    assert bench.gic.errors == []


# Several ITSs.


@pytest.mark.parametrize("svpet", [0, 1])
def test_alloc_is_the_first_map_and_the_last_unmap_of_all_itss(svpet):
    bench = furnished(its=2, svpet=svpet)
    valid = {"V": 1, "VPT_addr": bench.vpt(), "VPT_size": 13, "Default_Doorbell": 1023}
    assert bench.refused("VMAPP", its=1, **valid) == 0x012914
    bench.map_vpe()
    assert bench.refused("VMAPP", its=1, Alloc=1, **valid) == 0x012918
    bench.map_vpe(its=1, Alloc=0)
    assert bench.vpe(its=bench.config.its)["ITSMap"] == 0b11
    assert bench.refused("VMAPP", Alloc=1) == 0x012918
    bench.unmap_vpe(Alloc=0)
    assert bench.vpe(its=bench.config.its)["ITSMap"] == 0b10
    assert bench.refused("VINVALL") == 0x012D14
    bench.run("VINVALL", its=1)
    bench.unmap_vpe(its=1)
    assert bench.vpe(its=bench.config.its)["Valid"] == 0


@pytest.mark.parametrize("svpet", [0, 1])
@pytest.mark.parametrize("its", [0, 1])
def test_the_last_unmap_may_come_from_an_its_that_does_not_map_the_vpe(svpet, its):
    bench = furnished(its=2, svpet=svpet)
    bench.map_vpe()
    bench.map_vlpi(7, VLPI)
    bench.run("INT", DeviceID=1, EventID=7)
    bench.unmap_vpe(Alloc=0)
    bench.unmap_vpe(its=its)
    assert bench.vpe(its=2)["Valid"] == 0
    assert bench.bit(bench.vpt(), VLPI) == 1
    bench.map_vpe()


def test_a_resident_vpe_cannot_be_unmapped_by_an_its_that_does_not_map_it():
    bench = furnished(its=2)
    bench.map_vpe()
    bench.schedule()
    assert bench.refused("VMAPP", its=1) == 0x012919


def test_a_vpe_that_the_redistributors_do_not_know_can_be_unmapped():
    bench = furnished(svpet=0)
    bench.map_vpe()
    bench.memory.zero(bench.vpe_table(1), 32)
    bench.unmap_vpe()
    assert entry(bench) == [0, 0, 0, 0]


@pytest.mark.parametrize(("architecture", "svpet"), [("4.0", 1), ("4.1", 0), ("4.1", 1)])
@pytest.mark.parametrize("vmovp", [True, False])
def test_vmovp_moves_the_vpe_on_all_itss_or_on_one(architecture, svpet, vmovp):
    """GITS_TYPER.VMOVP = 0: software sends it to every ITS of ITSList. A shared table has one entry for all."""
    bench = furnished(architecture=architecture, its=3, svpet=svpet, vmovp=vmovp)
    shared = architecture == "4.1" and svpet == 1
    for its in (0, 1):
        bench.map_vpe(its=its, **({"Alloc": its == 0} if architecture == "4.1" else {}))
    bench.run("VMOVP", SeqNum=9, ITSList=0b11, RDbase=3)
    assert bench.vpe(its=0)["RDbase"] == 3
    assert bench.vpe(its=1)["RDbase"] == (3 if vmovp or shared else 0)
    assert bench.vpe(its=2)["Valid"] == shared
    if not vmovp:
        bench.run("VMOVP", its=1, SeqNum=9, ITSList=0b11, RDbase=3)
    assert bench.vpe(its=1)["RDbase"] == 3
    assert pending(bench, 3) == 1023


@pytest.mark.parametrize(("svpet", "vmovp"), [(0, True), (0, False), (3, True), (3, False)])
def test_vmovp_to_another_common_lpi_aff_group_carries_the_entry_along(svpet, vmovp):
    """Each group has a table of its own; with `svpet` the ITS shares that of the group it leaves and comes back to."""
    bench = furnished(its=2, svpet=svpet, vmovp=vmovp, redistributors=17, common_lpi_aff=3)
    bench.write_rd("VPROPBASER", GICR_VPROPBASER.pack(Valid=1, Physical_Address=SPARE), 16)
    bench.map_vpe()
    bench.map_vpe(its=1, Alloc=0)
    bench.map_vlpi(7, VLPI)
    bench.run("INT", DeviceID=1, EventID=7)
    for rd, other in [(16, 0), (0, 16), (16, 0)]:
        for its in (0,) if vmovp else (0, 1):
            bench.run("VMOVP", its=its, RDbase=rd)
        assert pending(bench, rd) == VLPI
        assert not bench.schedule(0, other), "it is another group's now"
        for its in (0, 1):
            bench.run("VINVALL", its=its)
    bench.unmap_vpe(its=1, Alloc=0)
    bench.unmap_vpe()
    assert bench.memory.read(SPARE, 32) == bytes(32)


def test_vmovp_of_a_vpe_that_the_redistributors_do_not_know_is_an_error():
    bench = furnished(svpet=0)
    bench.map_vpe()
    bench.memory.zero(bench.vpe_table(1), 32)
    assert bench.refused("VMOVP", RDbase=1) == 0x012214


def test_an_its_whose_vpe_table_is_smaller_is_not_moved():
    bench = furnished(architecture="4.0", its=2)
    bench.enable_its(False, 1)
    bench.write_its("BASER2", GITS_BASER.pack(Physical_Address=bench.vpe_table(1)), 1)
    bench.enable_its(True, 1)
    bench.map_vpe()
    bench.run("VMOVP", RDbase=2)
    assert bench.vpe()["RDbase"] == 2


def test_invdb_without_a_doorbell_does_nothing(bench):
    bench.map_vpe(Default_Doorbell=1023)
    bench.configure(bench.vconf(), VLPI, DISABLED)
    bench.run("INVDB")
