# SPDX-License-Identifier: Apache-2.0
"""Campaigns of Linux' driver on the hardware: every interrupt arrives, and what does not is found, shrunk and saved."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.config import ARCHITECTURES
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.finding import Plan, divergence_of, generate, hunt
from gicmodel.fuzzing.peers.linux import source
from gicmodel.fuzzing.peers.linux.driver import sense
from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.programs.text import format_program, parse_program, write_program
from gicmodel.jit import COMPILED
from tests.fuzzing.peers.linux.programs import other_sources, outcomes_of

DONE = 34_000 if COMPILED else 4_000
"""On each of three hosts at least: 100,000 in the longer of the suite's two runs."""
DRAWN = {"3": DONE * 6 // 5, "4.0": DONE * 8 // 5, "4.1": DONE * 8 // 5}
"""What makes no sense where it stands is not done."""

ALWAYS = {
    *("add_device", "remove_device", "request", "free", "raise", "affinity", "mask", "set_pending", "interrupts"),
    *("suspend", "plug", "unplug", "kexec", "meanwhile"),
}
VIRTUAL = {"begin_vm", "end_vm", "forward", "unforward", "configure", "load", "put", "take", "invall"}
V41 = {"save", "begin_vsgi", "end_vsgi", "set_vsgi", "enable_vsgi", "set_vsgi_pending", "vsgi_pending"}
VERBS = {"3": ALWAYS, "4.0": ALWAYS | VIRTUAL, "4.1": ALWAYS | VIRTUAL | V41}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_campaign_loses_nothing_and_gets_somewhere(architecture: str, driver_peer: LinuxDriver):
    outcomes = outcomes_of(driver_peer, Plan(seed=1, commands=DRAWN[architecture], architecture=architecture))
    assert sum(outcomes.values()) >= DONE
    assert {verb for verb, _ in outcomes} >= VERBS[architecture]


def test_each_release_is_right(linux_source: Path):
    """With every other source that is here."""
    for path in other_sources(linux_source):
        outcomes_of(LinuxDriver(path), Plan(seed=2, commands=6000))


def test_a_difference_is_shrunk_saved_and_reproduced(
    driver_peer: LinuxDriver, linux_source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """What is known of GICv4.0 without VMOVP on one ITS for all."""
    with monkeypatch.context() as patch:
        patch.setattr(sense, "KNOWN_BUGS", False)
        found = hunt(driver_peer, Plan(seed=3, commands=4000, architecture="4.0"))
        assert found is not None
        assert len(found.program.steps) <= 8
        write_program(tmp_path / "found", found.program, found.difference)
        arguments = ["fuzz", "--reproduce", str(tmp_path / "found"), "--linux-source", str(linux_source)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1, result.output
        assert found.difference in result.output
    assert divergence_of(driver_peer, found.program) is None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_programs_are_text(architecture: str, driver_peer: LinuxDriver):
    for chunk in range(4):
        program = generate(driver_peer, Plan(5, 4000, architecture), chunk)
        assert parse_program(format_program(program), "text") == program


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("config architecture=5\nhost commands_per_step=0 late=0", "3: GicConfig.architecture is '5'"),
        ("config\nhost commands_per_step=0", "4: host needs commands_per_step, late"),
        ("config caching=retain\nhost commands_per_step=1 late=1", "4: late=1 needs commands_per_step=0"),
        ("config\nhost commands_per_step=0 late=0\nload vm=9 vcpu=0 cpu=0 VGrp0En=0", "5: vm=0x9 is not from 0x0"),
    ],
)
def test_a_machine_that_is_none_is_one_line(lines: str, said: str):
    with pytest.raises(UnusableInput, match=f"^text:{said}"):
        parse_program(f"gicmodel fuzz program, version 1\nagainst linux-driver\n{lines}\n", "text")


def test_a_queue_that_begins_anew_on_hardware_that_puts_off(driver_peer: LinuxDriver):
    """Linux' its_restore_enable writes GITS_CBASER and a GITS_CWRITER of 0: nothing is executed twice."""
    header = "gicmodel fuzz program, version 1\nagainst linux-driver\nconfig caching=retain\n"
    program = parse_program(f"{header}host commands_per_step=0 late=1\nbegin_vm vm=0 vcpus=2\nsuspend\n", "text")
    assert divergence_of(driver_peer, program) is None


def test_a_doorbell_of_before_the_vcpu_ran_last_says_nothing_of_the_next(driver_peer: LinuxDriver):
    """What was enabled while the vPE waited may ring after it has run and been put again; the next one rings, too."""
    program = parse_program(
        "gicmodel fuzz program, version 1\nagainst linux-driver\n"
        "config caching=retain\nhost commands_per_step=0 late=0\n"
        "add_device its=0 DeviceID=0 vectors=1\nrequest its=0 DeviceID=0 EventID=0\nbegin_vm vm=0 vcpus=1\n"
        "forward its=0 DeviceID=0 EventID=0 vm=0 vcpu=0 vINTID=0x2000 byte=0xff\nload vm=0 vcpu=0 cpu=0 VGrp0En=1\n"
        "raise its=0 DeviceID=0 EventID=0\nconfigure its=0 DeviceID=0 EventID=0 byte=0xa2 inv=1\n"
        "put vm=0 vcpu=0 Doorbell=1\nconfigure its=0 DeviceID=0 EventID=0 byte=3 inv=1\n"
        "load vm=0 vcpu=0 cpu=1 VGrp0En=1\ntake vm=0 vcpu=0\nput vm=0 vcpu=0 Doorbell=1\n"
        "interrupts\nraise its=0 DeviceID=0 EventID=0\ninterrupts\n",
        "this test",
    )
    assert divergence_of(driver_peer, program) is None


def test_without_a_source_a_campaign_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(source, "INSTALLED", tmp_path)
    result = CliRunner().invoke(main, ["fuzz", "--against", "linux-driver", "--commands", "1"])
    said = "no --linux-source, and no /usr/src/linux-source-* (Debian: linux-source)"
    assert (result.exit_code, result.stderr) == (2, f"gicmodel: cannot compare with Linux: {said}\n")
