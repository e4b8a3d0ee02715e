# SPDX-License-Identifier: Apache-2.0
"""Each command of the README and of docs/ prints what is shown, times aside; or says what it needs, and is real.

A command stands in a fence: `console` after `$ ` with what it prints, `sh` without. What is not run here has a line
above it that readers see, too: *Needs WHAT; not run by a test.*
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from gicmodel.cli import main
from gicmodel.jit import COMPILED
from gicmodel.layouts.registers.by_name import register
from tests.conftest import needed, needs_program

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?:^\*Needs ([^*\n]+); not run by a test\.\*\n\n)?^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL
)
NEEDS = (
    "a package index",
    "a running QEMU",
    "Debian's kernel",
    "Debian's kernel and its debug information",
    "half a minute",
    "minutes",
    "the keys of a user",
)
"""What CI lacks, or has no time for."""
MACHINE_CODE = "gicmodel migrate --vcpus 64"
"""Minutes of plain Python, seconds of machine code."""
PATIENCE = 300.0
EXTRAS = {"native": ("cffi",), "boot": ("unicorn", "fdt")}


class Block(NamedTuple):
    """A fence of a page: what it needs that tests lack, its language, what stands in it."""

    page: str
    needs: str
    language: str
    text: str

    @property
    def commands(self) -> str:
        """What a shell is given."""
        if self.language == "sh":
            return self.text
        return "".join(line.removeprefix("$ ") for line in self.text.splitlines(keepends=True) if line[:2] == "$ ")

    @property
    def shown(self) -> str:
        """What the page says that it prints."""
        return "".join(line for line in self.text.splitlines(keepends=True) if line[:2] != "$ ")


FENCES = [Block(page.name, *found) for page in PAGES for found in FENCE.findall(page.read_text())]
BLOCKS = [block for block in FENCES if block.language in ("console", "sh")]
RUN = [
    pytest.param(block, id=block.commands.splitlines()[0])
    for block in {b[2:]: b for b in BLOCKS if not b.needs}.values()
]
INLINE = [
    (page.name, said.replace("\n", " "))
    for page in PAGES
    for said in re.findall(r"`(gicmodel [a-z][^`]*)`", FENCE.sub("", page.read_text()))
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout as the pages have it, with files of a user: a kernel that asks for a login, a driver in two files."""
    from gicmodel.board import addresses
    from tests.board import assembly as asm
    from tests.board import programs

    for name in ("tables", "examples", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    setup = programs.store(addresses.DISTRIBUTOR_BASE + register("GICD_CTLR").offset, 0x12)
    for name, value in (("GICR_PROPBASER", 0x4400_000F), ("GICR_PENDBASER", 0x4410_0000)):
        setup += programs.store(addresses.REDISTRIBUTOR_BASE + register(name).offset, value, wide=True)
    login = [*programs.show("login:"), *programs.spin(2_000_000), *programs.power_off(), asm.LOOP]
    kernel = asm.code(*setup, *login)
    for name in ("vmlinuz", "Image", "INITRD"):
        (tmp_path / name).write_bytes(kernel)
    (tmp_path / "driver.c").symlink_to(ROOT / "examples" / "native" / "its.c")
    (tmp_path / "platform.c").touch()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gicmodel"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gicmodel "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def timeless(text: str) -> list[list[str]]:
    """The words of each line, without the milliseconds of a step of a migration."""
    return [re.sub(r"^(\D+?) +\d+\.\d( +[\d,]+)$", r"\1\2", line).split() for line in text.splitlines()]


@pytest.mark.parametrize("block", RUN)
def test_commands_print_what_is_shown(block: Block, folder: Path) -> None:
    if block.commands.startswith(MACHINE_CODE) and not COMPILED:
        pytest.skip("minutes of plain Python")
    for word, modules in EXTRAS.items():
        for module in modules if word in block.commands else ():
            needed(module)
    if "native" in block.commands:
        needs_program("cc")
    fails = "" if block.language == "console" else "set -e -o pipefail\n"
    shell = ["bash", "-c", fails + block.commands]
    run = subprocess.run(
        shell, cwd=folder, stdin=subprocess.DEVNULL, timeout=PATIENCE, capture_output=True, text=True, check=False
    )
    if block.language == "console":
        assert timeless(run.stdout) == timeless(block.shown), run.stderr
    else:
        assert run.returncode == 0, run.stdout + run.stderr


def test_a_board_runs_from_python_as_its_page_has_it(folder: Path) -> None:
    (code,) = (block.text for block in FENCES if (block.page, block.language) == ("boot.md", "python"))
    given = "from pathlib import Path\npath = Path('vmlinuz')\n"
    run = subprocess.run([sys.executable, "-c", given + code], cwd=folder, capture_output=True, text=True, check=False)
    assert run.stdout == "login:{}\n", run.stderr


def test_what_is_not_run_says_why() -> None:
    assert [block for block in BLOCKS if block.needs not in ("", *NEEDS)] == []
    assert {block.needs for block in BLOCKS} == {"", *NEEDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_stand_where_they_are_found(page: Path) -> None:
    """Neither in a block by indentation, nor in a fence of another language; and each mark has its block."""
    text = page.read_text()
    assert re.findall(r"\n\n {4}[^-*\d\s].*", FENCE.sub("```", text)) == []
    assert [
        block for block in FENCES if block.language == "text" and re.search(r"^\$ ", block.text, re.MULTILINE)
    ] == []
    assert text.count("; not run by a test.*") == sum(bool(b.needs) for b in BLOCKS if b.page == page.name)


@pytest.mark.parametrize(
    ("place", "said"),
    [*INLINE, *((block.page, said) for block in BLOCKS if block.needs for said in block.commands.splitlines())],
)
def test_commands_that_are_not_run_have_a_verb_and_options_that_exist(place: str, said: str) -> None:
    for arguments in re.findall(r"\bgicmodel (-?-?[a-z][^|;&)#]*)", said):
        verb, *words = shlex.split(arguments)
        command = main.get_command(click.Context(main), verb)
        if command is None:
            assert verb == "--version", f"{place}: {said}"
            continue
        # What stands for a value (NAME, FILE) need not be one: click's parser knows the options only.
        command.make_parser(click.Context(command)).parse_args(words)


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 1500
    links = re.findall(r"\]\(([^)#]+)#?([^)]*)\)", text)
    assert links
    assert [page for page, _ in links if not (ROOT / page).is_file()] == []
    assert [(page, place) for page, place in links if place and place not in places(ROOT / page)] == []


def places(page: Path) -> list[str]:
    """What a link may have behind its #: the headings of a page, as GitHub and mkdocs call them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
