# SPDX-License-Identifier: Apache-2.0
"""A kernel of Debian booted in QEMU, whichever there is: the running machine, and the dumps that QEMU writes of it."""

import contextlib
import json
import shutil
import subprocess
import time

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.images.qmp import Machine
from gicmodel.images.sources import read_dump
from gicmodel.inspection.linux import rdists
from gicmodel.inspection.linux.devices import KernelView, view_of
from gicmodel.inspection.linux.kernels import find_kernels
from gicmodel.inspection.linux.pages import Pages
from gicmodel.inspection.linux.vmlinux import Vmlinux
from tests.conftest import needed
from tests.inspection.linux import debug_info
from tests.inspection.linux.dumps import changed

RAM = 256 << 20
SECONDS = 240


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    """(QMP socket, vmlinux) of a machine whose kernel found no root, so that it stands still."""
    needed("drgn")
    kernel, vmlinux = debug_info.bootable()
    if shutil.which("qemu-system-aarch64") is None:
        debug_info.missing("qemu-system-aarch64 is not installed")
    directory = tmp_path_factory.mktemp("booted")
    arguments = [
        "-M",
        "virt,gic-version=3",
        "-cpu",
        "cortex-a57",
        "-smp",
        "2",
        "-m",
        "256",
        "-device",
        "pcie-root-port",
    ]
    arguments += ["-kernel", str(kernel), "-append", "console=ttyAMA0 panic=0", "-display", "none", "-net", "none"]
    arguments += ["-serial", f"file:{directory}/console", "-qmp", f"unix:{directory}/qmp,server=on,wait=off"]
    with subprocess.Popen(["qemu-system-aarch64", *arguments], stderr=subprocess.PIPE) as process:
        try:
            wait_for_panic(process, directory / "console")
            yield directory / "qmp", vmlinux
        finally:
            process.kill()


def wait_for_panic(process, console):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(FileNotFoundError):
            if b"end Kernel panic" in console.read_bytes():
                return
        time.sleep(0.5)
    raise AssertionError(console.read_bytes()[-2000:])


def document(*arguments):
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stdout[-2000:] + result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def live(booted):
    """The answer of the live machine, before it is stopped."""
    socket, vmlinux = booted
    return document(socket, "--vmlinux", vmlinux, "--table", "paths")


def test_a_live_machine(live):
    (path,) = live["paths"]
    assert (path["DeviceID"], path["EventID"], path["LPI"]) == ("0x8", 0, 8192)
    assert (path["device"], path["driver"], path["cpus"]) == ("0000:00:01.0", "pcieport", "0")
    assert "PCIe PME" in path["handlers"]
    assert (path["bit"], path["latch"], path["verdict"]) == (False, False, "neither")
    assert live["live"].startswith("live: its CPUs ran meanwhile")
    # QEMU's hardware told what no dump has.
    assert live["missing"] == {}
    assert live["registers"]["GITS0"]["CREADR"] == live["registers"]["GITS0"]["CWRITER"]


def test_the_kernels_registers_are_those_of_the_hardware(booted, live):
    socket, _ = booted
    with Machine(socket) as machine:
        assert machine.running
        machine.execute("stop")
    with Machine(socket) as machine:
        assert not machine.running
    stopped = document(socket)
    assert stopped["live"] == "live: its CPUs are stopped"
    assert stopped["registers"]["GITS0"]["BASER0"] == live["registers"]["GITS0"]["BASER0"]


@pytest.mark.parametrize("form", ["elf", "kdump", "raw"])
def test_a_dump_says_the_same(booted, live, tmp_path, form):
    socket, vmlinux = booted
    file = tmp_path / "dump"
    with Machine(socket) as machine:
        if form == "raw":
            machine.execute("pmemsave", val=0x4000_0000, size=RAM, filename=str(file))
        else:
            options = {"format": "kdump-zlib"} if form == "kdump" else {}
            machine.execute("dump-guest-memory", paging=False, protocol=f"file:{file}", **options)
    image = f"{file}@0x40000000" if form == "raw" else file
    found = document(image, "--vmlinux", vmlinux, "--table", "paths")
    assert found["paths"] == live["paths"]
    hardware = live["registers"]
    for name in ("CWRITER", "TYPER"):
        assert found["registers"]["GITS0"][name] == hardware["GITS0"][name]
    addresses = {
        frame: [int(found["registers"][frame][name], 16) & 0xF_FFFF_FFFF_F000 for name in ("PROPBASER", "PENDBASER")]
        for frame in ("GICR0", "GICR1")
    }
    for frame, values in addresses.items():
        assert values == [int(hardware[frame][name], 16) & 0xF_FFFF_FFFF_F000 for name in ("PROPBASER", "PENDBASER")]
    # Without debug information, by the kernel's BTF where it has it, there is the same mapping.
    (event,) = document(image, "--table", "events")["events"]
    assert (event["DeviceID"], event["EventID"], event["INTID"], event["RDbase"]) == ("0x8", 0, 8192, 0)


def test_the_redistributors_are_those_that_debug_information_tells(booted, tmp_path, monkeypatch):
    """By BTF, where the log is overwritten. Debian's kernels have functions in kallsyms only: others have data too."""
    socket, vmlinux = booted
    with Machine(socket) as machine:
        machine.execute("dump-guest-memory", paging=False, protocol=f"file:{tmp_path / 'dump'}")
    dump = read_dump(tmp_path / "dump")
    dump = changed(dump, dict.fromkeys(find_kernels(dump).places.lines, 0))
    found = find_kernels(dump)
    kernel = found.choose(None)
    debugged = Vmlinux(dump, kernel, vmlinux)
    functions = ("gic_populate_rdist", "gic_iterate_rdists")
    memory = Pages(dump, kernel.nodes[0].linear, kernel.note)
    told = rdists.read_symbols(memory, functions)
    assert told == {name: debugged._program.symbol(name).address for name in functions}
    monkeypatch.setattr(
        rdists, "read_symbols", lambda _, wanted: {name: debugged._program.symbol(name).address for name in wanted}
    )
    view, debugged_view = view_of(dump, found, kernel), KernelView("")
    debugged.tell(debugged_view)
    assert len(view.rdists.pending_tables) == 2
    assert view.rdists == debugged_view.rdists


def test_what_the_monitor_shows_is_registers(booted, live, tmp_path):
    socket, _ = booted
    shown = tmp_path / "xp.txt"
    with Machine(socket) as machine:
        lines = ["xp /1wx 0x8080000", "xp /3gx 0x8080080", "xp /3gx 0x8080100", "xp /2gx 0x80a0070"]
        shown.write_text("".join(machine.execute("human-monitor-command", **{"command-line": one}) for one in lines))
    given = document("--registers", shown, "--set", "GITS0_base=0x8080000", "--set", "GICR0_RD_base=0x80a0000")
    for frame, names in {"GITS0": ("CTLR", "CBASER", "CREADR", "BASER0"), "GICR0": ("PROPBASER", "PENDBASER")}.items():
        for name in names:
            assert given["registers"][frame][name] == live["registers"][frame][name]
