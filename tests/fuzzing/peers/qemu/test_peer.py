# SPDX-License-Identifier: Apache-2.0
"""Campaigns against QEMU: whole programs agree, and what differs is found, shrunk, saved and reproduced."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.finding import Finding, Plan, divergence_of, run, run_chunk, shrunk
from gicmodel.fuzzing.peers.qemu import differences
from gicmodel.fuzzing.peers.qemu.peer import PEER, AgainstQemu, QemuPeer
from gicmodel.fuzzing.peers.qemu.process import BINARY
from gicmodel.fuzzing.programs.hardware import GicMachine
from gicmodel.fuzzing.programs.program import CommandStep, Program
from gicmodel.fuzzing.programs.text import write_program
from gicmodel.fuzzing.programs.universe import Universe, words
from gicmodel.jit import COMPILED
from gicmodel.lab import tables_seen
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.placement import Allocation, place

pytestmark = pytest.mark.qemu
needs_qemu = pytest.mark.needs(BINARY)

COMMANDS = 100_000 if COMPILED else 2_000


class AnyChoice(QemuPeer):
    """Also takes machines that are not QEMU's."""

    def start(self, machine: GicMachine) -> AgainstQemu:
        return AgainstQemu(machine)


def program_for(config: GicConfig, commands: int, seed: int = 0) -> Program:
    machine = GicMachine(config, Geometry(indirect=True))
    universe = Universe.of(machine.config, place(machine.config, machine.geometry, Allocation()))
    return Program("qemu", machine, tuple(PEER.steps(np.random.default_rng(seed), universe, commands)))


@needs_qemu
@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_a_campaign_agrees(architecture):
    plan = Plan(seed=1, commands=COMMANDS, architecture=architecture)
    results = [run_chunk(PEER, plan, chunk) for chunk in range(plan.chunks(PEER))]
    assert [result.finding for result in results] == [None] * len(results)
    assert sum(result.commands for result in results) >= COMMANDS


@needs_qemu
@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_a_campaign_gets_somewhere(architecture):
    """Commands succeed, fail and stall, bits are pending in tables, and PendingLast is compared with either value."""
    program = program_for(GicConfig.qemu(architecture), 4_000)
    comparison = PEER.start(program.machine)
    try:
        comparison.run(program.steps)
        comparison.check()
        twins = comparison.twins
        assert any(tables_seen.pending_bits(twins, table) for table in twins.placement.pending_tables)
        assert {mnemonic for mnemonic, number in comparison.outcomes if number == 0} >= {"MAPD", "MOVI", "INT"}
        assert len({number for _, number in comparison.outcomes}) > 20
        if twins.config.virtual:
            assert any(tables_seen.pending_bits(twins, vpt) for vpt in twins.placement.vpts)
            assert set(twins.pending_lasts) == {False, True}
    finally:
        comparison.close()


@needs_qemu
@pytest.mark.parametrize(
    "choice",
    [
        {"command_errors": "stall"},
        {"individual_doorbell": "edge"},
        {"discard_unmapped": "remove"},
        {"vpt_writeback": "unmap"},
        {"pending_writeback": "disable"},
    ],
    ids=lambda choice: "-".join(choice),
)
def test_each_choice_of_the_profile_can_be_seen(choice):
    config = GicConfig.qemu("4.0", **choice)
    programs = (program_for(config, 2_000, seed) for seed in range(40))
    assert any(run(AnyChoice(), program).divergence for program in programs)
    with pytest.raises(UnusableInput, match=r"GicConfig\.qemu"):
        PEER.start(GicMachine(config, Geometry()))


@needs_qemu
def test_a_difference_is_shrunk_saved_and_reproduced(monkeypatch, tmp_path: Path):
    program = program_for(GicConfig.qemu("3"), 10)
    avoided = words(("MAPC", {"ICID": 2, "RDbase": 0x1_0000, "V": 1}), "3")
    program = program.of((*program.steps[:20], CommandStep(0, avoided)))
    with monkeypatch.context() as patch:
        patch.setattr(differences, "AVOIDED", ())
        found = shrunk(PEER, Finding(PEER.name, 0, 0, "", "", program)).program
        assert found.commands == len(found.steps) == 1
        write_program(tmp_path / "found", found)
        result = CliRunner().invoke(main, ["fuzz", "--reproduce", str(tmp_path / "found")])
        assert result.exit_code == 1
        assert "step 1, MAPC its=0" in result.output
    assert divergence_of(PEER, found) is None


def test_without_qemu_a_campaign_is_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    message = "cannot compare with QEMU: qemu-system-aarch64 is not installed (Debian: qemu-system-arm)"
    result = CliRunner().invoke(main, ["fuzz", "--against", "oracle,qemu", "--commands", "1"])
    assert (result.exit_code, result.output) == (2, f"gicmodel: {message}\n")
    with pytest.raises(UnusableInput, match="is not installed"):
        PEER.start(GicMachine(GicConfig.qemu(), Geometry()))


def test_qemu_has_no_gicv41():
    result = CliRunner().invoke(main, ["fuzz", "--against", "qemu", "--architecture", "4.1", "--commands", "1"])
    assert (result.exit_code, result.stderr) == (2, "gicmodel: --against qemu has no GICv4.1\n")
    with pytest.raises(UnusableInput, match=r"no GICv4\.1"):
        PEER.start(GicMachine(GicConfig(), Geometry()))
