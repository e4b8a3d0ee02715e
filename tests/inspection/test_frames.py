# SPDX-License-Identifier: Apache-2.0
"""Registers from pairs, files and traces."""

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.inspection.frames import Frames, Missing, from_pairs, merged


def test_pairs():
    assert from_pairs(["GITS_CTLR=1", "GITS1_BASER0=0x10", "GICR12_PENDBASER=0x20000", "GICD_TYPER=0b11"]) == {
        "GITS0": {"CTLR": 1},
        "GITS1": {"BASER0": 0x10},
        "GICR12": {"PENDBASER": 0x20000},
        "GICD": {"TYPER": 3},
    }


@pytest.mark.parametrize(
    "pair",
    [
        "",
        "GITS_BASER0",
        "GITS_BASER8=1",
        "GICX_CTLR=1",
        "GITS_CTLR=0x",
        "GITS_CTLR=-1",
        f"GITS_CBASER={1 << 64:#x}",
        "CTLR=1",
    ],
)
def test_a_pair_that_is_none_is_one_line(pair):
    with pytest.raises(UnusableInput) as refused:
        from_pairs([pair])
    assert repr(pair) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_later_sources_count():
    assert merged([{"GITS0": {"CTLR": 1, "IIDR": 2}}, {"GITS0": {"CTLR": 3}, "GICD": {"TYPER": 4}}]) == {
        "GITS0": {"CTLR": 3, "IIDR": 2},
        "GICD": {"TYPER": 4},
    }


def test_what_is_wanted_and_missing_is_remembered():
    frames = Frames({"GITS0": {"CTLR": 1}})
    assert frames.want("GITS0", "CTLR", "nothing")["Enabled"] == 1
    assert frames.want("GITS0", "TYPER", "widths") is None
    assert frames.missing == [Missing("GITS0_TYPER", "widths")]


def test_the_address_of_a_redistributor_is_given_beside_its_registers():
    assert from_pairs(["GICR3_RD_base=0x80a0000"]) == {"GICR3": {"RD_base": 0x80A_0000}}
    for pair in ("GITS_RD_base=1", "GICR0_rd_base=1", "GICD_RD_base=1"):
        with pytest.raises(UnusableInput, match="is not NAME=VALUE"):
            from_pairs([pair])


@pytest.mark.parametrize("name", ["FOO", "VPENDBASER", "RD_base"])
def test_a_register_that_the_architecture_lacks_has_no_fields(name):
    frames = Frames({"GICR0": {name: 1}})
    assert (frames.value("GICR0", name), frames.fields("GICR0", name, "3")) == (1, None)
