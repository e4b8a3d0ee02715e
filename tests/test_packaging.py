# SPDX-License-Identifier: Apache-2.0
"""The sdist makes the wheel, the wheel has all of the package, and works where there is no checkout."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from gicmodel import __version__
from tests.conftest import needed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
pytestmark = pytest.mark.slow


def run(*arguments: object, cwd: Path, **variables: str) -> str:
    """What a Python process prints in a directory that is no checkout."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that is made from nothing but it."""
    needed("hatchling")
    directory = tmp_path_factory.mktemp("built")
    run("-m", "hatchling", "build", "-t", "sdist", "-d", directory, cwd=ROOT)
    (sdist,) = directory.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    unpacked = directory / sdist.name.removesuffix(".tar.gz")
    run("-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=unpacked, PYTHONPATH=str(unpacked))
    return directory


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """Where the wheel is installed, without what it depends on, which this Python has."""
    (wheel,) = built.glob("*.whl")
    target = built / "site"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel, cwd=built, PYTHONPATH="")
    return target


def test_the_wheel_has_every_file_of_the_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("gicmodel/")}
    files = (path for path in (ROOT / "gicmodel").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert packed == {str(path.relative_to(ROOT)) for path in files}
    assert {"gicmodel/native/gicmodel.h", "gicmodel/py.typed"} < packed


def test_the_wheel_says_what_it_is(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "gicmodel",
        __version__,
        "Apache-2.0",
    )
    assert metadata.get_all("Provides-Extra") == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("arguments", ["-m gicmodel", "bin/gicmodel"])
def test_what_is_installed_works_without_a_checkout(installed: Path, arguments: str) -> None:
    def gicmodel(verb: str) -> str:
        start = arguments.replace("bin/", f"{installed}/bin/").split()
        return run(*start, *verb.split(), cwd=installed.parent, PYTHONPATH=str(installed))

    where = run("-c", "import gicmodel; print(gicmodel.__file__)", cwd=installed.parent, PYTHONPATH=str(installed))
    assert Path(where.strip()).is_relative_to(installed)
    assert gicmodel("--version").startswith(f"gicmodel {__version__}\n")
    assert gicmodel("layouts ITE").startswith("ITE: table, ")
    assert gicmodel("migrate --vcpus 1 --devices 1 --vectors 4 --engine python").endswith(
        "every pending vLPI arrived once, on its vCPU\n"
    )


def test_extras_are_documented_with_what_they_hold() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert rows.keys() == PROJECT["optional-dependencies"].keys()
    for extra, requirements in PROJECT["optional-dependencies"].items():
        names = [re.split(r"[^\w-]", each)[0] for each in requirements if not each.startswith("gicmodel")]
        assert extra == "test" or [name for name in names if name not in rows[extra]] == []


def test_the_changelog_begins_with_this_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings == [f"## {__version__}", "## 0.1.0"]
