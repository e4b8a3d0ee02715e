# SPDX-License-Identifier: Apache-2.0
"""What verbs print on a terminal: no line is longer than it is wide, and no value is broken."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gicmodel.cli import main, output
from gicmodel.inspection.selection import ON_DEMAND
from gicmodel.jit import COMPILED
from tests.cli.test_browse import Screen
from tests.cli.test_ends import trace
from tests.conftest import needed

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "tables" / "gicmodel-v4.1-2vcpu"
EXAMPLES = ROOT / "examples" / "native"
VERBS = (
    "--help",
    "--version",
    *(f"{verb} --help" for verb in main.list_commands(click.Context(main))),
    "inspect --explain",
    "inspect host.elf.xz",
    "inspect host.elf.xz --table vpes --hex",
    "inspect host.elf.xz --pending",
    "inspect host.elf.xz --device 0x10:0",
    *(f"inspect host.elf.xz --table {name}" for name in ON_DEMAND),
    "inspect linux.elf.xz",
    "inspect --set GITS0_BASER0=0xf9070000431d0600 --set GICD_CTLR=0",
    "inspect guest.elf.xz --set GITS_CBASER=0xb8000000431d040f",
    "diff guest.elf.xz after.elf.xz",
    "diff host.elf.xz guest.elf.xz",
    "decode GITS_BASER 0xf9070000431d0600",
    "decode GITS_TYPER 0xffffffffffffffff",
    "decode 0x29 0x1 0x80000000 0",
    "layouts",
    "layouts GITS_CTLR",
    "layouts VPE_CONFIGURATION",
    "migrate --vcpus 1 --devices 1 --vectors 2",
    "migrate guest.elf.xz",
    "migrate --vcpus 1 --devices 1 --vectors 2 --architecture 4.0",
    "migrate --vcpus 1 --devices 1 --vectors 2 --compare-policies",
    "flush --vcpus 1,2 --vlpis 2 --repeat 1 --engine python --json-file flush.json",
    "flush --vcpus 1,2 --vlpis 2 --repeat 1 --engine python --compare flush.json",
    "fuzz --commands 20 --jobs 1 --architecture 3",
    "fuzz --reproduce program",
    "replay gic.trace",
    "replay gic.trace --compare host.elf.xz",
    "native its.c",
    "native forgotten_inv.c",
    "native crash.c",
    "bench --quick decode --json-file run.json",
    "bench --quick decode --compare run.json",
    "boot hello --memory 16M --trace boot.trace --snapshot end.npz",
    "boot --resume end.npz --timeout 1",
    "boot stuck --memory 16M --timeout 1",
    "replay boot.trace --compare end.npz --registers end.npz",
    "inspect end.npz",
)
PROGRAM = (
    "gicmodel fuzz program, version 1\nagainst oracle\nconfig architecture=3\n"
    "tables page_size=0 indirect=0 pages=1\n"
    "MAPD its=0 Size=0x3 ITT_addr=0x88000000 V=1 DeviceID=0x0\nSYNC its=0 RDbase=0x0\nacknowledge rd=0\n"
)
VERBS_WITHOUT = {"compile", "completion"}
"""One would compile for minutes, the other prints a script: their --help alone is shown."""
PATIENCE = 300


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """A directory with short names for the dumps: a terminal has no choice but to break a longer one."""
    for extra in ("cffi", "unicorn", "fdt"):
        needed(extra)
    from tests.board import assembly as asm
    from tests.board import programs

    for name, image in (("host", "source-host"), ("guest", "source-guest"), ("after", "destination-guest")):
        for suffix in ("elf.xz", "toml"):
            (tmp_path / f"{name}.{suffix}").symlink_to(TABLES / f"{image}.{suffix}")
    (tmp_path / "linux.elf.xz").symlink_to(ROOT / "tables" / "linux-virt-dumps" / "v4run.elf.xz")
    (tmp_path / "program").write_text(PROGRAM)
    for driver in ("its.c", "forgotten_inv.c"):
        (tmp_path / driver).symlink_to(EXAMPLES / driver)
    (tmp_path / "crash.c").write_text('#include "gicmodel.h"\nint driver(void) { return *(volatile int *)0; }\n')
    (tmp_path / "stuck").write_bytes(asm.code(*programs.set_system(asm.VBAR_EL1, 0), asm.SVC))
    (tmp_path / "hello").write_bytes(asm.code(*programs.timer_interrupt(programs.power_off()), asm.LOOP))
    trace(tmp_path)
    return tmp_path


@pytest.mark.needs("tmux", "cc")
@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_a_real_terminal(dumps: Path, columns: int):
    if (columns == 60) is COMPILED:
        pytest.skip("what is shown is the same on both engines: each has one width")
    verbs = [
        f"{shlex.quote(sys.executable)} -m gicmodel {verb}; echo END {number}" for number, verb in enumerate(VERBS)
    ]
    script = dumps / "verbs.sh"
    script.write_text("\n".join([f"cd {dumps}", f"export PYTHONPATH={':'.join(sys.path)}", *verbs, "sleep 600"]))
    screen = Screen(dumps, ["sh", str(script)], columns)
    try:
        end = time.monotonic() + PATIENCE
        while f"END {len(VERBS) - 1}\n" not in (seen := lines(screen)):
            assert time.monotonic() < end, seen
            time.sleep(0.2)
        # -J joins what the terminal itself has broken.
        joined = [line.rstrip() for line in lines(screen, "-J").splitlines()]
        assert [line for line in joined if len(line) > columns] == []
    finally:
        subprocess.run([*screen.tmux, "kill-server"], check=False)
    assert "END 0\n" in seen, "not all that was on the screen is kept"
    assert "Traceback" not in seen
    for value in ("vINTID_bits", "pending-disabled", "ITT_addr=0x88000000"):
        assert value in seen


def lines(screen: Screen, *options: str) -> str:
    """All that was ever on the screen."""
    command = [*screen.tmux, "capture-pane", "-p", "-S", "-", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_verb_is_shown() -> None:
    shown = {verb.split()[0] for verb in VERBS if not verb.endswith("--help")}
    assert set(main.list_commands(click.Context(main))) - shown == VERBS_WITHOUT


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=18)


@given(st.data(), st.integers(20, 100))
def test_a_table_is_folded_between_values(data: st.DataObject, columns: int):
    width = data.draw(st.integers(1, 8))
    rows = data.draw(st.lists(st.lists(words, min_size=width, max_size=width), min_size=1, max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "room", lambda: columns)
        drawn = [click.unstyle(line) for line in output.table_lines(rows[0], rows[1:], right={0}, indent="  ")]
    assert all(len(line) <= columns for line in drawn)
    assert " ".join(drawn).split() == [cell for row in rows for cell in row]


@given(st.lists(words, min_size=1), st.integers(20, 100))
@example(["0", "0" * 17], 20)
def test_a_line_is_folded_between_words(said: list[str], columns: int):
    folded = output._folded("  " + " ".join(said), columns)
    assert all(len(line) <= columns for line in folded)
    assert " ".join(folded).split() == said
