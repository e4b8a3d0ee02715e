# SPDX-License-Identifier: Apache-2.0
"""Long work has a bar on a terminal that knows its end, and none elsewhere."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from gicmodel.cli.progress import Watcher
from tests.conftest import needed

LARGE = 160 << 20
"""Bytes of RAM that take longer than a piece of a scan."""
LONG_WORK = (
    ("inspect ram.raw --base 0x40000000", "looking through ram.raw"),
    ("diff ram.raw ram.raw --before-base 0 --after-base 0", "looking through ram.raw"),
    ("bench --quick decode", "decode: device table"),
    ("fuzz --commands 4000 --jobs 1 --architecture 3", "fuzzing"),
    ("flush --vcpus 1 --vlpis 2 --repeat 2", "flush"),
    ("migrate --vcpus 1 --devices 1 --vectors 2", "flush pending tables"),
)


@pytest.fixture
def ram(tmp_path: Path) -> Path:
    """A directory with a file that is all zero, and takes no room."""
    with (tmp_path / "ram.raw").open("wb") as file:
        file.truncate(LARGE)
    return tmp_path


def begun(arguments: str, directory: Path, stderr: int) -> subprocess.Popen[str]:
    """A verb on the Python engine, which compiles nothing."""
    variables = os.environ | {"PYTHONPATH": ":".join(sys.path), "TERM": "xterm", "COLUMNS": "150"}
    command = [sys.executable, "-m", "gicmodel", *arguments.split()]
    return subprocess.Popen(
        command,
        cwd=directory,
        env=variables | {"GICMODEL_ENGINE": "python"},
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def on_terminal(arguments: str, directory: Path) -> str:
    """What a verb shows on a terminal, which is read as it comes: it holds 4 KiB."""
    reader, writer = pty.openpty()
    shown = bytearray()
    with begun(arguments, directory, writer):
        os.close(writer)
        with suppress(OSError):  # Linux: nobody has the terminal any more
            while octets := os.read(reader, 1 << 16):
                shown += octets
    os.close(reader)
    return shown.decode()


@pytest.mark.parametrize(("arguments", "step"), LONG_WORK)
def test_a_bar_is_on_a_terminal_only(ram: Path, arguments: str, step: str) -> None:
    shown = on_terminal(arguments, ram)
    assert step in shown
    assert "\x1b[" in shown
    with begun(arguments, ram, subprocess.PIPE) as elsewhere:
        assert "\x1b[" not in elsewhere.communicate()[1]


def test_a_boot_has_a_bar_where_its_console_is_no_terminal(tmp_path: Path) -> None:
    needed("unicorn")
    needed("fdt")
    from tests.board import assembly

    (tmp_path / "program").write_bytes(assembly.code(assembly.LOOP))
    shown = on_terminal("boot --memory 16M --timeout 1 program", tmp_path)
    assert "booting" in shown
    assert " instructions" in shown


def test_a_bar_ends_where_its_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    totals: list[Any] = []
    update = Progress.update
    monkeypatch.setattr(
        Progress,
        "update",
        lambda bar, task, **how: (totals.append((how["completed"], how["total"])), update(bar, task, **how)),
    )
    with Watcher() as watcher:
        watcher.progress("scan", 1, 4)
        watcher.progress("scan", 4, 4)
    assert totals == [(1, 4), (4, 4)]
