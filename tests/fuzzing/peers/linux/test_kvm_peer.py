# SPDX-License-Identifier: Apache-2.0
"""Campaigns against Linux' vgic: whole programs agree, and what differs is found, shrunk, saved and reproduced."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.config import ARCHITECTURES
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.finding import Plan, divergence_of, generate, hunt
from gicmodel.fuzzing.peers.linux import source
from gicmodel.fuzzing.peers.linux.kvm import differences
from gicmodel.fuzzing.peers.linux.kvm import peer as kvm_peer
from gicmodel.fuzzing.peers.linux.kvm.peer import LinuxKvm
from gicmodel.fuzzing.programs.text import format_program, parse_program, write_program
from gicmodel.jit import COMPILED
from gicmodel.kvm import KvmBehaviour
from tests.fuzzing.peers.linux.programs import other_sources, outcomes_of, with_a_device

DRAWN, DONE = (38_000, 34_000) if COMPILED else (4_600, 4_000)
"""On each of three hosts: drawn, and at least done, as what makes no sense where it stands is not."""

SUCCEEDING = {
    *("MAPD", "MAPC", "MAPTI", "MOVI", "MOVALL", "DISCARD", "INT", "CLEAR", "INV", "INVALL", "save_tables"),
    *("restore_tables", "save_pending_tables", "reset", "msi", "send_sgi", "take", "load", "put", "rd_write"),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_campaign_agrees_and_gets_somewhere(architecture: str, peer: LinuxKvm):
    outcomes = outcomes_of(peer, Plan(seed=1, commands=DRAWN, architecture=architecture))
    assert sum(outcomes.values()) >= DONE
    forwarding = {"forward", "unforward", "device_event"} if architecture != "3" else set()
    assert {name for (name, end) in outcomes if end == "OK"} >= SUCCEEDING | forwarding
    assert {end for (name, end) in outcomes if name == "restore_tables"} >= {"OK", "EINVAL", "EFAULT"}
    assert sum(end.startswith("E_ITS_") for _, end in outcomes) > 10


def test_each_release_agrees(linux_source: Path):
    """With every other source that is here."""
    for path in other_sources(linux_source):
        outcomes_of(LinuxKvm(path), Plan(seed=2, commands=6000))


def test_a_difference_is_shrunk_saved_and_reproduced(
    peer: LinuxKvm, linux_source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with monkeypatch.context() as patch:
        patch.setattr(differences, "RESULTS", ())
        found = hunt(peer, Plan(seed=3, commands=4000, architecture="3"))
        assert found is not None
        assert len(found.program.steps) <= 8
        write_program(tmp_path / "found", found.program, found.difference)
        arguments = ["fuzz", "--reproduce", str(tmp_path / "found"), "--linux-source", str(linux_source)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1, result.output
        assert "Linux E_ITS_MAPC_COLLECTION_OOR, model EINVAL" in result.output
    assert divergence_of(peer, found.program) is None


TWO_EVENTS = """MAPTI its=0 DeviceID=0x0 EventID=0x0 pINTID=0x2009 ICID=0x0
MAPTI its=0 DeviceID=0x0 EventID=0x2 pINTID=0x2005 ICID=0x0
"""
SHOWN = {
    "MAPC": ("MAPC its=0 ICID=0xffff RDbase=0x0 V=1", ""),
    "MAPTI": ("MAPTI its=0 DeviceID=0x0 EventID=0x1 pINTID=0x2007 ICID=0xffff", ""),
    "MAPI": (
        "MAPD its=0 DeviceID=0x1 Size=0xf ITT_addr=0x400c0800 V=1\nMAPI its=0 DeviceID=0x1 EventID=0x2007 ICID=0xffff",
        "",
    ),
    "unforward": (
        (
            "forward its=0 DeviceID=0 EventID=0 irq=5\nDISCARD its=0 DeviceID=0x0 EventID=0x0\n"
            "MAPTI its=0 DeviceID=0x0 EventID=0x0 pINTID=0x2009 ICID=0x0\nunforward irq=5"
        ),
        "unsets_by_host_irq",
    ),
    "forward": (
        (
            "forward its=0 DeviceID=0 EventID=0 irq=5\nforward its=0 DeviceID=0 EventID=0 irq=0\n"
            "DISCARD its=0 DeviceID=0x0 EventID=0x0\nunforward irq=5\nforward its=0 DeviceID=0 EventID=2 irq=5"
        ),
        "leaves_forwarded",
    ),
    "MOVI": (
        (
            "MAPTI its=0 DeviceID=0x0 EventID=0x1 pINTID=0x2009 ICID=0x0\n"
            "forward its=0 DeviceID=0 EventID=0 irq=5\nDISCARD its=0 DeviceID=0x0 EventID=0x1\n"
            "MOVI its=0 DeviceID=0x0 EventID=0x0 ICID=0x0"
        ),
        "freed_ite_ends_hw",
    ),
}
"""Of each explained difference a program that shows it, and the fix with which it is gone."""


@pytest.mark.parametrize("number", range(len(differences.RESULTS)))
def test_each_explained_difference_can_be_seen(number: int, peer: LinuxKvm, monkeypatch: pytest.MonkeyPatch):
    each = differences.RESULTS[number]
    steps, fix = SHOWN[each.step]
    program = with_a_device(TWO_EVENTS + steps)
    assert divergence_of(peer, program) is None
    monkeypatch.setattr(differences, "RESULTS", ())
    found = divergence_of(peer, program)
    if fix and getattr(peer.behaviour, fix):
        assert found is None
    else:
        assert str(found) == f"result of {each.step}: Linux {each.linux}, model {each.model}"


def test_an_sgi_that_came_while_the_distributor_was_disabled(peer: LinuxKvm, monkeypatch: pytest.MonkeyPatch):
    steps = "dist_write offset=0 value=0 size=4\nsend_sgi vcpu=0 SGI=3\ndist_write offset=0 value=2 size=4\ntake vcpu=0"
    program = with_a_device(TWO_EVENTS + steps)
    assert divergence_of(peer, program) is None
    monkeypatch.setattr(kvm_peer, "explained", lambda *_: None)
    assert str(divergence_of(peer, program)) == "result of take: Linux [], model [3]"


def test_host_interrupts_that_feed_one_vlpi_share_its_byte(peer: LinuxKvm):
    """Before 6.12 a second one feeds it, too."""
    steps = (
        "forward its=0 DeviceID=0 EventID=0 irq=0\nforward its=0 DeviceID=0 EventID=0 irq=3\n"
        "poke_byte address=0x40050009 byte=0xa0\nINVALL its=0 ICID=0x0\n"
    )
    assert divergence_of(peer, with_a_device(TWO_EVENTS + steps)) is None


FORWARDED_NO_MORE = {
    "the host's own": (
        "MAPTI its=0 DeviceID=0x0 EventID=0x1 pINTID=0x2009 ICID=0x0\n"
        "forward its=0 DeviceID=0 EventID=0 irq=5\nDISCARD its=0 DeviceID=0x0 EventID=0x1\n"
        "CLEAR its=0 DeviceID=0x0 EventID=0x0\n"
    ),
    "another's": (
        "MAPTI its=0 DeviceID=0x0 EventID=0x1 pINTID=0x2009 ICID=0x0\n"
        "forward its=0 DeviceID=0 EventID=0 irq=0\nDISCARD its=0 DeviceID=0x0 EventID=0x0\nunforward irq=0\n"
        "forward its=0 DeviceID=0 EventID=2 irq=0\nINT its=0 DeviceID=0x0 EventID=0x1\n"
        "CLEAR its=0 DeviceID=0x0 EventID=0x1\nINV its=0 DeviceID=0x0 EventID=0x1\n"
        "MOVI its=0 DeviceID=0x0 EventID=0x1 ICID=0x0\nDISCARD its=0 DeviceID=0x0 EventID=0x1\n"
    ),
    "ended by another's route": (
        "forward its=0 DeviceID=0 EventID=0 irq=3\nforward its=0 DeviceID=0 EventID=2 irq=0\n"
        "change_route its=0 DeviceID=0 EventID=0 irq=0\nunforward irq=0\nINT its=0 DeviceID=0x0 EventID=0x2\n"
    ),
}
"""Before 6.16 KVM's calls name a host interrupt that is the host's own again, or feeds another LPI."""


@pytest.mark.parametrize("steps", FORWARDED_NO_MORE.values(), ids=FORWARDED_NO_MORE)
def test_what_a_host_interrupt_feeds_its_driver_knows(steps: str, peer: LinuxKvm):
    assert divergence_of(peer, with_a_device(TWO_EVENTS + steps)) is None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_programs_are_text(architecture: str, peer: LinuxKvm):
    program = generate(peer, Plan(5, 2000, architecture), 0)
    assert parse_program(format_program(program), "text") == program


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vm architecture=5 vcpus=1 its=1 vsgis=0", "architecture='5' is not one of 3, 4.0, 4.1"),
        ("vm architecture=3 vcpus=99 its=1 vsgis=0", "vcpus=0x63 is not from 0x1 to 0x10"),
        ("vm architecture=3 vcpus=1 its=1", "vm needs architecture, vcpus, its, vsgis"),
        ("config architecture=3", "'config' where 'vm' is needed"),
    ],
)
def test_a_machine_that_is_none_is_one_line(line: str, said: str):
    with pytest.raises(UnusableInput, match=f"^text:3: {said}"):
        parse_program(f"gicmodel fuzz program, version 1\nagainst linux-kvm\n{line}\n\nboot\n", "text")


def test_the_model_behaves_as_the_release(peer: LinuxKvm):
    assert peer.behaviour == KvmBehaviour.release(peer.source.release)


def test_without_a_source_a_campaign_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(source, "INSTALLED", tmp_path)
    result = CliRunner().invoke(main, ["fuzz", "--against", "linux-kvm", "--commands", "1"])
    said = "no --linux-source, and no /usr/src/linux-source-* (Debian: linux-source)"
    assert (result.exit_code, result.stderr) == (2, f"gicmodel: cannot compare with Linux: {said}\n")


def test_a_campaign_from_the_command_line(linux_source: Path):
    arguments = ["--linux-source", str(linux_source), "--commands", "2000", "--seed", "1", "--jobs", "1"]
    result = CliRunner().invoke(main, ["fuzz", "--against", "linux-kvm", *arguments])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2000 commands in ")
    assert result.stdout.endswith("no divergence\n")
