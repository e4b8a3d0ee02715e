# SPDX-License-Identifier: Apache-2.0
"""What the configuration decides: the registers that software probes, and which configurations there are."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_TYPER, GICD_TYPER2
from gicmodel.layouts.registers.its import GITS_BASER, GITS_TYPER
from gicmodel.layouts.registers.redistributor import GICR_TYPER
from gicmodel.memory import PAGE_BYTES, GuestMemory

ARCHITECTURES = ("3", "4.0", "4.1")


def typer(frame: str, number: int = 0, **choices: object) -> dict[str, int]:
    gic = Gic(GicConfig(**choices), GuestMemory(0, PAGE_BYTES))  # type: ignore[arg-type]
    layout = {"GITS": GITS_TYPER, "GICR": GICR_TYPER, "GICD": GICD_TYPER}[frame]
    faces = {"GITS": gic.its, "GICR": gic.redistributors, "GICD": [gic.distributor]}[frame]
    return layout.unpack(faces[number].read(4 if frame == "GICD" else 8, layout.bits // 8))


@pytest.mark.parametrize(("architecture", "value"), [("3", 0x001F_0001_EFB1), ("4.0", 0x003F_0001_EFB3)])
def test_gits_typer_of_the_qemu_profile_is_qemus(architecture, value):
    """Measured on QEMU 7.2."""
    assert GITS_TYPER.pack(**typer("GITS", **vars(GicConfig.qemu(architecture)))) == value


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gits_typer_follows_the_architecture(architecture):
    fields = typer("GITS", architecture=architecture)
    v4, v41 = architecture != "3", architecture == "4.1"
    assert (fields["Physical"], fields["Virtual"], fields["VMOVP"]) == (1, v4, v4)
    assert (fields["VSGI"], fields["VMAPP"], fields["SVPET"], fields["nID"]) == (v41, v41, v41, v41)


def test_gits_typer_follows_the_configuration():
    choices = {"device_id_bits": 20, "event_id_bits": 12, "collection_id_bits": 9, "hcc": 7, "pta": True, "seis": True}
    fields = typer("GITS", **choices, vmovp=False, svpet=3, nid=False, umsi=False, mpam=True)
    expected = {"Devbits": 19, "ID_bits": 11, "CIDbits": 8, "CIL": 1, "HCC": 7, "CCT": 1, "PTA": 1, "SEIS": 1}
    expected |= {"VMOVP": 0, "SVPET": 3, "nID": 0, "UMSI": 0, "UMSIirq": 0, "MPAM": 1, "ITT_entry_size": 11, "INV": 1}
    assert expected.items() <= fields.items()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gicr_typer_follows_the_architecture(architecture):
    fields = typer("GICR", 1, architecture=architecture, redistributors=2)
    v4, v41 = architecture != "3", architecture == "4.1"
    assert (fields["PLPIS"], fields["VLPIS"], fields["DirectLPI"], fields["Processor_Number"]) == (1, v4, 1, 1)
    assert (fields["RVPEID"], fields["VSGI"], fields["Dirty"], fields["Last"]) == (v41, v41, v41, 1)


def test_gicr_typer_names_the_pe():
    fields = typer("GICR", 17, redistributors=33, common_lpi_aff=3, direct_lpi=False)
    expected = {"Aff1": 1, "Aff0": 1, "Processor_Number": 17, "Last": 0, "CommonLPIAff": 3, "DirectLPI": 0, "DPGS": 0}
    assert expected.items() <= fields.items()


def test_gicd_registers_size_the_model():
    assert {"IDbits": 13, "LPIS": 1, "DVIS": 1, "num_LPIs": 0}.items() <= typer("GICD", intid_bits=14).items()
    assert typer("GICD", architecture="3")["DVIS"] == 0
    gic = Gic(GicConfig(vpe_id_bits=9), GuestMemory(0, PAGE_BYTES))
    assert GICD_TYPER2.unpack(gic.distributor.read(0xC, 4)) == {"nASSGIcap": 1, "VIL": 1, "VID": 8}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("page_bytes", "code"), [(0x1000, 0), (0x4000, 1), (0x1_0000, 2)])
def test_page_size_of_the_tables_at_reset(page_bytes, code, architecture):
    its = Gic(GicConfig(architecture=architecture, baser_page_bytes=page_bytes), GuestMemory(0, PAGE_BYTES)).its[0]
    seen = [GITS_BASER.unpack(its.read(0x100 + 8 * n)) for n in range(8)]
    assert [fields["Page_Size"] for fields in seen] == [code if fields["Type"] else 0 for fields in seen]
    assert {fields["Valid"] for fields in seen} == {0}
    assert any(fields["Type"] for fields in seen)


def test_the_page_size_of_qemu_at_reset():
    """kvm-unit-tests asserts 64 KiB (lib/arm64/gic-v3-its.c)."""
    assert GicConfig.qemu().baser_page_bytes == 0x1_0000


@pytest.mark.parametrize("frame", ["GITS", "GICR"])
def test_mpam_registers(frame):
    entry = register(f"{frame}_PARTIDR")
    sizes = register(f"{frame}_MPAMIDR")
    gic = Gic(GicConfig(mpam=True), GuestMemory(0, PAGE_BYTES))
    face = gic.its[0] if frame == "GITS" else gic.redistributors[0]
    assert sizes.layout.unpack(face.read(sizes.offset, 4)) == {"PMGmax": 1, "PARTIDmax": 63}
    face.write(entry.offset, 0xFFFF_FFFF, 4)
    assert face.read(entry.offset, 4) == 0x00FF_FFFF


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architecture", "4.2"),
        ("command_errors", "abort"),
        ("caching", True),
        ("vpt_writeback", "never"),
        ("pending_writeback", None),
        ("individual_doorbell", "level"),
        ("discard_unmapped", "keep"),
        ("baser_page_bytes", 0x2000),
        ("ces", 1),
        ("its", 17),
        ("redistributors", 0),
        ("device_id_bits", 25),
        ("event_id_bits", 0),
        ("collection_id_bits", 17),
        ("vpe_id_bits", 17),
        ("intid_bits", 13),
        ("hcc", 256),
        ("svpet", 4),
        ("common_lpi_aff", -1),
        ("vpt_cache_sets", 0),
        ("table_cache_lines", 2.0),
        ("redistributor_base", 0x080A_1000),
        ("redistributor_base", 1 << 52),
        ("commands_per_step", 0),
        ("commands_per_step", "3"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^GicConfig\.{name} is "):
        GicConfig(**{name: value})


def test_there_are_no_more_collections_in_the_its_than_icids():
    GicConfig(collection_id_bits=2, hcc=4)
    with pytest.raises(ValueError, match=r"^GicConfig\.hcc is 5: ICIDs of 2 bits are only 4$"):
        GicConfig(collection_id_bits=2, hcc=5)


def test_the_qemu_profile_can_be_changed_in_part():
    config = GicConfig.qemu("3", redistributors=7)
    assert (config.architecture, config.redistributors, config.command_errors) == ("3", 7, "ignore")
    assert GicConfig.qemu(command_errors="stall").command_errors == "stall"
