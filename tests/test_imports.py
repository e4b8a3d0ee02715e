# SPDX-License-Identifier: Apache-2.0
"""Who imports what: numba and hypothesis stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gicmodel

PACKAGE = Path(gicmodel.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

WITHOUT_NUMBA = [
    "gicmodel",
    "gicmodel.config",
    "gicmodel.images.segments",
    "gicmodel.inspection",
    "gicmodel.layouts.registers.by_name",
    "gicmodel.images.qemu_trace",
    "gicmodel.cli",
    "gicmodel.cli.bench",
    "gicmodel.cli.diff",
    "gicmodel.cli.fuzz",
    "gicmodel.cli.inspect",
    "gicmodel.cli.layouts",
    "gicmodel.cli.migrate",
    "gicmodel.cli.native",
    "gicmodel.cli.replay",
    "gicmodel.kernel_cache",
]


def imported_packages(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def importers(package):
    return {source.relative_to(PACKAGE).parts[0] for source in SOURCES if package in imported_packages(source)}


def test_numba_is_reached_through_the_decorator_only_but_for_the_board_s_hooks():
    assert importers("numba") == {"jit.py", "kernel_cache.py", "board"}
    board = [source.name for source in (PACKAGE / "board").glob("*.py") if "numba" in imported_packages(source)]
    assert board == ["hooks.py"]


@pytest.mark.parametrize("package", ["unicorn", "fdt"])
def test_the_board_s_extra_is_imported_by_the_board_only(package):
    assert importers(package) == {"board"}


def test_hypothesis_is_imported_by_fuzzing_only():
    assert importers("hypothesis") <= {"fuzzing"}


@pytest.mark.parametrize("module", WITHOUT_NUMBA)
def test_light_modules_import_neither_numba_nor_hypothesis(module):
    program = f"import sys, {module}\nprint(*{{'numba', 'hypothesis', 'matplotlib'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_every_source_names_its_licence():
    for source in SOURCES:
        assert source.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n"), source
