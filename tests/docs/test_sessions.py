# SPDX-License-Identifier: Apache-2.0
"""The sessions of the README and of docs/ print what is shown, times aside; links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needed, needs_program

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SESSION = re.compile(r"```console\n\$ gicmodel ([^\n]*)\n(.*?)```", re.DOTALL)
EXAMPLES = sorted({session for page in PAGES for session in SESSION.findall(page.read_text())})
LONG = ("fuzz --commands", "migrate --vcpus 64")
"""Minutes of plain Python."""
SCREENS = "--browse"
SHOWN = [
    pytest.param(arguments, shown, id=arguments)
    for arguments, shown in EXAMPLES
    if not arguments.startswith(LONG) and SCREENS not in arguments
]


def timeless(text: str) -> list[list[str]]:
    """The words of each line, without the milliseconds of a step of a migration."""
    return [re.sub(r"^(\D+?) +\d+\.\d( +[\d,]+)$", r"\1\2", line).split() for line in text.splitlines()]


@pytest.mark.parametrize(("arguments", "shown"), SHOWN)
def test_an_example_prints_what_is_shown(arguments: str, shown: str) -> None:
    if arguments.startswith("native"):
        needed("cffi")
        needs_program("cc")
    command = f"{sys.executable} -m gicmodel {arguments}"
    run = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert timeless(run.stdout) == timeless(shown), run.stderr


def test_few_examples_are_left_aside() -> None:
    assert len(EXAMPLES) - len(SHOWN) == 3


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
