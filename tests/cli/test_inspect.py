# SPDX-License-Identifier: Apache-2.0
"""`gicmodel inspect`."""

import csv
import json
import os
import pty
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.images.files import opened
from gicmodel.inspection.rules import RULES
from gicmodel.inspection.selection import TABLES
from tests.conftest import needed
from tests.inspection.museum import CAPTURE, GUEST, HOST


def run(*arguments):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def host(*arguments):
    return run(HOST[0], "--registers", HOST[1], *arguments)


def test_the_real_host_is_clean_and_its_stuck_interrupts_are_named():
    result = host()
    assert result.exit_code == 0
    assert "GICv4.0, entries of qemu" in result.stdout
    assert "qemu: 13 of 13 entries make sense" in result.stdout
    assert "missing: GITS0_TYPER" in result.stdout
    assert result.stdout.endswith("3 devices, 8 events, 2 vPEs, 2 pending interrupts; 0 errors, 0 warnings\n")


def test_registers_are_found_beside_the_image():
    result = run(GUEST[0])
    assert result.exit_code == 0
    assert f"registers: {GUEST[1]}" in result.stdout


def test_registers_from_a_trace():
    result = run(HOST[0], "--trace", CAPTURE / "host-vm-stopped.trace.xz", "--json")
    assert json.loads(result.stdout)["registers"]["GICR1"]["PENDBASER"] == "0x43220780"


def test_registers_from_pairs_and_what_is_missing():
    result = run(HOST[0], "--set", "GITS_BASER0=0xf9070000431d0600", "--json")
    document = json.loads(result.stdout)
    assert len(document["events"]) == 8
    assert document["missing"]["GITS0_BASER1"] == "collections cannot be decoded"
    assert document["missing"]["GICR0_PENDBASER"] == "configuration and pending state of LPIs cannot be decoded"


def test_a_register_tells_which_source_it_comes_from():
    trace = CAPTURE / "host-vm-stopped.trace.xz"
    options = ("--trace", trace, "--registers", HOST[1], "--set", "GITS_CTLR=1", "--table", "origins", "--json")
    document = json.loads(run(HOST[0], *options).stdout)
    rows = {row["register"]: (row["value"], row["origin"]) for row in document["origins"]}
    assert rows["GITS0_CTLR"] == ("0x1", "--set")
    assert rows["GITS0_BASER0"] == ("0xf9070000431d0600", str(HOST[1]))
    told_by_trace = {origin for _, origin in rows.values()} - {"--set", str(HOST[1])}
    assert told_by_trace
    assert all(origin.startswith(f"{trace}: ") for origin in told_by_trace)


def test_json_has_the_events_and_the_pending_interrupts():
    document = json.loads(host("--json").stdout)
    assert [*document][-len(TABLES) :] == list(TABLES)
    assert document["events"][1] == {
        "DeviceID": "0x8",
        "EventID": 1,
        "virtual": True,
        "INTID": 8193,
        "ICID": None,
        "vPEID": 0,
        "RDbase": 1,
        "enabled": True,
        "priority": "0xc0",
        "pending": True,
        "Doorbell": 8196,
        "address": "0x438df80c",
        "offset": "0x8380c",
    }
    assert [(row["target"], row["INTID"]) for row in document["pending"]] == [(0, 8193), (1, 8194)]


def test_csv_is_one_table():
    rows = list(csv.DictReader(host("--csv").stdout.splitlines()))
    assert [(row["DeviceID"], row["EventID"], row["INTID"], row["pending"]) for row in rows[:2]] == [
        ("0x8", "0", "8192", "no"),
        ("0x8", "1", "8193", "yes"),
    ]
    assert host("--csv", "--table", "vpes").stdout.count("\n") == 3


def test_one_device_one_event_one_vpe_and_what_is_pending():
    assert [row["DeviceID"] for row in json.loads(host("--device", "0x10", "--json").stdout)["events"]] == ["0x10"] * 3
    assert len(json.loads(host("--device", "8:2", "--json").stdout)["events"]) == 1
    vpe = json.loads(host("--vpe", "1", "--json").stdout)
    assert [row["INTID"] for row in vpe["events"]] == [8192, 8194]
    assert [row["INTID"] for row in vpe["pending"]] == [8194]
    assert [row["INTID"] for row in json.loads(host("--pending", "--json").stdout)["events"]] == [8193, 8194]


def test_hex_shows_bytes_and_fields():
    lines = host("--device", "8:1", "--hex").stdout.splitlines()
    assert lines[0].startswith("ITE at 0x438df80c, file offset 0x8380c: ")
    with opened(HOST[0]) as file:
        file.seek(0x8380C)
        octets = file.read(12)
    assert lines[1] == "  bytes  " + octets.hex(" ")
    assert any("IntID" in line and "0x2001" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "9"), "device 0x9 is not mapped in this dump"),
        (("--device", "8:9"), "event 9 of device 0x8 is not mapped"),
        (("--device", "x"), "--device 'x' is not DeviceID"),
        *(
            (("--device", text), f"--device {text!r} is not DeviceID")
            for text in ("", ":", "8:", ":1", "8:1:2", "8: 1", "1_0")
        ),
        *((("--device", text), f"--device {text!r} is not DeviceID") for text in ("-8", "8:-1", "\u0668")),
        (("--device", "0x100000008"), "--device '0x100000008': a DeviceID or an EventID has 32 bits at most"),
        (("--device", "8:0x100000000"), "--device '8:0x100000000': a DeviceID or an EventID has 32 bits at most"),
        (("--set", "GITS_BASER0=1_0"), "'GITS_BASER0=1_0': '1_0' is not a number"),
        (("--vpe", "2"), "vPE 2 is not mapped in this dump"),
        (("--set", "GITS_BOSER0=1"), "'GITS_BOSER0=1' is not NAME=VALUE"),
        (("--set", "GITS_BOSER0=1"), "; close: GITS_BASER0"),
        (("--set", "GICR1_PENBASER=1"), "; close: GICR_PENDBASER"),
        (("--profile", "gicmodel"), "GITS0_BASER2: entries are 8 bytes; VPE_CONFIGURATION has 32"),
        (("--base", "0x1000"), "is an ELF file, whose addresses are its own"),
        (("--explain", "nonsense"), "no finding is named 'nonsense'; there are chain-broken,"),
    ],
)
def test_unusable_input_is_one_line(arguments, message):
    result = host(*arguments)
    assert result.exit_code == UNUSABLE
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_image_without_registers_is_one_line(tmp_path):
    shutil.copy(GUEST[0], tmp_path / "ram.elf.xz")
    result = run(tmp_path / "ram.elf.xz")
    assert result.exit_code == UNUSABLE
    assert "its registers are not known: give --registers FILE" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--hex",), ("--table", "nothing"), ("--base", "-1")])
def test_usage(arguments):
    assert run(*([HOST[0]] if arguments else []), *arguments).exit_code == UNUSABLE


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_finding_is_explained(rule):
    result = run("--explain", rule.identifier)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{rule.identifier}: {rule.severity}", rule.text, f"source: {rule.source}"]


def test_what_can_be_explained_is_listed():
    listed = run("--explain").stdout
    assert all(f"{rule.identifier}: {rule.severity}: {rule.text}\n" in listed for rule in RULES.values())


@pytest.mark.parametrize("options", [("--json", "--csv"), ("--csv", "--hex", "--device", "8"), ("--browse", "--json")])
def test_one_dump_is_shown_in_one_way(options):
    result = host(*options)
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert "exclude each other" in result.stderr


def test_a_column_of_which_nothing_is_known_is_left_out():
    """All events of the host's device are virtual, and its guest's are not."""
    assert "vPEID" in host("--device", "8").stdout
    assert "ICID" not in host("--device", "8").stdout
    assert "vPEID" not in run(GUEST[0], "--table", "events").stdout


def test_json_in_a_file_and_text_on_standard_output(tmp_path):
    result = host("--json-file", tmp_path / "host.json")
    assert "vPEs (2)" in result.stdout
    assert (tmp_path / "host.json").read_text() == host("--json").stdout


def test_a_finding_is_exit_status_1():
    result = host("--set", "GITS_CBASER=0xb8000000431d040f")
    assert result.exit_code == 1
    assert "device table (GITS0_BASER0) at 0x431d0000 overlaps command queue of GITS0 at 0x431d0000" in result.stdout


@pytest.mark.parametrize("table", ["vpes", "redistributors"])
def test_a_terminal_gets_what_a_pipe_gets_but_for_colour(table):
    arguments = [sys.executable, "-m", "gicmodel", "inspect", HOST[0], "--table", table]
    wide = os.environ | {"COLUMNS": "300"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(arguments, stdout=theirs, env=wide) as process:
        os.close(theirs)
        drawn = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)
    piped = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert process.returncode == 0
    assert click.unstyle(drawn).replace("\r\n", "\n") == piped
    assert "\x1b[1m" in drawn
    assert "\x1b" not in piped


def _read(terminal):
    """Bytes from a terminal; none when its other end is closed, which Linux reports as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_numba_is_not_imported():
    program = (
        "import sys\nfrom gicmodel.cli import main\n"
        f"main(['inspect', {str(GUEST[0])!r}], standalone_mode=False)\n"
        "assert not {'numba', 'hypothesis', 'matplotlib'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "2 devices, 6 events" in result.stdout


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_figure(tmp_path, suffix):
    needed("matplotlib")
    target = tmp_path / f"host.{suffix}"
    assert host("--figure", target).exit_code == 0
    assert target.read_bytes().startswith(b"<?xml" if suffix == "svg" else b"\x89PNG")


def test_a_figure_of_another_kind_is_refused(tmp_path):
    result = host("--figure", tmp_path / "host.txt")
    assert result.exit_code == UNUSABLE
    assert "a figure is .svg, .png, .pdf" in result.stderr


def test_what_is_not_decoded_is_not_counted_as_none():
    result = host("--profile", "opaque")
    assert "\n- devices, - events, " in result.stdout
    result = run(HOST[0], "--set", "GICR_PENDBASER=0x43210780")
    assert "\n- devices, - events, 0 vPEs, " in result.stdout
