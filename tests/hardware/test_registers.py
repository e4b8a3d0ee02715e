# SPDX-License-Identifier: Apache-2.0
"""Registers, of long rows of them some: what they hold after reset, which bits stick, and how they may be accessed."""

import re
from collections.abc import Sequence

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.hardware.register_face import RegisterFace
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import DISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.its import GITS_STATUSR, ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import GICR_STATUSR, REDISTRIBUTOR_REGISTERS, SGI_REGISTERS
from gicmodel.layouts.registers.register import Register
from gicmodel.memory import PAGE_BYTES, GuestMemory

ARCHITECTURES = ("3", "4.0", "4.1")
ONES = (1 << 64) - 1

RESET = {
    "GICD_CTLR": 0x50,
    "GICD_IIDR": 0x43B,
    "GICR_ICFGR0": 0xAAAA_AAAA,
    "GITS_CTLR": 0x8000_0000,
    "GITS_IIDR": 0x43B,
    "GITS_BASER0": 0x0107_0000_0000_0000,
    "GITS_BASER1": 0x0407_0000_0000_0000,
    "GICR_CTLR": 0x6,
    "GICR_IIDR": 0x43B,
    "GICR_WAKER": 0x6,
}
"""What a register holds after reset in all architectures, if not 0; identification registers apart."""
RESET_OF_BASER2 = {"3": 0, "4.0": 0x0207_0000_0000_0000, "4.1": 0x021F_0000_0000_0000}
RESET_OF_VPROPBASER = {"4.0": 0, "4.1": 0x1800_0000_0000_0000}
IDENTIFICATION = (0x44, 0, 0, 0, None, 0xB4, None, 0, 0x0D, 0xF0, 0x05, 0xB1)
"""PIDR4..7, PIDR0..3, CIDR0..3; None for the part number and the architecture."""
PARTS = {"GICD": 0x92, "GICR": 0x93, "GITS": 0x94}

ALL_ONES = {
    "GITS_CBASER": 0xB8EF_FFFF_FFFF_FCFF,
    "GITS_CWRITER": 0x000F_FFE0,
    "GITS_BASER0": 0xF9E7_FFFF_FFFF_FFFF,
    "GITS_BASER1": 0xFCE7_FFFF_FFFF_FFFF,
    "GICR_CTLR": 0x7,
    "GICR_WAKER": 0x6,
    "GICR_PROPBASER": 0x070F_FFFF_FFFF_FF9F,
    "GICR_PENDBASER": 0x070F_FFFF_FFFF_0F80,
}
"""What a read-write register holds after a write of all ones, if not 0; some differ by architecture."""
ALL_ONES_OF_GICD_CTLR = {"3": 0x53, "4.0": 0x53, "4.1": 0x153}
ALL_ONES_OF_EACH = {
    **dict.fromkeys(("IGROUPR", "ISENABLER", "ISPENDR", "ISACTIVER"), 0xFFFF_FFFF),
    **dict.fromkeys(("ICENABLER", "ICPENDR", "ICACTIVER", "IGRPMODR", "NSACR", "INMIR"), 0),
    "IPRIORITYR": 0xF8F8_F8F8,
    "ICFGR": 0xAAAA_AAAA,
    "IROUTER": 0xFF_80FF_FFFF,
}
"""The same of a register with something for each interrupt, if there are its interrupts."""
SPI_REGISTERS = {"IPRIORITYR": range(8, 80), "ICFGR": range(2, 20), "IROUTER": range(32, 320)}
"""The n of GICD registers whose SPIs there are; of all others they are 1 to 9."""
ALL_ONES_OF_CTLR = {"3": 0x8000_0001, "4.0": 0x8000_0003, "4.1": 0x0000_0003}
ALL_ONES_OF_BASER2 = {"3": 0, "4.0": 0xFAE7_FFFF_FFFF_FFFF, "4.1": 0xFAFF_FFFF_FFFF_FFFF}
ALL_ONES_OF_VPROPBASER = {"4.0": 0x070F_FFFF_FFFF_FF9F, "4.1": 0x9FEF_FFFF_FFFF_FFFF}
VALID = 1 << 63
NOT_RESIDENT_ONES = {"4.0": 0x670F_FFFF_FFFF_0F80, "4.1": 0x6C00_0000_0000_FFFF}
"""GICR_VPENDBASER after a write of all ones but Valid."""


def face_of(entry: Register, architecture: str, **choices: object) -> RegisterFace:
    """A fresh frame that has the register."""
    gic = Gic(GicConfig(architecture=architecture, **choices), GuestMemory(0, PAGE_BYTES))  # type: ignore[arg-type]
    faces = {"GITS": gic.its[0], "GICR": gic.redistributors[0], "GICD": gic.distributor}
    return faces[entry.name[:4]]


def some(registers: tuple[Register, ...]) -> list[Register]:
    """All registers but of a row that is long: the first two, those around where SPIs begin and end, and the last."""
    rows: dict[str, list[Register]] = {}
    for entry in registers:
        rows.setdefault(re.sub(r"\d+$", "", entry.name), []).append(entry)
    chosen = {0, 1, 2, 7, 8, 9, 10, 79, 80, 287, 288}
    return [
        entry
        for row in rows.values()
        for place, entry in enumerate(row)
        if len(row) <= 16 or place in chosen or entry is row[-1]
    ]


def each_interrupt(entry: Register) -> tuple[str, bool] | None:
    """If the register has something for each interrupt: its name without frame and number, and are there those."""
    name, number = re.fullmatch(r"GIC._(\w+?)(\d*)", entry.name).groups() if entry.name[:4] != "GITS" else ("", "")
    if name not in ALL_ONES_OF_EACH:
        return None
    return name, entry.name[:4] == "GICR" or int(number) in SPI_REGISTERS.get(name, range(1, 10))


def expected_of_ones(entry: Register, architecture: str) -> int:
    """What the register holds after a write of all ones."""
    if (each := each_interrupt(entry)) is not None:
        name, there = each
        return ALL_ONES_OF_EACH[name] if there else 0
    special = {
        "GICD_CTLR": ALL_ONES_OF_GICD_CTLR,
        "GITS_CTLR": ALL_ONES_OF_CTLR,
        "GITS_BASER2": ALL_ONES_OF_BASER2,
        "GICR_VPROPBASER": ALL_ONES_OF_VPROPBASER,
        "GICR_VPENDBASER": NOT_RESIDENT_ONES,
    }
    return special[entry.name][architecture] if entry.name in special else ALL_ONES.get(entry.name, 0)


def walk(*access: str, but: str = "none"):
    """Every register with that access, in every architecture that has it; names that contain `but` are left out."""
    registers: Sequence[Register] = (*ITS_REGISTERS, *REDISTRIBUTOR_REGISTERS, *SGI_REGISTERS, *DISTRIBUTOR_REGISTERS)
    registers = [e for e in some(registers) if e.access in access and but not in e.name]
    cases = [
        (entry, architecture)
        for entry in registers
        for architecture in (("4.1",) if each_interrupt(entry) else entry.architectures)
    ]
    return pytest.mark.parametrize(("entry", "architecture"), cases, ids=[f"{e.name}-v{a}" for e, a in cases])


def expected_at_reset(entry: Register, architecture: str) -> int:
    frame, name = entry.name.split("_", 1)
    if entry.offset % 0x1_0000 >= 0xFFD0:
        value = IDENTIFICATION[(entry.offset - 0xFFD0) // 4]
        fallback = PARTS[frame] if name == "PIDR0" else 0x3B if architecture == "3" else 0x4B
        return fallback if value is None else value
    if name == "BASER2":
        return RESET_OF_BASER2[architecture]
    if name == "VPROPBASER":
        return RESET_OF_VPROPBASER[architecture]
    return RESET.get(entry.name, 0)


@walk("RW", "RO", but="_TYPER")
def test_reset_value(entry, architecture):
    expected = expected_at_reset(entry, architecture)
    assert face_of(entry, architecture).read(entry.offset, entry.bits // 8) == expected
    named = entry.layout.unpack(expected)
    always = {"ARE"} if entry.name == "GICD_CTLR" else set()  # RAO/WI, as in a GIC without GICv2's registers
    assert {field: named[field] for field in entry.reset if field not in always} == {
        field: value for field, value in entry.reset.items() if field not in always
    }


@walk("RW")
def test_write_of_all_ones_reads_back_only_what_exists(entry, architecture):
    face, size = face_of(entry, architecture), entry.bits // 8
    face.write(entry.offset, ONES if entry.name != "GICR_VPENDBASER" else ONES & ~VALID, size)
    assert face.read(entry.offset, size) == expected_of_ones(entry, architecture)


@walk("RW")
def test_write_of_zero_clears_what_ones_have_set(entry, architecture):
    face, size = face_of(entry, architecture), entry.bits // 8
    reset = face.read(entry.offset, size)
    face.write(entry.offset, ONES if entry.name != "GICR_VPENDBASER" else ONES & ~VALID, size)
    ones = face.read(entry.offset, size)
    face.write(entry.offset, 0, size)
    sets = re.fullmatch(r"GIC[DR]_IS(ENABLER|PENDR|ACTIVER)\d+", entry.name)
    assert face.read(entry.offset, size) == (0 if entry.name == "GICR_WAKER" else ones if sets else reset)


@walk("RO")
def test_write_of_a_read_only_register_is_ignored_and_noted(entry, architecture):
    face, size = face_of(entry, architecture), entry.bits // 8
    before = face.read(entry.offset, size)
    face.write(entry.offset, ~before & ONES, size)
    assert face.read(entry.offset, size) == before
    assert status(face, entry) == {"WROD"}


@walk("WO")
def test_read_of_a_write_only_register_is_zero_and_noted(entry, architecture):
    face = face_of(entry, architecture)
    assert face.read(entry.offset, entry.bits // 8) == 0
    assert status(face, entry) == {"RWOD"}


@walk("RW", "RO", "WO")
def test_halves_of_64_bit_registers_and_no_other_width(entry, architecture):
    face, size = face_of(entry, architecture), entry.bits // 8
    for wrong in {1, 2, 4, 8} - {size, 4} - ({1} if "_IPRIORITYR" in entry.name else set()):
        assert face.read(entry.offset, wrong) == 0
        if (entry.name, wrong) != ("GITS_TRANSLATER", 2):
            face.write(entry.offset, ONES, wrong)
    assert status(face, entry) == {"RRD", "WRD"}
    if size == 8 and entry.access != "WO":
        whole = face.read(entry.offset, 8)
        assert face.read(entry.offset, 4) | face.read(entry.offset + 4, 4) << 32 == whole


@pytest.mark.parametrize(
    "name", ["GITS_CBASER", "GITS_CWRITER", "GITS_BASER0", "GITS_BASER2", "GICR_PROPBASER", "GICR_VPROPBASER"]
)
@pytest.mark.parametrize("order", [(0, 4), (4, 0)])
def test_a_register_written_by_halves_is_the_register_written_whole(name, order):
    entry = register(name)
    value = 0x7A5B_C3D4_E5F6_1728
    whole, halves = face_of(entry, "4.1"), face_of(entry, "4.1")
    whole.write(entry.offset, value)
    for part in order:
        halves.write(entry.offset + part, value >> 8 * part, 4)
    assert halves.read(entry.offset) == whole.read(entry.offset) != 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("frame", ["GITS", "GICR", "GICD"])
def test_a_reserved_location_is_raz_wi_and_noted(frame, architecture):
    entry = register(f"{frame}_CTLR")
    for offset in (0x5FF8, 0x1_8000 if frame == "GITS" else 0x2_8000, 0x7_0000, entry.offset + 2):
        face = face_of(entry, architecture)
        assert face.read(offset, 4) == 0
        assert status(face, entry) == {"RRD"}
        face.write(offset, ONES, 4)
        assert status(face, entry) == {"RRD", "WRD"}


@pytest.mark.parametrize("name", ["GITS_STATUSR", "GICR_STATUSR", "GICD_STATUSR"])
def test_statusr_is_cleared_by_ones_alone(name):
    entry = register(name)
    face = face_of(entry, "4.1")
    face.read(0x5FF8, 4)
    face.write(0x5FF8, 0, 4)
    face.write(entry.offset, 0, 4)
    assert status(face, entry) == {"RRD", "WRD"}
    face.write(entry.offset, entry.layout.pack(RRD=1), 4)
    assert status(face, entry) == {"WRD"}


@pytest.mark.parametrize("offset", [0x1_0000, 0x1_0084, 0x1_0104, 0x1_0420, 0x1_0C08, 0x1_FFFC])
def test_there_are_no_extended_ppis(offset):
    """Their registers are reserved locations as others are."""
    entry = register("GICR_CTLR")
    face = face_of(entry, "4.1")
    face.write(offset, ONES, 4)
    assert face.read(offset, 4) == 0
    assert status(face, entry) == {"RRD", "WRD"}


@pytest.mark.parametrize("part", [0, 4])
def test_half_a_write_changes_half_the_register(part):
    """Both ways, and whatever the upper bits of the value are."""
    entry = register("GITS_CBASER")
    face = face_of(entry, "4.1")
    for value in (ONES, ONES << 32 & ONES):
        face.write(entry.offset + part, value, 4)
        written = ALL_ONES["GITS_CBASER"] if value & 1 else 0
        assert face.read(entry.offset) == written & 0xFFFF_FFFF << 8 * part
    face.write(entry.offset, ONES)
    face.write(entry.offset + part, 0, 4)
    assert face.read(entry.offset) == ALL_ONES["GITS_CBASER"] & ~(0xFFFF_FFFF << 8 * part)


def test_registers_of_a_later_architecture_are_reserved():
    for name in "GITS_MPIDR GITS_SGIR GICR_VSGIR GICR_VSGIPENDR GICR_VPROPBASER GICR_VPENDBASER".split():
        entry = register(name)
        face = face_of(entry, "3")
        face.write(entry.offset, ONES, entry.bits // 8)
        assert face.read(entry.offset, entry.bits // 8) == 0
        assert status(face, entry) == {"RRD", "WRD"}


def status(face: RegisterFace, entry: Register) -> set[str]:
    """The bits of the frame's STATUSR that report accesses."""
    layout, offset = (GITS_STATUSR, 0x40) if entry.name.startswith("GITS") else (GICR_STATUSR, 0x10)
    fields = layout.unpack(face.read(offset, 4))
    return {name for name in ("RRD", "WRD", "RWOD", "WROD") if fields[name]}
