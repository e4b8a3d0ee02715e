# SPDX-License-Identifier: Apache-2.0
"""The cover letter by an unmodified Linux on the board, and beside what the kvm floor does for the same VM."""

import re
from pathlib import Path

import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

from examples.cover_letter import DIFFERENCES, Run, boot, by_linux, migrated, saved_lines, unequal
from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.board import debian
from tests.board.traces import assert_equal

RAISED = (1, 4, 5, 7, 10, 15)
INTIDS = {event: FIRST_LPI + 5 * event for event in range(16)}
pytestmark = pytest.mark.slow


def steps(console: str) -> list[list[str]]:
    """What the program shows, by step, without the kernel's own lines."""
    shown = console.partition("Run /init as init process")[2]
    lines = [line for line in shown.replace("\r", "").split("\n") if line and not line.startswith("[")]
    return [step.splitlines() for step in re.split(r"^\d\. .*\n", "\n".join(lines), flags=re.MULTILINE)][1:]


def pending_table(vcpu: int, base: int = 0x4004_0000) -> list[str]:
    """What a guest's pending table holds of the vectors that were raised: word by word, as the program shows it."""
    octets = bytearray(0x2000)
    for event in RAISED:
        if event % 2 == vcpu:
            octets[INTIDS[event] // 8] |= 1 << INTIDS[event] % 8
    places = [at for at in range(0, len(octets), 8) if any(octets[at : at + 8])]
    return [f"pending table {base + 0x1_0000 * vcpu + at:#x} {octets[at : at + 8].hex(' ')}" for at in places]


@pytest.mark.parametrize(("caching", "pes"), [("none", 1), ("retain", 2)])
def test_linux_saves_what_is_pending_and_restores_it_in_another_vm(caching: str, pes: int, tmp_path: Path) -> None:
    run = boot(debian.root(), architecture="4.1", caching=caching, redistributors=pes)
    board = run.board
    function, first, save, resume = steps(run.console)
    assert function[-1] == "eventfds of vectors: 3"
    assert first[-2:] == ["vCPU 0 took", "vCPU 1 took"]
    assert save[:3] == ["eventfds of vectors:", "SAVE_PENDING_TABLES: 0", "ITS_SAVE_TABLES: 0"]
    tables = [*pending_table(0), *pending_table(1)]
    assert [line for line in save if line.startswith("pending")] == tables
    assert [line for line in resume if line.startswith("pending")] == tables
    taken = [line for line in resume if "took" in line]
    expected = [sorted(INTIDS[event] for event in RAISED if event % 2 == vcpu) for vcpu in range(2)]
    assert taken[:2] == [f"vCPU {n} took {' '.join(map(str, intids))}" for n, intids in enumerate(expected)]
    assert taken[2:] == ["vCPU 0 took", "vCPU 1 took", f"vCPU 0 took {INTIDS[2]}", "vCPU 1 took"]
    assert board.gic.errors == []
    assert list(board.smmu.faults) == []
    # Two VMs: each event is taken from the host (DISCARD, VMAPTI), given back, and what was pending comes by INT.
    assert board.watch.commands["VMAPTI"] == 32
    assert board.watch.commands["INT"] == len(RAISED)
    assert_equal(board, run.trace, tmp_path / "trace")
    if pes == 1:
        assert_as_migrated(run, save)


def assert_as_migrated(run: Run, save: list[str]) -> None:
    """The model's own migration of the same VM sends the same commands, but for what is meant, and saves the same."""
    linux, model = by_linux(run), migrated()
    assert list(unequal(linux, model.streams, DIFFERENCES)) == []
    for needless in DIFFERENCES:
        rest = [difference for difference in DIFFERENCES if difference is not needless]
        assert list(unequal(linux, model.streams, rest)), f"no longer a difference: {needless.why}"
    assert save[-22:] == saved_lines(model.memory)
    assert [f"vCPU {vcpu} took {intid}" for vcpu, intid in model.taken] == [
        f"vCPU {event % 2} took {INTIDS[event]}" for event in sorted(RAISED, key=lambda event: event % 2)
    ]


def test_on_gicv4_0_linux_refuses_to_save(tmp_path: Path) -> None:
    run = boot(debian.root(), architecture="4.0")
    *_, save = steps(run.console)
    assert save == ["eventfds of vectors:", "SAVE_PENDING_TABLES: 0", "ITS_SAVE_TABLES: -13"]
    assert run.board.gic.errors == []
    assert_equal(run.board, run.trace, tmp_path / "trace")
