# SPDX-License-Identifier: Apache-2.0
"""The test in docs/fuzzing.md is pasted as it stands, and says what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


PROFILE = """
from hypothesis import Phase, settings

# Explaining a failure takes minutes where an example takes a tenth of a second.
phases = [phase for phase in Phase if phase is not Phase.explain]
settings.register_profile("brief", phases=phases, derandomize=True, database=None, stateful_step_count=15)
settings.load_profile("brief")
"""


def section(heading: str) -> str:
    """The text of the page under a heading."""
    return (ROOT / "docs" / "fuzzing.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_pasted_test_names_the_missing_command(tmp_path: Path) -> None:
    text = section("Fuzz your own driver")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (promised,) = re.findall(r"`(lpis\.mask: .*? was written)`", text, re.DOTALL)
    (tmp_path / "test_mine.py").write_text(code)
    (tmp_path / "conftest.py").write_text(PROFILE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    run = subprocess.run(pytest, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert promised.replace("\n", " ") in run.stdout
