# SPDX-License-Identifier: Apache-2.0
"""The cover letter by an unmodified Linux on the board, and beside what the kvm floor does for the same VM."""

import re
from pathlib import Path

import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

from examples.cover_letter import boot
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
    trace: list[str] = []
    board, console = boot(debian.root(), trace.append, architecture="4.1", caching=caching, redistributors=pes)
    function, first, save, resume = steps(console)
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
    assert_equal(board, trace, tmp_path / "trace")


def test_on_gicv4_0_linux_refuses_to_save(tmp_path: Path) -> None:
    trace: list[str] = []
    board, console = boot(debian.root(), trace.append, architecture="4.0")
    *_, save = steps(console)
    assert save == ["eventfds of vectors:", "SAVE_PENDING_TABLES: 0", "ITS_SAVE_TABLES: -13"]
    assert board.gic.errors == []
    assert_equal(board, trace, tmp_path / "trace")
