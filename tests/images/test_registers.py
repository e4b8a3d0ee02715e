# SPDX-License-Identifier: Apache-2.0
"""Registers from files and pairs: what is written is read again, each value tells its origin, others are refused."""

import resource

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.registers import MAX_BYTES, from_pairs, merged, origin_of, write_registers
from gicmodel.images.sources import read_registers

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.dictionaries(NAMES, st.integers(0, 2**64 - 1), max_size=4)


@given(registers=st.dictionaries(NAMES, VALUES, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path, registers):
    path = tmp_path / "registers.toml"
    write_registers(path, registers)
    assert read_registers(path) == registers


def test_values_are_written_in_hex_and_numpy_words_are_welcome(tmp_path):
    path = tmp_path / "registers.toml"
    write_registers(path, {"GITS0": {"CTLR": np.uint64(0x8000_0001)}, "guest": {"vcpus": 2}})
    assert path.read_text() == "[GITS0]\nCTLR = 0x80000001\n\n[guest]\nvcpus = 0x2\n"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("CTLR = 1", "CTLR is not in a table"),
        ("[GITS0]\nCTLR = true", "GITS0.CTLR is True, not an integer"),
        ("[GITS0]\nCTLR = 1.0", "GITS0.CTLR is 1.0, not an integer"),
        ("[GITS0]\nCTLR = '0x1'", "GITS0.CTLR is '0x1', not an integer"),
        ("[GITS0.inner]\nCTLR = 1", "GITS0.inner is a table, not an integer"),
        ("[[GITS0]]\nCTLR = 1", "GITS0 is not in a table"),
        ("[GITS0]\nCTLR = -1", "GITS0.CTLR is -0x1, not a value of 64 bits"),
        ("[GITS0]\nCTLR = 0x1_0000_0000_0000_0000", "GITS0.CTLR is 0x10000000000000000, not a value of 64 bits"),
        ("[GITS0]\n'GITS CTLR' = 1", "'GITS CTLR' is not the name"),
        ("[GITS0]\nCTLR = 0x", "is not TOML"),
        ("[GITS0]\nCTLR = 1\nCTLR = 1", "is not TOML"),
        ("[GITS0]\nCTLR = " + "9" * 5000, "is not TOML"),
        ("a = " + "[" * 100_000, "is not TOML"),
        ("#" * (MAX_BYTES + 1), "no registers file"),
        ("\x7fELF\x00", "is not TOML"),
    ],
    ids=range(15),
)
def test_what_cannot_be_used_is_named(tmp_path, text, rule):
    path = tmp_path / "registers.toml"
    path.write_text(text)
    with pytest.raises(UnusableInput, match=r"registers\.toml: ") as refusal:
        read_registers(path)
    assert rule in str(refusal.value)


BOMBS = {
    "one deep key": "[GITS0]\n" + "a." * 30_000 + "b = 1",
    "a key as deep as tomllib allows": "[GITS0]\n" + "a." * 600 + "b = 1",
    "a deep header": "[" + "a." * 30_000 + "b]",
    "deep keys on every line": "".join(f"a{n}." + "a." * 15 + "b = 1\n" for n in range(23_000)),
    "nested tables": "a = " + "{a = " * 300 + "1" + "}" * 300,
    "nested arrays": "[GITS0]\nCTLR = " + "[" * 300 + "]" * 300,
    "a long number": "[GITS0]\nCTLR = 0x" + "f" * 900_000,
    "a long text": "[GITS0]\nCTLR = '" + "x" * 900_000 + "'",
    "a long name": "[GITS0]\n'" + "x" * 900_000 + " ' = 1",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_does_not_take_much_memory(tmp_path, name):
    """A key of 60 KB took tomllib 5.2 GB, and one of 600 parts could be read but not printed."""
    path = tmp_path / "registers.toml"
    path.write_text(BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnusableInput, match=r"registers\.toml: ") as refusal:
        read_registers(path)
    assert len(str(refusal.value)) < 2100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 << 10  # KiB


def test_comments_may_have_dots(tmp_path):
    path = tmp_path / "registers.toml"
    path.write_text("# " + "." * 100 + "\n  # ..................\n[GITS0]\nCTLR = 1 # as in GITS_CTLR.Enabled ...\n")
    assert read_registers(path) == {"GITS0": {"CTLR": 1}}


def test_the_registers_of_the_largest_machine_are_not_too_many(tmp_path):
    path = tmp_path / "registers.toml"
    names = ("CTLR", "TYPER", "PROPBASER", "PENDBASER", "VPROPBASER", "VPENDBASER")
    registers = {f"GICR{n}": dict.fromkeys(names, (1 << 64) - 1) for n in range(4096)}
    write_registers(path, registers)
    assert read_registers(path) == registers


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "registers.toml"
    path.write_bytes(b"\xff\xfe[GITS0]")
    with pytest.raises(UnusableInput, match="is not TOML"):
        read_registers(path)


def test_a_value_that_cannot_be_read_again_is_not_written(tmp_path):
    path = tmp_path / "registers.toml"
    for registers in ({"GITS0": {"CTLR": 2**64}}, {"GITS0": {"C TLR": 1}}, {"": {}}):
        with pytest.raises(UnusableInput):
            write_registers(path, registers)
    assert not path.exists()


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


def test_the_address_of_a_redistributor_is_given_beside_its_registers():
    assert from_pairs(["GICR3_RD_base=0x80a0000"]) == {"GICR3": {"RD_base": 0x80A_0000}}
    for pair in ("GITS_RD_base=1", "GICR0_rd_base=1", "GICD_RD_base=1"):
        with pytest.raises(UnusableInput, match="is not NAME=VALUE"):
            from_pairs([pair])


def test_each_value_tells_where_it_comes_from(tmp_path):
    path = tmp_path / "host.toml"
    write_registers(path, {"GITS0": {"CTLR": 1, "IIDR": 2}})
    found = merged([read_registers(path), from_pairs(["GITS_CTLR=3"]), {"GICD": {"TYPER": 4}}])
    origins = {frame: {name: origin_of(value) for name, value in values.items()} for frame, values in found.items()}
    assert origins == {"GITS0": {"CTLR": "--set", "IIDR": str(path)}, "GICD": {"TYPER": None}}


LISTED = """# read by hand
GITS0_CBASER = 0xb80000004217040f
GITS_CREADR: 720
GICR1_PENDBASER 421c0780   # by devmem
GICR1_RD_base=80C0000
"""


def test_lines_of_names_and_values_are_registers(tmp_path):
    (tmp_path / "list").write_text(LISTED)
    assert read_registers(tmp_path / "list") == {
        "GITS0": {"CBASER": 0xB800_0000_4217_040F, "CREADR": 0x720},
        "GICR1": {"PENDBASER": 0x421C_0780, "RD_base": 0x80C_0000},
    }


@pytest.mark.parametrize("line", ["GITS0_NOTHING = 1", "GITS0_CTLR = 0x10000000000000000", "GITS0_CTLR = x", "CTLR 1"])
def test_one_line_that_is_no_register_makes_the_list_none(tmp_path, line):
    (tmp_path / "list").write_text(LISTED + line)
    with pytest.raises(UnusableInput, match=r"."):
        read_registers(tmp_path / "list")
