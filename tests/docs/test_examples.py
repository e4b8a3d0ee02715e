# SPDX-License-Identifier: Apache-2.0
"""Each script of examples/ prints what the file beside it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needed

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "examples").glob("*.py") if path.with_suffix(".txt").exists())
NEEDS = {"campaign_on_a_cluster": "distributed"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_prints_what_is_expected(script: Path) -> None:
    if module := NEEDS.get(script.stem):
        needed(module)
    run = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout == script.with_suffix(".txt").read_text(), run.stderr
