# SPDX-License-Identifier: Apache-2.0
"""`gicmodel replay`."""

import json

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.segments import write_elf
from gicmodel.memory import GuestMemory
from gicmodel.replay import survey
from gicmodel.replay.replayer import Replayer
from tests.replay.tracelog import EVENT, LPI, VPT, Log


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "gic.trace")
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.msi(EVENT)
    return log


@pytest.fixture
def image(log, tmp_path):
    """What the model itself leaves in RAM, so that the comparison has something equal to find."""
    path = log.write()
    replayer = Replayer(path, survey(path), None)
    for event in read_trace(path):
        replayer.feed(event)
    window = GuestMemory(0x4010_0000, 0x10_0000)
    window.write(window.base, replayer.memory.read(window.base, window.size))
    write_elf(tmp_path / "ram.elf", window)
    return tmp_path / "ram.elf"


def run(*arguments):
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


def test_json_on_standard_output(log, image):
    result = run(log.path, "--compare", image, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "verdict": "equal",
        "partial": [],
        "events": 16,
        "commands": 5,
        "commands_by_kind": {"MAPC": 1, "MAPD": 1, "MAPTI": 1, "VMAPP": 1, "VMAPTI": 1},
        "msis": 1,
        "acknowledges": 0,
        "acknowledged_not_pending": 0,
        "unknown": {},
        "glued": 0,
        "compared": {
            "device_table": {"bytes": 4096, "different": 0, "absent": 0},
            "itts": {"bytes": 48, "different": 0, "absent": 0},
            "collection_table": {"bytes": 4096, "different": 0, "absent": 0},
            "vpe_table": {"bytes": 4096, "different": 0, "absent": 0},
            "lpi_pending_tables": {"bytes": 8192, "different": 0, "absent": 0},
            "vpts": {"bytes": 8192, "different": 0, "absent": 0},
        },
    }


def test_json_in_a_file(log, tmp_path):
    log.iar(LPI)
    result = run(log.write(), "--json-file", tmp_path / "result.json")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "result.json").read_text())["compared"] == {}
    assert "17 events: 5 commands, 1 MSIs" in result.stdout


def test_a_difference_is_shown_and_is_exit_status_1(log, image):
    memory = GuestMemory(VPT, 0x2000)
    memory.write_u8(VPT + 1025, 0x80)
    write_elf(image, memory)
    result = run(log.path, "--compare", image)
    assert result.exit_code == 1
    assert f"vpts {VPT + 1025:#x}: model 0x0, traced 0x80" in result.stdout


def test_an_acknowledge_that_was_not_pending_is_shown_and_is_exit_status_1(log):
    log.iar(LPI)
    log.iar(LPI)
    result = run(log.write())
    assert result.exit_code == 1
    assert "2 acknowledges, 1 of an interrupt that was not pending" in result.stdout
    assert f"line 18: ICC_IAR1 of PE 0x0 returned INTID {LPI}" in result.stdout


def test_unknown_lines_are_named(log):
    log.iar(LPI)
    log.lines += ["smmuv3_translate x"]
    result = run(log.write())
    assert result.exit_code == 0
    assert "unknown: smmuv3_translate, 1 lines" in result.stdout


@pytest.mark.parametrize(("value", "status"), [("0x60", 1), ("0xa0", 0)])
def test_registers_are_compared(log, tmp_path, value, status):
    registers = tmp_path / "registers.toml"
    registers.write_text(f"[GITS0]\nCREADR = {value}\n[GICR0]\nCTLR = 3\n[guest]\nvcpus = 2\n")
    result = run(log.write(), "--registers", registers)
    assert result.exit_code == status
    assert ("GITS0.CREADR: model 0xa0, traced 0x60" in result.stdout) == bool(status)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[GITS0]\nBASER9 = 0", "GITS0.BASER9: GICv4.0 has no such register"),
        ("[GICR1]\nCTLR = 0", "GICR1.CTLR: the trace shows 1 of these"),
    ],
)
def test_registers_that_the_machine_lacks(log, tmp_path, toml, message):
    (tmp_path / "registers.toml").write_text(toml)
    result = run(log.write(), "--registers", tmp_path / "registers.toml")
    assert result.exit_code == UNUSABLE
    assert message in result.stderr


def test_a_malformed_line_is_one_line_with_its_number(log):
    log.lines.insert(3, "gicv3_its_write GICv3 ITS write: offset")
    result = run(log.write())
    assert result.exit_code == UNUSABLE
    assert "gic.trace: line 4: gicv3_its_write must read" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_such_file(tmp_path):
    assert run(tmp_path / "none").exit_code == UNUSABLE


def test_json_that_cannot_be_written_is_refused_before_the_replay(log, tmp_path):
    result = run(log.write(), "--json-file", tmp_path)
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")


def test_json_that_cannot_be_written_at_the_end_leaves_the_result_on_the_screen(log):
    result = run(log.write(), "--json-file", "/dev/full")
    assert result.exit_code == UNUSABLE
    assert " events: " in result.stdout
    assert result.stderr == "gicmodel: /dev/full: cannot be written: No space left on device\n"
