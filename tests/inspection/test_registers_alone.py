# SPDX-License-Identifier: Apache-2.0
"""Registers without RAM: what they break by themselves, and nothing else."""

import json

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from tests.inspection.museum import TABLES

HARDWARE = TABLES / "linux-virt-dumps" / "v4run.hardware.toml"


def run(*arguments):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def test_registers_of_a_real_machine_break_nothing():
    result = run("--registers", HARDWARE)
    assert result.exit_code == 0, result.stdout
    assert result.stdout.startswith("no image: registers alone; all that is in RAM is not known\n")
    assert "\n- devices, - events, - vPEs, - pending interrupts; 0 errors, 0 warnings\n" in result.stdout


@pytest.mark.parametrize(
    ("pairs", "identifier", "sentence"),
    [
        (["GICD_CTLR=0x10"], "groups-disabled", "GICD_CTLR is 0x10: no group of interrupts is enabled"),
        (["GICD_CTLR=2"], "groups-disabled", "GICD_CTLR is 0x2: without affinity routing there are no LPIs"),
        (
            ["GICR0_CTLR=1", "GICR0_PENDBASER=0"],
            "lpis-without-tables",
            "GICR0 has LPIs enabled and its pending table at address 0",
        ),
        (
            ["GICR0_CTLR=1", "GICR0_PROPBASER=0x421b0005"],
            "lpis-without-tables",
            "GICR0 has LPIs enabled and 6 INTID bits: there is none below 14",
        ),
        (["GITS0_CBASER=0"], "queue-without-memory", "GITS0 is enabled and GITS0_CBASER is not valid"),
        (
            ["GITS0_CTLR=0", "GITS0_CBASER=0", "GITS0_CREADR=0"],
            "queue-without-memory",
            "GITS0 has commands waiting and GITS0_CBASER is not valid",
        ),
        (
            ["GITS0_BASER5=0xf9070000431f0600"],
            "table-twice",
            "GITS0_BASER5 and GITS0_BASER0 are both for tables of type 1",
        ),
        (["GITS0_BASER5=0x8300000042180000"], "register-value", "Type 3 is reserved"),
        (["GITS0_CREADR=0x1341"], "queue-stalled", "GITS0 stalled at "),
    ],
)
def test_what_registers_alone_show(pairs, identifier, sentence):
    given = [argument for pair in pairs for argument in ("--set", pair)]
    result = run("--registers", HARDWARE, *given, "--json")
    assert result.exit_code == 1
    (told,) = [row for row in json.loads(result.stdout)["findings"] if row["id"] == identifier]
    assert sentence in told["sentence"]


@pytest.mark.parametrize(
    "arguments", [(), ("--base", "0", "--set", "GITS0_CTLR=1"), ("--node", "0", "--set", "GICD_CTLR=1")]
)
def test_without_an_image_or_registers_there_is_nothing(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert "Missing argument 'IMAGE'" in result.stderr
