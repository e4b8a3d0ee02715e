# SPDX-License-Identifier: Apache-2.0
"""Registers by address, as QEMU's xp and devmem show them."""

import json

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.errors import UnusableInput
from gicmodel.images.sources import read_registers
from gicmodel.images.windows import bases_of, registers_in, window_in
from tests.inspection.linux import dumps

XP = """\
(qemu) xp /1wx 0x8080000
0000000008080000: 0x80000001
(qemu) xp /2gx 0x8080080
0000000008080080: 0xb80000004217040f 0x0000000000001360
0000000008080090: 0x0000000000001360
00000000080a0070: 0x00000000421b078f 0x00000000421c0780
00000000080c0070: 0x000000004365058f 0xe000000043660780
00000000080e0070: 0x00000000421b078f 0x00000000421d0780
0000000008100070: 0x000000004365058f 0xe000000043680780
"""
"""What the monitor of v4run's machine said."""
DEVMEM = """\
root@host:~# devmem 0x08080000
0x80000001
# busybox devmem 0x8080080 64
0xB80000004217040F
# devmem2 0x8080088 l
/dev/mem opened.
Memory mapped at address 0xffff8a7e8000.
Value at address 0x8080088 (0xffff8a7e8088): 0x1360
"""
BASES = {"GITS0": 0x808_0000, "GICR0": 0x80A_0000, "GICR1": 0x80E_0000}


def read_window(path):
    with path.open("rb") as file:
        return window_in(file, path)


@pytest.fixture
def shown(tmp_path):
    def write(text):
        path = tmp_path / "shown.txt"
        path.write_text(text)
        return path

    return write


def test_xp_of_a_real_machine(shown):
    path = shown(XP)
    found = registers_in(read_window(path), BASES, path)
    hardware = read_registers(dumps.DUMPS / "v4run.hardware.toml")
    for frame, values in found.items():
        assert values == {name: hardware[frame][name] for name in values}
    assert set(found["GICR1"]) == {"PROPBASER", "PENDBASER", "VPROPBASER", "VPENDBASER"}
    assert set(found["GITS0"]) == {"CTLR", "CBASER", "CWRITER", "CREADR"}


def test_devmem(shown):
    path = shown(DEVMEM)
    found = registers_in(read_window(path), BASES, path)
    assert found == {"GITS0": {"CTLR": 0x8000_0001, "CBASER": 0xB800_0000_4217_040F, "CWRITER": 0x1360}}


def test_half_of_a_register_is_not_the_register(shown):
    path = shown("devmem 0x8080000 32\n0x80000001\ndevmem 0x8080080 32\n0x4217040f\n")
    assert registers_in(read_window(path), BASES, path) == {"GITS0": {"CTLR": 0x8000_0001}}


def test_two_halves_are(shown):
    path = shown("devmem 0x8080084\n0xb8000000\ndevmem 0x8080080\n0x4217040f\n")
    assert registers_in(read_window(path), BASES, path) == {"GITS0": {"CBASER": 0xB800_0000_4217_040F}}


def test_another_redistributor_is_no_vlpi_frame(shown):
    """Without VLPIS a redistributor has two frames, and the next one's registers are where GICv4 has more."""
    path = shown("00000000080c0070: 0x000000004365058f 0xe000000043660780\n")
    found = registers_in(read_window(path), {"GICR0": 0x80A_0000, "GICR1": 0x80C_0000}, path)
    assert found == {"GICR1": {"PROPBASER": 0x4365_058F, "PENDBASER": 0xE000_0000_4366_0780}}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("0000000009080000: 0x80000001\n", r"shows 0x9080000, which is no register of a frame whose address is known"),
        ("devmem 0x8080000 32\nBus error\n", r"line 2: 'Bus error' is neither"),
        ("devmem 0x8080000 32\n0x1234567890\n", r"line 2: 1234567890 has more than 32 bits"),
        ("devmem zzz\n0x1\n", r"line 1: 'zzz' is no physical address"),
        ("devmem 0x8080000\n", r"no line of it is a value"),
        ("devmem 0xfffffffffffffff0 64\n0x1\n", r"is no physical address"),
    ],
)
def test_what_shows_nothing_is_refused(shown, text, refused):
    path = shown(text)
    with pytest.raises(UnusableInput, match=refused):
        registers_in(read_window(path), BASES, path)


def test_a_toml_file_is_none():
    assert read_window(dumps.DUMPS / "v4run.hardware.toml") is None


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_inspect_takes_the_frames_of_the_kernel(shown):
    result = run("inspect", dumps.path("v4run"), "--registers", shown(XP), "--json")
    document = json.loads(result.stdout)
    hardware = read_registers(dumps.DUMPS / "v4run.hardware.toml")
    for frame, name in (("GITS0", "CTLR"), ("GITS0", "CREADR"), ("GICR1", "VPENDBASER")):
        assert document["registers"][frame][name] == hex(hardware[frame][name])
    assert "GITS0_CREADR" not in document["missing"]


def test_registers_alone_need_the_frames_to_be_told(shown):
    path = shown(XP)
    result = run("inspect", "--registers", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no register of a frame whose address is known (none is); --set GITS0_base=0x... or" in result.stderr
    told = ("--set", "GITS0_base=0x8080000", "--set", "GICR0_RD_base=0x80a0000", "--set", "GICR1_RD_base=0x80e0000")
    document = json.loads(run("inspect", "--registers", path, *told, "--json").stdout)
    assert document["registers"]["GITS0"]["CREADR"] == "0x1360"


def test_bases_are_those_that_are_given():
    given = {"GITS0": {"base": 1}, "GICR3": {"RD_base": 2, "CTLR": 3}, "GICD": {"base": 4}, "guest": {"vcpus": 2}}
    assert bases_of(given) == {"GITS0": 1, "GICR3": 2, "GICD": 4}
