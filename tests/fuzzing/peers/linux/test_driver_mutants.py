# SPDX-License-Identifier: Apache-2.0
"""Bugs planted in Linux' driver, and one of the hardware, are found by a campaign of that driver on the hardware."""

from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

from gicmodel.config import GicConfig
from gicmodel.fuzzing.finding import Plan, divergence_of, run_chunk
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.peers.linux.driver.port_host import PortHost
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.fuzzing.programs.text import parse_program
from gicmodel.hardware import Its
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CTLR
from tests.fuzzing.peers.linux.programs import finds_something

ITS = "drivers/irqchip/irq-gic-v3-its.c"
WITHIN = 8000
STEPPING = """gicmodel fuzz program, version 1
against linux-driver
config
host commands_per_step=1 late=0

add_device its=0 DeviceID=0 vectors=1
request its=0 DeviceID=0 EventID=0
"""


class Patch(NamedTuple):
    """Text of the driver, which stands there once at least, and what it becomes."""

    old: str
    new: str
    architecture: str


PATCHES = {
    "an LPI is not moved": Patch("its_send_movi(its_dev, target_col, id);", ";", "3"),
    "a vPE is not moved": Patch("\tits_send_vmovp(vpe);", "\t;", "4.0"),
    "no SYNC": Patch("if (sync_obj) {", "if (0) {", "3"),
    "a device stays mapped": Patch("its_send_mapd(its_dev, 0);", ";", "3"),
    "a vLPI is not moved": Patch("\t\tits_send_vmovi(its_dev, event);", "\t\t;", "4.1"),
    "a vLPI becomes an LPI without its DISCARD": Patch(
        "\t/* Drop the virtual mapping */\n\tits_send_discard(its_dev, event);", "\t;", "4.1"
    ),
    "a vLPI is not enabled as an LPI again": Patch(
        "LPI_PROP_ENABLED |\n\t\t\t\t    LPI_PROP_GROUP1));", "LPI_PROP_GROUP1));", "4.1"
    ),
    "no byte of configuration is written": Patch("\tlpi_write_config(d, clr, set);", "\t;", "3"),
    "a vSGI is pending after its end": Patch(
        "\tits_configure_sgi(d, false);\n\tits_configure_sgi(d, true);", "\tits_configure_sgi(d, false);", "4.1"
    ),
    "pending_last is not what the GIC says": Patch("vpe->pending_last = true;", "vpe->pending_last = false;", "4.1"),
    "a queue that is where it was": Patch("gits_write_cbaser(its->cbaser_save, base + GITS_CBASER);", ";", "3"),
}


class Patched(LinuxDriver):
    """The driver with a patch, and chunks that are soon over."""

    chunk: ClassVar[int] = 500
    patch: ClassVar[Patch]

    @property
    def source(self) -> KernelSource:
        whole = super().source
        text = whole.text(ITS)
        assert self.patch.old in text
        return KernelSource(whole.where, whole.files | {ITS: text.replace(self.patch.old, self.patch.new).encode()})


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_a_campaign_finds_it(patch: Patch, linux_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Patched, "patch", patch, raising=False)
    patched, plan = Patched(linux_source), Plan(seed=1, commands=WITHIN, architecture=patch.architecture)
    assert finds_something(patched, plan)


def test_a_message_that_is_lost_while_commands_wait(driver_peer: LinuxDriver, monkeypatch: pytest.MonkeyPatch):
    """Only a device that does not wait for the driver sends one then."""
    translate, positions = Its.translate, [register(f"GITS_{name}").offset for name in ("CREADR", "CWRITER")]

    def broken(its: Its, *message: int) -> int:
        creadr, cwriter = (its.read(offset, 8) for offset in positions)
        return translate(its, *message) if creadr == cwriter else 0

    monkeypatch.setattr(Its, "translate", broken)
    steps = "meanwhile its=0 DeviceID=0 EventID=0 polls=0\naffinity its=0 DeviceID=0 EventID=0 cpu=1\ninterrupts\n"
    difference = str(divergence_of(driver_peer, parse_program(STEPPING + steps, "this test")))
    assert difference == "LPIs that CPUs take: is {}, should be {1: [8192]}"
    monkeypatch.undo()
    assert divergence_of(driver_peer, parse_program(STEPPING + steps, "this test")) is None


def test_hardware_that_is_never_quiescent_again(driver_peer: LinuxDriver, monkeypatch: pytest.MonkeyPatch):
    """Only a driver that suspends waits for GITS_CTLR.Quiescent after it has used the ITS."""
    read, used = Its.read, set()

    def broken(its: Its, offset: int, size: int = 8) -> int:
        value = read(its, offset, size)
        if offset != register("GITS_CTLR").offset:
            return value
        if GITS_CTLR.unpack(value)["Enabled"]:
            used.add(id(its))
        return value & ~GITS_CTLR.pack(Quiescent=1) if id(its) in used else value

    monkeypatch.setattr(Its, "read", broken)
    port = PortHost(HostMachine(GicConfig()))
    port.do("boot")
    port.do("add_device", 0, 1, 4)
    assert port.do("request", 0, 1, 2, 3) == 3
    plan = Plan(seed=1, commands=WITHIN, architecture="3")
    findings = (run_chunk(driver_peer, plan, chunk).finding for chunk in range(plan.chunks(driver_peer)))
    found = next(finding for finding in findings if finding is not None)
    assert found.kind in ("the kernel's suspend", "the kernel's kexec")
    assert "read for ever" in found.difference
