# SPDX-License-Identifier: Apache-2.0
"""The site builds without a warning; pages made from the package are up to date; code in pages says what they show."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needed, needs_program
from tests.docs.pages import DOCS, PAGES

ROOT = DOCS.parent
WITH_OUTPUT = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "python -m tests.docs.pages"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    needed("mkdocs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Exit status" in (tmp_path / "verbs" / "index.html").read_text()


@pytest.mark.parametrize(
    ("code", "shown"),
    [pytest.param(*pair, id=page.name) for page in DOCS.glob("*.md") for pair in WITH_OUTPUT.findall(page.read_text())],
)
def test_code_prints_what_is_shown(code: str, shown: str) -> None:
    if "gicmodel.native" in code:
        needed("cffi")
        needs_program("cc")
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout == shown, run.stderr


def test_the_source_that_is_read_is_there() -> None:
    """Every file that docs/reading.md names is one of the package."""
    text = (DOCS / "reading.md").read_text()
    package = ROOT / "gicmodel"
    files = [f"/{path.relative_to(ROOT)}" for path in (package, *package.rglob("*"))]
    named = re.findall(r"`([\w/]+(?:\.py|\.h|/))`", text)
    assert named
    assert [name for name in named if not any(path.endswith(f"/{name.rstrip('/')}") for path in files)] == []
