# SPDX-License-Identifier: Apache-2.0
"""The registers beside Arm's own machine-readable description of them.

`data/arm-registers.json` holds facts of Arm's A-profile System Register XML of 2025-03, no text: offsets, access, bit
ranges, and resets where they are constant. A field may be there twice, once as RES0 for implementations without it.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gicmodel.layouts.registers.by_name import REGISTERS, SYSTEM_REGISTERS, encoding
from gicmodel.layouts.registers.identification import identification_registers
from gicmodel.layouts.registers.redistributor import SGI_FRAME, VLPI_FRAME
from gicmodel.layouts.registers.register import Register, SystemRegister

FACTS = json.loads((Path(__file__).parent / "data" / "arm-registers.json").read_text())
ARM = {entry["name"]: entry for entry in FACTS["registers"]}
FRAMES = {
    "Dist_base": 0,
    "RD_base": 0,
    "SGI_base": SGI_FRAME,
    "VLPI_base": VLPI_FRAME,
    "GIC ITS control": 0,
    "GIC ITS translation": 0x1_0000,
}
CASES = {
    "GICD_CTLR": "When in a system that supports only a single Security state",
    "GICR_SETLPIR": "When GICR_TYPER.DirectLPI == 1",
    "GICR_CLRLPIR": "When GICR_TYPER.DirectLPI == 1",
    "GICR_VPROPBASER": "When GICv4.1 is implemented",
    "GICR_VPENDBASER": "When GICv4.1 is implemented",
    "GICR_VPROPBASER_V40": "When GICv4 is implemented",
    "GICR_VPENDBASER_V40": "When GICv4 is implemented",
}
"""Of a register with several layouts, by the name of ours, the one that it is."""
FINER = {
    "GICR_TYPER": "Affinity_Value",
    "GICR_IGROUPR0": "Redistributor_group_status_bit<x>",
    "GICR_INMIR0": "nmi<x>",
    "GICR_NSACR": "NS_access<x>",
    **{
        f"{frame}_{name}": field
        for name, field in {
            "IGROUPR": "Group_status_bit<x>",
            "ISENABLER": "Set_enable_bit<x>",
            "ICENABLER": "Clear_enable_bit<x>",
            "ISPENDR": "Set_pending_bit<x>",
            "ICPENDR": "Clear_pending_bit<x>",
            "ISACTIVER": "Set_active_bit<x>",
            "ICACTIVER": "Clear_active_bit<x>",
            "IGRPMODR": "Group_modifier_bit<x>",
            "ICFGR": "Int_config<x>",
            "NSACR": "NS_access<x>",
            "INMIR": "NMI<x>",
        }.items()
        for frame in ("GICD", "GICR")
    },
}
"""Fields that are several here, or have another name: the affinity levels, SGIs and PPIs; one of each interrupt."""
IDENTIFICATION = {entry.name for frame in ("GITS", "GICR", "GICD") for entry in identification_registers(frame)}
"""Arm describes them for the whole of CoreSight, not here."""
DESCRIBED = [entry for entry in REGISTERS if entry.name not in IDENTIFICATION]
FEW = {id(entry.layout): entry for entry in DESCRIBED}
"""One register, the last, of each layout."""
each_register = pytest.mark.parametrize("entry", FEW.values(), ids=lambda entry: f"{entry.layout.name}")


def finer(entry: Register) -> str | None:
    """The field of Arm's that is several here or has another name."""
    return FINER.get(entry.layout.name) or FINER.get(re.sub(r"\d+$", "", entry.layout.name))


def arm_name(entry: Register | SystemRegister) -> str:
    return entry.name if entry.name in ARM else re.sub(r"\d+(_EL\d)?$", r"<n>\1", entry.name)


def arm_fields(entry: Register | SystemRegister) -> list[list[Any]]:
    """(name, most significant bit, least, and the reset if it is constant) of each field with a name."""
    layouts = ARM[arm_name(entry)]["fields"]
    (layout,) = [each for each in layouts if each["when"] == CASES.get(entry.layout.name)]
    assert layout["width"] == entry.layout.bits
    return [field for field in layout["fields"] if field[0] not in ("RES0", "IMPLEMENTATION DEFINED")]


def places(entry: Register | SystemRegister) -> dict[str, tuple[int, int]]:
    """The most and the least significant bit of each of our fields."""
    masks = {name: entry.layout.mask_in_word(name)[1] for name in entry.layout.fields}
    return {name: (mask.bit_length() - 1, (mask & -mask).bit_length() - 1) for name, mask in masks.items()}


def test_every_register_is_described():
    assert {arm_name(entry) for entry in DESCRIBED} <= ARM.keys()
    assert len(IDENTIFICATION) == 36


UNCLAIMED = {
    "extended SPIs and PPIs": r"GIC[DR]_\w+<n>E",
    "without affinity routing": r"GICD_(ITARGETSR<n>|SGIR|CPENDSGIR<n>|SPENDSGIR<n>)",
    "EL3": r"ICC_\w+_EL3",
    "non-maskable interrupts": r"IC[CV]_NMIAR1_EL1",
}
"""What the model has not, and the registers that it therefore has not either."""


def test_every_other_register_of_arm_s_belongs_to_what_the_model_has_not():
    ours = {arm_name(entry) for entry in (*DESCRIBED, *SYSTEM_REGISTERS)}
    theirs = {name for name in ARM if any(re.fullmatch(pattern, name) for pattern in UNCLAIMED.values())}
    assert ARM.keys() == ours | theirs
    assert not ours & theirs


def test_what_the_model_has_not_is_told():
    """Each name of `UNCLAIMED` in docs/registers.md, or the row of those that end in <n>E."""
    told = (Path(__file__).parents[2] / "docs" / "registers.md").read_text()
    unclaimed = [name for name in ARM if any(re.fullmatch(pattern, name) for pattern in UNCLAIMED.values())]
    names = {re.sub(r"^(GIC[DR])_\w+<n>E$", r"\1_*<n>E", name) for name in unclaimed}
    assert {name for name in names if f"`{name}`" not in told} == set()


@pytest.mark.parametrize("entry", DESCRIBED, ids=lambda entry: f"{entry.layout.name}-{entry.offset:#x}")
def test_offset_and_access(entry):
    arm = ARM[arm_name(entry)]
    formula = re.fullmatch(r"(0x\w+)(?: \+ \((\d) \* n\))?", arm["offset"])
    number = int(re.search(r"(\d*)$", entry.name)[1] or 0) if formula[2] else 0
    assert entry.offset == FRAMES[arm["frame"]] + int(formula[1], 16) + int(formula[2] or 0) * number
    assert entry.access in arm["access"]


@each_register
def test_fields(entry):
    """Every field of Arm's with its name and its bits, and nothing else."""
    arm = {name: (high, low) for name, high, low, *_ in arm_fields(entry)}
    ours = places(entry)
    if several := finer(entry):
        high, low = arm.pop(several)
        parts = sorted(place for name, place in ours.items() if low <= place[1] and place[0] <= high)
        assert [bit for above, below in parts for bit in range(below, above + 1)] == list(range(low, high + 1))
        ours = {name: place for name, place in ours.items() if place not in parts}
    assert ours == arm


@each_register
def test_resets(entry):
    """A reset is constant in Arm's description, or it is not declared."""
    arm = {name: int(reset[0], 2) for name, _, _, *reset in arm_fields(entry) if reset}
    if (several := finer(entry)) and arm:
        assert arm == {several: 0}
        arm = dict.fromkeys(entry.layout.fields, 0)
    assert dict(entry.reset) == arm


IMPDEF_PRIORITIES = {
    f"{name}_AP{group}R0_EL{level}" for name, level in (("ICC", 1), ("ICV", 1), ("ICH", 2)) for group in (0, 1)
}
"""Their bits are IMPLEMENTATION DEFINED."""
ABSENT = {"NMI", "NMI_NS"}
"""Fields of registers that only a CPU interface with NMIs has."""
each_system_register = pytest.mark.parametrize("entry", SYSTEM_REGISTERS, ids=lambda entry: entry.name)


def number(text: str, index: int) -> int:
    """One field of an encoding: binary digits, then perhaps bits of the register's index, as in 0b1:m[1:0]."""
    digits, high, low = re.fullmatch(r"(?:0b(\d+):?)?(?:m\[(\d)(?::(\d))?\])?", text).groups()
    bits = int(high) - int(low or high) + 1 if high else 0
    return int(digits or "0", 2) << bits | (index >> int(low or high or 0) & (1 << bits) - 1)


@each_system_register
def test_encoding_and_access_of_a_system_register(entry):
    arm = ARM[arm_name(entry)]
    index = int(re.search(r"(\d+)_EL\d$", entry.name)[1]) if arm["name"] != entry.name else 0
    ways = {words.split()[0]: fields for words, fields in arm["encodings"]}
    assert entry.access == {"MRS": "RO", "MSRregister": "WO", "MRS MSRregister": "RW"}[" ".join(sorted(ways))]
    for fields in ways.values():
        op0, op1, crn, crm, op2 = (number(fields[name], index) for name in ("op0", "op1", "CRn", "CRm", "op2"))
        assert entry.encoding == op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2 == encoding(entry.name)


@each_system_register
def test_fields_and_resets_of_a_system_register(entry):
    fields = [field for field in arm_fields(entry) if field[0] not in ABSENT - entry.layout.fields.keys()]
    if entry.name in IMPDEF_PRIORITIES:
        fields = [["P", 31, 0, "0"]]
    assert places(entry) == {name.removesuffix("<n>"): (high, low) for name, high, low, *_ in fields}
    assert dict(entry.reset) == {name: int(reset[0], 2) for name, _, _, *reset in fields if reset}


def test_what_is_no_system_register_has_no_encoding():
    with pytest.raises(KeyError, match="ICC_NMIAR1_EL1"):
        encoding("ICC_NMIAR1_EL1")
