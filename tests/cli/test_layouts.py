# SPDX-License-Identifier: Apache-2.0
"""`gicmodel layouts`."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.layouts.catalogue import CATALOGUE, KINDS
from gicmodel.layouts.its_tables import DTE


def run(*arguments):
    return CliRunner().invoke(main, ["layouts", *arguments])


def test_without_a_name_every_layout_is_listed_by_kind():
    result = run()
    assert result.exit_code == 0
    groups = [group.splitlines() for group in result.stdout.split("\n\n")]
    assert [group[0] for group in groups] == [f"{kind}s" for kind in CATALOGUE]
    listed = [[line.split()[0] for line in group[1:]] for group in groups]
    assert listed == [[layout.name for layout in layouts] for layouts in CATALOGUE.values()]


def test_a_table():
    result = run("DTE")
    assert result.exit_code == 0
    heading, diagram = result.stdout.split("\n\n", 1)
    assert heading.splitlines() == ["DTE: table, 64 bits", DTE.doc]
    assert diagram == DTE.diagram() + "\n"


def test_a_command():
    assert run("VMAPP_V40").stdout.splitlines()[2] == "opcode 0x29, GICv4.0"
    assert run("mapd").stdout.splitlines()[2] == "opcode 0x08, GICv3 GICv4.0 GICv4.1"


def test_a_register():
    place = "GITS_CTLR at 0x00000, RW, GICv3 GICv4.0 GICv4.1, reset Quiescent=1, UMSIirq=0, ImDe=0, Enabled=0"
    assert run("gits_ctlr").stdout.splitlines()[:3] == ["GITS_CTLR: register, 32 bits", "ITS control", place]


def test_a_layout_is_found_by_the_names_of_its_registers():
    assert run("gits_baser3").stdout == run("GITS_BASER").stdout
    assert run("GICR_PIDR2").stdout.startswith("PIDR2: register")


@pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.name)
def test_json_has_what_the_layout_has(layout):
    about = json.loads(run(layout.name.lower(), "--json").stdout)
    assert (about["name"], about["kind"], about["words"]) == (layout.name, KINDS[layout], list(layout.word_bits))
    assert [tuple(field.values())[:6] for field in about["fields"]] == [tuple(span) for span in layout.spans.values()]
    word = {number: (1 << width) - 1 for number, width in enumerate(layout.word_bits)}
    read = {
        field["name"]: (word[field["word"]] >> field["low"] & (1 << field["high"] - field["low"] + 1) - 1)
        << field["scale"]
        for field in about["fields"]
        if not field["reserved"]
    }
    assert read == layout.unpack(list(word.values()))


def test_json_of_all():
    everything = json.loads(run("--json").stdout)
    assert [about["name"] for about in everything] == [layout.name for layout in KINDS]
    by_name = {about["name"]: about for about in everything}
    assert by_name["VSGI"]["opcode"] == 0x23
    assert by_name["VSGI"]["architectures"] == ["4.1"]
    assert by_name["GICR_VPENDBASER_V40"]["registers"] == [
        {
            "name": "GICR_VPENDBASER",
            "offset": 0x2_0078,
            "access": "RW",
            "architectures": ["4.0"],
            "reset": {"Valid": 0, "Dirty": 0, "PendingLast": 0},
        }
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("vmovq", "close: VMOVP, VMOVI, MOVI"), ("GITS_BASE", "close: GITS_BASER,"), ("%", "none is close"), ("", "none")],
)
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_an_unknown_name_is_one_line_with_close_names(name, hint, option):
    result = run(name, *option)
    assert result.exit_code == UNUSABLE
    assert result.stdout == ""
    assert result.stderr.startswith(f"gicmodel: no table, command or register is named {name!r}; {hint}")
    assert result.stderr.count("\n") == 1


def test_numba_is_not_imported():
    program = (
        "import sys\nfrom gicmodel.cli import main\n"
        "main(['layouts', 'gits_baser'], standalone_mode=False)\n"
        "assert not {'numba', 'hypothesis', 'rich'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Physical_Address" in result.stdout


def test_an_output_without_box_characters_gets_ascii():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    program = "from gicmodel.cli import main; main()"
    arguments = [sys.executable, "-c", program, "layouts", "DTE"]
    result = subprocess.run(arguments, capture_output=True, check=True, env=environment)
    assert result.stdout.isascii()
    assert b"+---------------------------+-" in result.stdout
