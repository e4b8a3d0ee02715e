# SPDX-License-Identifier: Apache-2.0
"""Images that are no plain files, or no images: whatever an argument names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gicmodel.cli import UNUSABLE
from gicmodel.images.files import opened
from tests.inspection.museum import HOST

PROGRAM = [sys.executable, "-c", "from gicmodel.cli import main; main()"]


def run(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, check=False, env=environment, timeout=120, **options
    )


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """The real host's core, unpacked."""
    path = tmp_path_factory.mktemp("core") / "host.elf"
    with opened(HOST[0]) as file:
        path.write_bytes(file.read())
    return path


def refused(result):
    """The one line of a refusal, without a traceback."""
    assert (result.returncode, result.stdout) == (UNUSABLE, b"")
    assert result.stderr.count(b"\n") == 1
    return result.stderr.decode()


def test_an_image_comes_through_a_pipe(core):
    result = run("inspect", "/dev/stdin", "--registers", HOST[1], input=core.read_bytes())
    assert result.returncode == 0
    assert b"3 devices, 8 events, 2 vPEs, 2 pending interrupts; 0 errors" in result.stdout


def test_a_snapshot_with_its_registers_comes_through_a_pipe(tmp_path):
    from gicmodel.hardware.snapshot import save_snapshot
    from tests.hardware.bench import furnished

    save_snapshot(furnished(architecture="3").gic, tmp_path / "machine.npz")
    named = run("inspect", tmp_path / "machine.npz", "--json")
    piped = run("inspect", "/dev/stdin", "--json", input=(tmp_path / "machine.npz").read_bytes())
    one, two = json.loads(named.stdout), json.loads(piped.stdout)
    assert two["registers_from"] == ["/dev/stdin"]
    different = ("image", "registers_from")
    assert {name: value for name, value in one.items() if name not in different} == {
        name: value for name, value in two.items() if name not in different
    }


def test_registers_come_through_a_pipe(core):
    for verb in (
        ["inspect", core, "--registers", "/dev/stdin"],
        ["diff", core, core, "--before-registers", "/dev/stdin"],
    ):
        more = ["--after-registers", HOST[1]] if verb[0] == "diff" else []
        assert run(*verb, *more, input=HOST[1].read_bytes()).returncode == 0


@pytest.mark.parametrize("path", ["/proc/self/mem", "/proc/cpuinfo", "/dev/null", "/proc/self/environ"])
@pytest.mark.parametrize("base", [[], ["--base", "0"]])
def test_a_file_that_cannot_be_mapped_is_refused(path, base):
    assert path in refused(run("inspect", path, *base, "--set", "GITS0_CTLR=1"))


@pytest.mark.parametrize("verb", [["inspect", "IMAGE"], ["migrate", "IMAGE"]])
def test_a_directory_is_no_image(tmp_path, verb):
    assert "gicmodel: " in refused(run(*[tmp_path if part == "IMAGE" else part for part in verb]))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names that a terminal obeys need a POSIX file system")
def test_what_a_name_says_to_a_terminal_is_not_said(tmp_path, core):
    image = tmp_path / "\033]0;pwned\007.elf"
    shutil.copy(core, image)
    result = run("inspect", image, "--registers", HOST[1])
    assert result.returncode == 0
    assert b"\\x1b]0;pwned\\x07.elf: " in result.stdout
    for other in (
        result,
        run("diff", image, image, "--before-registers", HOST[1], "--after-registers", HOST[1]),
        run("inspect", image.with_name("\033[2J")),
        run("inspect", core, "--registers", image),
        run("inspect", core, "--registers", HOST[1], "--table", "\033[2J"),
        run("\033[2J"),
    ):
        assert b"\033" not in other.stdout + other.stderr
        assert b"x1b" in other.stdout + other.stderr


def test_json_is_utf_8_whatever_names_are(tmp_path, core):
    image = Path(os.fsdecode(os.fsencode(tmp_path) + b"/dump-\xff.elf"))
    shutil.copy(core, image)
    document = json.loads(run("inspect", image, "--registers", HOST[1], "--json").stdout)
    assert document["image"].encode().endswith(b"/dump-\\udcff.elf")
