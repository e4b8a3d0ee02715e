# SPDX-License-Identifier: Apache-2.0
"""`inspect` and `diff` of Linux dumps with nothing beside them."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.images.dump import Piece
from gicmodel.images.elf import write_core
from gicmodel.images.files import opened
from gicmodel.inspection.linux.kernels import find_kernels
from tests.inspection.linux import debug_info, dumps


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("name", "pending"),
    list(zip(dumps.NAMES, [(0, 8197), (0, 8197), (1, 8194), (0, 8193), (0, 8197)], strict=True)),
)
def test_a_dump_alone_tells_what_is_pending(name, pending):
    result = run("inspect", dumps.path(name), "--pending", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [(row["target"], row["INTID"]) for row in document["pending"]] == [pending]
    assert document["registers_from"][0].startswith("in the dump: the dumped kernel, Linux 6.")


def test_the_text_says_where_registers_are_from():
    lines = run("inspect", dumps.path("v3run"), "--table", "pending").stdout.splitlines()
    assert lines[1] == (
        "registers: in the dump: the dumped kernel, Linux 6.1.0-50-cloud-arm64, ITS at 0x8080000, "
        "struct its_node with cmd_base at 0x42109a50"
    )
    assert "  struct its_node, cmd_base at 0x42109a50: GITS0_CBASER, GITS0_CWRITER, GITS0_TYPER, GITS0_B" in lines[2]
    assert "  the kernel's log at 0x41c118b0: GICR0_PENDBASER, GICR0_RD_base, GICR1_PENDBASER, GICR1_RD_base" in lines


def test_what_is_given_counts_and_is_not_the_kernels():
    given = ("--node", "0", "--set", "GITS0_CWRITER=0x20")
    document = json.loads(run("inspect", dumps.path("v3run"), *given, "--json").stdout)
    assert document["registers"]["GITS0"]["CWRITER"] == "0x20"
    (origins,) = [run("inspect", dumps.path("v3run"), *given, "--table", "origins").stdout.splitlines()]
    assert [line.split()[-1] for line in origins if "GITS0_CWRITER" in line][-1] == "--set"
    assert document["registers"]["GITS0"]["BASER0"] == "0xf907000042180600"


def test_a_dump_through_a_name_that_says_nothing(tmp_path):
    with opened(dumps.path("v3run")) as file, (tmp_path / "fd").open("wb") as copy:
        shutil.copyfileobj(file, copy)
    assert run("inspect", tmp_path / "fd").exit_code == 0


def test_a_node_that_there_is_not_is_one_line():
    result = run("inspect", dumps.path("v3run"), "--node", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "gicmodel: --node 1: Linux kernels with an ITS in this dump: 1, from 0 on\n"


def test_diff_of_dumps_alone():
    result = run("diff", dumps.path("v3run"), dumps.path("v3crash"))
    assert result.exit_code == 0, result.output
    assert "table moved" in result.stdout or "no difference" in result.stdout


@pytest.mark.parametrize("name", ["v3run-qemu-kdump.flat.xz", "v3run-qemu-kdump.xz"])
def test_qemus_own_kdump_is_read_as_the_core_is(name):
    given = ("--pending", "--json")
    paths = dumps.DUMPS / name, dumps.path("v3run")
    document, core = (json.loads(run("inspect", path, *given).stdout) for path in paths)
    for table in ("pending", "events"):
        rows = [[{**row, "offset": None} for row in one[table]] for one in (document, core)]
        assert rows[0] == rows[1]
        assert rows[0]


@pytest.mark.parametrize("name", dumps.NAMES)
def test_a_carved_core_gives_the_same_answer(tmp_path, name):
    small, again = tmp_path / "small.elf.xz", tmp_path / "again.elf"
    whole = run("inspect", dumps.path(name), "--json", "--carve", small)
    assert "whole pages around the kernel's log" in whole.stderr
    carved = run("inspect", small, "--json", "--carve", again)
    documents = [json.loads(result.stdout) for result in (whole, carved)]
    for document in documents:
        del document["image"], document["octets"]
        for rows in document.values():
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict):
                    row.pop("offset", None)
    assert documents[0] == documents[1]
    assert again.stat().st_size <= dumps.dump(name).octets + 0x4000


@pytest.mark.parametrize("selected", [("--lpi", "8200"), ("--device", "0x10:2")])
def test_the_way_of_an_interrupt_without_debug_information(selected):
    """What is not known is said to be unknown: the VPT's bit alone makes it pending in hardware."""
    result = run("inspect", dumps.path("v4run"), *selected)
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  device 0x10 (")]
    assert line == (
        "  device 0x10 (unknown) event 2: LPI 8200, irq unknown -> VM unknown, vPE 1 on redistributor 1 (resident), "
        "vINTID 8194, guest's event unknown; VPT bit 1, KVM's latch unknown: pending in hardware"
    )


def test_an_interrupt_that_is_not_pending_in_hardware_may_be_in_software():
    document = json.loads(run("inspect", dumps.path("v3run"), "--lpi", "8196", "--json").stdout)
    (path,) = document["paths"]
    assert (path["bit"], path["latch"], path["verdict"]) == (False, None, "unknown")
    assert (path["DeviceID"], path["EventID"], path["LPI"], path["irq"]) == ("0x10", 0, 8196, None)
    assert [(row["DeviceID"], row["EventID"]) for row in document["events"]] == [("0x10", 0)]


def test_an_lpi_or_an_irq_that_there_is_not_is_one_line():
    result = run("inspect", dumps.path("v3run"), "--lpi", "9000")
    assert (result.exit_code, result.stderr) == (2, "gicmodel: LPI 9000 has no event that is mapped in this dump\n")
    result = run("inspect", dumps.path("v3run"), "--irq", "24")
    assert result.stderr == "gicmodel: --irq 24: Linux's interrupts are not known; --vmlinux FILE tells them\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "0x10", "--lpi", "8192"), "each is there that is selected, and no event is all of it"),
        (("--device", "0x10", "--lpi", "9000"), "LPI 9000 has no event that is mapped in this dump"),
        (("--registers", ""), "Invalid value for '--registers': an empty name is no file; see gicmodel inspect --help"),
        (("--vmlinux", ""), "Invalid value for '--vmlinux': an empty name is no file; see gicmodel inspect --help"),
        (("--piece", ""), "an empty name is no file of RAM"),
    ],
)
def test_what_is_wrong_with_the_options_is_said(options, message):
    result = run("inspect", dumps.path("v3run"), *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"gicmodel: {message}\n"


def test_an_empty_name_is_no_image():
    for arguments in (("inspect", ""), ("diff", "", dumps.path("v3run"))):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert "an empty name is no file" in result.stderr


def test_an_irq_with_debug_information():
    vmlinux = debug_info.vmlinux("v3run")
    document = json.loads(run("inspect", dumps.path("v3run"), "--vmlinux", vmlinux, "--irq", "24", "--json").stdout)
    (path,) = document["paths"]
    assert (path["LPI"], path["handlers"], path["cpus"], path["verdict"]) == (8197, "virtio0-req.0", "0", "hardware")
    assert document["missing"]["KVM's VMs"].startswith("not in the dump")
    (event,) = document["events"]
    assert (event["irq"], event["handlers"], event["device"]) == (24, "virtio0-req.0", None)


def test_debug_information_needs_the_kernel(tmp_path):
    (tmp_path / "ram").write_bytes(bytes(0x1000))
    result = run("inspect", tmp_path / "ram", "--base", "0x40000000", "--vmlinux", tmp_path, "--set", "GITS0_CTLR=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no Linux kernel that drives an ITS, and sees these addresses, is in" in result.stderr


def test_a_carved_dump_has_what_debug_information_led_to(tmp_path):
    small, vmlinux = tmp_path / "small.elf", debug_info.vmlinux("v4run")
    options = ("--vmlinux", vmlinux, "--table", "paths", "--json")
    whole = json.loads(run("inspect", dumps.path("v4run"), *options, "--carve", small).stdout)
    again = json.loads(run("inspect", small, *options).stdout)
    assert again["paths"] == whole["paths"]
    assert {path["VM"]["pid"] for path in again["paths"] if path["VM"]} == {118}


def test_an_overwritten_log_is_why_no_pending_table_is_known(tmp_path):
    """Linux' log is a ring: without debug information nothing else tells where the pending tables are."""
    places = find_kernels(dumps.dump("v3crash")).places.lines
    core = tmp_path / "overwritten.elf"
    segments = dumps.changed(dumps.dump("v3crash"), dict.fromkeys(places, 0)).segments
    write_core(core, [Piece(segment.address, np.array(segment.data)) for segment in segments])
    document = json.loads(run("inspect", core, "--json").stdout)
    assert document["registers_from"][-1] == (
        "its log names no pending tables (it is overwritten, or not in the dump): --vmlinux FILE tells them"
    )
    # Its table of symbols would, and is not in this dump.
    assert document["missing"]["the redistributors"].endswith("nor does the kernel's log name their tables")
    assert document["pending"] is None
    assert {row["pending"] for row in document["events"]} == {None}
    assert not any("its log names no" in line for line in run("inspect", dumps.path("v3crash")).stdout.splitlines())


def test_that_no_guests_ram_is_read_is_said():
    result = run("inspect", dumps.path("v4run"), "--table", "guests")
    assert (
        "events of guests, as KVM has them; no guest's own RAM is read (unknown: what KVM has is told by the dumped "
        "kernel's debug information (--vmlinux) alone)\n"
    ) in result.stdout
    assert json.loads(run("inspect", dumps.path("v4run"), "--table", "guests", "--json").stdout)["guests"] is None
    vmlinux = debug_info.vmlinux("v4run")
    told = run("inspect", dumps.path("v4run"), "--vmlinux", vmlinux, "--table", "guests")
    assert "events of guests, as KVM has them; no guest's own RAM is read (3)\n" in told.stdout
