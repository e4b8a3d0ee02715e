# SPDX-License-Identifier: Apache-2.0
"""`gicmodel diff`."""

import json
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.images.dump import Piece
from gicmodel.images.elf import write_core
from tests.inspection.linux import dumps, test_doubts
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


V3RUN, V4RUN = (TABLES / "linux-virt-dumps" / f"{name}.elf.xz" for name in ("v3run", "v4run"))


def test_what_each_was_taken_for_is_said_and_why():
    result = run(SOURCE_HOST, SOURCE_GUEST)
    assert "taken for: before a host (2 vPEs are mapped), after a guest (its " in result.stdout
    assert "compared vPE n's vLPIs with vCPU n's" in result.stdout
    document = json.loads(run(V3RUN, V3RUN, "--json").stdout)
    assert document["before"] == {"name": "machine", "why": "no vPE is known, and nothing of it is KVM's"}
    assert (document["differs"], document["untold"], document["unlike"]) == (False, [], [])


def test_two_hosts_are_no_host_and_its_guest():
    """One of them has no VM: it is compared as a machine, and what does not fit is told."""
    result = run(V4RUN, V3RUN)
    assert result.exit_code == 1
    assert "before a host (2 vPEs are mapped), after a machine (" in result.stdout
    assert "compared as one machine at two times\nunlike: generation: GICv4.0 and GICv3\n" in result.stdout
    refused = run(V4RUN, V3RUN, "--vpes", "0,1")
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (UNUSABLE, "", 1)
    assert "vPEs are named for a host and its guest: BEFORE is a host (2 vPEs are mapped), AFTER a m" in refused.stderr


@pytest.mark.parametrize(
    ("register", "untold"),
    [
        ("GITS0_CTLR=1", ["no GITS0_BASER<n> of a device table", "no register of a redistributor is given"]),
        ("GICR0_CTLR=1", ["where the pending table of redistributor 0 lies is not known"]),
        ("GITS0_BASER0=0xf907000042180600", ["the format of the entries of GITS0_BASER0 is not known"]),
    ],
)
def test_what_neither_dump_tells_is_no_agreement(tmp_path, register, untold):
    """A table that is in neither was not compared: that is said, and exit status 1."""
    (tmp_path / "ram").write_bytes(bytes(0x1000))
    sides = ("before", "after")
    given = [text for side in sides for text in (f"--{side}-base", "0x42190000", f"--{side}-set", register)]
    result = run(tmp_path / "ram", tmp_path / "ram", *given)
    assert result.exit_code == 1, result.output
    assert result.stdout.endswith("no difference in what was compared\n")
    lines = [line.removeprefix("not compared: ") for line in result.stdout.splitlines() if line.startswith("not comp")]
    for side in ("BEFORE", "AFTER"):
        for what in untold:
            assert [line for line in lines if line.startswith(f"{side}: {what}")], lines
    document = json.loads(run(tmp_path / "ram", tmp_path / "ram", *given, "--json").stdout)
    assert (document["differs"], document["untold"]) == (True, lines)


def test_a_doubtful_mapping_is_not_compared_for_sure(tmp_path):
    """On a format that is private the kernel's structures tell; where they are doubtful, so is what is the same."""
    damaged = tmp_path / "damaged.elf"
    places = {test_doubts.lpi_base(0x10): 8200}
    segments = dumps.changed(test_doubts.FORGOTTEN, places).segments
    write_core(damaged, [Piece(segment.address, np.array(segment.data)) for segment in segments])
    result = run(damaged, damaged)
    assert result.exit_code == 1
    assert "not compared: BEFORE: what is told of GITS0 is doubtful (mapping-doubtful)\n" in result.stdout
    assert run(dumps.path("scrambled"), dumps.path("scrambled")).exit_code == 0
