# SPDX-License-Identifier: Apache-2.0
"""`gicmodel decode`: values as people have them, in arguments, a line of a log, or a pipe."""

import json
from contextlib import suppress

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.cli import UNUSABLE, main
from gicmodel.errors import UnusableInput
from gicmodel.inspection.values import decode
from gicmodel.layouts.catalogue import KINDS, NAMES
from gicmodel.layouts.commands import encode
from gicmodel.layouts.its_tables import DTE, ITE


def run(*arguments, text=None):
    return CliRunner().invoke(main, ["decode", *arguments], input=text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("GITS_BASER0", "f907000042180600"),
        ("gits_baser", "0xf907000042180600"),
        ("GITS0_BASER0=0xf907000042180600",),
        ("GITS0_BASER0: 0xF907000042180600",),
        ("ITS@0x0000000008080000: GITS_BASER0 = 0xf907000042180600 (read back)",),
    ],
)
def test_a_register_however_it_is_written(arguments):
    """BASER0 of tables/linux-virt-dumps, and what the kernel's log of that machine says of it."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split()[1] == "0xf907000042180600:"
    assert "  [58:56]  Type              0x1  RO: 0 none, 1 devices, 2 vPEs, 4 collections" in lines
    assert "  Linux: allocated 8192 Devices @42180000 (indirect, esz 8, psz 64K, shr 1)" in lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("GITS_BASER1", "bc07000042190600"),
            "allocated 8192 Interrupt Collections @42190000 (flat, esz 8, psz 64K, shr 1)",
        ),
        (
            ("GITS_BASER2", "fa070000421a0600"),
            "allocated 8192 Virtual CPUs @421a0000 (indirect, esz 8, psz 64K, shr 1)",
        ),
        (("GICR_PROPBASER", "421a078f"), "using LPI property table @0x00000000421a0000"),
        (("GICR0_PENDBASER", "421b0780"), "using allocated LPI pending table @0x00000000421b0000"),
    ],
)
def test_what_linux_prints_of_it(arguments, sentence):
    """As the log of a real machine had it."""
    assert f"  Linux: {sentence}" in run(*arguments).stdout.splitlines()


def test_four_words_are_a_command():
    words = [f"{word:016x}" for word in encode("MAPTI", DeviceID=0x10, EventID=1, pINTID=8197, ICID=1)]
    result = run(*words)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "MAPTI 0x000000100000000a 0x0000200500000001 0x0000000000000001 0x0000000000000000: "
    )
    assert run("MAPTI", *words).stdout == result.stdout
    assert run(" ".join(words)).stdout == result.stdout


def test_a_gicv40_command_is_read_as_one():
    words = [f"{word:x}" for word in encode("VMAPP", "4.0", vPEID=1, V=1, VPT_addr=0x4368_0000, VPT_size=15)]
    assert "VPT_addr" in run("--gic", "4.0", *words).stdout
    result = run("--gic", "3", *words)
    assert (result.exit_code, result.stderr) == (UNUSABLE, "gicmodel: GICv3 has no command of opcode 0x29\n")


def test_lines_of_a_pipe_are_values_each():
    entry = ITE.pack_words(Valid=1, IntType=1, IntID=8197)
    text = f"DTE {DTE.pack(Valid=1, Size=4, ITT_addr=0x8000_0000):#x}\n\nITE {entry[0]:x} {entry[1]:x}\n"
    found = json.loads(run("--json", text=text).stdout)
    assert [each["name"] for each in found] == ["DTE", "ITE"]
    assert (found[0]["fields"]["ITT_addr"], found[1]["fields"]["IntID"]) == ("0x80000000", "0x2005")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("GITS_BASER0", "8300000042180000"), "Type 3 is reserved"),
        (("GITS_BASER0", "8100000042180300"), "Page_Size 3 is reserved, and treated as 64 KiB"),
        (("GITS_BASER0", "8000000042180000"), "it is valid and for no table"),
        (("GITS_BASER0", "8100000000000000"), "it is valid and its table is at address 0"),
        (("GITS_CBASER", "800000004217100f"), "its address 0x42171000 is not a multiple of 64 KiB"),
        (("GITS_CREADR", "721"), "the ITS stopped at the command at offset 0x720"),
        (("GICR_PROPBASER", "421a0004"), "with 5 INTID bits there is no LPI: they begin at 8192"),
        (("GITS_CTLR", "100000"), "[30:9] is RES0 and not zero"),
    ],
)
def test_what_is_wrong_is_said(arguments, sentence):
    result = run(*arguments)
    assert result.exit_code == 1
    assert any(line.startswith("  wrong: ") and sentence in line for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("NONSENSE", "1"), "no table entry, command or register is named 'NONSENSE'"),
        (("1234",), "1 words without a name: give the NAME"),
        (("1", "2", "3", "4", "5"), "5 words without a name"),
        (("ff", "0", "0", "0"), "GICv4.1 has no command of opcode 0xff"),
        (("MAPD", "9", "0", "0", "0"), "0x9 has opcode 0x09; that of MAPD is 0x08"),
        (("GITS_CTLR", "100000000"), "0x100000000 is wider than the 32 bits of GITS_CTLR"),
        (("DTE", "1", "2"), "DTE has 1 words of 64 bits; 2 are given"),
        (("DTE",), "DTE has 1 words of 64 bits; 0 are given"),
        (("DTE", "xyz"), "'xyz' is not a hexadecimal number"),
        (("GITS_BASER0", "-1"), "'-1' is not a hexadecimal number"),
        (("\x00\x13\udcff",), "'\\x00\\x13\\udcff' is no text: a value is given as NAME WORD"),
        (("=",), "there is no number: a value is given as NAME WORD..., or four words of a command"),
    ],
)
def test_what_cannot_be_decoded_is_one_line(arguments, message):
    result = run("--", *arguments)
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize("text", ["", "\n\n", "x" * 5000])
def test_an_unusable_pipe_is_one_line(text):
    result = run(text=text)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (UNUSABLE, "", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"DTE 1\n\x80\x02\xfe\x00\n", "standard input, line 2: '\\udc80\\x02\\udcfe\\x00' is no text: a value"),
        (b"\n\nDTE zz\n", "standard input, line 3: 'zz' is not a hexadecimal number"),
        (bytes(300), "standard input, line 1: '\\x00"),
    ],
)
def test_a_line_of_a_pipe_that_is_none_is_named(text, message):
    result = run(text=text)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (UNUSABLE, "", 1)
    assert result.stderr.startswith(f"gicmodel: {message}")


@given(st.binary(max_size=200))
def test_any_bytes_of_a_pipe_are_decoded_or_refused(octets):
    result = run(text=octets)
    assert result.exit_code in (0, 1) or (result.stdout == "" and result.stderr.count("\n") == 1)


@given(st.sampled_from([*KINDS]), st.data())
def test_every_layout_decodes_to_its_own_fields(layout, data):
    if KINDS[layout] == "command":
        return
    words = tuple(data.draw(st.integers(0, (1 << bits) - 1)) for bits in layout.word_bits)
    names = [name for name, known in NAMES.items() if known is layout]
    generation = "4.0" if layout.name.endswith("V40") else "4.1"
    found = decode([names[0].removesuffix("_V40"), *(f"{word:x}" for word in words)], generation)
    assert found.layout is layout
    assert found.fields == layout.unpack(words)


@pytest.mark.parametrize("layout", [layout for layout in KINDS if not layout.fields], ids=str)
def test_a_register_without_fields_is_shown(layout):
    name = next(name for name, known in NAMES.items() if known is layout)
    result = run(name, "1")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        f"{name} 0x00000001: {layout.doc}",
        "  wrong: [31:0] is RES0 and not zero: 0x1",
    ]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_whatever_is_given_is_decoded_or_refused(texts):
    with suppress(UnusableInput):
        decode(texts)
