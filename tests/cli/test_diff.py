# SPDX-License-Identifier: Apache-2.0
"""`gicmodel diff`."""

import json
import tomllib

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from tests.inspection.museum import GUEST, HOST, TABLES

GOLDEN = TABLES / "gicmodel-v4.1-2vcpu"
SOURCE_HOST, SOURCE_GUEST = GOLDEN / "source-host.elf.xz", GOLDEN / "source-guest.elf.xz"
DESTINATION_GUEST = GOLDEN / "destination-guest.elf.xz"


def run(*arguments):
    return CliRunner().invoke(main, ["diff", *map(str, arguments)])


def test_what_a_golden_host_has_in_its_vpts_the_saved_guest_has_in_its_tables():
    result = run(SOURCE_HOST, SOURCE_GUEST)
    assert result.exit_code == 0
    assert result.stdout.endswith("no difference\n")


def test_the_real_host_and_the_real_guest_agree():
    assert run(*(HOST[0], GUEST[0]), "--before-registers", HOST[1]).exit_code == 0


def test_lost_interrupts_are_exit_status_1():
    result = run(SOURCE_GUEST, DESTINATION_GUEST)
    assert result.exit_code == 1
    assert "INTID 8194 of redistributor 0  pending  -" in result.stdout
    assert result.stdout.endswith("pending lost: 3\n")


def test_it_says_what_was_compared():
    result = run(SOURCE_GUEST, DESTINATION_GUEST)
    events = len(json.loads(CliRunner().invoke(main, ["inspect", str(SOURCE_GUEST), "--json"]).stdout)["events"])
    compared = json.loads(run(SOURCE_GUEST, DESTINATION_GUEST, "--json").stdout)["compared"]
    assert compared["pending"]["before"] == compared["pending"]["after"] + 3
    assert compared["mapping"]["before"] >= events
    assert f"pending        {compared['pending']['before']:>6}  {compared['pending']['after']:>5}\n" in result.stdout


def test_json():
    document = json.loads(run(SOURCE_GUEST, DESTINATION_GUEST, "--json").stdout)
    assert document["differs"]
    assert document["counts"] == {"pending lost": 3}
    assert document["changes"][0] == {
        "kind": "pending",
        "what": "lost",
        "subject": "INTID 8194 of redistributor 0",
        "before": "pending",
        "after": "-",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SOURCE_HOST, GOLDEN / "none.elf"), "none.elf: cannot be read: No such file"),
        ((SOURCE_HOST, SOURCE_GUEST, "--vpes", "0,x"), "--vpes '0,x' is not a list of vPEIDs"),
        ((SOURCE_HOST, SOURCE_GUEST, "--vpes", "0"), "the guest has 2 vCPUs and the host 1 vPEs"),
        ((SOURCE_HOST, SOURCE_GUEST, "--after-profile", "qemu"), "entries are 8 bytes; ITE has 12"),
    ],
)
def test_unusable_input_is_one_line(arguments, message):
    result = run(*arguments)
    assert result.exit_code == UNUSABLE
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_each_side_takes_what_inspect_takes(tmp_path):
    """Registers by --set, a trace, and a Linux kernel's own; pieces, and a place behind a name."""
    v3run = TABLES / "linux-virt-dumps" / "v3run.elf.xz"
    kernel = tomllib.loads((TABLES / "linux-virt-dumps" / "v3run.kernel.toml").read_text())
    pairs = [f"{frame}_{name}={value:#x}" for frame, values in kernel.items() for name, value in values.items()]
    given = [option for pair in pairs for option in ("--after-set", pair)]
    result = run(v3run, v3run, "--before-node", "0", *given)
    assert result.exit_code == 0, result.stdout + result.stderr
    assert "mapping            11     11\n" in result.stdout
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(0x1000))
    refused = run(f"{raw}@0x0", v3run, "--before-piece", f"{raw}@0x1000", "--before-vmlinux", raw)
    assert "no Linux kernel that drives an ITS" in refused.stderr
