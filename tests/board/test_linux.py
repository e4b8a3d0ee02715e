# SPDX-License-Identifier: Apache-2.0
"""Debian's current kernel boots to user space and off again, on GICs of all kinds, and finds no command that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

from gicmodel.benchmarks.boot import BENCHMARKS, KERNEL
from gicmodel.board import Board, Ending, powered_on
from gicmodel.board.snapshot import load_board, save_board
from gicmodel.config import GicConfig
from tests.board import debian
from tests.board.traces import assert_equal

USER = Path(__file__).parents[2] / "tables" / "linux-boot" / "user"
SECONDS = 300.0

MIDWAY = b"Run /init as init process"
Send, Tell = Callable[[int], None], Callable[[str], object]
Stop = Callable[[Board, Send, Tell], Board]

pytestmark = pytest.mark.slow


def booted(stop: Stop | None = None, **choices: object) -> tuple[Board, str, list[str]]:
    """A board that has run the kernel until it ended, the console, and the trace.

    In between another one may take its place, which `stop` makes.
    """
    shown, trace = bytearray(), list[str]()
    board = powered_on(debian.kernel(), GicConfig(**choices), initrd=USER, send=shown.append, trace=trace.append)
    if stop is not None:
        assert board.run(SECONDS, lambda wait: Ending.LEFT if MIDWAY in shown else None) is Ending.LEFT
        board = stop(board, shown.append, trace.append)
    ending = board.run(SECONDS)
    assert ending is Ending.OFF, shown[-2000:].decode(errors="replace")
    return board, shown.decode(), trace


@pytest.mark.parametrize(
    ("architecture", "pes", "caching", "commands_per_step"),
    [
        ("3", 1, "retain", None),
        ("3", 4, "none", 1),
        ("4.0", 1, "none", 1),
        ("4.0", 4, "retain", None),
        ("4.1", 1, "retain", 1),
        ("4.1", 4, "none", None),
    ],
)
def test_linux_reaches_user_space_and_powers_off(
    architecture: str, pes: int, caching: str, commands_per_step: int | None, tmp_path: Path
) -> None:
    board, console, trace = booted(
        architecture=architecture, redistributors=pes, caching=caching, commands_per_step=commands_per_step
    )
    assert "== user space is alive" in console
    assert console.rstrip().endswith("reboot: Power down")
    assert f"SMP: Total of {pes} processors activated" in console
    assert ("Using GICv4.1 mode" in console) == (architecture == "4.1")
    assert board.gic.errors == []
    assert board.watch.commands["MAPC"] == pes
    assert all(board.watch.interrupts["PPI", pe] for pe in range(pes))
    assert_equal(board, trace, tmp_path / "trace")


def test_the_same_boot_is_the_same_also_in_two_parts(tmp_path: Path) -> None:
    def stopped(board: Board, send: Send, trace: Tell) -> Board:
        save_board(board, tmp_path / "board.npz")
        return load_board(tmp_path / "board.npz", send, trace)

    first, second = booted(redistributors=2), booted(stopped, redistributors=2)
    assert first[1] == second[1]
    assert first[0].instructions == second[0].instructions
    again = first[2][0]
    assert [line for line in second[2] if line != again] == first[2][1:]


@pytest.mark.needs("qemu-system-aarch64")
def test_the_board_and_qemu_boot_the_same_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNEL, str(debian.kernel()))
    (benchmark,) = BENCHMARKS
    with benchmark.build(True) as case:
        case.prove()
