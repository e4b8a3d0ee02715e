# SPDX-License-Identifier: Apache-2.0
"""Golden values, offsets and resets of the registers."""

from collections import Counter

import pytest

from gicmodel.layouts.catalogue import CATALOGUE, NAMES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import REDISTRIBUTOR_REGISTERS

INNER_WRITE_BACK = {"InnerCache": 7, "Shareability": 1}

GOLDENS = [
    # A Linux 6.12 KVM host on QEMU 7.2: what its driver wrote.
    ("GITS_CBASER", 0xB8000000431C040F, INNER_WRITE_BACK | {"Valid": 1, "Physical_Address": 0x431C_0000, "Size": 15}),
    (
        "GITS_BASER",
        0xF9070000431D0600,
        INNER_WRITE_BACK
        | {"Valid": 1, "Indirect": 1, "Type": 1, "Entry_Size": 7, "Physical_Address": 0x431D_0000, "Page_Size": 2},
    ),
    (
        "GITS_BASER",
        0xBC070000431E0600,
        INNER_WRITE_BACK | {"Valid": 1, "Type": 4, "Entry_Size": 7, "Physical_Address": 0x431E_0000, "Page_Size": 2},
    ),
    ("GITS_CWRITER", 0xFD60, {"Offset": 0xFD60}),
    ("GICR_PROPBASER", 0x4320078F, INNER_WRITE_BACK | {"Physical_Address": 0x4320_0000, "IDbits": 15}),
    ("GICR_PENDBASER", 0x43210780, INNER_WRITE_BACK | {"Physical_Address": 0x4321_0000}),
    (
        "GICR_VPROPBASER_V40",
        0x4CD5058F,
        {"Physical_Address": 0x4CD5_0000, "InnerCache": 3, "Shareability": 1, "IDbits": 15},
    ),
    (
        "GICR_VPENDBASER_V40",
        0xE00000004CD60780,
        INNER_WRITE_BACK | {"Valid": 1, "IDAI": 1, "PendingLast": 1, "Physical_Address": 0x4CD6_0000},
    ),
    # QEMU 7.2, gic-version=4, read over qtest.
    ("GITS_CTLR", 0x80000001, {"Quiescent": 1, "Enabled": 1}),
    ("GITS_IIDR", 0x43B, {"Implementer": 0x43B}),
    (
        "GITS_TYPER",
        0x3F0001EFB3,
        {"Physical": 1, "Virtual": 1, "ITT_entry_size": 11, "ID_bits": 15, "Devbits": 15}
        | {"CIDbits": 15, "CIL": 1, "VMOVP": 1},
    ),
    ("GITS_CREADR", 0x121, {"Offset": 0x120, "Stalled": 1}),
    ("GICR_CTLR", 0x2, {"CES": 1}),
    (
        "GICR_TYPER",
        0x101000113,
        {"Aff0": 1, "CommonLPIAff": 1, "Processor_Number": 1, "Last": 1, "VLPIS": 1, "PLPIS": 1},
    ),
    ("GICR_WAKER", 0x6, {"ChildrenAsleep": 1, "ProcessorSleep": 1}),
    (
        "GICD_TYPER",
        0x37E0007,
        {"No1N": 1, "A3V": 1, "IDbits": 15, "DVIS": 1, "LPIS": 1, "ITLinesNumber": 7},
    ),
    ("PIDR4", 0x44, {"SIZE": 4, "DES_2": 4}),
    ("PIDR5", 0, {}),
    ("PIDR6", 0, {}),
    ("PIDR7", 0, {}),
    ("PIDR0", 0x94, {"PART_0": 0x94}),
    ("PIDR1", 0xB4, {"DES_0": 0xB, "PART_1": 4}),
    ("PIDR2", 0x4B, {"ArchRev": 4, "JEDEC": 1, "DES_1": 3}),
    ("CIDR0", 0x0D, {"PRMBL_0": 0x0D}),
    ("CIDR1", 0xF0, {"CLASS": 0xF}),
    ("CIDR2", 0x05, {"PRMBL_2": 0x05}),
    ("CIDR3", 0xB1, {"PRMBL_3": 0xB1}),
    # By hand from DDI0601.
    ("GITS_CTLR", 0x00000133, {"UMSIirq": 1, "ITS_Number": 3, "ImDe": 1, "Enabled": 1}),
    ("GITS_IIDR", 0xA100034C, {"ProductID": 0xA1, "Implementer": 0x34C}),
    ("GITS_IIDR", 0x0201243B, {"ProductID": 2, "Variant": 1, "Revision": 2, "Implementer": 0x43B}),
    (
        "GITS_TYPER",
        0x4BB000000000,
        {"INV": 1, "nID": 1, "SVPET": 1, "VMAPP": 1, "VSGI": 1, "VMOVP": 1, "CIL": 1},
    ),
    (
        "GITS_TYPER",
        0x3044030C0004,
        {"UMSI": 1, "UMSIirq": 1, "MPAM": 1, "SEIS": 1, "PTA": 1, "HCC": 3, "CCT": 1, "CIDbits": 4},
    ),
    ("GITS_MPAMIDR", 0x00070003, {"PMGmax": 7, "PARTIDmax": 3}),
    ("GITS_PARTIDR", 0x00020001, {"PMG": 2, "PARTID": 1}),
    ("GITS_MPIDR", 0x01020300, {"Aff3": 1, "Aff2": 2, "Aff1": 3}),
    ("GITS_STATUSR", 0xF5, {"Syndrome": 3, "Overflow": 1, "UMSI": 1, "RWOD": 1, "RRD": 1}),
    ("GITS_STATUSR", 0x0A, {"WROD": 1, "WRD": 1}),
    ("GITS_UMSIR", 0x0000004200000007, {"DeviceID": 0x42, "EventID": 7}),
    ("GITS_CBASER", 0x00A0000000000000, {"OuterCache": 5}),
    ("GITS_BASER", 0x01400000000000FF, {"Type": 1, "OuterCache": 2, "Size": 255}),
    ("GITS_CWRITER", 0xFD61, {"Offset": 0xFD60, "Retry": 1}),
    ("GITS_TRANSLATER", 7, {"EventID": 7}),
    ("GITS_SGIR", 0x0000001100000006, {"vPEID": 0x11, "vINTID": 6}),
    ("GICR_CTLR", 0x8700000D, {"UWP": 1, "DPG1S": 1, "DPG1NS": 1, "DPG0": 1, "RWP": 1, "IR": 1, "EnableLPIs": 1}),
    (
        "GICR_TYPER",
        0x01020304140000EC,
        {"Aff3": 1, "Aff2": 2, "Aff1": 3, "Aff0": 4, "PPInum": 2, "VSGI": 1}
        | {"RVPEID": 1, "MPAM": 1, "DPGS": 1, "DirectLPI": 1, "Dirty": 1},
    ),
    ("GICR_IIDR", 0x0201243B, {"ProductID": 2, "Variant": 1, "Revision": 2, "Implementer": 0x43B}),
    ("GICR_STATUSR", 0x0A, {"WROD": 1, "WRD": 1}),
    ("GICR_STATUSR", 0x05, {"RWOD": 1, "RRD": 1}),
    ("GICR_MPAMIDR", 0x00070003, {"PMGmax": 7, "PARTIDmax": 3}),
    ("GICR_PARTIDR", 0x00020001, {"PMG": 2, "PARTID": 1}),
    ("GICR_SETLPIR", 0x2008, {"pINTID": 8200}),
    ("GICR_CLRLPIR", 0x2008, {"pINTID": 8200}),
    ("GICR_PROPBASER", 0x050FFFFFFFFFF00D, {"OuterCache": 5, "Physical_Address": 0xF_FFFF_FFFF_F000, "IDbits": 13}),
    ("GICR_PENDBASER", 0x450F_FFFF_FFFF_0000, {"PTZ": 1, "OuterCache": 5, "Physical_Address": 0xF_FFFF_FFFF_0000}),
    ("GICR_INVLPIR", 0x8000001100002008, {"V": 1, "vPEID": 0x11, "INTID": 8200}),
    ("GICR_INVALLR", 0x8000001100000000, {"V": 1, "vPEID": 0x11}),
    ("GICR_SYNCR", 1, {"Busy": 1}),
    (
        "GICR_VPROPBASER",
        0x98D0000090000780,
        INNER_WRITE_BACK
        | {"Valid": 1, "Entry_Size": 3, "Indirect": 1, "Page_Size": 2, "Z": 1, "Physical_Address": 0x9000_0000},
    ),
    ("GICR_VPROPBASER_V40", 0x0500000000000000, {"OuterCache": 5}),
    ("GICR_VPROPBASER", 0x050000000000007F, {"OuterCache": 5, "Size": 127}),
    ("GICR_VPENDBASER_V40", 0x1500000000000000, {"Dirty": 1, "OuterCache": 5}),
    ("GICR_VPENDBASER", 0x8C00000000000011, {"Valid": 1, "VGrp0En": 1, "VGrp1En": 1, "vPEID": 0x11}),
    ("GICR_VPENDBASER", 0x7800000000000011, {"Doorbell": 1, "PendingLast": 1, "Dirty": 1, "VGrp0En": 1, "vPEID": 0x11}),
    ("GICR_VSGIR", 0x11, {"vPEID": 0x11}),
    ("GICR_VSGIPENDR", 0x80000041, {"Busy": 1, "Pending": 0b100_0001}),
    (
        "GICD_TYPER",
        0x0C016F60,
        {"ESPI_range": 1, "RSS": 1, "MBIS": 1, "num_LPIs": 13, "SecurityExtn": 1, "NMI": 1, "ESPI": 1, "CPUNumber": 3},
    ),
    ("GICD_TYPER2", 0x18B, {"nASSGIcap": 1, "VIL": 1, "VID": 11}),
    ("GICD_CTLR", 0x80000152, {"RWP": 1, "nASSGIreq": 1, "DS": 1, "ARE": 1, "EnableGrp1": 1}),
    ("GICD_CTLR", 0x00000081, {"E1NWF": 1, "EnableGrp0": 1}),
    ("GICD_IIDR", 0x4B01343B, {"ProductID": 0x4B, "Variant": 1, "Revision": 3, "Implementer": 0x43B}),
    *(
        (f"GICR_{name}0", 0x8001_4002, {"PPI": 0x8001, "SGI": 0x4002})
        for name in ("IGROUPR", "ISENABLER", "ICENABLER", "ISPENDR", "ICPENDR")
    ),
    (
        "GICR_IPRIORITYR",
        0xA0800140,
        {"Priority_offset_3B": 0xA0, "Priority_offset_2B": 0x80, "Priority_offset_1B": 1, "Priority_offset_0B": 0x40},
    ),
    # By hand from CoreSight.
    ("PIDR3", 0x52, {"REVAND": 5, "CMOD": 2}),
    ("CIDR1", 0x9F, {"CLASS": 9, "PRMBL_1": 0xF}),
]

GOLDENS += [("GICD_STATUSR", 0xF, dict.fromkeys(("WROD", "RWOD", "WRD", "RRD"), 1))]
GOLDENS += [(f"GICD_{name}PI_{whose}", 0x3FB, {"INTID": 1019}) for name in ("SETS", "CLRS") for whose in ("NSR", "SR")]
GOLDENS += [
    (f"GICD_{name}", 0xC000_0001, {"bits": 0xC000_0001})
    for name in "IGROUPR ISENABLER ICENABLER ISPENDR ICPENDR ISACTIVER ICACTIVER ICFGR IGRPMODR NSACR INMIR".split()
]
GOLDENS += [
    (f"GICR_{name}", 0x8002_4001, {"PPI": 0x8002, "SGI": 0x4001})
    for name in ("ISACTIVER0", "ICACTIVER0", "IGRPMODR0", "INMIR0")
]
GOLDENS += [
    ("GICR_ICFGR0", 0xAAAA_AAAA, {"bits": 0xAAAA_AAAA}),
    ("GICR_ICFGR1", 0x0080_0002, {"bits": 0x0080_0002}),
    ("GICR_NSACR", 0x8000_0003, {"NS_access": 0x8000_0003}),
    ("GICD_IPRIORITYR", 0xA0B8_C0F8, {f"Priority_offset_{n}B": (0xF8, 0xC0, 0xB8, 0xA0)[n] for n in range(4)}),
    (
        "GICD_IROUTER",
        0x12_8034_5678,
        {"Aff3": 0x12, "Interrupt_Routing_Mode": 1, "Aff2": 0x34, "Aff1": 0x56, "Aff0": 0x78},
    ),
]

OFFSETS = {
    "GITS_CTLR": 0x0,
    "GITS_IIDR": 0x4,
    "GITS_TYPER": 0x8,
    "GITS_CBASER": 0x80,
    "GITS_CWRITER": 0x88,
    "GITS_CREADR": 0x90,
    "GITS_BASER0": 0x100,
    "GITS_BASER7": 0x138,
    "GITS_PIDR4": 0xFFD0,
    "GITS_PIDR0": 0xFFE0,
    "GITS_PIDR2": 0xFFE8,
    "GITS_CIDR3": 0xFFFC,
    "GITS_TRANSLATER": 0x1_0040,
    "GITS_SGIR": 0x2_0020,
    "GICR_CTLR": 0x0,
    "GICR_TYPER": 0x8,
    "GICR_PROPBASER": 0x70,
    "GICR_PENDBASER": 0x78,
    "GICR_INVLPIR": 0xA0,
    "GICR_INVALLR": 0xB0,
    "GICR_SYNCR": 0xC0,
    "GICR_PIDR2": 0xFFE8,
    "GICR_VPROPBASER": 0x2_0070,
    "GICR_VPENDBASER": 0x2_0078,
    "GICR_VSGIR": 0x2_0080,
    "GICR_VSGIPENDR": 0x2_0088,
    "GICR_IGROUPR0": 0x1_0080,
    "GICR_ISENABLER0": 0x1_0100,
    "GICR_ICENABLER0": 0x1_0180,
    "GICR_ISPENDR0": 0x1_0200,
    "GICR_ICPENDR0": 0x1_0280,
    "GICR_IPRIORITYR0": 0x1_0400,
    "GICR_IPRIORITYR3": 0x1_040C,
    "GICD_CTLR": 0x0,
    "GICD_IIDR": 0x8,
    "GICD_TYPER": 0x4,
    "GICD_TYPER2": 0xC,
    "GICD_SETSPI_NSR": 0x40,
    "GICD_ISENABLER1": 0x104,
    "GICD_IPRIORITYR254": 0x7F8,
    "GICD_ICFGR2": 0xC08,
    "GICD_IROUTER32": 0x6100,
    "GICD_IROUTER1019": 0x7FD8,
}


@pytest.mark.parametrize(("name", "value", "fields"), GOLDENS)
def test_golden(name, value, fields):
    layout = NAMES[name]
    assert layout.pack(**fields) == value
    assert layout.unpack(value) == dict.fromkeys(layout.fields, 0) | fields
    assert layout.parse(value.to_bytes(layout.bytes, "little")) == layout.parse(layout.build(**fields))
    assert layout.res0_violations(value) == {}


def test_every_field_of_every_register_is_set_by_a_golden():
    seen = {(name, field) for name, value, fields in GOLDENS for field in fields or [value]}
    fixed_to_zero = {("PIDR5", 0), ("PIDR6", 0), ("PIDR7", 0)}
    assert seen == fixed_to_zero | {(layout.name, field) for layout in CATALOGUE["register"] for field in layout.fields}


@pytest.mark.parametrize(("name", "offset"), OFFSETS.items())
def test_offsets(name, offset):
    assert register(name).offset == offset


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
@pytest.mark.parametrize("registers", [ITS_REGISTERS, REDISTRIBUTOR_REGISTERS])
def test_registers_of_an_architecture_do_not_overlap(architecture, registers):
    present = [entry for entry in registers if architecture in entry.architectures]
    taken = Counter(entry.offset + byte for entry in present for byte in range(entry.bits // 8))
    assert max(taken.values()) == 1
    assert all(entry.offset % (entry.bits // 8) == 0 for entry in present)
    assert len({entry.name for entry in present}) == len(present)


def test_architectures_have_their_registers():
    assert register("GICR_VPENDBASER", "4.0").layout.name == "GICR_VPENDBASER_V40"
    assert register("GICR_VPENDBASER", "4.1").layout.name == "GICR_VPENDBASER"
    for name, architecture in [("GICR_VPENDBASER", "3"), ("GITS_SGIR", "4.0"), ("GITS_NONE", "4.1")]:
        with pytest.raises(KeyError, match=f"GICv{architecture} has no register {name}"):
            register(name, architecture)


def test_widths():
    assert {register(name).bits for name in ("GITS_CTLR", "GITS_TRANSLATER", "GICR_VSGIR", "GICR_SYNCR")} == {32}
    assert {register(name).bits for name in ("GITS_TYPER", "GITS_SGIR", "GICR_INVLPIR", "GICR_VPENDBASER")} == {64}


def test_access():
    access = {name: register(name).access for name in ("GITS_CTLR", "GITS_CREADR", "GITS_TRANSLATER", "GICR_SYNCR")}
    assert access == {"GITS_CTLR": "RW", "GITS_CREADR": "RO", "GITS_TRANSLATER": "WO", "GICR_SYNCR": "RO"}
